"""Pulumi's ResourceMonitor and Engine services on a Unix socket, for the program and the plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    resource_pb2,
    resource_pb2_grpc,
)

from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.model.events import Severity
from pulumi_embedded.model.goals import Goal
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.values import Properties, from_struct, to_struct
from pulumi_embedded.processes.answers import CheckFailure, ProviderError
from pulumi_embedded.processes.sockets import address_of
from pulumi_embedded.storage.target import Target

__all__ = ["Operation", "served"]

# A registration holds a thread until its resource exists. The program has four threads for each unit of --parallel.
_THREADS: Final = 512
_MESSAGE_BYTES: Final = 400 * 1024 * 1024
_FEATURES: Final = (
    "secrets",
    "resourceReferences",
    "aliasSpecs",
    "deletedWith",
    "replaceWith",
    "transforms",
    "invokeTransforms",
    "resourceHooks",
    "errorHooks",
    "invokeDependsOn",
)
_SEVERITIES: Final = {
    engine_pb2.DEBUG: Severity.DEBUG,
    engine_pb2.INFO: Severity.INFO,
    engine_pb2.WARNING: Severity.WARNING,
    engine_pb2.ERROR: Severity.ERROR,
}


class Operation(Protocol):
    """The operation that the program takes part in. Many threads can call every method at the same time."""

    target: Target

    def register(self, goal: Goal) -> ResourceState:
        """Bring one resource to the program's goal, and return its state when that is done."""

    def read(self, goal: Goal, id_: str) -> ResourceState:
        """Read a resource that the program does not own, and return its state."""

    def register_outputs(self, urn: str, outputs: Properties) -> None:
        """Record a component's outputs."""

    def left_out(self, urn: str) -> bool:
        """Return whether the resource is new and no target, so that its state is not known."""

    def undone(self, urn: str) -> bool:
        """Return whether the resource's step failed, or did not begin because it depends on a failed one."""

    def invoke(
        self, token: str, arguments: Properties, provider: str, version: str, depends_on: Sequence[str] = ()
    ) -> tuple[Properties | None, list[CheckFailure]]:
        """Call a provider's function. The result is None if a resource that the call depends on does not exist yet."""

    def program_finished(self) -> None:
        """Note that the program has registered everything. Return when the operation is over."""

    def log(self, urn: str, severity: Severity, message: str, *, ephemeral: bool, stream: int) -> None:
        """Report a message."""

    def fail(self, error: EngineError) -> None:
        """Stop the operation because of an error."""


class _Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """Answers the program. The operation reports errors. The program learns only that the operation is over."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def _guarded(self, context: grpc.ServicerContext, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except EngineError as error:
            self._operation.fail(error)
        except Exception as error:
            if context.code() is not None:  # type: ignore[attr-defined]
                raise
            self._operation.fail(EngineError(f"the embedded engine failed: {type(error).__name__}: {error}"))
        return context.abort(grpc.StatusCode.UNAVAILABLE, "resource monitor shut down")

    def GetDeploymentInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        target = self._operation.target
        numbers = resource_pb2.ResourceMonitorFeature.items()
        supported = [number for name, number in numbers if _camel(name) in _FEATURES]
        return resource_pb2.DeploymentInfo(
            project=target.project.name,
            stack=target.stack,
            organization="organization",
            config={key: value.text for key, value in target.config.items()},
            configSecretKeys=[key for key, value in target.config.items() if value.secret],
            supportedFeatures=supported,
        )

    def SupportsFeature(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in _FEATURES)

    def RegisterResource(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def act() -> Any:
            state = self._operation.register(Goal.from_request(request))
            return resource_pb2.RegisterResourceResponse(
                urn=state.urn,
                id=state.id,
                object=to_struct(state.outputs, secrets=request.acceptSecrets, resources=request.acceptResources),
                unknown=self._operation.left_out(state.urn),
                result=self._result(state.urn),
            )

        return self._guarded(context, act)

    def _result(self, urn: str) -> resource_pb2.Result.ValueType:
        return resource_pb2.FAIL if self._operation.undone(urn) else resource_pb2.SUCCESS

    def RegisterResourceOutputs(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def act() -> Any:
            self._operation.register_outputs(request.urn, from_struct(request.outputs))
            return empty_pb2.Empty()

        return self._guarded(context, act)

    def ReadResource(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def act() -> Any:
            goal = Goal(
                type=request.type,
                name=request.name,
                custom=True,
                inputs=from_struct(request.properties),
                parent=request.parent,
                provider=request.provider,
                version=request.version,
                dependencies=list(request.dependencies),
                additional_secret_outputs=list(request.additionalSecretOutputs),
            )
            state = self._operation.read(goal, request.id)
            return resource_pb2.ReadResourceResponse(
                urn=state.urn,
                properties=to_struct(state.outputs, secrets=request.acceptSecrets, resources=request.acceptResources),
                result=self._result(state.urn),
            )

        return self._guarded(context, act)

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        def act() -> Any:
            arguments = from_struct(request.args)
            try:
                result, failures = self._operation.invoke(
                    request.tok, arguments, request.provider, request.version, request.dependsOn
                )
            except ProviderError as error:
                # The program can handle this error.
                message = f"invocation of {request.tok} returned an error: {error}"
                context.abort(grpc.StatusCode.UNKNOWN, message)
            response = resource_pb2.ResourceInvokeResponse(
                failures=[
                    provider_pb2.CheckFailure(property=failure.property, reason=failure.reason) for failure in failures
                ],
                unknown=result is None and not failures,
            )
            if result is not None:
                packed = to_struct(result, secrets=request.acceptResources, resources=request.acceptResources)
                getattr(response, "return").CopyFrom(packed)
            return response

        return self._guarded(context, act)

    def SignalAndWaitForShutdown(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._operation.program_finished()
        return empty_pb2.Empty()

    def _refuse(self, context: grpc.ServicerContext, what: str) -> Any:
        def act() -> Any:
            raise Unsupported(what)

        return self._guarded(context, act)

    def RegisterPackage(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._refuse(context, f"a parameterized package ({request.name})")

    def RegisterStackTransform(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._refuse(context, "a stack transform")

    def RegisterStackInvokeTransform(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._refuse(context, "a stack invoke transform")

    def RegisterResourceHook(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._refuse(context, f"the resource hook {request.name!r}")

    def RegisterErrorHook(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._refuse(context, f"the error hook {request.name!r}")

    def Call(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return self._refuse(context, f"a call of the method {request.tok}")


def _camel(name: str) -> str:
    head, *tail = name.removeprefix("RESOURCE_MONITOR_FEATURE_").lower().split("_")
    return head + "".join(part.capitalize() for part in tail)


class _Engine(engine_pb2_grpc.EngineServicer):
    """Receives messages of the program and the plugins, and stores the URN of the root resource."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._root = ""

    def Log(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        severity = _SEVERITIES.get(request.severity, Severity.INFO)
        self._operation.log(
            request.urn, severity, request.message, ephemeral=request.ephemeral, stream=request.streamId
        )
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    def SetRootResource(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()


@contextmanager
def served(operation: Operation, folder: Path) -> Iterator[str]:
    """Serve both services for one operation on a socket in the folder. The block receives the address `unix:PATH`."""
    options = [("grpc.max_receive_message_length", _MESSAGE_BYTES), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix="monitor"), options=options)
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(_Monitor(operation), server)
    engine_pb2_grpc.add_EngineServicer_to_server(_Engine(operation), server)
    address = address_of(folder / "engine")
    server.add_insecure_port(address)
    server.start()
    try:
        yield address
    finally:
        server.stop(None)
