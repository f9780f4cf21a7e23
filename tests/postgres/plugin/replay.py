"""Replay recordings of the real plugin against ours: a plugin process per provider, a fresh server per recording."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
from google.protobuf import empty_pb2, json_format
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from tests import loaded
from tests.conftest import PROJECT

RECORDINGS = Path(__file__).parent / "recordings"

Answer = dict[str, Any]

# The lines of an error that the real plugin omits, in JSON.
_DETAILS = re.compile(r"""\\n\\t  (?:DETAIL|HINT): (?:[^"\\]|\\"|\\\\|\\u[0-9a-f]{4})*""")


@dataclass(frozen=True)
class Line:
    """One recorded call, or a query of the catalogs."""

    file: str
    number: int
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """The line as a failure shows it: `file:line case`."""
        return f"{self.file}:{self.number} {self.content['case']}"

    @property
    def answer(self) -> Answer:
        """The answer of the real plugin."""
        return {key: self.content[key] for key in ("response", "error") if key in self.content}


def recording(file: str, version: int) -> Iterator[Line]:
    """Read the lines of `file` as the real plugin answers on a server of `version` (150018, 180004 …)."""
    newer: dict[int, Answer] = {}
    if version >= 180000:
        differing = map(json.loads, (RECORDINGS / "on-postgresql-18.jsonl").read_text().splitlines())
        newer = {line["line"]: line for line in differing if line["file"] == file}
    for number, text in enumerate((RECORDINGS / file).read_text().splitlines(), 1):
        content = json.loads(text)
        if number in newer:
            content = {key: content[key] for key in ("case", "method", "request", "provider") if key in content}
            content |= {key: newer[number][key] for key in ("response", "error") if key in newer[number]}
        if version >= 180000 and "version" in content.get("request", {}).get("olds", {}):
            # The state is the one that this server gives: it brings pgcrypto 1.4.
            content["request"]["olds"]["version"] = "1.4"
        if content["method"] != "NOTE":
            yield Line(file, number, content)


@contextmanager
def plugin(engine: str = "127.0.0.1:1") -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """Run a plugin process of the engine at this address, and yield its gRPC stub."""
    command = [sys.executable, "-m", "pulumi_embedded.postgresql", engine]
    process = loaded.start(command, PROJECT, subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def configured_plugin(database: Any, engine: str = "127.0.0.1:1") -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    """Run a plugin process that is configured for the test's database, and yield its gRPC stub."""
    login = database.parameters
    args = {"host": login["host"], "port": str(login["port"]), "username": login["user"]}
    args |= {"password": login["password"], "database": database.name, "sslmode": "disable", "superuser": "false"}
    with plugin(engine) as stub:
        assert "response" in ask(stub, "Configure", {"args": args})
        yield stub


def ask(stub: provider_pb2_grpc.ResourceProviderStub, method: str, request: dict[str, Any]) -> Answer:
    """Make one call, and return its answer in the form of the recordings."""
    kinds = {
        "GetPluginInfo": empty_pb2.Empty,
        "Cancel": empty_pb2.Empty,
        "Handshake": provider_pb2.ProviderHandshakeRequest,
    }
    if method in ("CheckConfig", "DiffConfig"):
        kinds[method] = getattr(provider_pb2, method.removesuffix("Config") + "Request")
    kind = kinds.get(method) or getattr(provider_pb2, method + "Request")
    try:
        response = getattr(stub, method)(json_format.ParseDict(request, kind()), timeout=60)
    except grpc.RpcError as error:
        return {"error": _error(error)}
    return {"response": plain(json_format.MessageToDict(response))}


def _error(error: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"code": error.code().name, "message": error.details()}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            shown["details"] = [_detail(detail) for detail in status.details]
    return shown


def _detail(detail: Any) -> dict[str, Any]:
    unpacked = provider_pb2.ErrorResourceInitFailed()
    assert detail.Unpack(unpacked)
    return {"type": detail.type_url, "value": plain(json_format.MessageToDict(unpacked))}


def plain(value: Any) -> Any:
    """Convert whole numbers to integers, and leave everything else as it is."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Replay:
    """Makes the calls of a recording: runs the plugin processes, and executes SQL as the recorded user."""

    def __init__(self, port: int, stack: ExitStack):
        self.port = port
        self._stack = stack
        self._stubs: dict[str, provider_pb2_grpc.ResourceProviderStub] = {}
        self._held: list[psycopg.Connection] = []

    def answer(self, line: Line) -> Answer:
        """Make the recorded call, and return our answer."""
        content = json.loads(json.dumps(line.content).replace("<port>", str(self.port)))
        if "open connection of a role the admin is not a member of" in line.content["case"]:
            self._held.append(self._stack.enter_context(self._connect("p_app", "x", "p_open")))
        if content["method"] == "SQL":
            return self._sql(content["request"])
        answer = ask(self._stub(line, content.get("provider", "")), content["method"], content["request"])
        return json.loads(_DETAILS.sub("", json.dumps(answer)).replace(str(self.port), "<port>"))

    def _sql(self, request: dict[str, Any]) -> Answer:
        user = "postgres" if request["as"] == "superuser" else request["as"]
        with self._connect(user, user, request["database"]) as connection:
            cursor = connection.execute(request["sql"])
            if cursor.description is None:
                return {}
            rows = [[_without_maintain(value) for value in row] for row in cursor.fetchall()]
            return {"response": {"rows": rows}}

    def _connect(self, user: str, password: str, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, dbname=database, autocommit=True
        )

    def _stub(self, line: Line, provider: str) -> provider_pb2_grpc.ResourceProviderStub:
        """Return the plugin that a line calls. The lines of `provider.jsonl` configure the plugin themselves."""
        configured = not line.file.startswith("provider") or bool(provider) or line.content["method"] == "Invoke"
        key = provider or f"{configured}{'before Configure' in line.content['case']}"
        if key not in self._stubs:
            self._stubs[key] = self._stack.enter_context(plugin())
            if configured:
                request = {"args": self._configuration(line.file, provider)}
                assert "response" in ask(self._stubs[key], "Configure", request)
        return self._stubs[key]

    def _configuration(self, file: str, provider: str) -> dict[str, str]:
        login = {"host": "127.0.0.1", "port": str(self.port), "username": "admin", "password": "admin"}
        special = {
            "wrong password": {"password": "wrong"},
            "server down": {"port": "1"},
            "sslmode require": {"sslmode": "require"},
            "plain role": {"username": "p_plain" if file == "role.jsonl" else "p_app", "password": "x"},
            "superuser=true, but the login is none": {"superuser": "true"},
        }
        return login | {"sslmode": "disable", "superuser": "false", "connectTimeout": "15"} | special.get(provider, {})


def _without_maintain(value: Any) -> Any:
    """Remove MAINTAIN, `m`, which PostgreSQL 17 adds to the rights of a table's owner."""
    return re.sub(r"\barwdDxtm\b", "arwdDxt", value) if isinstance(value, str) else value
