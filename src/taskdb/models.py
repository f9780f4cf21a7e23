"""The application's tables as SQLAlchemy models, equal to what the migrations create.

`alembic check` and `alembic revision --autogenerate` compare the two. Constraints have the names that PostgreSQL
generates.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import Boolean, DateTime, ForeignKey, Index, MetaData, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["Base", "Conversation", "Message", "Tag", "Task", "TaskTag", "User"]

Identifier = Annotated[UUID, mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))]
Timestamp = Annotated[datetime | None, mapped_column(DateTime(timezone=True), server_default=text("now()"))]


class Base(DeclarativeBase):
    """The metadata that Alembic compares with the database."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "idx_%(table_name)s_%(column_0_N_name)s",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


class User(Base):
    """A person who signs in. All other rows belong to a user, and are deleted with it."""

    __tablename__ = "users"
    __table_args__ = (Index("idx_users_username", "username"), Index("idx_users_email", "email"))

    id: Mapped[Identifier]
    username: Mapped[str] = mapped_column(String(50), unique=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool | None] = mapped_column(Boolean, server_default=text("true"))
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]


class Task(Base):
    """A task of a user."""

    __tablename__ = "tasks"

    id: Mapped[Identifier]
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[str | None] = mapped_column(String(20), server_default="medium", index=True)
    status: Mapped[str | None] = mapped_column(String(20), server_default="pending", index=True)
    due_date: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    completed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    recurrence_rule: Mapped[str | None] = mapped_column(Text)


class Tag(Base):
    """A user's label for tasks."""

    __tablename__ = "tags"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[Identifier]
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    color: Mapped[str | None] = mapped_column(String(7))
    created_at: Mapped[Timestamp]


class TaskTag(Base):
    """The assignment of a tag to a task."""

    __tablename__ = "task_tags"

    task_id: Mapped[UUID] = mapped_column(ForeignKey(Task.id, ondelete="CASCADE"), primary_key=True, index=True)
    tag_id: Mapped[UUID] = mapped_column(ForeignKey(Tag.id, ondelete="CASCADE"), primary_key=True, index=True)
    created_at: Mapped[Timestamp]


class Conversation(Base):
    """A user's conversation with the assistant."""

    __tablename__ = "conversations"

    id: Mapped[Identifier]
    user_id: Mapped[UUID] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
    title: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]


class Message(Base):
    """One message of a conversation."""

    __tablename__ = "messages"

    id: Mapped[Identifier]
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey(Conversation.id, ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(20))
    content: Mapped[str] = mapped_column(Text)
    tool_calls: Mapped[dict[str, Any] | list[Any] | None] = mapped_column(JSONB)
    created_at: Mapped[Timestamp]
