"""Run squawk on all statements in one process, with fixed settings, and turn its objections into drafts."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.review.lint.advice import allow, batched, block, execute, steps, written
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.review.lint.rules import RULES, SQUAWK, Scale
from pulumi_alembic.review.lint.types import has_char_columns, retyped
from pulumi_alembic.sql.catalog import Column, quoted
from pulumi_alembic.sql.effects.queries import CatalogAfter

__all__ = ["Objection", "drafts_of", "objections"]

_LONGEST = 60  # seconds


@dataclass(frozen=True)
class Objection:
    """A finding of squawk, of one of the rules in SQUAWK, with squawk's words."""

    rule: str
    message: str
    help: str


def objections(statements: Iterable[str]) -> dict[str, tuple[Objection, ...]]:
    """Return squawk's objections to each text, one for each rule. Raises MigrationError if squawk cannot be run."""
    texts = list(dict.fromkeys(statements))
    if not texts:
        return {}
    with TemporaryDirectory(prefix="pulumi-alembic-lint-") as place:
        folder = Path(place)
        (folder / "squawk.toml").touch()
        for number, text in enumerate(texts):
            # squawk's own marks have no reason, so they do not count as exceptions.
            (folder / f"{number}.sql").write_text(text.replace("squawk-ignore", "squawk_ignore"))
        # A pattern instead of file names, because the length of a command line is limited.
        reports = _run(folder)
    by_text: dict[str, dict[str, Objection]] = {text: {} for text in texts}
    for finding in reports:
        if finding["rule_name"] in SQUAWK:
            objection = Objection(finding["rule_name"], finding["message"], finding["help"] or "")
            by_text[texts[int(Path(finding["file"]).stem)]].setdefault(objection.rule, objection)
    return {text: tuple(rules.values()) for text, rules in by_text.items()}


def _run(folder: Path) -> list[dict[str, Any]]:
    program = Path(sysconfig.get_path("scripts")) / ("squawk.exe" if sys.platform == "win32" else "squawk")
    command = [str(program), "--config", "squawk.toml", "--reporter", "json", "--assume-in-transaction", "*.sql"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LONGEST, check=False)
        reports: list[dict[str, Any]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise MigrationError(
            f"squawk, which lints statements, does not run: {error}. Install it again: "
            f"{sys.executable} -m pip install --force-reinstall squawk-cli"
        ) from None
    return reports


_OF_OLD_TABLES = {"renaming-column", "renaming-table", "ban-truncate-cascade"}
_ADVICE = {
    "ban-create-domain-with-constraint": "give the columns the plain type, and each table its check",
    "ban-alter-domain-with-add-constraint": "give each table that has a column of it a check, NOT VALID at first",
    "identifier-too-long": "give it a name of at most 63 bytes",
    "ban-drop-database": "a stack drops its database when it is destroyed: leave this out",
}


def drafts_of(said: Iterable[Objection], context: LintContext, node: Any) -> Iterator[Draft]:
    """Return a draft for each objection, except objections about tables that the revision has created."""
    tables = tuple(lock.table for lock in context.effects.locks)
    for line in said:
        if line.rule in _OF_OLD_TABLES and all(table in context.new for table in tables):
            continue
        if line.rule == "ban-char-field" and not has_char_columns(node):
            continue
        on = tables if RULES[line.rule].scale is Scale.SIZE else ()
        text = line.message.rstrip(".").replace("`", "").replace("\n", " ")
        named = f"{text} [{_subject(node)}]" if _subject(node) else text
        yield Draft(line.rule, named, on, _instead(line, context, node))


def _subject(node: Any) -> str:
    relation = getattr(node, "relation", None)
    return written(relation) if relation is not None and relation.tag == "RangeVar" else ""


def _instead(said: Objection, context: LintContext, node: Any) -> str:
    if said.rule == "renaming-column":
        return _another_column(context, node)
    if said.rule == "renaming-table":
        old, new = written(node.relation), quoted(node.relation.schemaname or "", node.newname)
        view = execute(f"CREATE VIEW {new} AS TABLE {old}")
        return f"{view}\n# and rename it in a later revision, once nothing uses the name {old}"
    if said.rule == "ban-truncate-cascade":
        names = ", ".join(written(relation) for relation in node.relations)
        return f"# name every table that is to be emptied\n{execute(f'TRUNCATE {names}')}"
    if said.rule in {"require-concurrent-reindex", "require-concurrent-partition-detach"}:
        since = "# from PostgreSQL 14 on:\n" if said.rule == "require-concurrent-partition-detach" else ""
        return since + block(_concurrently(node))
    advice = said.help or _ADVICE.get(said.rule, "squawk knows no other way")
    return retyped(said.rule, node) or allow(said.rule, advice.replace("`", "").replace("\n", " "))


def _another_column(context: LintContext, node: Any) -> str:
    at, old, new = written(node.relation), quoted(node.subname), quoted(node.newname)
    relation = context.catalog.relations.get(CatalogAfter(context.catalog).name(node.relation))
    column = relation.columns.get(node.subname, Column()) if relation else Column()
    return steps(
        execute(f"ALTER TABLE {at} ADD COLUMN {new} {column.type or 'TYPE'}"),
        f"{batched(at, f'{new} = {old}')}\n# let the application write both and read {new}; drop {old} later",
    )


def _concurrently(node: Any) -> str:
    if node.tag == "ReindexStmt":
        kind = node.kind.removeprefix("REINDEX_OBJECT_")
        return f"REINDEX {kind} CONCURRENTLY {written(node.relation) if node.relation else node.name}"
    part = next(command for command in node.cmds if command.subtype == "AT_DetachPartition")
    return f"ALTER TABLE {written(node.relation)} DETACH PARTITION {written(part.def_.name)} CONCURRENTLY"
