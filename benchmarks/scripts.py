"""Two revisions in a folder, of one statement each, for benchmarks that need no project."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FIRST", "SECOND", "write_scripts"]

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
    """The scripts with these statements, and an env.py of ours, in `folder`, which may be there."""
    versions = folder / "versions"
    versions.mkdir(parents=True)
    (folder / "env.py").write_text(_ENV)
    for id, down, statement in ((FIRST, None, first), (SECOND, FIRST, second)):
        (versions / f"{id}_bench.py").write_text(_SCRIPT.format(id=id, down=down, statement=statement))
