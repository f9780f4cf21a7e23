"""The time that migrations add to a preview of this project: nothing pending, one revision analysed, and one rehearsed.

Whole commands of the embedded engine are measured. They need a PostgreSQL server (PG* variables, or the development
server).
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, claim, report
from benchmarks.stacks import EMBEDDED, Stack
from pulumi_alembic.scripts.history import History

_RESOURCE = re.compile(
    r"^migrations = Migrations\(\n.*?^\)\n|^pulumi\.export\(\"revision\".*\n", re.MULTILINE | re.DOTALL
)
_MANY = 1000
_SCRIPT = '''"""make table {number}"""

from alembic import op

revision = "{id}"
down_revision = {down!r}


def upgrade() -> None:
    op.execute("CREATE TABLE table_{number} (id bigint, name text)")


def downgrade() -> None:
    op.execute("DROP TABLE table_{number}")
'''


@contextmanager
def _up(stack: Stack) -> Iterator[Stack]:
    """Bring the stack up, and destroy it at the end."""
    try:
        stack.run(EMBEDDED, "up", "--yes", "--skip-preview")
        yield stack
    finally:
        stack.run(EMBEDDED, "destroy", "--yes", "--skip-preview")


def _without_migrations(stack: Stack) -> Stack:
    program = stack.folder / "__main__.py"
    program.write_text(_RESOURCE.sub("", program.read_text()))
    return stack


def _with_many(stack: Stack) -> Stack:
    versions = stack.folder / "migrations" / "versions"
    for path in [*versions.glob("*.py"), stack.folder / "migrations" / "manifest"]:
        path.unlink()
    down = None
    for number in range(_MANY):
        id = f"20250101_{number:03}"
        (versions / f"{id}_table.py").write_text(_SCRIPT.format(number=number, id=id, down=down))
        down = id
    History.load(versions.parent).write_manifest()
    return stack


def _at_second(stack: Stack) -> Stack:
    stack.run(EMBEDDED, "config", "set", "taskdb:revision", "20250126_002")
    return stack


def _claims(folder: Path) -> Iterator[Claim]:
    bare = _without_migrations(Stack.of_this_project(folder / "bare"))
    with _up(bare):
        for name, change in (("3", lambda stack: stack), (f"{_MANY}", _with_many)):
            with _up(change(Stack.of_this_project(folder / name))) as stack:
                what = f"preview with nothing pending among {name} revisions ÷ without the migrations"
                yield claim(what, partial(stack.preview, EMBEDDED), partial(bare.preview, EMBEDDED), limit=1.1)
        with _up(Stack.of_this_project(folder / "pending")) as stack:
            stack.run(EMBEDDED, "config", "set", "taskdb:revision", "20250126_002")
            what = "preview with one revision pending ÷ without the migrations"
            yield claim(what, partial(stack.preview, EMBEDDED), partial(bare.preview, EMBEDDED), limit=2)
        with _up(_at_second(Stack.of_this_project(folder / "rehearsed"))) as stack:
            stack.run(EMBEDDED, "config", "set", "taskdb:revision", "head")
            stack.run(EMBEDDED, "config", "set", "taskdb:rehearse", "true")
            what = "preview that rehearses one revision, and its way back ÷ without the migrations"
            yield claim(what, partial(stack.preview, EMBEDDED), partial(bare.preview, EMBEDDED), limit=2)


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if report(list(_claims(Path(name)))) else 1)


if __name__ == "__main__":
    main()
