"""Revisions of one statement each in a folder, for benchmarks that need no project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["FIRST", "SECOND", "write_history", "write_scripts"]

FIRST, SECOND = "20250101_001", "20250102_002"

_ENV = """
import sqlalchemy as sa
from pulumi_alembic import environment

environment.run(target_metadata=sa.MetaData(), url=lambda: '')
"""

_SCRIPT = '''from alembic import op

revision = "{id}"
down_revision = {down!r}


def upgrade() -> None:
    op.execute("""{statement}""")


def downgrade() -> None:
    pass
'''


def write_scripts(folder: Path, first: str, second: str) -> None:
    """Write two scripts with these statements, and our env.py, into `folder`, which can exist."""
    _write(folder, [(FIRST, first), (SECOND, second)])


def write_history(folder: Path, statements: Sequence[str]) -> list[str]:
    """Write a script for each statement, in order, and our env.py, into `folder`. Return the ids of the scripts."""
    ids = [f"20250101_{number:03}" for number in range(1, len(statements) + 1)]
    _write(folder, list(zip(ids, statements, strict=True)))
    return ids


def _write(folder: Path, scripts: Sequence[tuple[str, str]]) -> None:
    versions = folder / "versions"
    versions.mkdir(parents=True)
    (folder / "env.py").write_text(_ENV)
    down = None
    for id, statement in scripts:
        (versions / f"{id}_bench.py").write_text(_SCRIPT.format(id=id, down=down, statement=statement))
        down = id
