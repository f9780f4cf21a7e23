"""Stored scripts: applied revisions that a checkout lacks, from the ledger, if something outside it confirms them."""

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

__all__ = ["FOLDER", "StoredScript", "complete", "has_script", "read", "read_all"]

_GIT_SECONDS = 30


def has_script(directory: Path, id: str, sum: str) -> bool:
    """Return whether a branch or a tag of this repository contains a script of `id` with this checksum.

    False also without a repository or git.
    """
    return any(checksum(text) == sum for text in _texts(directory, id))


def _texts(directory: Path, id: str) -> Iterator[str]:
    """Yield every version of the script's text in git, the newest first."""
    arguments = ["log", "--all", "--no-renames", "--diff-filter=AM", "--raw", "--no-abbrev", "--format="]
    listed = git(directory, *arguments, "--", f"versions/{id}_*.py", seconds=_GIT_SECONDS) or b""
    for line in listed.splitlines():
        # `:100644 100644 BLOB-BEFORE BLOB-AFTER M<tab>PATH`
        blob = line.split(b" ")[3].decode()
        yield (git(directory, "cat-file", "blob", blob, seconds=_GIT_SECONDS) or b"").decode(errors="replace")


FOLDER = "ledger"
"""The directory in the paths of stored scripts. No such directory exists."""

LARGEST = 4_000_000
"""The most bytes of an unpacked script. More would only be there to exhaust the memory."""


# For a revision that was stamped after its last downgrade, this finds the run before.
_LAST = """
SELECT DISTINCT ON (revision) revision, source, tools, {commit}, applied_by::text,
    to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
FROM {rows}
WHERE direction = 'upgrade' AND {event} IN ('applied', 'accepted', 'adopted') AND {wanted}
ORDER BY revision, id DESC
"""


@dataclass(frozen=True)
class StoredScript:
    """A revision's script as the ledger has it from its last run. It is not trusted for that reason alone.

    Attributes:
        source: empty if it cannot be unpacked.

    """

    id: str
    source: str
    tools: tuple[tuple[str, str], ...]
    commit: str
    applied_by: str
    applied_at: str

    @property
    def digest(self) -> str:
        """The digest of the text itself. The ledger's own checksum is not used."""
        return digest(checksum(self.source))

    @property
    def printable(self) -> str:
        """The text without characters that control a terminal.

        Everything else is shown, because a person judges the script.
        """
        return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in self.source)

    def __str__(self) -> str:
        """Return the id, and who applied it, when and with which tools."""
        tools = "".join(f", {name} {version}" for name, version in self.tools)
        commit = f", commit {self.commit}" if self.commit else ""
        return f"{self.id} (applied {self.applied_at} by {self.applied_by}{commit}{tools})"


def complete(connection: Connection, history: History, heads: Sequence[str], trust: Trust) -> History:
    """Return the history completed by stored scripts of applied revisions that it lacks.

    The ledger is read only if a head of the database is missing. No stored code has run when this raises.

    Args:
        connection: a session of the database.
        history: the scripts on disk.
        heads: the database's heads.
        trust: which stored scripts are allowed to run.

    Raises:
        StoredScriptError: the stack does not allow the rollback, or a stored script is missing or not confirmed by
            anything outside the database.

    """
    unknown = [head for head in heads if head not in history.revisions and head not in history.removed]
    if not unknown:
        return history
    stored = read_all(connection, sql.SQL("revision <> ALL({})").format(sql.Literal(list(history.revisions))))
    if not trust.rolls_back:
        raise StoredScriptError(_not_allowed(heads, unknown, stored, trust))
    revisions = [*history.revisions.values(), *_vouched(history, unknown, stored, trust)]
    return History.of(revisions, history.manifest, history.baselines)


def read(connection: Connection, id: str) -> StoredScript:
    """Return the stored script of one revision. Raises StoredScriptError if there is none."""
    stored = read_all(connection, sql.SQL("revision = {}").format(sql.Literal(id)))
    if id not in stored:
        raise StoredScriptError(f"the ledger has no script of {id}: it was stamped, or never applied here")
    return stored[id]


def _vouched(
    history: History, heads: Iterable[str], stored: Mapping[str, StoredScript], trust: Trust
) -> list[Revision]:
    """Return the stored scripts of these heads and all that they build on. Each is checked before it is parsed."""
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
    """Return why this stored script must not run. Empty if the stack, git or a person confirms it."""
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


def read_all(connection: Connection, wanted: sql.Composable) -> dict[str, StoredScript]:
    """Return the stored scripts of the revisions that match the condition, by id."""
    columns = ledger.columns(connection)
    if not columns:
        return {}
    standing, names = ledger.standing(connection, columns)
    # Ledgers from before runs were recorded have no column `commit`.
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
    """Return a text of the ledger with only the characters of a name or version, because a terminal prints it."""
    return re.sub(r"[^\w.+-]", "?", text, flags=re.ASCII)[:60]
