"""A listener and a gate that call functions, for runs without Pulumi."""

from collections.abc import Callable, Mapping
from typing import Any

from pulumi_alembic.migrate.job import Gate, Listener
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.plan import Plan

Say = Callable[[str], object]


class Hears(Listener):
    """Passes each text to the function with its name, and drops it if there is no such function."""

    def __init__(self, **functions: Say) -> None:
        self._functions = functions

    def _say(self, name: str, text: str) -> None:
        if name in self._functions:
            self._functions[name](text)

    def applied(self, revision: str) -> None:
        self._say("on_applied", revision)

    def status(self, text: str) -> None:
        self._say("on_status", text)

    def waits(self, text: str) -> None:
        self._say("on_wait", text)

    def kept(self, text: str) -> None:
        self._say("on_kept", text)

    def backfill(self, text: str) -> None:
        self._say("on_backfill", text)

    def info(self, text: str) -> None:
        self._say("on_info", text)

    def warning(self, text: str) -> None:
        self._say("on_warning", text)


class Gates(Gate):
    """A gate that consists of the given functions."""

    def __init__(
        self,
        approve: Callable[[Plan], object] | None = None,
        back_up: Callable[[Plan, Origin], str] | None = None,
    ) -> None:
        self._approve, self._back_up = approve, back_up

    def approve(self, plan: Plan) -> Mapping[str, Any]:
        if self._approve:
            self._approve(plan)
        return {}

    def back_up(self, plan: Plan, origin: Origin) -> str:
        return self._back_up(plan, origin) if self._back_up else ""
