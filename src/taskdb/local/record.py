"""The record of a development server, in one file that only its user can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from taskdb.errors import TaskdbError

__all__ = ["Record", "Server"]


@dataclass(frozen=True)
class Server:
    """The address and the admin's login of a server. `repr` omits the password."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Record:
    """A server's login, with the version and the directory of the programs that last started it."""

    server: Server
    version: str
    binaries: str

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """Return the record of the server in `folder`. None if the folder does not exist.

        Raises:
            TaskdbError: The record cannot be read. The password is stored nowhere else.

        """
        try:
            content = json.loads((folder / "server.json").read_text())
            return cls(Server(**content.pop("server")), **content)
        except FileNotFoundError:
            if not folder.exists():
                return None
            problem = "is missing"
        except PermissionError:
            raise TaskdbError(f"The development server in {folder} belongs to another user.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            problem = "is damaged"
        raise TaskdbError(
            f"{folder / 'server.json'} {problem}, and with it the admin's password. "
            "Start over, which deletes the local databases: taskdb server remove && taskdb server start"
        )

    def write(self, folder: Path) -> None:
        """Replace the file in one step, so that a reader sees the old record or the new one."""
        new = folder / "server.json.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(self), file)
        new.replace(folder / "server.json")
