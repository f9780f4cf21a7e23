"""Three PostgreSQL clusters for dev, staging and prod that differ as an organisation's servers do."""

from __future__ import annotations

import datetime
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from taskdb.local.account import Account
from taskdb.local.binaries import Binaries
from taskdb.local.cluster import ADMIN, HOST, Cluster
from taskdb.local.ports import free_port
from tests.conftest import SETTINGS

# Settings that differ from every default that a program could rely on.
FOREIGN: Mapping[str, str] = {
    "timezone": "Asia/Kathmandu",
    "log_timezone": "Asia/Kathmandu",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "extra_float_digits": "0",
    "bytea_output": "escape",
    "default_transaction_isolation": "repeatable read",
    "search_path": "public",
}


@dataclass(frozen=True)
class Named:
    """A running cluster, and the PG variables that name it."""

    cluster: Cluster
    variables: Mapping[str, str]

    def connect(self) -> psycopg.Connection[Any]:
        """Open an autocommit connection as its admin."""
        given: dict[str, Any] = {name.removeprefix("PG").lower(): value for name, value in self.variables.items()}
        tls = {"sslmode": "verify-full"} if "sslrootcert" in given else {}
        return psycopg.connect(**given, **tls, dbname="postgres", autocommit=True)


class Authority:
    """A private certificate authority. Its clients get `file`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._sign(self._name, self._key.public_key(), constraints, "")
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, host: str) -> tuple[bytes, bytes]:
        """Issue a server's certificate for only `host`, and return it with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(name, key.public_key(), x509.BasicConstraints(ca=False, path_length=None), host)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, constraints: x509.BasicConstraints, host: str
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        unsigned = x509.CertificateBuilder(self._name, name, key, x509.random_serial_number(), now - day, now + day)
        builder = unsigned.add_extension(constraints, critical=True)
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class ForeignCluster(Cluster):
    """A cluster with Austrian collation if its version can set one (15 and newer), and with byte order otherwise."""

    def _initdb(self) -> None:
        common = ("-D", self.data, "-U", "postgres", "-A", "reject", "-E", "UTF8", "--locale=C")
        if self._run("initdb", *common, "--locale-provider=icu", "--icu-locale=de-AT").returncode != 0:
            self._check(self._run("initdb", *common), "create a cluster")


def plain(parent: Path, binaries: Binaries) -> Named:
    """Start a cluster like a developer's: on loopback, without encryption."""
    return _started(Cluster, parent, binaries, {})


def encrypted(parent: Path, binaries: Binaries, authority: Authority) -> Named:
    """Start a cluster that accepts only TLS connections, with a certificate of `authority` for the name localhost."""
    return _started(Cluster, parent, binaries, {}, authority)


def foreign(parent: Path, binaries: Binaries, authority: Authority) -> Named:
    """Start an encrypted cluster with another collation, time zone and defaults. Its admin's name needs quotes."""
    made = _started(ForeignCluster, parent, binaries, FOREIGN, authority)
    variables = {"PGUSER": "ops-admin", "PGPASSWORD": secrets.token_hex(18)}
    statement = f"CREATE ROLE \"ops-admin\" LOGIN CREATEROLE CREATEDB PASSWORD '{variables['PGPASSWORD']}'"
    with made.connect() as admin:
        admin.execute(statement)
    return replace(made, variables={**made.variables, **variables})


def _started(
    kind: type[Cluster],
    parent: Path,
    binaries: Binaries,
    settings: Mapping[str, str],
    authority: Authority | None = None,
) -> Named:
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=parent))
    folder.chmod(0o755)
    cluster, password, port = kind(folder, binaries, Account.for_new_server()), secrets.token_hex(18), free_port()
    variables = {"PGHOST": HOST, "PGPORT": str(port), "PGUSER": ADMIN, "PGPASSWORD": password}
    tls = {"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"} if authority else {}
    cluster.create(password, {**SETTINGS, **settings, **tls})
    if authority:
        variables |= {"PGHOST": "localhost", "PGSSLROOTCERT": str(authority.file)}
        certificate, key = authority.issue("localhost")
        files = {"server.crt": certificate, "server.key": key, "pg_hba.conf": b"hostssl all all all scram-sha-256\n"}
        for name, content in files.items():
            path = cluster.data / name
            path.write_bytes(content)
            path.chmod(0o600)
            cluster.account.own(path)
    cluster.start(port)
    return Named(cluster, variables)
