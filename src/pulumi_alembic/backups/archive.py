"""A dump as SQL for one transaction: the output of pg_restore, and the rows as COPY streams."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA, Connection
from pulumi_alembic.database.pg_programs import Programs
from pulumi_alembic.errors import BackupError

__all__ = ["Archive"]

# `pg_restore --list` (PostgreSQL 15): `ID; CATALOG OID KIND SCHEMA NAME OWNER`, with `-` for no schema.
_ENTRY = re.compile(r"^\d+; \d+ \d+ ")
# The schemas and their default privileges are not restored.
_SCHEMAS = re.compile(r"^\d+; \d+ \d+ (SCHEMA|DEFAULT ACL|(ACL|COMMENT|SECURITY LABEL) - ) ?")
_LEDGER = re.compile(rf"^\d+; \d+ \d+ [A-Z ]+ {VERSION_SCHEMA} ([A-Z]+ )?ledger")
_KEPT = re.compile(rf"^\d+; \d+ \d+ (?:TABLE|TABLE DATA|COMMENT) {KEPT_SCHEMA} (?:TABLE )?(\w+) ")
_ACL = re.compile(r"^\d+; \d+ \d+ ACL ")

# Since 2025 pg_dump begins and ends its script with commands for psql, and pg_dump 17 uses a setting that older servers
# do not know. Such a line in the middle is text of a definition, and is not removed.
_COMMENTS = rb"(?:\s|--[^\n]*\n)*+"
_RESTRICT = re.compile(rb"\A(" + _COMMENTS + rb")\\restrict \w+\n")
_UNRESTRICT = re.compile(rb"^\\unrestrict \w+\s*\Z", re.MULTILINE)
_SETTING = re.compile(
    rb"\A((?:"
    + _COMMENTS
    + rb"SET (?!transaction_timeout)\w+ = \w+;\n)*+"
    + _COMMENTS
    + rb")SET transaction_timeout = 0;\n"
)
# A name can contain a line break, so a statement can span lines. It begins after the end of the previous one.
_COPY = re.compile(_COMMENTS + rb"(COPY (.+) \([^\n]*\) FROM stdin);\n\Z", re.DOTALL)


class Archive:
    """The dump in a directory, without the schemas themselves, and without the ledger unless that is restored.

    Preserved tables have unique names. Those that exist already are left out.
    """

    def __init__(self, tools: Programs, folder: Path, *, ledger: bool, there: Collection[str] = ()) -> None:
        """Read the dump's list of contents.

        Args:
            tools: PostgreSQL's programs.
            folder: the directory of the dump.
            ledger: restore the ledger too.
            there: names of the existing tables of the schema `kept`.

        Raises:
            BackupError: pg_restore cannot read the dump.

        """
        self._tools = tools
        self._folder = folder
        entries = [line for line in self._output("--list").decode().splitlines() if _ENTRY.match(line)]
        selected = [line for line in entries if not _SCHEMAS.match(line) and (ledger or not _LEDGER.match(line))]
        kept = [line for line in selected if not ((match := _KEPT.match(line)) and match[1] in there)]
        self._privileges = [line for line in kept if _ACL.match(line)]
        self._entries = [line for line in kept if not _ACL.match(line)]
        self.tables = sum(" TABLE DATA " in line for line in self._entries)

    def make_objects(self, connection: Connection) -> None:
        """Create the tables, functions and types, without rows and constraints."""
        self._run(connection, self._entries, "pre-data")

    def add_rows(self, connection: Connection, tell: Callable[[str], None]) -> None:
        """Fill the tables and set the sequences. `tell` gets a text for each table."""
        number = 0
        with self._listed(self._entries) as listed, self._script(listed, "--section=data") as script:
            statements: list[bytes] = []
            for line in script:
                statements.append(line)
                if (copied := _copy_among(statements)) is None:
                    continue
                before, copy, table = copied
                number += 1
                tell(f"restoring {table}, table {number} of {self.tables}")
                _execute(connection, before)
                statements = []
                with connection.cursor().copy(copy) as stream:
                    for row in script:
                        if row == b"\\.\n":
                            break
                        stream.write(row)
            _execute(connection, statements)

    def complete(self, connection: Connection) -> None:
        """Create the indexes, constraints and triggers."""
        self._run(connection, self._entries, "post-data")

    def grant(self, connection: Connection) -> None:
        """Grant the privileges on the objects."""
        if self._privileges:
            self._run(connection, self._privileges)

    def _run(self, connection: Connection, entries: list[str], section: str = "") -> None:
        with self._listed(entries) as listed:
            only = [f"--section={section}"] if section else []
            _execute(connection, [self._output("--file=-", "--no-owner", f"--use-list={listed}", *only)])

    @contextmanager
    def _listed(self, entries: list[str]) -> Iterator[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".list") as file:
            file.write("\n".join([*entries, ""]))
            file.flush()
            yield file.name

    def _output(self, *arguments: str) -> bytes:
        done = subprocess.run(
            [self._tools.program("pg_restore"), *arguments, self._folder], capture_output=True, check=False
        )
        if done.returncode:
            raise _unreadable(done.stderr)
        return done.stdout

    @contextmanager
    def _script(self, listed: str, section: str) -> Iterator[IO[bytes]]:
        command = [
            str(self._tools.program("pg_restore")),
            "--file=-",
            f"--use-list={listed}",
            section,
            str(self._folder),
        ]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
            assert process.stdout is not None  # noqa: S101 - it was asked for
            try:
                yield process.stdout
                if process.wait():
                    errors.seek(0)
                    raise _unreadable(errors.read())
            finally:
                process.kill()
                process.stdout.close()
                process.wait()


def _copy_among(lines: list[bytes]) -> tuple[list[bytes], bytes, str] | None:
    """Return the lines before a COPY whose rows follow the last of these lines, that COPY, and its table."""
    if not lines[-1].endswith(b" FROM stdin;\n"):
        return None
    begins = [number for number, line in enumerate(lines) if line.startswith(b"COPY ")]
    for number in begins:
        copy = _COPY.fullmatch(b"".join(lines[number:]))
        # Inside a quoted name this is not the end of the statement.
        if copy and copy[1].count(b'"') % 2 == 0:
            return lines[:number], copy[1], " ".join(copy[2].decode().split())
    return None


def _plain(script: bytes) -> bytes:
    """Return the script without commands for psql and settings for newer servers."""
    return _SETTING.sub(rb"\1", _UNRESTRICT.sub(b"", _RESTRICT.sub(rb"\1", script)))


def _execute(connection: Connection, statements: list[bytes]) -> None:
    if script := _plain(b"".join(statements)):
        connection.execute(script)


def _unreadable(errors: bytes) -> BackupError:
    words = " ".join(errors.decode(errors="replace").split())[:500]
    return BackupError(f"pg_restore cannot read the backup, and nothing was changed: {words}")
