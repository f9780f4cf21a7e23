"""The server of a stack, and the login that creates roles and databases."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlencode

from taskdb import local
from taskdb.commands import command
from taskdb.errors import TaskdbError

__all__ = ["CONFIGURATION", "REQUIRE_AUTH_KEY", "UNVERIFIED_KEY", "VARIABLES", "Admin", "admin_of"]

PROPERTIES = ("host", "port", "username", "password", "sslmode", "sslrootcert")
CONFIGURATION = {name: f"postgresql:{name}" for name in PROPERTIES}
VARIABLES = dict(
    zip(PROPERTIES, ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGSSLROOTCERT"), strict=True)
)
REQUIRE_AUTH = "scram-sha-256"
"""The default authentication method. By it the server also proves that it knows the password."""
REQUIRE_AUTH_KEY = "taskdb:require_auth"
UNVERIFIED_KEY = "taskdb:unverified_server"
_METHODS = {"none", "password", "md5", "gss", "sspi", "scram-sha-256", "oauth"}

FILLED_IN = ("username", "password", "sslrootcert")
ENCRYPTION = {"sslmode", "sslrootcert"}
SSL_MODES = {"disable", "require", "verify-ca", "verify-full"}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
# Debian's, Fedora's, Alpine's and macOS's.
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True)
class Admin:
    """The server's address, and the login that creates roles and databases.

    Attributes:
        sslrootcert: The file of certificate authorities that verify the server. Empty if it is not verified.
        local: Whether it is the development server.
        require_auth: The authentication methods that are accepted, as libpq lists them.

    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    sslmode: str
    sslrootcert: str = ""
    local: bool = False
    require_auth: str = REQUIRE_AUTH

    def url(self, database: str) -> str:
        """Return the admin's URL of a database. It contains the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@{host}:{self.port}/{database}?{urlencode(self.tls)}"

    @property
    def tls(self) -> dict[str, str]:
        """The connection parameters for encryption, with libpq's names."""
        return {"sslmode": self.sslmode, **({"sslrootcert": self.sslrootcert} if self.sslrootcert else {})}


def admin_of(values: Mapping[str, str], project: Path, *, production: bool) -> Admin:
    """Return the server of the stack's `postgresql:` configuration, or of PGHOST, or the development server.

    PGUSER, PGPASSWORD and PGSSLROOTCERT complete the configuration of a host. Its `sslmode` and `sslrootcert` also
    apply to PGHOST. The connections of a production stack are encrypted. Only on loopback it can choose not to encrypt
    them.

    Args:
        values: The stack's configuration.
        project: The directory of the project.
        production: Whether the stack is a production stack.

    Raises:
        TaskdbError: A value is not valid or missing. The text contains the command that fixes it.

    """
    values_given = {name: values[key] for name, key in CONFIGURATION.items() if values.get(key)}
    variables = {name: os.environ[key] for name, key in VARIABLES.items() if os.environ.get(key)}
    if "host" in values_given:
        called, known = CONFIGURATION, {name: variables[name] for name in FILLED_IN if name in variables} | values_given
    elif "host" in variables and values_given.keys() <= ENCRYPTION:
        called, known = VARIABLES, variables | values_given
    else:
        called, known = {}, values_given
    admin = _named_server(known, called) if called else _development_server(values_given, project)
    admin = replace(admin, require_auth=_require_auth(values))
    trusted = admin.sslmode == "verify-full" or (admin.sslmode == "verify-ca" and "sslrootcert" in known)
    away = admin.host not in LOOPBACK and admin.sslmode != "disable"
    if production and away and not trusted and not values.get(UNVERIFIED_KEY, "").strip():
        raise TaskdbError(
            f"this is a production stack, and its connections to {admin.host} would not verify who answers there "
            f"(sslmode {admin.sslmode}). If that cannot be verified, {UNVERIFIED_KEY} says why. Otherwise verify it:\n"
            f"  {command('config set', 'postgresql:sslmode verify-full')}"
        )
    if production and admin.sslmode == "disable" and ("sslmode" not in known or admin.host not in LOOPBACK):
        _refuse_plain(admin)
    return admin


def _require_auth(values: Mapping[str, str]) -> str:
    """Return the authentication methods that the stack accepts, as libpq's require_auth lists them."""
    value = values.get(REQUIRE_AUTH_KEY, REQUIRE_AUTH)
    unknown = [name for name in value.split(",") if name.strip().removeprefix("!") not in _METHODS]
    if unknown:
        fix = command("config set", f"{REQUIRE_AUTH_KEY} {REQUIRE_AUTH}")
        raise TaskdbError(
            f"{REQUIRE_AUTH_KEY} must be a list of {', '.join(sorted(_METHODS))}, not {value!r}. Set it:\n  {fix}"
        )
    return value


def _refuse_plain(admin: Admin) -> None:
    fix = "postgresql:host HOST" if admin.local else "postgresql:sslmode verify-full"
    raise TaskdbError(
        f"this is a production stack, and its connections to {'the development server' if admin.local else admin.host} "
        f"would not be encrypted (sslmode disable). Encrypt them:\n  {command('config set', fix)}\n"
        f"Or declare that it is no production stack:\n  {command('config set', 'taskdb:production false')}"
    )


def _development_server(given: Mapping[str, str], project: Path) -> Admin:
    if given:
        raise TaskdbError(
            f"{CONFIGURATION[min(given)]} is set and postgresql:host is not. Name the server by PGHOST, PGPORT, PGUSER "
            f"and PGPASSWORD, or set it:\n  {command('config set', 'postgresql:host HOST')}"
        )
    server = local.find(project)
    if server is None:
        raise TaskdbError(
            "there is no PostgreSQL server for this stack. Start the development server:\n  taskdb server start\n"
            f"Or name another:\n  {command('config set', 'postgresql:host HOST')}"
        )
    return Admin(server.host, server.port, server.username, server.password, "disable", local=True)


def _named_server(given: Mapping[str, str], called: Mapping[str, str]) -> Admin:
    """Return the server with these properties. `called` contains the name of each property's key."""
    for name in ("username", "password"):
        if name not in given:
            either = "" if called is VARIABLES else f", nor {VARIABLES[name]}"
            raise TaskdbError(f"{called['host']} names a server, and {called[name]} is not set{either}: set it as well")
    if given["host"].startswith("/"):
        raise TaskdbError(
            f"{called['host']} is a socket's folder, {given['host']}: the stack needs a host name or address"
        )
    port = given.get("port", "5432")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise TaskdbError(f"{called['port']} must be a number from 1 to 65535, not {port!r}")
    sslmode = given.get("sslmode", "disable" if given["host"] in LOOPBACK else "verify-full")
    if sslmode not in SSL_MODES:
        raise TaskdbError(f"{called['sslmode']} must be one of {', '.join(sorted(SSL_MODES))}, not {sslmode!r}")
    sslrootcert = given.get("sslrootcert", "")
    if sslmode.startswith("verify") and not sslrootcert:
        sslrootcert = _system_certificates(called["sslrootcert"], sslmode)
    return Admin(given["host"], int(port), given["username"], given["password"], sslmode, sslrootcert)


def _system_certificates(key: str, sslmode: str) -> str:
    """Return the system's file of certificate authorities. The postgresql plugin finds it, but libpq does not."""
    paths = ssl.get_default_verify_paths()
    for candidate in (paths.cafile, paths.openssl_cafile, *CERTIFICATES):
        if candidate and Path(candidate).is_file():
            return candidate
    raise TaskdbError(
        f"{key} is not set, and this system has no file of its own to verify servers by (sslmode {sslmode})"
    )
