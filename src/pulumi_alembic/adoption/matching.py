"""Find the revision that builds what is in a database, without changing that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg import sql

from pulumi_alembic.adoption.building import built
from pulumi_alembic.database.connection import VERSION_SCHEMA, VERSION_TABLE, Connection, connect, read_heads
from pulumi_alembic.drift.difference.compare import Difference, difference
from pulumi_alembic.drift.difference.ignored import is_infrastructure
from pulumi_alembic.drift.difference.snapshot import HEADS, SERVER, Item, Snapshot
from pulumi_alembic.drift.reader import read
from pulumi_alembic.drift.report import listed, psql_script, reported
from pulumi_alembic.errors import AdoptionError, NotRehearsed
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import revision_text

__all__ = ["Adopted", "Wanted", "find", "objects", "read_public"]

_OLD = sql.Identifier("public", VERSION_TABLE)
# to_regclass would need USAGE on the schema.
_OWNS = """
SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(n.oid, 'USAGE')
FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public' AND relname = %s
"""


@dataclass(frozen=True)
class Adopted:
    """The revisions to assume for a database, and the digest of its objects when they were found."""

    heads: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Wanted:
    """What to adopt.

    Attributes:
        revision: `true`, or the only revision to compare with.
        ignore: patterns of objects that are not compared.
        configure: the command that names the revision, with `{revision}` in it.

    """

    revision: str
    ignore: Sequence[str]
    configure: str


def find(job: Job, admin: str, wanted: Wanted, tell: Callable[[str], None] = lambda text: None) -> Adopted | None:
    """Return the revision whose catalog equals that of the database. None if there is nothing to adopt.

    There is nothing to adopt if the database has heads or no objects. A table `alembic_version` in the schema public
    also determines the only revision to compare with.

    Args:
        job: the database and the scripts.
        admin: the URL of a login that can create databases.
        wanted: what to adopt.
        tell: gets progress.

    Raises:
        AdoptionError: no revision matches, several do, or one cannot be built.

    """
    history = job.read_history()
    with connect(job.url) as connection:
        if read_heads(connection):
            return None
        named = read_public(connection)
        current = read(connection, tell=tell)
    mine = objects(current)
    if not mine.items and not named:
        return None
    if not admin:
        raise AdoptionError(
            "adopt builds the revisions in a scratch database: give rehearse_with a login that can create databases"
        )
    only = named or (() if wanted.revision == "true" else (history.resolve(wanted.revision),))
    for head in only:
        if head not in history.revisions:
            raise AdoptionError(
                f"public.{VERSION_TABLE} names {head}, which the scripts here do not have: check out the commit that "
                f"has its script, then: {job.command}"
            )
    ancestors = history.ancestors(only or history.heads)
    tell(f"building {counted(len(ancestors), 'revision')} in a scratch database, to compare")
    compared = _compare(job.url, admin, history, ancestors, current, wanted.ignore)
    if only:
        compared = [candidate for candidate in compared if candidate[0] == tuple(sorted(only))]
    matching = [heads for heads, whole in compared if not whole]
    if len(matching) == 1:
        return Adopted(matching[0], mine.digest)
    raise AdoptionError(_ambiguous(matching, wanted.configure) if matching else _nearest(compared, job.command))


def objects(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without infrastructure and without an old `alembic_version`: only what revisions create."""
    return Snapshot(tuple(item for item in snapshot.items if _is_object(item)))


def read_public(connection: Connection) -> tuple[str, ...]:
    """Return the heads in a table `alembic_version` of the schema public.

    Raises AdoptionError if another role owns it.
    """
    owner = connection.execute(_OWNS, [VERSION_TABLE]).fetchone()
    if owner is None:
        return ()
    [owns] = owner
    if owns:
        rows = connection.execute(sql.SQL("SELECT version_num FROM {} ORDER BY 1").format(_OLD)).fetchall()
    else:
        raise AdoptionError(
            f"public.{VERSION_TABLE} has to be moved, and belongs to another role. As its owner: "
            f"ALTER TABLE public.{VERSION_TABLE} OWNER TO {_owner(connection)}; GRANT USAGE ON SCHEMA public TO "
            f"{_owner(connection)}"
        )
    return tuple(id for (id,) in rows)


def _owner(connection: Connection) -> str:
    [(owner,)] = connection.execute("SELECT quote_ident(current_user)").fetchall()
    return str(owner)


def _is_object(item: Item) -> bool:
    old = f"public.{VERSION_TABLE}"
    if old in (item.name, item.facts.get("table"), item.facts.get("object")):
        return False
    ours = item.kind == "privileges" and item.facts.get("within") == VERSION_SCHEMA
    return item.kind not in (HEADS, SERVER) and not ours and not is_infrastructure(item)


def _compare(
    url: str, admin: str, history: History, revisions: Sequence[str], target: Snapshot, ignore: Sequence[str]
) -> list[tuple[tuple[str, ...], Difference]]:
    compared = []
    try:
        with built(url, admin, history, [history.revisions[id] for id in revisions], target) as steps:
            for _, snapshot in steps:
                whole = difference(objects(snapshot), objects(target), ignore)
                compared.append((snapshot.heads, whole))
    except NotRehearsed as reason:
        raise AdoptionError(
            f"the revisions cannot be built to compare with: {reason}. The login of rehearse_with must be able "
            "to create databases (CREATEDB) and to become the owner"
        ) from None
    return compared


def _ambiguous(matching: Sequence[tuple[str, ...]], configure: str) -> str:
    names = ", ".join(revision_text(heads) for heads in matching)
    choices = [configure.format(revision=revision_text(heads)) for heads in matching]
    return "\n  ".join(
        [
            f"the schema matches each of these revisions, which can differ in rows: {names}. Name the last one that "
            "was applied, by one of:",
            *choices,
        ]
    )


def _distance(whole: Difference) -> int:
    """Return the number of differences. Owners and privileges are counted with their objects."""
    return len(whole.renames) + sum(change.item.kind not in ("owner", "privileges") for change in whole.changes)


def _nearest(compared: Sequence[tuple[tuple[str, ...], Difference]], command: str) -> str:
    heads, whole = min(compared, key=lambda candidate: _distance(candidate[1]))
    differences = reported(whole)
    number = counted(len(differences), "difference")
    script = psql_script(whole, f"Brings the schema to {revision_text(heads)}.").splitlines()
    return "\n  ".join([
        f"the schema matches no revision. The nearest is {revision_text(heads)}, with {number}:",
        *listed((found_difference.name, found_difference.sides) for found_difference in differences),
        "The schema was not changed. Run this script in the database, or add the differences to drift_ignore:",
        *(f"  {line}" for line in script),
        f"Then: {command}",
    ])  # fmt: skip
