"""Trust in stored scripts: what a stack knows about its applied scripts independently of the database.

Pure functions.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pulumi_alembic.errors import StoredScriptError
from pulumi_alembic.scripts.revision import Revision

__all__ = ["REFUSE", "ROLLBACK", "VARIABLE", "Trust", "digest", "joined", "read", "refuse", "write"]

VARIABLE = "PULUMI_ALEMBIC_ACCEPT"
"""The environment variable that accepts stored scripts: `ID=DIGEST`, several separated by spaces."""

ROLLBACK, REFUSE = "rollback", "refuse"
"""What a checkout does with a database at a revision that its scripts lack."""

_FORMULA = "v1:"
_PAIR = re.compile(r"([^\s=]+)=([A-Za-z0-9_-]{22})")


@dataclass(frozen=True)
class Trust:
    """Which stored scripts of the ledger are allowed to run.

    A stored script runs if its digest is accepted, or is the one that the stack applied. If the stack has no digest of
    it, a commit with the same text is enough.

    Attributes:
        applied: digests of the scripts that the stack applied, by revision id.
        accepted: digests that a person accepted, by revision id.
        rolls_back: whether stored scripts are used at all.
        up: the command for an update.
        allow: the command that allows this stack to roll back.

    """

    applied: Mapping[str, str] = field(default_factory=dict)
    accepted: Mapping[str, str] = field(default_factory=dict)
    rolls_back: bool = False
    up: str = ""
    allow: str = ""


def digest(checksum: str) -> str:
    """Shorten a script's checksum to 128 bits in 22 characters, because a state can contain a thousand."""
    if not checksum.startswith(_FORMULA):
        raise StoredScriptError(
            f"a newer version of pulumi-alembic wrote the checksum {checksum[:12]!r}: install that one"
        )
    half = bytes.fromhex(checksum.removeprefix(_FORMULA))[:16]
    return base64.urlsafe_b64encode(half).decode().rstrip("=")


def write(revisions: Iterable[Revision]) -> str:
    """Return the digests of these scripts as `read` reads them, in 36 bytes each."""
    return joined({revision.id: digest(revision.identity) for revision in revisions})


def joined(digests: Mapping[str, str]) -> str:
    """Return digests by revision id as `read` reads them."""
    return " ".join(f"{id}={digests[id]}" for id in sorted(digests))


def read(text: str, where: str) -> dict[str, str]:
    """Return digests by revision id. Raises StoredScriptError, naming `where` the text is from, if it is invalid."""
    digests = {}
    for word in text.split():
        if not (pair := _PAIR.fullmatch(word)):
            raise StoredScriptError(f"{where}: {word[:80]!r} is not REVISION=DIGEST")
        digests[pair[1]] = pair[2]
    return digests


def refuse(setting: str) -> bool:
    """Return whether `on_unknown_revision` is `refuse`. Raises StoredScriptError unless it is that or `rollback`."""
    if setting not in (ROLLBACK, REFUSE):
        raise StoredScriptError(f"on_unknown_revision must be {ROLLBACK} or {REFUSE}, not {setting!r}")
    return setting == REFUSE
