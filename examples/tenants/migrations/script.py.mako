"""${message}

Revises: ${down_revision if isinstance(down_revision, str) else " and ".join(down_revision or ["nothing"])}
Created: ${create_date.strftime("%Y-%m-%d")}
% if getattr(config.cmd_opts, "autogenerate", False):
Reviewed by:
% endif
"""

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif

revision = ${repr(up_revision).replace("'", '"')}
down_revision = ${repr(down_revision).replace("'", '"')}
branch_labels = ${repr(branch_labels).replace("'", '"')}
depends_on = ${repr(depends_on).replace("'", '"')}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
