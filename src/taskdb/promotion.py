"""The upstream stack, which proves the revisions of this one: `taskdb:promote_from`."""

from __future__ import annotations

import pulumi

from pulumi_alembic import PromoteFrom, proof_of
from taskdb.commands import command, engine
from taskdb.errors import TaskdbError
from taskdb.settings.readers import PROMOTE_FROM

__all__ = ["promoted_from"]


def promoted_from(lower: str) -> PromoteFrom:
    """Return the upstream stack and its promotion record.

    The stack is read here first, because a stack reference that cannot be read would end the program without our
    message.

    Raises:
        TaskdbError: The stack cannot be read. The text contains the engine's reason.

    """
    name = f"organization/{pulumi.get_project()}/{lower}"
    try:
        pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name})
    except Exception as error:
        # The SDK raises no class of its own here.
        reason = str(error).rpartition("returned an error: ")[2]
        raise TaskdbError(
            f"{PROMOTE_FROM} is {lower!r}, and that stack cannot be read: {reason}. Bring it up first: {engine()} up "
            f"--stack {lower}; or name another one: {command('config set', f'{PROMOTE_FROM} STACK')}"
        ) from None
    return PromoteFrom(lower, proof_of(pulumi.StackReference(name)))
