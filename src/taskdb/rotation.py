"""The rotation of the application's two logins: which one is exported, and which password an update replaces."""

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
    """The change of one login's password by an update. The password of the exported URL never changes.

    Attributes:
        login: The login, `a` or `b`.
        use: `exported` or `retired`. No one knows the password of a retired login.
        renew: Whether the login is exported from this update on, with a new password.
        keep: Whether its URL is exported now, so that its password must stay.

    """

    login: str
    use: str
    renew: bool
    keep: bool


def turn(login: str, chosen: str, exported: str | None) -> Turn:
    """Return the turn of a login.

    A login is retired by the first update that begins with the other login's URL exported. An update that failed
    half-way has exported nothing, so it retires nothing.

    Args:
        login: The login.
        chosen: The login that will be exported.
        exported: The login that the last complete update exported. None before the first one.

    """
    now = exported == login
    return Turn(
        login,
        use=EXPORTED if now or login == chosen else RETIRED,
        renew=login == chosen and exported not in (None, login),
        keep=now,
    )


def own_outputs() -> dict[str, Any]:
    """Return the stack's outputs after its last complete update. Empty if there was none.

    Pulumi 3.260 replaces outputs when an update is complete, and leaves them if it fails. A state file is incomplete
    while it is written ("failed to load checkpoint: EOF"). So the outputs are read after the stack itself was
    registered, when the state is written, and before any other resource is.
    """
    own = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    root = pulumi.runtime.get_root_resource()
    name = root.urn.apply(lambda _: own) if root else own
    stack_outputs: Any = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name}).value
    outputs = (stack_outputs or {}).get("outputs") or {}
    return dict(outputs) if "app_url" in outputs else {}


def exported_login(outputs: Mapping[str, Any]) -> str | None:
    """Return the login whose URL is in the stack's outputs. None before the first complete update."""
    # Programs without the key `taskdb:app_login` exported this login.
    return str(outputs.get("app_login", LOGINS[0])) if outputs else None
