"""initial schema

Users, their tasks and their tags. gen_random_uuid() is in PostgreSQL's core since 13, no extension is needed for it.

Revises: nothing
"""

from alembic import op

revision = "20250126_001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE users (
            id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
            username VARCHAR(50) UNIQUE NOT NULL,
            email VARCHAR(255) UNIQUE NOT NULL,
            password_hash VARCHAR(255) NOT NULL,
            is_active BOOLEAN DEFAULT TRUE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
            updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
        )
    """)
    op.execute("""
        CREATE TABLE tasks (
            id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
            user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            title VARCHAR(255) NOT NULL,
            description TEXT,
            priority VARCHAR(20) DEFAULT 'medium',
            status VARCHAR(20) DEFAULT 'pending',
            due_date TIMESTAMP WITH TIME ZONE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
            updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
            completed_at TIMESTAMP WITH TIME ZONE
        )
    """)
    op.execute("""
        CREATE TABLE tags (
            id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
            user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            name VARCHAR(100) NOT NULL,
            color VARCHAR(7),
            created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
            UNIQUE (user_id, name)
        )
    """)
    op.execute("""
        CREATE TABLE task_tags (
            task_id UUID NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
            tag_id UUID NOT NULL REFERENCES tags(id) ON DELETE CASCADE,
            created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
            PRIMARY KEY (task_id, tag_id)
        )
    """)
    op.execute("CREATE INDEX idx_users_username ON users (username)")
    op.execute("CREATE INDEX idx_users_email ON users (email)")
    op.execute("CREATE INDEX idx_tasks_user_id ON tasks (user_id)")
    op.execute("CREATE INDEX idx_tasks_status ON tasks (status)")
    op.execute("CREATE INDEX idx_tasks_priority ON tasks (priority)")
    op.execute("CREATE INDEX idx_tags_user_id ON tags (user_id)")
    op.execute("CREATE INDEX idx_task_tags_task_id ON task_tags (task_id)")
    op.execute("CREATE INDEX idx_task_tags_tag_id ON task_tags (tag_id)")


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS task_tags")
    op.execute("DROP TABLE IF EXISTS tags")
    op.execute("DROP TABLE IF EXISTS tasks")
    op.execute("DROP TABLE IF EXISTS users")
