"""The interface of all kinds of resources."""

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
    """A resource on the server. `values` are the properties that were read. Other properties stay the same."""

    id: str
    values: Values


class Kind(ABC):
    """One kind of resource.

    Each operation takes effect completely, or raises ProviderError. In a transaction it then leaves nothing.
    """

    token: ClassVar[str]
    schema: ClassVar[Schema]
    delete_before_replace: ClassVar[bool] = True
    # Options of the same object: a delete after the create would revoke the new grant.
    options: ClassVar[frozenset[str]] = frozenset()

    def deletes_first(self, replaces: Collection[str]) -> bool:
        """Return whether a replacement because of these properties deletes the old resource first."""
        return bool(replaces) and (self.delete_before_replace or self.options.issuperset(replaces))

    def identified(self, resource_id: str, state: Values) -> Values:
        """Return `state` with the name in its id.

        An id always names an object on the server. The name in the state can be the target of a failed rename: the real
        plugin records it, and another resource can have it.
        """
        return state

    @abstractmethod
    def create(self, session: Session, change: Change) -> Found:
        """Create the resource, and read it."""

    @abstractmethod
    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Return the resource as it is. None if it is gone. `state` is empty for an import."""

    @abstractmethod
    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Change the differing properties in place, and read the resource."""

    @abstractmethod
    def delete(self, session: Session, state: Change) -> None:
        """Delete the resource."""

    def creation(self, session: Session, change: Change) -> Found | None:
        """Return the resource if a creation took effect whose answer was lost. Otherwise None."""
        row = self.read(session, "", change)
        return row if row is not None and not change.differs(row.values) else None

    def left(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Return the resource after a failed update, whatever its name is now. None if it is gone."""
        return self.read(session, resource_id, state)

    def deletion(self, session: Session, resource_id: str, state: Change) -> bool:
        """Return whether a deletion took effect whose answer was lost."""
        row = self.read(session, resource_id, state)
        if row is None or "privileges" not in self.schema:
            return row is None
        return not row.values.get("privileges", state["privileges"])


def rename(work: Work, change: Change, noun: str, label: str) -> None:
    """Rename a resource if its name changed. `label` is the name's label in the real plugin's error."""
    if not change.changed("name"):
        return
    if not change["name"]:
        raise ProviderError(f"error setting {noun} name to an empty string")
    names = identifier(change.old("name")), identifier(change["name"])
    work.run(f"ALTER {noun.upper()} {{}} RENAME TO {{}}", *names, what=f"error updating {noun} {label}")


def there(found: Found | None, noun: str, name: str) -> Found:
    """Return what was read after a change. Raises ProviderError if another session dropped it meanwhile."""
    if found is None:
        raise ProviderError(
            f'another session dropped {noun} "{name}" while it was changed. Refresh the stack, then run this again'
        )
    return found
