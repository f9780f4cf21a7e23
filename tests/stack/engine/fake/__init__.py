"""A provider in its own process. Its objects are the truth that a state is compared with."""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

__all__ = ["Call", "FakeProvider", "ProviderProcess"]

# A plugin must only print its port and stay alive. One process serves all operations, so none has to start its own.
LAUNCHER = "#!/bin/sh\necho {port}\nexec sleep 1000000\n"


@dataclass(frozen=True)
class Call:
    """A requested change. For a delete, `inputs` are those of the object before it."""

    method: str
    urn: str
    id: str
    inputs: dict[str, Any]
    failed: bool


class ProviderProcess:
    """The provider of a package. With `folder` on the PATH, engines find it."""

    def __init__(self, folder: Path, package: str, script: Path) -> None:
        self.folder = folder
        self._package = package
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline())
        launcher = folder / f"pulumi-resource-{package}"
        launcher.write_text(LAUNCHER.format(port=port))
        launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._channel.close()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def ask(self, token: str, **arguments: Any) -> dict[str, Any]:
        """Call a function that the process has for the tests."""
        struct = struct_pb2.Struct()
        struct.update(arguments)
        answer = self._stub.Invoke(provider_pb2.InvokeRequest(tok=f"{self._package}:control:{token}", args=struct))
        return json_format.MessageToDict(getattr(answer, "return"))


class FakeProvider(ProviderProcess):
    """The running process of the package `fake`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "fake", Path(__file__).with_name("provider.py"))

    def reset(self) -> None:
        """Forget all objects, all calls and all failures."""
        self.ask("reset")

    def objects(self) -> dict[str, dict[str, Any]]:
        """Return the inputs of every object by its id."""
        return self.ask("all_objects")

    def take_calls(self) -> list[Call]:
        """Return the creates, updates and deletes since the last call, in their order."""
        return [Call(**each) for each in self.ask("all_calls")["calls"]]

    def fail(self, **keys: list[str]) -> None:
        """Let `create`, `update` and `delete` fail for the objects with these keys from now on, and for no others.

        With `half`, the objects are created, but the creation fails.
        """
        self.ask("fail", **keys)

    def lose(self, id_: str) -> None:
        """Remove an object without the engine's knowledge."""
        self.ask("lose", id=id_)
