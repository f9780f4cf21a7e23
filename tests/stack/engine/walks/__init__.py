"""Walks: a program that changes between steps, with a command at each, on one engine or on two that take turns.

A walk is a JSON document. Its `steps` have a `command`, a `program` (see `program.py`) and other `files` of the
project. Without a `program` the last one stays. A step can also have `failures` of the provider's calls, and objects
that are `changed` or created (`exists`) without the engine's knowledge.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pulumi_embedded import cli
from pulumi_embedded.storage.secrets import Crypter

from ..fake import ProviderProcess
from ..replay import PLUGIN_WARNING, SALT, UNKNOWN, UUID, json_differences, opened

__all__ = ["ENGINES", "Observation", "Walk", "WalkProvider", "differences", "walked"]

HERE = Path(__file__).parent
ENGINES = ("embedded", "cli")
PROJECT = "name: walk\nruntime: {name: python, options: {virtualenv: .venv}}\nbackend: {url: file://./.state}\n"
EMPTY = {"version": 3, "checkpoint": {"stack": "organization/walk/dev", "latest": None}}

Walk = dict[str, Any]
# The results of a step as JSON: `exit`, `calls`, `order`, `state`, `pending`, `said`.
Observation = dict[str, Any]


class WalkProvider(ProviderProcess):
    """The running process of the package `walk`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "walk", HERE / "provider.py")


def walked(walk: Walk, engines: Iterable[str], provider: WalkProvider, folder: Path) -> Iterator[Observation]:
    """Run the walk in a new project in the folder, each step with the next of the engines."""
    shutil.rmtree(folder, ignore_errors=True)
    place = _Place(folder, provider)
    provider.ask("reset", **walk.get("provider", {}))
    for step, engine in zip(walk["steps"], engines, strict=False):
        yield place.go(step, engine)


class _Place:
    """A project folder with an empty stack."""

    def __init__(self, folder: Path, provider: WalkProvider) -> None:
        self._folder = folder
        self._provider = provider
        self._state_file = folder / ".state/.pulumi/stacks/walk/dev.json"
        self._state_file.parent.mkdir(parents=True)
        self._state_file.write_text(json.dumps(EMPTY))
        (folder / ".state/.pulumi/meta.yaml").write_text("version: 1\n")
        (folder / "Pulumi.yaml").write_text(PROJECT)
        (folder / "Pulumi.dev.yaml").write_text(f"encryptionsalt: {SALT}\n")
        (folder / "__main__.py").write_text("import pulumi, walk\n\npulumi.run(walk.main)\n")
        (folder / "walk.py").write_text((HERE / "program.py").read_text())
        (folder / "quick/pip").mkdir(parents=True)
        # Without this file the installed pip would be found first.
        (folder / "quick/pip/__init__.py").touch()
        (folder / "quick/pip/__main__.py").write_text("print('[]')")
        (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)

    def go(self, step: dict[str, Any], engine: str) -> Observation:
        if "program" in step:
            (self._folder / "program.json").write_text(json.dumps(step["program"]))
        for name, text in step.get("files", {}).items():
            (self._folder / name).write_text(text)
        for change in step.get("changed", []):
            self._provider.ask("change", **change)
        for thing in step.get("exists", []):
            self._provider.ask("exists", **thing)
        if "state" in step:
            document = json.loads(self._state_file.read_text())
            self._state_file.write_text(json.dumps(_edited(document, step["state"])))
        self._provider.ask("fail", **step.get("failures", {}))
        self._provider.ask("take_calls")
        arguments = ["--non-interactive", "-C", str(self._folder), *step["command"].split()]
        run = {"embedded": self._run_embedded, "cli": self._run_cli}[engine]
        exit_code, stdout, stderr = run(arguments)
        calls = self._provider.ask("take_calls")["calls"]
        return {
            "exit": exit_code,
            "calls": _by_urn(calls),
            "order": _order(calls),
            **self._state(),
            **(self._plan() if "--save-plan" in step["command"] else {}),
            "said": _said(self._plain(stdout), self._plain(stderr)),
        }

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self._provider.folder}:{os.environ['PATH']}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PULUMI_HOME": str(self._folder / ".home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_STACK": "dev",
        }

    def _run_embedded(self, arguments: list[str]) -> tuple[int, str, str]:
        stdout, stderr = io.StringIO(), io.StringIO()
        before, argv, code = dict(os.environ), sys.argv, 0
        os.environ.update(self.environment())
        sys.argv = ["pulumi-embedded", *arguments]
        try:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                cli.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        finally:
            sys.argv = argv
            os.environ.clear()
            os.environ.update(before)
        return code, stdout.getvalue(), stderr.getvalue()

    def _run_cli(self, arguments: list[str]) -> tuple[int, str, str]:
        environment = {**os.environ, **self.environment()}
        if {"up", "preview"} & set(arguments):
            # There is nothing to install, and the CLI's search for it takes half of its time.
            arguments = [*arguments, "--skip-plugin-pre-install"]
        # The program's packages do not matter either. The CLI lists them with pip each time.
        environment["PYTHONPATH"] = str(self._folder / "quick")
        run = subprocess.run(["pulumi", *arguments], env=environment, capture_output=True, text=True, check=False)
        return run.returncode, run.stdout, run.stderr

    def _state(self) -> dict[str, Any]:
        latest = json.loads(self._state_file.read_text())["checkpoint"].get("latest") or {}
        crypter = Crypter.open(SALT, "")
        return {
            "state": opened(latest.get("resources") or [], crypter),
            "pending": opened(latest.get("pending_operations") or [], crypter),
        }

    def _plan(self) -> dict[str, Any]:
        """Return the saved plan without its author, its time and its random seeds."""
        path = self._folder / "plan.json"
        document = json.loads(path.read_text()) if path.exists() else {}
        plans = opened(document.get("resourcePlans", {}), Crypter.open(SALT, ""))
        for plan in plans.values():
            plan["seed"] = len(plan.get("seed", ""))
            for changes in (plan.get("goal", {}).get("inputDiff", {}), plan.get("goal", {}).get("outputDiff", {})):
                changes.get("deletes", []).sort()
        return {"plan": {urn: [UUID.sub(_scrubbed, _text(plan))] for urn, plan in plans.items()}}

    def _plain(self, text: str) -> str:
        text = text.replace(str(self._folder.resolve()), "<project>").replace(str(self._folder), "<project>")
        text = UUID.sub(_scrubbed, text)
        text = _NO_PLAN.sub(r"the plan '\1' cannot be read: No such file or directory", text)
        return text.replace("pulumi-embedded", "pulumi")


def _scrubbed(match: re.Match[str]) -> str:
    return match[0] if match[0] == UNKNOWN else "<uuid>"


def _edited(document: dict[str, Any], edit: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the state file with changed entries of some resources, by name."""
    for resource in (document["checkpoint"]["latest"] or {}).get("resources", []):
        resource.update(edit.get(resource["urn"].rpartition("::")[2], {}))
    return document


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _by_urn(calls: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return each resource's calls in their order.

    The order between resources that are refreshed or deleted is not fixed.
    """
    found: dict[str, list[str]] = {}
    for call in calls:
        rest = {key: value for key, value in call.items() if key not in ("name", "type", "urn")}
        found.setdefault(call["urn"].rpartition("::")[2], []).append(UUID.sub("<uuid>", _text(_whole(rest))))
    return dict(sorted(found.items()))


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {key: _whole(each) for key, each in value.items()} if isinstance(value, dict) else value


def _order(calls: list[dict[str, Any]]) -> list[str]:
    """Return the creates and changes in their order, and the deletes between them as a set."""
    found: list[str] = []
    deletes: list[str] = []
    for call in calls:
        name = call["urn"].rpartition("::")[2]
        if call["method"] == "Delete":
            deletes.append(f"{name} ({call['id']})")
        elif call["method"] in ("Check", "Create", "Update"):
            found += [f"Delete {', '.join(sorted(deletes))}"] if deletes else []
            deletes = []
            found.append(f"{call['method']} {name}")
    return [*found, *([f"Delete {', '.join(sorted(deletes))}"] if deletes else [])]


# The counts of a preview that finds no change, which the embedded engine does not print before an update.
_NOTHING_TO_DO = re.compile(r"^Resources:\n +\d+ unchanged\n(?=\n(?:Updating|Refreshing|Destroying) \()", re.MULTILINE)


def _said(stdout: str, stderr: str) -> list[str]:
    """Return what both engines must print: the parts of a JSON document or stream, or a text's messages and counts."""
    if stdout.startswith("{"):
        is_stream = stdout.startswith('{"sequence"') or "\n{" in stdout
        documents = [json.loads(line) for line in stdout.splitlines()] if is_stream else None
        if documents is None:
            with contextlib.suppress(ValueError):
                documents = json.loads(stdout)
        kept = _without_warnings(documents)
        nothing: Any = [] if isinstance(kept, list) else {}
        return sorted(each.partition(": ")[2] for each in json_differences(_json(kept), nothing))
    lines = [line.rstrip() for line in _with_shared_messages(_NOTHING_TO_DO.sub("", stdout) + stderr).splitlines()]
    found, within = [], False
    for line in lines:
        if line in ("Diagnostics:", "Resources:"):
            within = True
        elif not line.startswith(" ") and line:
            within = False
        if (within or line.startswith("error: ")) and line.strip() and PLUGIN_WARNING not in line:
            found.append(re.sub(r" +", " ", line))
    return plain_said(found)


# The CLI's message about a plan that was not saved.
_NO_PLAN = re.compile(r"open (plan\.json): no such file or directory")


# The messages of a resource. The embedded engine prints a message that three or more resources share only once.
_BLOCK = re.compile(r"^  \S+ \((.+)\)(?: and (\d+) more)?:\n((?: {4}.*\n|\n)+)", re.MULTILINE)
_MANY = 3


def _with_shared_messages(text: str) -> str:
    """Return the text with a number instead of names above a message that many resources share but for their URNs."""
    numbers: Counter[str] = Counter()

    def shared(block: re.Match[str]) -> str:
        return re.sub(rf"urn:\S+::{re.escape(block[1])}\b", "URN", block[3]).strip()

    def once(block: re.Match[str]) -> str:
        said = shared(block)
        if (number := numbers[said]) < _MANY:
            return block[0] if number else ""
        numbers[said] = 0
        return f"  {number} resources:\n    {said}\n"

    for block in _BLOCK.finditer(text):
        numbers[shared(block)] += 1 + int(block[2] or 0)
    return _BLOCK.sub(once, text)


# The CLI's second error of a program that failed. The embedded engine omits it after a `RunError`.
_EXIT_CODE = "program exited with non-zero exit code"
# The last output of a program that the CLI interrupted, or of Python's loop in it.
_INTERRUPTED = (
    "KeyboardInterrupt",
    "During handling of the above exception, another exception occurred:",
    _EXIT_CODE,
    "RuntimeWarning",
    "self._ready.clear()",
    "lost sys.stderr",
    "Exception ignored in: <coroutine object",
    "RuntimeError: no running event loop",
    " object address : ",
    " object refcount : ",
    " object type : ",
)
# The end of a traceback: the exception itself.
_EXCEPTION = re.compile(r" *[\w.]+(Error|Exception|Interrupt|Failed)\b")


def plain_said(lines: list[str]) -> list[str]:
    """Return the sorted lines without headings, frames of tracebacks, and the traceback of an interrupted program."""
    kept, within = [], False
    for line in lines:
        ends = within and _EXCEPTION.match(line)
        within = (within or "Traceback (most recent call last):" in line) and not ends
        if not within and line not in ("Diagnostics:", "Resources:", " pulumi:pulumi:Stack (walk-dev):"):
            kept.append(line)
    return sorted(each for each in kept if not any(part in each for part in _INTERRUPTED))


def _json(document: Any) -> str:
    return "\n".join(map(json.dumps, document)) if isinstance(document, list) else json.dumps(document)


def _without_warnings(document: Any) -> Any:
    """Remove the CLI's warnings about plugins on the PATH, and the output of interrupted programs."""
    if isinstance(document, list):
        for each in document:
            _shorten(each.get("diagnosticEvent", {}))
        told = [(each, each.get("diagnosticEvent", {})) for each in document]
        return [each for each, what in told if what.get("severity") != "info#err" and not _omitted(_text(what))]
    told = [each for each in document.get("diagnostics", []) if each["severity"] != "info#err"]
    kept = [each for each in told if not _omitted(each["message"])]
    for each in kept:
        _shorten(each)
    return {**{k: v for k, v in document.items() if k != "diagnostics"}, **({"diagnostics": kept} if kept else {})}


def _omitted(message: str) -> bool:
    return PLUGIN_WARNING in message or _EXIT_CODE in message


def _shorten(diagnostic: dict[str, Any]) -> None:
    """Remove the frames of a traceback, which differ between the engines."""
    if "Traceback" in diagnostic.get("message", ""):
        diagnostic["message"] = "\n".join(plain_said(diagnostic["message"].splitlines()))


def differences(mine: Observation, theirs: Observation) -> list[str]:
    """Return the differences of two observations of a step, as lines to read."""
    found = []
    for part in sorted({*mine, *theirs}):
        left, right = mine.get(part), theirs.get(part)
        if left == right:
            continue
        if isinstance(left, list) and isinstance(right, list):
            lefts, rights = [[_text(each) for each in side] for side in (left, right)]
            found += [f"{part} - {each}" for each in _minus(rights, lefts)]
            found += [f"{part} + {each}" for each in _minus(lefts, rights)]
            found += [f"{part}: another order: {lefts} instead of {rights}"] if sorted(lefts) == sorted(rights) else []
        elif isinstance(left, dict) and isinstance(right, dict):
            for key in sorted({*left, *right}):
                if left.get(key) != right.get(key):
                    found += [f"{part} {key} - {each}" for each in _minus(right.get(key, []), left.get(key, []))]
                    found += [f"{part} {key} + {each}" for each in _minus(left.get(key, []), right.get(key, []))]
        else:
            found.append(f"{part}: {left} instead of {right}")
    return found


def _minus(these: list[str], those: list[str]) -> list[str]:
    left = list(those)
    result = []
    for each in these:
        if each in left:
            left.remove(each)
        else:
            result.append(each)
    return result
