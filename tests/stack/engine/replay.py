"""Run the commands of a recording on an engine, and convert its output to the recording's form."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psycopg
from google.protobuf import json_format

from pulumi_embedded import cli
from pulumi_embedded.processes import plugins
from pulumi_embedded.storage.secrets import Crypter

RECORDINGS = Path(__file__).parent / "recordings"
SALT = re.search(r"encryptionsalt: (.+)", (RECORDINGS / "Pulumi.dev.yaml").read_text()).group(1)
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
SIGNATURE = "4dabf18193072939515e22adb298388d"
CONFIG_METHODS = {"CheckConfig", "DiffConfig", "Configure"}
RESOURCE_METHODS = {"Check", "Diff", "Create", "Read", "Update", "Delete", "Invoke"}
PLUGIN_WARNING = "using pulumi-resource-"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def scenarios() -> list[str]:
    return sorted(path.stem for path in RECORDINGS.glob("*.json"))


def load(scenario: str) -> dict[str, Any]:
    return json.loads((RECORDINGS / f"{scenario}.json").read_text())


class CallRecorder(grpc.UnaryUnaryClientInterceptor):
    """Records every call to a plugin, in the order of their beginnings."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        method = details.method.rsplit("/", 1)[-1]
        if method not in CONFIG_METHODS | RESOURCE_METHODS:
            return continuation(details, request)
        document = json_format.MessageToDict(request)
        document.pop("randomSeed", None)
        with self._lock:
            call = {"method": method, "request": document, "start": len(self.calls)}
            self.calls.append(call)
        response = continuation(details, request)
        with self._lock:
            call["end"] = len(self.calls)
        return response


@dataclass
class Result:
    """The results of one command."""

    exit_code: int
    stdout: str
    stderr: str
    # The plugins' calls, if they were recorded.
    calls: list[dict[str, Any]] | None = None


# The server's refusal to create a superuser. The recordings are from PostgreSQL 15.
SINCE_16 = "pq: permission denied to alter role (42501)"
BEFORE_16 = "pq: must be superuser to alter superuser roles or change superuser attribute (42501)"


class Workplace:
    """A project's folder for one scenario, with names on the server that no other scenario uses."""

    def __init__(self, folder: Path, scenario: str, server: Any, mark: str) -> None:
        self.folder = folder
        self.scenario = scenario
        self.server = server
        text = (RECORDINGS / f"{scenario}.json").read_text()
        # Ids consist of several names, joined by underscores.
        own = set(re.findall(r"(?<![A-Za-z0-9])s_[a-z0-9]+", text)) | {"s_taken", "s_old"}
        self._names = {name: mark + name[2:] for name in own}
        self.home = folder.parent / "home"
        for name in ("dynp.py", "Pulumi.yaml", "Pulumi.dev.yaml"):
            self.write(name, (RECORDINGS / name).read_text())
        if "config" in (recording := json.loads(text)):
            self.write("Pulumi.dev.yaml", recording["config"])
        (folder / ".state").mkdir()
        (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)

    def to_here(self, text: str) -> str:
        """Replace the recording's names and login by the local ones."""
        for name, own in self._names.items():
            text = re.sub(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", own, text)
        text = text.replace("55433", str(self.server.port)).replace("127.0.0.1", self.server.host)
        text = re.sub(r'(postgresql:username: |username="|owner=")admin', rf"\g<1>{self.server.username}", text)
        return re.sub(r'(postgresql:password: |password=")admin', rf"\g<1>{self.server.password}", text)

    def to_recorded(self, text: str) -> str:
        """Replace local names in an engine's output by those of the recording."""
        text = text.replace(self.server.password, "admin").replace(self.server.username, "admin")
        text = text.replace(SINCE_16, BEFORE_16)
        for name, own in sorted(self._names.items(), key=lambda pair: -len(pair[1])):
            text = re.sub(rf"(?<![A-Za-z0-9]){own}(?![A-Za-z0-9])", name, text)
        text = text.replace(str(self.folder.resolve()), "<project>").replace(str(self.folder), "<project>")
        return text.replace(str(self.server.port), "55433").replace(self.server.host, "127.0.0.1")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(self.to_here(text))

    def sql(self, *statements: str) -> None:
        """Change the server without the engine's knowledge."""
        with psycopg.connect(
            host=self.server.host,
            port=self.server.port,
            user=self.server.username,
            password=self.server.password,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            for statement in statements:
                connection.execute(self.to_here(statement))  # type: ignore[arg-type]

    def environment(self) -> dict[str, str]:
        return {
            "PULUMI_CONFIG_PASSPHRASE": "",
            # Programs of equal length can follow each other within a second, and Python would reuse the compiled one.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PULUMI_HOME": str(self.home),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def arguments(self, command: str) -> list[str]:
        """Return the command's words after `pulumi`."""
        return ["--non-interactive", "-C", str(self.folder), *self.to_here(command).split()[1:]]

    def run(self, command: str) -> Result:
        """Run a command of the CLI on the embedded engine, in this process, and record the plugins' calls."""
        recorder = CallRecorder()
        real = plugins.grpc.insecure_channel
        stdout, stderr = io.StringIO(), io.StringIO()
        exit_code = 0
        with _changed_environment(self.environment()), _patched_channel(real, recorder):
            argv, sys.argv = sys.argv, ["pulumi-embedded", *self.arguments(command)]
            try:
                with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                    cli.main()
            except SystemExit as exit_:
                exit_code = int(exit_.code or 0)
            finally:
                sys.argv = argv
        return Result(exit_code, stdout.getvalue(), stderr.getvalue(), recorder.calls)

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a command on the embedded engine in its own process."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("pulumi-embedded")), *self.arguments(command)],
            env={**os.environ, **self.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run_cli(self, command: str) -> Result:
        """Run a command on the Pulumi CLI that is on the PATH."""
        run = subprocess.run(
            ["pulumi", *self.arguments(command)],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            check=False,
        )
        return Result(run.returncode, _without_plugin_warnings(run.stdout), run.stderr)

    def state(self, stack: str = "dev") -> dict[str, Any] | None:
        """Return the stack's deployment, decrypted and in the recording's form, or None without resources."""
        path = self.folder / f".state/.pulumi/stacks/rec/{stack}.json"
        if not path.exists():
            return None
        latest = json.loads(self.to_recorded(path.read_text()))["checkpoint"]["latest"]
        return {key: latest[key] for key in ("resources", "pending_operations") if latest.get(key)} or None


def _without_plugin_warnings(text: str) -> str:
    """Return a JSON document of the CLI without its warnings that a plugin was found on the PATH."""
    if not text.startswith("{"):
        return text
    with contextlib.suppress(ValueError):
        document = json.loads(text)
        kept = [each for each in document.pop("diagnostics", []) if PLUGIN_WARNING not in each["message"]]
        return json.dumps(document | ({"diagnostics": kept} if kept else {}))
    return "".join(line + "\n" for line in text.splitlines() if PLUGIN_WARNING not in line)


@contextlib.contextmanager
def _changed_environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _patched_channel(real: Any, recorder: CallRecorder) -> Iterator[None]:
    def observed(target: str, options: Any = None) -> Any:
        return grpc.intercept_channel(real(target, options=options), recorder)

    plugins.grpc.insecure_channel = observed
    try:
        yield
    finally:
        plugins.grpc.insecure_channel = real


def opened(document: Any, crypter: Crypter) -> Any:
    """Return a state without the differences of any two runs: secrets decrypted, without ids of providers and times."""
    if isinstance(document, list):
        return [opened(each, crypter) for each in document]
    if isinstance(document, str):
        return document if document == UNKNOWN else UUID.sub("<uuid>", document)
    if not isinstance(document, dict):
        return document
    if document.get(SIGNATURE) == SECRET:
        plaintext = document.get("plaintext")
        return {"secret": json.loads(crypter.decrypt(document["ciphertext"]) if plaintext is None else plaintext)}
    skipped = {"created", "modified", "sourcePosition", "stackTrace"}
    result = {key: opened(value, crypter) for key, value in document.items() if key not in skipped}
    if "dependencies" in result:
        # The SDK keeps them in a set, so their order differs between runs.
        result["dependencies"] = sorted(result["dependencies"])
    return result


def plain_calls(calls: list[dict[str, Any]], *, configured: bool) -> list[tuple[str, str, str]]:
    """Return every call as (URN, method, request), in the order of their beginnings."""
    wanted = RESOURCE_METHODS | (CONFIG_METHODS if configured else set())
    found = []
    for call in sorted(calls, key=lambda call: call["start"]):
        if call["method"] in wanted:
            request = {key: value for key, value in call["request"].items() if key != "resourceStatusToken"}
            if call["method"] == "Configure":
                request.pop("id", None)
            text = UUID.sub(
                lambda m: m[0] if m[0] == UNKNOWN else "<uuid>", json.dumps(_numbers(request), sort_keys=True)
            )
            found.append((request.get("urn") or request.get("tok", ""), call["method"], text))
    return found


def _numbers(value: Any) -> Any:
    """Convert whole numbers to integers, because JSON does not distinguish them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    return value


_HEADING = re.compile(r"(Previewing )?(update|Updat|refresh|Refresh|destroy|Destroy)\w* \(")
_ROW = re.compile(r"^ [ +~=<>-]{2} \w\S*:\S+ ")
_LEFT_OUT = re.compile(
    r" [a-z]+ing( [a-z]+)* \(<t>\)| refreshing\b| refresh( \(<t>\))?$| running\b"
    r"|^ {4}\S+:\S+ \S+( \*\*failed\*\*.*)?$|^ .{2} \S+:\S+ \S+( [a-z]+)? +(error: |\d+ errors?$)"
)


# Components and providers.
_ONLY_IN_STATE = re.compile(
    r"^ [ +-]{2} (rec:index|pulumi:providers):\S+ \S+ (creat|delet)(ing|ed)\b(?!.*(error|failed))"
)


def shortened(lines: list[str], command: str) -> list[str]:
    """Return the CLI's output without the lines that this engine omits. docs/embedded-engine.md lists them."""
    starts = [number for number, line in enumerate(lines) if _HEADING.match(line)]
    kept: list[str] = []
    for start, end in zip([0, *starts], [*starts, len(lines)], strict=True):
        if part := lines[start:end]:
            kept += _shortened(part, brief=part[0].startswith("Previewing") and "--yes" in command)
    return kept


def _shortened(lines: list[str], *, brief: bool) -> list[str]:
    """Return the lines of one operation: a row for each completed step, and outputs if something changed.

    For a preview whose update follows, return only the messages and, if there are changes, the counts.
    """
    text = "\n".join(lines).replace("    error: 1 error occurred:\n    \t* ", "    error: ")
    lines = text.split("\n")
    failed = "\n    error: " in text
    counts = lines[lines.index("Resources:") :] if "Resources:" in lines else []
    changed = any(re.match(r"    [+~=<>-]", line) for line in counts)
    kept, block = [], ""
    for line in lines:
        if not line.startswith(" "):
            block = line
        if block == "Outputs:" and (failed or brief or not (changed or re.match(r"Outputs:|  [+~-] ", line))):
            continue
        if block == "Resources:" and brief and not (changed or failed):
            continue
        if _ROW.match(line) and block not in ("Outputs:", "Diagnostics:", "Resources:"):
            if brief or _LEFT_OUT.search(line) or _ONLY_IN_STATE.match(line):
                continue
            line = re.sub(r"(\*\*.*\*\*).*", r"\1", line)
        kept.append(line)
    empty = [
        line == "Outputs:" and not after.startswith(" ") for line, after in zip(kept, [*kept[1:], ""], strict=True)
    ]
    return [line for line, left_out in zip(kept, empty, strict=True) if not left_out]


_FRAME = re.compile(r'^(\s*)File "(?P<file>.+)", line \d+(, in (?P<name>.+))?$')
_INTERRUPTED = [
    "    Traceback (most recent call last):",
    "      <frames>",
    "    KeyboardInterrupt",
    "    During handling of the above exception, another exception occurred:",
    "    Traceback (most recent call last):",
    "      <frames>",
    "    KeyboardInterrupt",
]


def plain_lines(lines: list[str]) -> list[str]:
    """Return the output without the differences of any two runs: times, foreign frames, the stack's own line."""
    result = [UUID.sub(lambda match: match[0] if match[0] == UNKNOWN else "<uuid>", line) for line in lines]
    result = [re.sub(r"\((\d+\.\d+s|\d+s|<t>)\)", "(<t>)", line) for line in _framed(result)]
    result = [re.sub(r"^Duration: .+", "Duration: <t>", line).rstrip() for line in result]
    result = [
        line
        for line in result
        if line.strip()
        and not line.startswith("@ ")
        and not re.match(r"^ [ +~-]+ *pulumi:pulumi:Stack rec-(dev|consumer)", line)
        and PLUGIN_WARNING not in line
    ]
    for start in range(len(result) - len(_INTERRUPTED), -1, -1):
        if result[start : start + len(_INTERRUPTED)] == _INTERRUPTED:
            del result[start : start + len(_INTERRUPTED)]
    return _without_empty_headings(result)


def _framed(lines: list[str]) -> list[str]:
    result: list[str] = []
    indent: int | None = None
    for line in lines:
        frame = _FRAME.match(line)
        if frame:
            indent = len(frame[1])
            own = frame["file"].startswith("<project>") and frame["name"] and ".venv" not in frame["file"]
            line = f"{frame[1]}<frame {frame['file']} {frame['name']}>" if own else f"{frame[1]}<frames>"
            if not (line.strip() == "<frames>" and result and result[-1] == line):
                result.append(line)
        elif indent is None or len(line) - len(line.lstrip()) <= indent:
            indent = None
            result.append(line)
    return result


def _without_empty_headings(lines: list[str]) -> list[str]:
    result = []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith("  pulumi:pulumi:Stack (") and not following.startswith("    "):
            continue
        result.append(line)
    return [
        line
        for number, line in enumerate(result)
        if line != "Diagnostics:" or (number + 1 < len(result) and result[number + 1].startswith("  "))
    ]


def json_differences(text: str, recorded: Any) -> list[str]:
    """Return the differences between an engine's JSON and the recorded JSON, as text."""
    if isinstance(recorded, list):
        mine = [json.loads(line) for line in text.splitlines()]
        parts = [_parts_of_stream(mine), _parts_of_stream(recorded)]
    else:
        parts = [_parts_of_document(json.loads(text)), _parts_of_document(recorded)]
    mine_counted, theirs_counted = Counter(parts[0]), Counter(parts[1])
    return [
        *(f"only here: {each}" for each in mine_counted - theirs_counted),
        *(f"only recorded: {each}" for each in theirs_counted - mine_counted),
    ]


def _parts_of_document(document: Any) -> list[str]:
    if not isinstance(document, dict):
        return [_canonical(document)]
    steps = document.get("steps", [])
    rest = {key: value for key, value in document.items() if key not in ("steps", "duration")}
    return [_canonical(each) for each in [*steps, *({key: value} for key, value in rest.items())]]


def _parts_of_stream(events: list[Any]) -> list[str]:
    parts = []
    failed = any(each.get("summaryEvent", {}).get("result") == "failed" for each in events)
    for event in events:
        if failed and _is_same(event):
            # The progress of other steps at the time of a failure depends on timing.
            continue
        event = {key: value for key, value in event.items() if key not in ("sequence", "timestamp")}
        event.get("summaryEvent", {}).pop("durationSeconds", None)
        if failed:
            event.get("summaryEvent", {}).get("resourceChanges", {}).pop("same", None)
        event.get("resOpFailedEvent", {}).pop("steps", None)
        diagnostic = event.get("diagnosticEvent")
        if diagnostic and diagnostic["severity"] == "debug":
            continue
        if diagnostic:
            diagnostic["message"] = "\n".join(_framed(diagnostic["message"].rstrip("\n").split("\n")))
        parts.append(_canonical(event))
    return parts


def _is_same(event: Any) -> bool:
    return any(
        event.get(kind, {}).get("metadata", {}).get("op") == "same" for kind in ("resourcePreEvent", "resOutputsEvent")
    )


def _canonical(document: Any) -> str:
    blinded = json.loads(json.dumps(document).replace(SECRET, "secret"))
    return json.dumps(_numbers(opened(blinded, _NO_CRYPTER)), sort_keys=True)


_NO_CRYPTER: Any = None
