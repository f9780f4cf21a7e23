"""What a stack proves of its revisions to the stack above it, and what that one asks for. Pure: values and text."""

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
"""The rule of lint that no script can allow: the stack below proves a revision, or whoever updates says why it runs."""

VARIABLE = "PULUMI_ALEMBIC_UNPROVEN"
"""The environment variable that says why one update runs what no upstream stack has proven."""

UNSEALED = "unsealed"
"""Stands for a proof that is not encrypted: whoever can write a stack's state can write such a one."""

UNREADABLE = "unreadable"
"""Stands for a proof that is encrypted by a key which is not at hand, or for what is no text."""

_OTHER_KEY = (
    "its output `proof` is encrypted by another passphrase than this stack's, where one has to open both, or is none"
)

_HEAD = re.compile(r"v1 postgresql=(\d+)")
_WORD = re.compile(r"([^\s=]+)=([A-Za-z0-9_-]{22})(\+?)")


@dataclass(frozen=True)
class Proof:
    """A stack has applied the scripts with these `digests`, by revision, on this major version of PostgreSQL.

    The downgrade of those in `back` was rehearsed there before they ran.
    """

    server: int
    digests: Mapping[str, str] = field(default_factory=dict)
    back: frozenset[str] = frozenset()

    @classmethod
    def of(cls, server: int, applied: Iterable[Revision], back: Mapping[str, str]) -> Self:
        """That these are applied; `back` has the digests of the scripts whose downgrade was rehearsed."""
        digests = {revision.id: digest(revision.checksum) for revision in applied}
        return cls(server, digests, frozenset(id for id, checksum in digests.items() if back.get(id) == checksum))

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` wrote. Raises PolicyError for anything else."""
        head, *words = re.split(r" (?!postgresql=)", text)
        server, pairs = _HEAD.fullmatch(head), [_WORD.fullmatch(word) for word in words]
        if server is None or not all(pairs):
            raise PolicyError("its output `proof` is not one that an update of it wrote")
        entries = [pair for pair in pairs if pair]
        back = frozenset(pair[1] for pair in entries if pair[3])
        return cls(int(server[1]), {pair[1]: pair[2] for pair in entries}, back)

    def __str__(self) -> str:
        words = (f"{id}={self.digests[id]}{'+' * (id in self.back)}" for id in sorted(self.digests))
        return " ".join([f"v1 postgresql={self.server}", *words])

    def only(self, ids: Collection[str]) -> Proof:
        """What it says of these revisions."""
        return replace(self, digests={id: value for id, value in self.digests.items() if id in ids})

    def without(self, ids: Collection[str]) -> Proof:
        """What it says of all but these revisions."""
        return self.only(self.digests.keys() - set(ids))


@dataclass(frozen=True)
class Lower:
    """The stack that proves the revisions of this one; where it proves none, `problem` says why.

    `reason` is why an update runs all the same, empty where it does not; `up` is what is typed to update that stack.
    """

    stack: str
    proof: Proof | None = None
    problem: str = ""
    reason: str = ""
    up: str = ""

    @classmethod
    def of(cls, value: object) -> Self | None:
        """From `{"stack": …, "proof": …}`; None if it is none, or it is not known yet what the stack proves.

        Raises PolicyError for a reason in VARIABLE that nobody could understand later.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("stack"), str):
            return None
        proof, stack = value.get("proof"), value["stack"]
        # What a preview cannot know yet is no value of JSON.
        if proof is not None and not isinstance(proof, str | int | float | list | dict):
            return None
        # As an empty object a reference gives what it cannot decrypt, Pulumi CLI 3.260.
        if not isinstance(proof, str | None):
            proof = UNREADABLE
        up = f"{os.environ.get('PULUMI_COMMAND', 'pulumi')} up --stack {stack}"
        return cls.parse(stack, proof or "", reason=reason_of(os.environ.get(VARIABLE, "")), up=up)

    @classmethod
    def parse(cls, stack: str, text: str, *, reason: str = "", up: str = "") -> Self:
        """From the stack's output `proof`, empty where it has none. Raises nothing: what is no proof is a problem."""
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
        """Why the revision is not proven for a server of this major version, 0 where it is not known; else nothing."""
        return self.judge(revision, server)[0]

    def judge(self, revision: Revision, server: int) -> tuple[str, str]:
        """As `lacks`, and what to do about it."""
        if self.proof is None:
            fix = "" if self.problem == _OTHER_KEY else f"{self.up} --refresh"
            return f"the stack {self.stack} proves nothing: {self.problem}", fix
        digest_there = self.proof.digests.get(revision.id)
        if digest_there is None:
            return f"the stack {self.stack} has not run it", self.up
        if digest_there != digest(revision.checksum):
            return f"the stack {self.stack} ran another script of this id", f"git log -p -- '*/{revision.file}'"
        if server and server != self.proof.server:
            return f"the stack {self.stack} ran it on PostgreSQL {self.proof.server}, and this is {server}", ""
        if revision.id in self.proof.back:
            return "", ""
        advice = f"# on {self.stack}: enable rehearsals, downgrade it, then upgrade again"
        return f"its downgrade was not rehearsed on the stack {self.stack}", f"{advice}\n{self.up}"


def reason_of(value: str) -> str:
    """The reason in VARIABLE. Raises PolicyError where it is none that anybody could understand later."""
    reason = " ".join(value.split())
    if reason and " " not in reason:
        raise PolicyError(
            f"{VARIABLE} must be a reason in words, which is recorded, not {reason[:80]!r}. For example:\n"
            f"  {VARIABLE}='checkout is down, incident 4711'"
        )
    return reason
