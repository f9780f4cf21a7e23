"""`pulumi-resource-faulty`: a provider process with its objects on disk, which misbehaves as planned.

Every thing is a file below `FAULTY_STORE/things`. `FAULTY_PLAN` is JSON with `method`, `number`, `moment` and `does`.
In the call of `method` with that `number`, the process `does` something of `Calls.do`. The `moment` is `before` the
call acts, or when it has `acted` and not answered. At the moment `answer`, the answer itself is spoiled. The process
also records every call and itself in the store.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2
from pulumi.runtime.proto import provider_pb2 as messages

STORE = Path(os.environ["FAULTY_STORE"])
PLAN: dict[str, Any] = json.loads(os.environ.get("FAULTY_PLAN") or "{}")
HOLD = STORE / "hold"


def _properties(struct: struct_pb2.Struct) -> dict[str, Any]:
    return json_format.MessageToDict(struct)


def _struct(properties: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(properties, struct_pb2.Struct())


def _path(id_: str) -> Path:
    return STORE / "things" / f"{id_}.json"


def _write(id_: str, urn: str, inputs: dict[str, Any]) -> struct_pb2.Struct:
    temporary = STORE / f"{id_}.tmp"
    temporary.write_text(json.dumps({"urn": urn, "inputs": inputs}))
    temporary.replace(_path(id_))
    return _struct({**inputs, "serial": id_})


class Provider:
    """The calls. `kind` and `value` are a thing's inputs, and another `kind` needs another thing."""

    def Handshake(self, request: Any) -> Any:  # noqa: N802
        return messages.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    def GetPluginInfo(self, request: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version="1.0.0")

    def Configure(self, request: Any) -> Any:  # noqa: N802
        return messages.ConfigureResponse(acceptSecrets=True, acceptResources=True, supportsPreview=True)

    def Check(self, request: Any) -> Any:  # noqa: N802
        return messages.CheckResponse(inputs=request.news)

    def Diff(self, request: Any) -> Any:  # noqa: N802
        olds, news = _properties(request.old_inputs), _properties(request.news)
        changed = sorted(key for key in {*olds, *news} if olds.get(key) != news.get(key))
        return messages.DiffResponse(
            changes=messages.DiffResponse.DIFF_SOME if changed else messages.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=[key for key in changed if key in ("kind", "of")],
            deleteBeforeReplace=bool(news.get("exclusive")),
        )

    def Create(self, request: Any) -> Any:  # noqa: N802
        if request.preview:
            return messages.CreateResponse(properties=request.properties)
        id_ = uuid.uuid4().hex[:8]
        return messages.CreateResponse(id=id_, properties=_write(id_, request.urn, _properties(request.properties)))

    def Update(self, request: Any) -> Any:  # noqa: N802
        if request.preview:
            return messages.UpdateResponse(properties=request.news)
        return messages.UpdateResponse(properties=_write(request.id, request.urn, _properties(request.news)))

    def Delete(self, request: Any) -> Any:  # noqa: N802
        _path(request.id).unlink(missing_ok=True)
        return empty_pb2.Empty()

    def Read(self, request: Any) -> Any:  # noqa: N802
        if not _path(request.id).exists():
            return messages.ReadResponse()
        inputs = json.loads(_path(request.id).read_text())["inputs"]
        outputs = _struct({**inputs, "serial": request.id})
        return messages.ReadResponse(id=request.id, properties=outputs, inputs=_struct(inputs))


_REQUESTS = {
    "Handshake": messages.ProviderHandshakeRequest,
    "GetPluginInfo": empty_pb2.Empty,
    "Configure": messages.ConfigureRequest,
    "Check": messages.CheckRequest,
    "Diff": messages.DiffRequest,
    "Create": messages.CreateRequest,
    "Update": messages.UpdateRequest,
    "Delete": messages.DeleteRequest,
    "Read": messages.ReadRequest,
}
# Answers that a call can be planned to give. `properties` is in Create, Update and Read alike.
_PROPERTIES = {
    "not a number": {"value": float("nan")},
    "an unknown signature": {"value": {"4dabf18193072939515e22adb298388d": "00000000000000000000000000000000"}},
    "an unknown": {"value": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"},
}


class Calls:
    """Counts the calls, and misbehaves in the planned one."""

    def __init__(self) -> None:
        self._provider = Provider()
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def answer(self, method: str, request: Any, context: Any) -> Any:
        with self._lock:
            self._numbers[method] = number = self._numbers.get(method, 0) + 1
            with (STORE / "calls").open("a") as file:
                file.write(f"{method}\n")
        planned = PLAN if (PLAN.get("method"), PLAN.get("number", 1)) == (method, number) else {}
        if planned.get("moment") == "before":
            self.do(planned["does"], context)
        response = getattr(self._provider, method)(request)
        if planned.get("moment") == "acted":
            self.do(planned["does"], context)
        return self._spoiled(response, planned["does"]) if planned.get("moment") == "answer" else response

    def do(self, what: str, context: Any) -> None:
        if what in ("kill engine", "kill both"):
            os.kill(int(os.environ.get("TASKDB_TESTS_STARTED_BY") or os.getppid()), signal.SIGKILL)
        if what in ("kill plugin", "kill both"):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "exit":
            os._exit(3)
        if what == "refuse":
            context.abort(grpc.StatusCode.UNKNOWN, "refused as told")
        # The engine's watchdog kills this process with the engine, or the test ends the wait.
        HOLD.touch()
        while HOLD.exists():
            time.sleep(0.01)

    @staticmethod
    def _spoiled(response: Any, how: str) -> Any:
        if how == "rubbish":
            return b"\xff\xfe rubbish"
        if how == "no text":
            # Field 1 is the id or a text in most answers: a length-delimited field whose bytes are not UTF-8.
            return b"\x0a\x02\xc3\x28"
        if how == "an enormous message":
            return b"\x0a" + b"\x80\x80\x80\x01" + b"x" * 0x200000
        if how == "no id":
            response.id = ""
        else:
            response.properties.update(_PROPERTIES[how])
        return response


def main() -> None:
    (STORE / "things").mkdir(parents=True, exist_ok=True)
    with (STORE / "processes").open("a") as file:
        file.write(f"plugin {os.getpid()}\n")
    calls = Calls()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            lambda request, context, name=name: calls.answer(name, request, context),
            request_deserializer=request.FromString,
            response_serializer=lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString(),
        )
        for name, request in _REQUESTS.items()
    }
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(16), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("pulumirpc.ResourceProvider", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
