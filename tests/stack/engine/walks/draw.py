"""Random walks: programs of 2 to 8 resources with every option, failing calls, changes from outside, every command."""

from __future__ import annotations

import copy
import random
from typing import Any

__all__ = ["draw"]

Entry = dict[str, Any]

NAMES = "abcdefghij"
TYPES = {"thing": "walk:index:Thing", "read": "walk:index:Thing", "group": "walk:index:Group"}
PATHS = ["value", "tags", "tags.x", "tags.y", "list", "list[0]", "list[1]", "list[*]", "token", "*", "of"]
METHODS = ["Check", "Diff", "Create", "half Create", "Update", "half Update", "Read", "half Read", "Delete"]
WAYS = ["keys", "keys", "keys", "detailed", "detailed", "unknown", "unknown and replaces"]
# The objects before the first step: one that a program reads, and one that it imports.
THERE = [{"id": "there-1", "inputs": {"value": 1}}, {"id": "wild-1", "inputs": {"value": 1, "auto": "auto-1"}}]
QUIET = "--yes --skip-preview --parallel 1"


def draw(seed: int) -> dict[str, Any]:
    """Return the walk of the seed."""
    return _Draw(random.Random(seed)).walk()


class _Draw:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._entries: list[Entry] = []
        # Names that the program once had, which the state can still have.
        self._had: set[str] = set()
        self._exports: dict[str, Any] = {}

    def _often(self, chance: float) -> bool:
        return self._rng.random() < chance

    def walk(self) -> dict[str, Any]:
        for _ in range(self._rng.randint(2, 6)):
            self._add()
        steps = [{**self._step(f"up {QUIET}", calm=True), "exists": THERE}]
        for _ in range(self._rng.randint(2, 5)):
            for _ in range(self._rng.randint(0, 3)):
                self._change()
            steps.append(self._step(self._command(), calm=self._often(0.6)))
        provider = {"secrets": self._often(0.8), "previews": self._often(0.8)}
        return {"steps": self._planned(steps), "provider": provider}

    def _planned(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the steps, one of them with a plan that a step before it saves.

        No failing step gets one, because after a failure the CLI reports for every remaining resource that its planned
        step did not happen.
        """
        calm = [number for number, step in enumerate(steps) if number and _calm_update(step)]
        if not calm or self._often(0.5):
            return steps
        number = self._rng.choice(calm)
        step = steps[number]
        flags = step["command"].removeprefix(f"up {QUIET}").replace(" --json", "")
        save = {**step, "command": f"preview --parallel 1 --save-plan plan.json{flags}"}
        keep = {"command": f"{step['command']} --plan plan.json"}
        return [*steps[:number], save, keep, *steps[number + 1 :]]

    def _step(self, command: str, *, calm: bool) -> dict[str, Any]:
        self._had |= {each["name"] for each in self._entries}
        program = {"resources": copy.deepcopy(self._entries), "exports": self._outputs(), "fails": self._often(0.03)}
        step: dict[str, Any] = {"program": program, "command": command}
        if not calm:
            names = sorted(self._had)
            methods = self._rng.sample(METHODS, self._rng.randint(1, 2))
            step["failures"] = {method: self._rng.sample(names, min(len(names), 2)) for method in methods}
        if self._often(0.2):
            gone = self._often(0.4)
            change = {"name": self._rng.choice(sorted(self._had)), **({} if gone else {"inputs": {"value": 9}})}
            step["changed"] = [change]
        return step

    def _outputs(self) -> dict[str, Any]:
        things = [each["name"] for each in self._entries if each["kind"] == "thing"]
        return {name: {"$ref": name, "of": self._rng.choice(["serial", "token"])} for name in things[:2]}

    # The program

    def _things(self, before: int) -> list[str]:
        return [each["name"] for each in self._entries[:before] if each["kind"] == "thing"]

    def _add(self) -> None:
        free = [name for name in NAMES if name not in {each["name"] for each in self._entries}]
        if len(self._entries) >= 8 or not free:
            return
        kind = self._rng.choices(["thing", "group", "provider", "read"], [78, 11, 6, 5])[0]
        entry: Entry = {"name": self._rng.choice(free), "kind": kind, "inputs": {}, "options": {}}
        self._entries.append(entry)
        place = len(self._entries) - 1
        if kind == "thing":
            entry["inputs"] = {"value": self._rng.randint(1, 3), "diff": self._rng.choice(WAYS)}
            for _ in range(self._rng.randint(0, 4)):
                self._change_input(entry, place)
        elif kind == "read":
            entry["id"] = "there-1"
        elif kind == "provider":
            entry["inputs"] = {"token": self._token()}
        for _ in range(self._rng.choice([0, 0, 1, 1, 2, 3])):
            self._change_option(entry, place)

    def _token(self) -> Any:
        token = self._rng.choice(["s1", "s2"])
        return {"$secret": token} if self._often(0.5) else token

    def _change(self) -> None:
        if not self._entries or self._often(0.15):
            self._add()
            return
        place = self._rng.randrange(len(self._entries))
        entry = self._entries[place]
        act = self._rng.choices(["input", "option", "remove", "rename", "unoption"], [45, 25, 12, 8, 10])[0]
        if act == "remove":
            self._remove(place)
        elif act == "rename":
            self._rename(entry)
        elif act == "unoption" and entry["options"]:
            del entry["options"][self._rng.choice(sorted(entry["options"]))]
        elif act == "input" and entry["kind"] == "thing":
            self._change_input(entry, place)
        elif act == "input" and entry["kind"] == "provider":
            entry["inputs"] = {"token": self._token(), **({"endpoint": "e"} if self._often(0.3) else {})}
        else:
            self._change_option(entry, place)

    def _change_input(self, entry: Entry, place: int) -> None:
        inputs, things = entry["inputs"], self._things(place)
        name = self._rng.choice(
            ["value", "value", "fixed", "tags", "list", "token", "of", "fixed_of", "exclusive", "plain"]
        )
        if name in ("of", "fixed_of"):
            if things:
                inputs[name] = {"$ref": self._rng.choice(things), "of": self._rng.choice(["serial", "id", "token"])}
            return
        if name in inputs and self._often(0.2) and name != "value":
            del inputs[name]
            return
        inputs[name] = {
            "value": lambda: self._rng.randint(1, 4),
            "fixed": lambda: self._rng.randint(1, 3),
            "tags": lambda: {key: self._rng.randint(1, 2) for key in self._rng.sample("xyz", self._rng.randint(0, 3))},
            "list": lambda: [self._rng.randint(1, 3) for _ in range(self._rng.randint(0, 3))],
            "token": self._token,
            "exclusive": lambda: True,
            "plain": lambda: True,
        }[name]()

    def _change_option(self, entry: Entry, place: int) -> None:
        rng, options = self._rng, entry["options"]
        things = self._things(place)
        groups = [each["name"] for each in self._entries[:place] if each["kind"] == "group"]
        providers = [each["name"] for each in self._entries[:place] if each["kind"] == "provider"]
        choices: dict[str, Any] = {
            "parent": [*things, *groups, *groups],
            "depends_on": [[each] for each in (*things, *groups)],
            "protect": [True, False] if self._often(0.4) else [],
            "retain_on_delete": [True, True, False],
            "deleted_with": things,
        }
        if entry["kind"] == "thing":
            choices |= {
                "delete_before_replace": [True, True, False],
                "ignore_changes": [rng.sample(PATHS, rng.randint(1, 2))],
                "replace_on_changes": [rng.sample(PATHS, rng.randint(1, 2))],
                "additional_secret_outputs": [rng.sample(["token", "serial", "echo", "id"], 1)],
                "replace_with": [[each] for each in things],
                "provider": providers,
                "custom_timeouts": [{"create": "90s"}, {"update": "2m", "read": "5s"}],
                "import_": ["wild-1"] if self._often(0.3) else [],
                "aliases": [[{"name": rng.choice(NAMES)}]],
            }
        if entry["kind"] in ("read", "provider"):
            choices = {"parent": choices["parent"], "depends_on": choices["depends_on"]}
        name = rng.choice(sorted(choices))
        if choices[name]:
            options[name] = rng.choice(choices[name])

    def _remove(self, place: int) -> None:
        gone = self._entries.pop(place)["name"]
        for each in self._entries[place:]:
            self._forget(each, gone)

    @staticmethod
    def _forget(entry: Entry, gone: str) -> None:
        inputs, options = entry["inputs"], entry["options"]
        for name in [name for name, value in inputs.items() if isinstance(value, dict) and value.get("$ref") == gone]:
            del inputs[name]
        for name in ("parent", "deleted_with", "provider"):
            if options.get(name) == gone:
                del options[name]
        for name in ("depends_on", "replace_with"):
            if gone in options.get(name, []):
                del options[name]

    def _rename(self, entry: Entry) -> None:
        free = [name for name in NAMES if name not in {each["name"] for each in self._entries}]
        old, new = entry["name"], self._rng.choice(free)
        text_of = copy.deepcopy(self._entries)
        entry["name"] = new
        if self._often(0.8):
            entry["options"]["aliases"] = [{"name": old}]
        for each, before in zip(self._entries, text_of, strict=True):
            for name, value in before["inputs"].items():
                if isinstance(value, dict) and value.get("$ref") == old:
                    each["inputs"][name] = {**value, "$ref": new}
            for name in ("parent", "deleted_with", "provider"):
                if before["options"].get(name) == old:
                    each["options"][name] = new
            for name in ("depends_on", "replace_with"):
                if old in before["options"].get(name, []):
                    each["options"][name] = [new]

    # Commands

    def _urn(self) -> str:
        entries = {each["name"]: each for each in self._entries if each["kind"] != "provider"}
        if not entries or self._often(0.03):
            return "urn:pulumi:dev::walk::walk:index:Thing::nobody"
        name = self._rng.choice(sorted(entries))

        def qualified(entry: Entry) -> str:
            parent = entries.get(entry["options"].get("parent", ""))
            return f"{qualified(parent)}${TYPES[entry['kind']]}" if parent else TYPES[entry["kind"]]

        return f"urn:pulumi:dev::walk::{qualified(entries[name])}::{name}"

    def _command(self) -> str:
        rng = self._rng
        verb = rng.choices(
            [f"up {QUIET}", "up --yes --parallel 1", f"up {QUIET} --json", "preview --json --parallel 1",
             "preview --parallel 1", f"refresh {QUIET}", f"destroy {QUIET}", f"up {QUIET} --refresh",
             "preview --refresh --json --parallel 1", "refresh --preview-only --parallel 1",
             "stack output --json --show-secrets", f"config set --secret walk:token {rng.choice(['s1', 's2'])}",
             "config set walk:token s1", f"destroy {QUIET} --json", f"refresh {QUIET} --json"],
            [30, 6, 10, 8, 5, 9, 5, 6, 3, 2, 2, 3, 2, 3, 4],
        )[0]  # fmt: skip
        if verb.startswith(("stack", "config")):
            return verb
        flags = []
        if self._often(0.22):
            flags.append(f"--target {self._urn()}")
            if self._often(0.4):
                flags.append("--target-dependents")
        elif verb.startswith(("up", "preview", "refresh", "destroy")) and self._often(0.1):
            flags.append(f"--exclude {self._urn()}")
            # The CLI has no such flag for destroy.
            if self._often(0.3) and not verb.startswith("destroy"):
                flags.append("--exclude-dependents")
        # `--continue-on-error` is missing, because the CLI (3.260) waits for ever after some failures with it.
        if verb.startswith(("up", "preview")) and self._often(0.1):
            flags.append(f"--{rng.choice(['replace', 'replace', 'target-replace'])} {self._urn()}")
        # The CLI has no such flag for destroy.
        if self._often(0.06) and not verb.startswith("destroy"):
            flags.append("--expect-no-changes")
        return " ".join([verb, *flags])


def _calm_update(step: dict[str, Any]) -> bool:
    if " --exclude" in step["command"]:
        # The CLI previews an update that it then refuses, if a new resource needs an excluded one.
        return False
    return step["command"].startswith(f"up {QUIET}") and not ("failures" in step or step["program"]["fails"])
