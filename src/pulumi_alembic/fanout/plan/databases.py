"""The databases or schemas of a fan-out: their names are checked before any server is contacted. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.output.wording import counted

__all__ = ["LONGEST", "Kind", "Listing", "address", "few", "unpack"]

LONGEST = 63
"""Bytes of a name. PostgreSQL truncates a longer one (NAMEDATALEN), and would connect to the database of that name."""

MOST = 100_000
"""The largest number of databases of one resource."""

_URL = re.compile(r"(?P<server>postgres(?:ql)?(?:\+\w+)?://[^/?#]*)(?:/[^?#]*)?(?:\?(?P<options>[^#]*))?")
_FORMULA = "v1:"
_RESERVED = ("information_schema", "kept", "migrations")


class Kind(StrEnum):
    """What each name of a listing is: a database of the server, or a tenant's schema in one database."""

    DATABASE = "database"
    SCHEMA = "schema"


@dataclass(frozen=True)
class Listing:
    """Valid and different names of databases or schemas, in the order in which they are migrated.

    `to_come` further ones have no names yet, because their resources do not exist yet.
    """

    names: tuple[str, ...]
    to_come: int = 0
    kind: Kind = Kind.DATABASE

    @classmethod
    def of(cls, names: Sequence[object], where: str, to_come: int = 0, kind: Kind = Kind.DATABASE) -> Listing:
        """Check names, and return them as a listing.

        Args:
            names: The names.
            where: What contains them, for errors.
            to_come: How many further databases or schemas have no names yet.
            kind: What they name.

        Raises:
            PolicyError: A name is not valid or occurs twice, or there are none or too many. The text names the first.

        """
        if not names and not to_come:
            raise PolicyError(f"{where}: there is not one {kind}. Name one at least, or take the resource out")
        if len(names) > MOST:
            raise PolicyError(f"{where}: more than {MOST:,} {kind}s. Use several resources, each with a part of them")
        numbers: dict[str, int] = {}
        for number, name in enumerate(names, 1):
            text = _valid(name, f"{where}, number {number}", kind)
            if text in numbers:
                raise PolicyError(f"{where}: {text!r} is there twice, as number {numbers[text]} and number {number}")
            numbers[text] = number
        return cls(tuple(numbers), to_come, kind)

    @property
    def digest(self) -> str:
        """The digest of the names, in any order."""
        text = "\0".join(sorted(self.names))
        return _FORMULA + hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """Return how many there are, and the digest of their names."""
        return f"{self.counted(len(self.names) + self.to_come)}, {self.digest}"

    def counted(self, number: int) -> str:
        """Return `1 database`, `1,000 schemas`."""
        return counted(number, self.kind)

    def pack(self) -> str:
        """Return the names as text, which `unpack` reads. Numbered names take about three bytes each."""
        return base64.b64encode(zlib.compress("\0".join(self.names).encode(), 9)).decode()


def unpack(text: str) -> tuple[str, ...]:
    """Return the names that `Listing.pack` packed. None of them for an empty text."""
    return tuple(zlib.decompress(base64.b64decode(text)).decode().split("\0")) if text else ()


def few(names: Iterable[str], number: int, shown: int = 5) -> str:
    """Return the first of `number` names, and how many further ones there are."""
    first = [name for name, _ in zip(names, range(shown), strict=False)]
    return ", ".join(first) + (f" and {number - len(first):,} more" if number > len(first) else "")


def address(url: str, name: str) -> str:
    """Return the URL of another database of the same server, for the same login. Raises PolicyError if it is no URL."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise PolicyError("the database URL is not one that can be led to others: postgresql://USER:…@HOST:PORT/")
    options = [option for option in (parts["options"] or "").split("&") if option and not option.startswith("dbname=")]
    return f"{parts['server']}/{quote(name, safe='')}" + (f"?{'&'.join(options)}" if options else "")


def changes(before: Collection[str], now: Collection[str]) -> list[str]:
    """Return lines about new and removed names. Empty if there are none."""
    new, gone = (list(dict.fromkeys(a for a in these if a not in set(those))) for these, those in _both(before, now))
    parts = [f"new since the last update: {few(new, len(new))}"] if new else []
    return parts + ([f"no longer among them, and left as they are: {few(gone, len(gone))}"] if gone else [])


def _both(before: Collection[str], now: Collection[str]) -> tuple[tuple[Collection[str], Collection[str]], ...]:
    return (now, before), (before, now)


def _valid(name: object, where: str, kind: Kind) -> str:
    if not isinstance(name, str):
        raise PolicyError(f"{where} is {'NULL' if name is None else repr(name)[:80]}: the name of a {kind} is a text")
    size = len(name.encode(errors="replace"))
    if not name or "\0" in name:
        raise PolicyError(f"{where} is {name[:80]!r}, which cannot be the name of a {kind}")
    if size > LONGEST:
        raise PolicyError(f"{where}, {name[:80]!r}, has {size} bytes: the name of a {kind} has {LONGEST} at most")
    if kind is Kind.SCHEMA and (name in _RESERVED or name.startswith("pg_")):
        raise PolicyError(f"{where} is {name}, which is no tenant's schema")
    if kind is Kind.DATABASE and name in ("template0", "template1"):
        raise PolicyError(f"{where} is {name}, of which the server makes new databases: it is migrated by no stack")
    return name
