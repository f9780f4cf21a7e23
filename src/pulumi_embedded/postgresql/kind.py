"""What every kind of resource can do, and what it is told and answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from pulumi_embedded.postgresql.connection import Session, Work, identifier
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.properties import Change, Schema, Values

__all__ = ["Found", "Kind", "rename", "there"]


@dataclass(frozen=True)
class Found:
    """A resource as the server has it: `values` holds what was read, other properties keep what they were."""

    id: str
    values: Values


class Kind(ABC):
    """One kind of resource.

    Each operation either takes effect wholly or raises ProviderError and, in a transaction, leaves nothing behind.
    """

    token: ClassVar[str]
    schema: ClassVar[Schema]
    delete_before_replace: ClassVar[bool] = True
    # Options of one and the same object: a delete after the create would revoke what was just granted.
    options: ClassVar[frozenset[str]] = frozenset()

    def deletes_first(self, replaces: Collection[str]) -> bool:
        """Whether a replacement because of these properties deletes the former resource first."""
        return bool(replaces) and (self.delete_before_replace or self.options.issuperset(replaces))

    def identified(self, resource_id: str, state: Values) -> Values:
        """`state` with the name by which its id knows the resource.

        An id always names what the server has. A name can be one that a failed rename was to give: the real plugin
        records that name, and another resource can have it.
        """
        return state

    @abstractmethod
    def create(self, session: Session, change: Change) -> Found:
        """Makes the resource and reads it back."""

    @abstractmethod
    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """The resource as it is, or None if it is gone; `state` is empty for an import."""

    @abstractmethod
    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Changes what differs in place and reads it back."""

    @abstractmethod
    def delete(self, session: Session, state: Change) -> None:
        """Remove the resource."""

    def creation(self, session: Session, change: Change) -> Found | None:
        """The resource if a creation took effect whose answer was lost, else None."""
        row = self.read(session, "", change)
        return row if row is not None and not change.differs(row.values) else None

    def left(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """The resource as a failed update left it, whatever it is called now; None if it is gone."""
        return self.read(session, resource_id, state)

    def deletion(self, session: Session, resource_id: str, state: Change) -> bool:
        """Whether a deletion took effect whose answer was lost."""
        row = self.read(session, resource_id, state)
        if row is None or "privileges" not in self.schema:
            return row is None
        return not row.values.get("privileges", state["privileges"])


def rename(work: Work, change: Change, noun: str, label: str) -> None:
    """Give what was renamed its new name; `label` is how the real plugin's error calls the name."""
    if not change.changed("name"):
        return
    if not change["name"]:
        raise ProviderError(f"error setting {noun} name to an empty string")
    names = identifier(change.old("name")), identifier(change["name"])
    work.run(f"ALTER {noun.upper()} {{}} RENAME TO {{}}", *names, what=f"error updating {noun} {label}")


def there(found: Found | None, noun: str, name: str) -> Found:
    """What was read again after it was changed. Raises ProviderError if another session dropped it meanwhile."""
    if found is None:
        raise ProviderError(
            f'another session dropped {noun} "{name}" while it was changed. Refresh the stack, then run this again'
        )
    return found
