# ruff: noqa: N802 - the methods' names are the protocol's
"""The process of the package `walk`: its things are in its memory, it records every call, and it ends with its input.

A thing's inputs control the provider's answers: `diff` names a way to compare, and `plain` returns secrets in plain
text. The failures, and the other functions of Invoke, are for the tests.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# Fields that are not recorded.
UNTOLD = ("randomSeed", "resourceStatusToken", "resourceStatusAddress")
KINDS = provider_pb2.PropertyDiff
NONE, SOME = provider_pb2.DiffResponse.DIFF_NONE, provider_pb2.DiffResponse.DIFF_SOME
DIFF_UNKNOWN = provider_pb2.DiffResponse.DIFF_UNKNOWN


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


def opened(value: Any) -> Any:
    """Return the value without the marks of secrets, with whole numbers as integers."""
    if isinstance(value, list):
        return [opened(each) for each in value]
    if isinstance(value, dict):
        return opened(value["value"]) if value.get(SIGNATURE) == SECRET else {k: opened(v) for k, v in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def properties(message: struct_pb2.Struct) -> dict[str, Any]:
    return json_format.MessageToDict(message)


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset({})

    # Methods of a provider

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=self.secrets, accept_resources=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="1.0.0")

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        olds, news = opened(properties(request.old_inputs)), opened(properties(request.news))
        changed = sorted(key for key in {*olds, *news} if olds.get(key) != news.get(key))
        replaces = [key for key in changed if key == "endpoint"]
        return provider_pb2.DiffResponse(changes=SOME if changed else NONE, diffs=changed, replaces=replaces)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(
            acceptSecrets=self.secrets, acceptResources=True, supportsPreview=self.previews
        )

    def Check(self, request: Any, context: Any) -> Any:
        self.note("Check", request)
        news, olds = properties(request.news), properties(request.olds)
        failing = self.failing("Check", request.urn)
        if failing:
            return provider_pb2.CheckResponse(
                inputs=request.news, failures=[provider_pb2.CheckFailure(property="value", reason="told to refuse it")]
            )
        # A default that a replacement does not keep.
        news.setdefault("auto", olds.get("auto") or f"auto-{opened(news).get('value')}")
        return provider_pb2.CheckResponse(inputs=struct(news))

    def Diff(self, request: Any, context: Any) -> Any:
        self.note("Diff", request)
        self.fail_as_told("Diff", request.urn, context)
        olds, news = opened(properties(request.old_inputs)), opened(properties(request.news))
        for path in request.ignoreChanges:
            if path in olds:
                news[path] = olds[path]
        changed = sorted(key for key in {*olds, *news} if olds.get(key) != news.get(key) and key != "diff")
        replaces = [key for key in changed if key.startswith("fixed")]
        way = news.get("diff", "keys")
        answer = provider_pb2.DiffResponse(
            changes=SOME if changed else NONE, deleteBeforeReplace=bool(news.get("exclusive"))
        )
        if way == "unknown":
            answer.changes = DIFF_UNKNOWN
        elif way == "unknown and replaces":
            answer.changes = DIFF_UNKNOWN
            answer.replaces.extend(replaces)
        elif way == "detailed":
            answer.hasDetailedDiff = True
            answer.diffs.extend(changed)
            self.detail(answer, olds, news, changed)
        else:
            answer.diffs.extend(changed)
            answer.replaces.extend(replaces)
        return answer

    @staticmethod
    def detail(answer: Any, olds: dict[str, Any], news: dict[str, Any], changed: list[str]) -> None:
        """Report for each property how it differs, one level deep. Only the kinds report a replacement."""
        for key in changed:
            pairs = [(key, olds.get(key), news.get(key))]
            if isinstance(olds.get(key), dict) and isinstance(news.get(key), dict):
                before, after = olds[key], news[key]
                pairs = [
                    (f"{key}.{name}", before.get(name), after.get(name))
                    for name in sorted({*before, *after})
                    if before.get(name) != after.get(name)
                ]
            for path, before, after in pairs:
                kind = KINDS.ADD if before is None else KINDS.DELETE if after is None else KINDS.UPDATE
                answer.detailedDiff[path].kind = kind + 1 if key.startswith("fixed") else kind
                answer.detailedDiff[path].inputDiff = True

    def Create(self, request: Any, context: Any) -> Any:
        self.note("Create", request)
        inputs = properties(request.properties)
        name = request.urn.rpartition("::")[2]
        if request.preview:
            return provider_pb2.CreateResponse(properties=self.outputs(inputs, UNKNOWN))
        self.fail_as_told("Create", request.urn, context)
        with self.lock:
            self.numbers[name] = self.numbers.get(name, 0) + 1
            id_ = f"{name}-{self.numbers[name]}"
            self.objects[id_] = inputs
        outputs = self.outputs(inputs, id_)
        self.half_done("Create", request.urn, id_, outputs, inputs, context)
        return provider_pb2.CreateResponse(id=id_, properties=outputs)

    def Update(self, request: Any, context: Any) -> Any:
        self.note("Update", request)
        inputs = properties(request.news)
        if not request.preview:
            self.fail_as_told("Update", request.urn, context)
            with self.lock:
                self.objects[request.id] = inputs
        outputs = self.outputs(inputs, request.id)
        if not request.preview:
            self.half_done("Update", request.urn, request.id, outputs, inputs, context)
        return provider_pb2.UpdateResponse(properties=outputs)

    def Delete(self, request: Any, context: Any) -> Any:
        self.note("Delete", request)
        self.fail_as_told("Delete", request.urn, context)
        with self.lock:
            self.objects.pop(request.id, None)
        return empty_pb2.Empty()

    def Read(self, request: Any, context: Any) -> Any:
        self.note("Read", request)
        self.fail_as_told("Read", request.urn, context)
        with self.lock:
            inputs = self.objects.get(request.id)
        if inputs is None:
            return provider_pb2.ReadResponse()
        outputs = self.outputs(inputs, request.id)
        self.half_done("Read", request.urn, request.id, outputs, inputs, context)
        return provider_pb2.ReadResponse(id=request.id, inputs=struct(inputs), properties=outputs)

    @staticmethod
    def outputs(inputs: dict[str, Any], serial: str) -> struct_pb2.Struct:
        given = opened(inputs) if inputs.get("plain") else inputs
        return struct({**given, "serial": serial, "echo": opened(inputs).get("value")})

    # Failures

    def failing(self, method: str, urn: str) -> bool:
        return urn.rpartition("::")[2] in self.failures.get(method, [])

    def fail_as_told(self, method: str, urn: str, context: Any) -> None:
        if self.failing(f"late {method}", urn):
            self.released.wait(60)
        if self.failing(method, urn):
            context.abort(grpc.StatusCode.UNKNOWN, f"told to fail {method}")

    def half_done(self, method: str, urn: str, id_: str, outputs: Any, inputs: dict[str, Any], context: Any) -> None:
        if not self.failing(f"half {method}", urn):
            return
        detail = any_pb2.Any()
        reasons = [f"told to do half of {method}", "and to say why"]
        detail.Pack(
            provider_pb2.ErrorResourceInitFailed(id=id_, properties=outputs, inputs=struct(inputs), reasons=reasons)
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reasons[0], details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.UNKNOWN, reasons[0])

    # Requests of the tests

    def note(self, method: str, request: Any) -> None:
        document = json_format.MessageToDict(request)
        with self.lock:
            call = {"method": method, **{k: v for k, v in document.items() if k not in UNTOLD}}
            self.calls.append({**call, "failed": True} if self.failing(method, request.urn) else call)

    def Invoke(self, request: Any, context: Any) -> Any:
        act = getattr(self, request.tok.rpartition(":")[2])
        with self.lock:
            answer = act(json_format.MessageToDict(request.args))
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").update(answer or {})
        return response

    def reset(self, arguments: dict[str, Any]) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.numbers: dict[str, int] = {}
        self.calls: list[dict[str, Any]] = []
        self.fail({})
        self.secrets = arguments.get("secrets", True)
        self.previews = arguments.get("previews", True)

    def fail(self, methods: dict[str, list[str]]) -> None:
        """Let these calls fail for the things with these names from now on. A `late` call waits for `release`."""
        self.failures: dict[str, list[str]] = methods
        self.released = threading.Event()

    def release(self, arguments: dict[str, Any]) -> None:
        self.released.set()

    def change(self, arguments: dict[str, Any]) -> None:
        """Change a thing's inputs without the engine's knowledge, or delete it if there are no inputs."""
        name, inputs = arguments["name"], arguments.get("inputs")
        for id_ in [each for each in self.objects if each.rpartition("-")[0] == name]:
            if inputs is None:
                del self.objects[id_]
            else:
                self.objects[id_] = {**self.objects[id_], **inputs}

    def exists(self, arguments: dict[str, Any]) -> None:
        """Create a thing that no engine has created."""
        self.objects[arguments["id"]] = arguments["inputs"]

    def all_objects(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.objects

    def take_calls(self, arguments: dict[str, Any]) -> dict[str, Any]:
        calls, self.calls = self.calls, []
        return {"calls": calls}


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(64))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    sys.stdout.write(f"{server.add_insecure_port('127.0.0.1:0')}\n")
    sys.stdout.flush()
    server.start()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
