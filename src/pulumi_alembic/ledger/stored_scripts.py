"""The scripts of applied revisions that a checkout lacks, from the ledger: none that only the ledger vouches for."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from pulumi_alembic.database.connection import Connection
from pulumi_alembic.errors import StoredScriptError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.origin import git
from pulumi_alembic.scripts.plan import revision_text
from pulumi_alembic.scripts.revision import Revision, checksum
from pulumi_alembic.scripts.trust import VARIABLE, Trust, digest

__all__ = ["FOLDER", "StoredScript", "complete", "has_script", "read"]

_GIT_SECONDS = 30


def has_script(directory: Path, id: str, sum: str) -> bool:
    """Whether a commit that a branch or a tag of this repository reaches has a script of `id` with this checksum.

    False too if there is no repository, or no git.
    """
    return any(checksum(text) == sum for text in _texts(directory, id))


def _texts(directory: Path, id: str) -> Iterator[str]:
    """Each text that the script ever had, the newest first."""
    arguments = ["log", "--all", "--no-renames", "--diff-filter=AM", "--raw", "--no-abbrev", "--format="]
    listed = git(directory, *arguments, "--", f"versions/{id}_*.py", seconds=_GIT_SECONDS) or b""
    for line in listed.splitlines():
        # `:100644 100644 BLOB-BEFORE BLOB-AFTER M<tab>PATH`
        blob = line.split(b" ")[3].decode()
        yield (git(directory, "cat-file", "blob", blob, seconds=_GIT_SECONDS) or b"").decode(errors="replace")


FOLDER = "ledger"
"""Where a stored script seems to be, beside the scripts' own folder: there is no such folder."""

LARGEST = 4_000_000
"""Bytes of a script. What the ledger holds unpacks to more only if somebody put it there to fill the memory."""


# Of a revision that was stamped after its last downgrade, this is how it was applied before.
_LAST = """
SELECT DISTINCT ON (revision) revision, source, tools, {commit}, applied_by::text,
    to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
FROM {rows}
WHERE direction = 'upgrade' AND {event} IN ('applied', 'accepted', 'adopted') AND {wanted}
ORDER BY revision, id DESC
"""


@dataclass(frozen=True)
class StoredScript:
    """What the ledger says of a revision as it was applied last: nothing of it is to be believed for that.

    `source` is empty where it cannot be unpacked.
    """

    id: str
    source: str
    tools: tuple[tuple[str, str], ...]
    commit: str
    applied_by: str
    applied_at: str

    @property
    def digest(self) -> str:
        """Of the text itself, whatever the ledger says of it."""
        return digest(checksum(self.source))

    @property
    def printable(self) -> str:
        """The text without what a terminal would obey. Nothing else is hidden: somebody is to judge what it runs."""
        return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in self.source)

    def __str__(self) -> str:
        """The id, and who applied it, when and with what."""
        tools = "".join(f", {name} {version}" for name, version in self.tools)
        commit = f", commit {self.commit}" if self.commit else ""
        return f"{self.id} (applied {self.applied_at} by {self.applied_by}{commit}{tools})"


def complete(connection: Connection, history: History, heads: Sequence[str], trust: Trust) -> History:
    """The history, and what of the database's heads and of all that they build on is in the ledger alone.

    Reads the ledger only if the scripts lack a head. Raises StoredScriptError if the stack does not roll such a head
    back, and for each stored script that is missing or that nothing outside of the database confirms. No code of it has
    run then.
    """
    unknown = [head for head in heads if head not in history.revisions]
    if not unknown:
        return history
    stored = _read(connection, sql.SQL("revision <> ALL({})").format(sql.Literal(list(history.revisions))))
    if not trust.rolls_back:
        raise StoredScriptError(_not_allowed(heads, unknown, stored, trust))
    revisions = [*history.revisions.values(), *_vouched(history, unknown, stored, trust)]
    return History.of(revisions, history.manifest, history.baselines)


def read(connection: Connection, id: str) -> StoredScript:
    """The stored script of one revision. Raises StoredScriptError if there is none."""
    stored = _read(connection, sql.SQL("revision = {}").format(sql.Literal(id)))
    if id not in stored:
        raise StoredScriptError(f"the ledger has no script of {id}: it was stamped, or never applied here")
    return stored[id]


def _vouched(
    history: History, heads: Iterable[str], stored: Mapping[str, StoredScript], trust: Trust
) -> list[Revision]:
    """The stored scripts of these heads and of all that they build on, each of them checked before it is parsed."""
    vouched: dict[str, Revision] = {}
    refused: list[tuple[str, str]] = []
    pending = list(heads)
    while pending:
        id = pending.pop()
        if id in history.revisions or id in vouched or any(id == other for other, _ in refused):
            continue
        if problem := _problem(history, id, stored.get(id), trust):
            refused.append((id, problem))
            continue
        folder = history.manifest.path.parent.resolve() / FOLDER
        vouched[id] = Revision.stored(id, folder, stored[id].source, stored[id].tools)
        pending += vouched[id].down_revisions
    if refused:
        raise StoredScriptError("\n".join(_refusal(refused, stored, trust)))
    return list(vouched.values())


def _problem(history: History, id: str, stored_script: StoredScript | None, trust: Trust) -> str:
    """Why this stored script is not to run; empty where it is the script that the stack, git or a person knows."""
    if stored_script is None:
        return f"{id}: the ledger has no script of it: it was stamped, or its row was deleted"
    if trust.accepted.get(id) == stored_script.digest:
        return ""
    if applied := trust.applied.get(id):
        if applied == stored_script.digest:
            return ""
        return (
            f"{stored_script}: this is not the script that the stack applied: its state has the digest {applied}, and "
            f"what the ledger contains has {stored_script.digest}. It was changed there, or applied again outside the "
            "stack"
        )
    if has_script(history.manifest.path.parent, id, checksum(stored_script.source)):
        return ""
    return (
        f"{stored_script}: nothing outside the database confirms the stored script: the stack's state has no digest "
        "of it, and no commit here has that text"
    )


def _refusal(refused: list[tuple[str, str]], stored: Mapping[str, StoredScript], trust: Trust) -> Iterator[str]:
    yield "the scripts here lack applied revisions, and the ledger's stored scripts are not trusted. Nothing was run:"
    yield from (f"  {problem}" for _, problem in refused)
    yield _checkout(id for id, _ in refused)
    if stored_ids := [id for id, _ in refused if id in stored]:
        pairs = " ".join(f"{id}={stored[id].digest}" for id in stored_ids)
        read = "; ".join(f"pulumi-alembic capsule {id}" for id in stored_ids)
        yield f"Or read the stored scripts: {read}; and if they are right: {VARIABLE}='{pairs}' {trust.up}"


def _not_allowed(heads: Sequence[str], unknown: list[str], stored: Mapping[str, StoredScript], trust: Trust) -> str:
    return "\n".join(
        [
            f"the database is at {revision_text(heads)}, and the scripts here lack revisions of it. This stack does "
            "not roll them back (on_unknown_revision is refuse):",
            *(f"  {stored.get(head, head)}" for head in unknown),
            _checkout(unknown),
            f"Or allow the rollback in this stack: {trust.allow}; then: {trust.up}",
        ]
    )


def _checkout(ids: Iterable[str]) -> str:
    return "Check out the commit that has them: git log --all --oneline -- " + " ".join(f"'*{id}*'" for id in ids)


def _read(connection: Connection, wanted: sql.Composable) -> dict[str, StoredScript]:
    columns = ledger.columns(connection)
    if not columns:
        return {}
    standing, names = ledger.standing(columns)
    # Ledgers made before there were runs have no commit.
    commit = sql.Identifier("commit") if "commit" in columns else sql.NULL
    query = standing + sql.SQL(_LAST).format(commit=commit, wanted=wanted, **names)
    return {row[0]: _stored_script(*row) for row in connection.execute(query)}


def _stored_script(id: str, source: bytes, tools: Any, commit: str | None, by: str, at: str) -> StoredScript:
    versions = tools.items() if isinstance(tools, dict) else ()
    return StoredScript(
        id,
        _unpacked(source),
        tuple((_plain(name), _plain(version)) for name, version in sorted(versions) if isinstance(version, str)),
        _plain(commit or ""),
        _plain(by),
        at,
    )


def _unpacked(source: bytes) -> str:
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(source, LARGEST)
        return text.decode() if unpacking.eof else ""
    except (zlib.error, UnicodeDecodeError):
        return ""


def _plain(text: str) -> str:
    """What somebody wrote into the ledger, as far as it is a name or a version: it is printed to a terminal."""
    return re.sub(r"[^\w.+-]", "?", text, flags=re.ASCII)[:60]
