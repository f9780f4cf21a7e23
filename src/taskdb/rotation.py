"""The rotation of the application's two logins: which one is exported, and whose password an update replaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

__all__ = ["LOGINS", "Turn", "exported_login", "own_outputs", "turn"]

LOGINS = ("a", "b")

EXPORTED, RETIRED = "exported", "retired"


@dataclass(frozen=True)
class Turn:
    """The change of one login's password by an update; the password of the exported URL never changes.

    `use` is `exported` or `retired`; nobody knows a retired password. `renew`: it is exported from this update on,
    with a new password. `keep`: its URL is exported now, so the password stays in any case.
    """

    login: str
    use: str
    renew: bool
    keep: bool


def turn(login: str, chosen: str, exported: str | None) -> Turn:
    """The turn of `login`: `chosen` will be exported, and the last complete update exported `exported`.

    So the first update that begins with the other login's URL exported retires a login, and none before: an update
    that failed half-way has exported nothing.
    """
    now = exported == login
    return Turn(
        login,
        use=EXPORTED if now or login == chosen else RETIRED,
        renew=login == chosen and exported not in (None, login),
        keep=now,
    )


def own_outputs() -> dict[str, Any]:
    """The stack's outputs as its last complete update left them; empty if no update was complete yet.

    Pulumi 3.260: outputs are replaced when an update is complete, and stay as they were through one that fails. A state
    in a file is cut off while it is written ("failed to load checkpoint: EOF"): so this is asked once the stack itself
    is registered, which a resource is when its state was written, and before any other is.
    """
    own = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    root = pulumi.runtime.get_root_resource()
    name = root.urn.apply(lambda _: own) if root else own
    stack_outputs: Any = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name}).value
    outputs = (stack_outputs or {}).get("outputs") or {}
    return dict(outputs) if "app_url" in outputs else {}


def exported_login(outputs: Mapping[str, Any]) -> str | None:
    """The login whose URL is in the stack's outputs; None if no update of the stack was complete yet."""
    # Programs before `taskdb:app_login` exported this one's.
    return str(outputs.get("app_login", LOGINS[0])) if outputs else None
