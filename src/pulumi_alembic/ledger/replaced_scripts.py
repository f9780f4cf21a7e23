"""Scripts that a squash has removed from the checkout, from the ledger, for a downgrade of what they built."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from pulumi_alembic.database.connection import Connection
from pulumi_alembic.errors import StoredScriptError
from pulumi_alembic.ledger.stored_scripts import FOLDER, read_all
from pulumi_alembic.scripts.history import BASE, History
from pulumi_alembic.scripts.revision import Revision, checksum

__all__ = ["put_back"]


def put_back(connection: Connection, history: History, heads: Sequence[str], target: str) -> History:
    """Return the history with stored scripts in place of a squash, if the plan leads to a revision before it.

    No trust is needed: the script that replaces them lists their checksums, and no other text is used.

    Args:
        connection: a session of the database.
        history: the scripts on disk.
        heads: the database's heads.
        target: an id, or `base`.

    Raises:
        StoredScriptError: the ledger lacks a script that would run, or has another text of it.

    """
    known = history.revisions.keys() | history.removed
    if not history.squashes or target not in {BASE, *history.removed} or not known.issuperset(heads):
        return history
    replaced = [one for script in history.squashes for one in script.replaces]
    stored = read_all(connection, sql.SQL("revision = ANY({})").format(sql.Literal([one.id for one in replaced])))
    folder = history.manifest.path.parent.resolve() / FOLDER
    scripts = []
    for one in replaced:
        text = stored.get(one.id)
        source, tools = (text.source, text.tools) if text and checksum(text.source) == one.checksum else ("", ())
        scripts.append(Revision(one.id, one.down, one.depends_on, folder, f"{one.id}.py", source, one.checksum, tools))
    kept = [script for script in history.revisions.values() if script not in history.squashes]
    whole = History.of([*kept, *scripts], history.manifest)
    applied = whole.ancestors(heads)
    wanted = whole.ancestors([target]) if target != BASE else ()
    if not set(wanted).issubset(applied):
        # An upgrade: the plan is refused, and names the commit that has the scripts.
        return history
    for id in reversed(applied):
        if id not in wanted and not whole.revisions[id].source:
            raise StoredScriptError(f"the ledger has no script of {id} to downgrade with. {history.way_to(id)}")
    return whole
