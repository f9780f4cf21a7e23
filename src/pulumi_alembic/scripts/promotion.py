"""Promotion records: what a stack reports about its applied revisions to the next stack, which requires them. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.scripts.revision import Revision
from pulumi_alembic.scripts.trust import digest

__all__ = ["UNPROVEN", "UNREADABLE", "UNSEALED", "VARIABLE", "Lower", "Proof", "reason_of"]

UNPROVEN = "unproven-revision"
"""The lint rule that no comment in a script can allow.

The upstream stack proves a revision, or the person gives a reason.
"""

VARIABLE = "PULUMI_ALEMBIC_UNPROVEN"
"""The environment variable with the reason why one update runs revisions that no upstream stack has proven."""

UNSEALED = "unsealed"
"""Replaces a promotion record that is not encrypted: anyone who can write the stack's state could have written it."""

UNREADABLE = "unreadable"
"""Replaces a promotion record that is encrypted with an unavailable key or is not a text."""

_OTHER_KEY = "this stack's passphrase does not open its output `proof`: one passphrase must open both stacks"

_HEAD = re.compile(r"v1 postgresql=(\d+)")
_WORD = re.compile(r"([^\s=]+)=([A-Za-z0-9_-]{22})(\+?)")
_WINDOW = re.compile(r"window@(.+)")
"""How long a contract waited, in seconds with leading zeros. Versions that do not know it take it for a revision's
digest, and no id has an `@`."""


@dataclass(frozen=True)
class Proof:
    """A promotion record: a stack has applied these scripts on this major version of PostgreSQL.

    Attributes:
        server: the major version.
        digests: by revision id, as `trust.digest` returns them.
        back: revisions whose downgrade was rehearsed there before they ran.
        windows: by contract, the seconds between the newest expand before it and the contract, if both ran there.

    """

    server: int
    digests: Mapping[str, str] = field(default_factory=dict)
    back: frozenset[str] = frozenset()
    windows: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, server: int, applied: Iterable[Revision], back: Mapping[str, str]) -> Self:
        """Return the record of these applied revisions.

        `back` has the digests of scripts whose downgrade was rehearsed.
        """
        digests = {revision.id: digest(revision.identity) for revision in applied}
        return cls(server, digests, frozenset(id for id, checksum in digests.items() if back.get(id) == checksum))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the record that `str` wrote. Raises PolicyError for any other text."""
        head, *words = re.split(r" (?!postgresql=)", text)
        server, pairs = _HEAD.fullmatch(head), [_WORD.fullmatch(word) for word in words]
        if server is None or not all(pairs):
            raise PolicyError("its output `proof` is not one that an update of it wrote")
        entries, windows = dict[str, str](), dict[str, int]()
        for pair in filter(None, pairs):
            window = _WINDOW.fullmatch(pair[1])
            if window is None:
                entries[pair[1]] = pair[2]
            elif pair[2].isdecimal():
                windows[window[1]] = int(pair[2])
        back = frozenset(pair[1] for pair in pairs if pair and pair[3])
        return cls(int(server[1]), entries, back, windows)

    def __str__(self) -> str:
        words = (f"{id}={self.digests[id]}{'+' * (id in self.back)}" for id in sorted(self.digests))
        windows = (f"window@{id}={self.windows[id]:022}" for id in sorted(self.windows))
        return " ".join([f"v1 postgresql={self.server}", *words, *windows])

    def only(self, ids: Collection[str]) -> Proof:
        """Return the record of only these revisions."""
        digests = {id: value for id, value in self.digests.items() if id in ids}
        return replace(self, digests=digests, windows={id: self.windows[id] for id in self.windows if id in ids})

    def without(self, ids: Collection[str]) -> Proof:
        """Return the record of all but these revisions."""
        return self.only(self.digests.keys() - set(ids))


@dataclass(frozen=True)
class Lower:
    """The upstream stack, and what it proves.

    Attributes:
        proof: its promotion record. None if it proves nothing.
        problem: why it proves nothing.
        reason: why an update runs unproven revisions. Empty if it does not.
        up: the command that updates the upstream stack.

    """

    stack: str
    proof: Proof | None = None
    problem: str = ""
    reason: str = ""
    up: str = ""

    @classmethod
    def of(cls, value: object) -> Self | None:
        """Return the upstream stack from `{"stack": …, "proof": …}`.

        None without one, or if its record is not known yet.

        Raises:
            PolicyError: VARIABLE is not a reason of at least two words.

        """
        if not isinstance(value, Mapping) or not isinstance(value.get("stack"), str):
            return None
        proof, stack = value.get("proof"), value["stack"]
        # A value that a preview does not know yet is not a JSON value.
        if proof is not None and not isinstance(proof, str | int | float | list | dict):
            return None
        # With Pulumi CLI 3.260 a stack reference returns an empty object for a value that it cannot decrypt.
        if not isinstance(proof, str | None):
            proof = UNREADABLE
        up = f"{os.environ.get('PULUMI_COMMAND', 'pulumi')} up --stack {stack}"
        return cls.parse(stack, proof or "", reason=reason_of(os.environ.get(VARIABLE, "")), up=up)

    @classmethod
    def parse(cls, stack: str, text: str, *, reason: str = "", up: str = "") -> Self:
        """Return the upstream stack. An invalid promotion record raises nothing, and sets `problem`.

        Args:
            stack: its name.
            text: its output `proof`. Empty if it has none.
            reason: as in `Lower`.
            up: as in `Lower`.

        """
        if text == UNSEALED:
            return cls(stack, None, "its output `proof` is not encrypted, so no update of it wrote it", reason, up)
        if text == UNREADABLE:
            return cls(stack, None, _OTHER_KEY, reason, up)
        if not text:
            return cls(stack, None, "it has no output `proof`, as one has after an update or a refresh", reason, up)
        try:
            return cls(stack, Proof.parse(text), "", reason, up)
        except PolicyError as error:
            return cls(stack, None, str(error), reason, up)

    def lacks(self, revision: Revision, server: int) -> str:
        """Return why the revision is not proven. Empty if it is. `server` is the major version, 0 if unknown."""
        return self.judge(revision, server)[0]

    def judge(self, revision: Revision, server: int) -> tuple[str, str]:
        """Return the same as `lacks`, and what to do about it."""
        if self.proof is None:
            fix = "" if self.problem == _OTHER_KEY else f"{self.up} --refresh"
            return f"the stack {self.stack} proves nothing: {self.problem}", fix
        digest_there = self.proof.digests.get(revision.id)
        if digest_there is None:
            return f"the stack {self.stack} has not run it", self.up
        if digest_there != digest(revision.identity):
            return f"the stack {self.stack} ran another script of this id", f"git log -p -- '*/{revision.file}'"
        if server and server != self.proof.server:
            return f"the stack {self.stack} ran it on PostgreSQL {self.proof.server}, and this is {server}", ""
        if revision.id in self.proof.back or revision.replaces:
            return "", ""
        advice = f"# on {self.stack}: enable rehearsals, downgrade it, then upgrade again"
        return f"its downgrade was not rehearsed on the stack {self.stack}", f"{advice}\n{self.up}"


def reason_of(value: str) -> str:
    """Return the reason in VARIABLE. Raises PolicyError if it is not at least two words."""
    reason = " ".join(value.split())
    if reason and " " not in reason:
        raise PolicyError(
            f"{VARIABLE} must be a reason in words, which is recorded, not {reason[:80]!r}. For example:\n"
            f"  {VARIABLE}='checkout is down, incident 4711'"
        )
    return reason
