"""add recurring tasks support

Revises: 20250126_001
"""

from alembic import op

revision = "20250126_002"
down_revision = "20250126_001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE tasks ADD COLUMN recurrence_rule TEXT")


def downgrade() -> None:
    op.execute("ALTER TABLE tasks DROP COLUMN recurrence_rule")
