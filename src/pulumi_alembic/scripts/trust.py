"""What a stack knows, apart from the database, of the scripts that it applied. Pure: values and text."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pulumi_alembic.errors import StoredScriptError
from pulumi_alembic.scripts.revision import Revision

__all__ = ["REFUSE", "ROLLBACK", "VARIABLE", "Trust", "digest", "joined", "read", "refuse", "write"]

VARIABLE = "PULUMI_ALEMBIC_ACCEPT"
"""The environment variable in which somebody vouches for a stored script: `ID=DIGEST`, several with spaces between."""

ROLLBACK, REFUSE = "rollback", "refuse"
"""What a checkout does with a database at a revision that its scripts lack."""

_FORMULA = "v1:"
_PAIR = re.compile(r"([^\s=]+)=([A-Za-z0-9_-]{22})")


@dataclass(frozen=True)
class Trust:
    """Code that the ledger keeps runs where `rolls_back`, and its digest is `accepted`, or else the `applied` one.

    `up` and `allow` are the commands that a person types: for an update, and to let this stack roll back.
    """

    applied: Mapping[str, str] = field(default_factory=dict)
    accepted: Mapping[str, str] = field(default_factory=dict)
    rolls_back: bool = False
    up: str = ""
    allow: str = ""


def digest(checksum: str) -> str:
    """A script's checksum, short enough for a state that holds a thousand: 128 of its bits, in 22 characters."""
    if not checksum.startswith(_FORMULA):
        raise StoredScriptError(
            f"a newer version of pulumi-alembic wrote the checksum {checksum[:12]!r}: install that one"
        )
    half = bytes.fromhex(checksum.removeprefix(_FORMULA))[:16]
    return base64.urlsafe_b64encode(half).decode().rstrip("=")


def write(revisions: Iterable[Revision]) -> str:
    """The digests of these scripts as `read` reads them, in 36 bytes for each."""
    return joined({revision.id: digest(revision.checksum) for revision in revisions})


def joined(digests: Mapping[str, str]) -> str:
    """From each revision to its digest, as `read` reads it."""
    return " ".join(f"{id}={digests[id]}" for id in sorted(digests))


def read(text: str, where: str) -> dict[str, str]:
    """From each revision to its digest. Raises StoredScriptError, naming `where` it stands, for anything else."""
    digests = {}
    for word in text.split():
        if not (pair := _PAIR.fullmatch(word)):
            raise StoredScriptError(f"{where}: {word[:80]!r} is not REVISION=DIGEST")
        digests[pair[1]] = pair[2]
    return digests


def refuse(setting: str) -> bool:
    """Whether `on_unknown_revision` is `refuse`. Raises StoredScriptError where it is neither that nor `rollback`."""
    if setting not in (ROLLBACK, REFUSE):
        raise StoredScriptError(f"on_unknown_revision must be {ROLLBACK} or {REFUSE}, not {setting!r}")
    return setting == REFUSE
