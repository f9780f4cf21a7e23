"""The provider's own configuration: its keys, their check and their defaults."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulumi_embedded.model.values import UNKNOWN, Secret, contains_unknowns
from pulumi_embedded.postgresql.errors import ProviderError

__all__ = ["VARIABLES", "Configuration", "check_configuration", "configuration"]

VARIABLES = frozenset(
    ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSUPERUSER", "PGSSLMODE", "PGCONNECT_TIMEOUT")
)
"""The environment variables that complete the configuration, from the real plugin's documentation."""

_NUMBERS = {"port", "connectTimeout", "maxConnections"}
_BOOLEANS = {"superuser", "awsRdsIamAuth", "azureIdentityAuth"}
_TEXTS = {"scheme", "host", "database", "username", "password", "databaseUsername", "sslmode", "sslMode"}
_TEXTS |= {"sslrootcert", "expectedVersion", "version", "pluginDownloadURL"}
# Keys that only the real plugin supports: clients of three clouds, and TLS client certificates.
_FOREIGN = {"awsRdsIamProfile", "awsRdsIamRegion", "awsRdsIamProviderRoleArn", "azureTenantId"}
_FOREIGN |= {"gcpIamImpersonateServiceAccount", "clientcert"}
_SCHEMES = ("postgres", "awspostgres", "gcppostgres")


@dataclass(frozen=True)
class Configuration:
    """The server and the login. `password` is sent to the server only."""

    host: str
    port: int
    database: str
    username: str
    password: str
    database_username: str
    superuser: bool
    sslmode: str
    sslrootcert: str
    connect_timeout: int

    def __repr__(self) -> str:
        return f"Configuration({self.username}@{self.host}:{self.port}/{self.database})"


def check_configuration(news: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values as strings with a secret password, and the reasons for which they are rejected.

    Raises:
        ProviderError: A value has another type than its key, as with the real plugin.

    """
    unknown_key = next((key for key in sorted(news) if key not in _NUMBERS | _BOOLEANS | _TEXTS | _FOREIGN), None)
    if unknown_key:
        advice = "If the referenced key is not intended for the provider, please choose a different namespace"
        problem = f"`postgresql:{unknown_key}` is not a valid configuration key for the postgresql provider"
        return {}, [f"{problem}. {advice} from `postgresql:`."]
    values = {
        key: _decoded(key, value, "CheckConfig failed because of malformed resource inputs: ")
        for key, value in news.items()
        if value is not None
    }
    reasons = _reasons(values)
    inputs = {key: _encoded(value) for key, value in values.items()}
    if "password" in inputs and not contains_unknowns(inputs["password"]):
        inputs["password"] = Secret(inputs["password"])
    return ({}, reasons) if reasons else (inputs, [])


def _encoded(value: Any) -> Any:
    return value if isinstance(value, str) or contains_unknowns(value) else json.dumps(value)


def _decoded(key: str, value: Any, context: str = "") -> Any:
    if not isinstance(value, str) or key not in _NUMBERS | _BOOLEANS:
        return value
    try:
        decoded = json.loads(value)
    except ValueError:
        raise ProviderError(f"{context}invalid character '{value[:1]}' looking for beginning of value") from None
    if isinstance(decoded, bool) != (key in _BOOLEANS):
        raise ProviderError(f"{context}`postgresql:{key}` cannot be {value}")
    return decoded


def _reasons(values: Mapping[str, Any]) -> list[str]:
    reasons = []
    for key, name in (("connectTimeout", "connect_timeout"), ("maxConnections", "max_connections")):
        if isinstance(values.get(key), int) and values[key] < -1:
            reasons.append(_invalid(f"expected {name} to be at least (-1), got {values[key]}", key))
    if values.get("scheme") not in (None, UNKNOWN, *_SCHEMES):
        schemes = " ".join(f'"{scheme}"' for scheme in _SCHEMES)
        reasons.append(_invalid(f"expected scheme to be one of [{schemes}], got {values['scheme']}", "scheme"))
    return reasons


def _invalid(reason: str, key: str) -> str:
    return f"could not validate provider configuration: {reason}. Check `pulumi config get postgresql:{key}`."


def configuration(args: Mapping[str, Any], variables: Mapping[str, str] = os.environ) -> Configuration:
    """Return the configuration from `args` and VARIABLES, read as the real plugin does.

    Unknown values count as missing. Only previews, which do not connect, can have them.

    Raises:
        ProviderError: A value has another type than its key, or only the real plugin supports it.

    """
    values = {key: _decoded(key, value) for key, value in args.items() if not contains_unknowns(value)}
    _refuse_foreign(values)
    username = str(_chosen(values, variables, "username", "PGUSER", "postgres"))
    return Configuration(
        host=str(_chosen(values, variables, "host", "PGHOST", "")),
        port=int(_chosen(values, variables, "port", "PGPORT", 5432)),
        database=str(_chosen(values, variables, "database", "PGDATABASE", "postgres")),
        username=username,
        password=str(_chosen(values, variables, "password", "PGPASSWORD", "")),
        database_username=str(_chosen(values, variables, "databaseUsername", "", username)),
        superuser=_chosen(values, variables, "superuser", "PGSUPERUSER", True) in (True, "1", "t", "true"),
        # The driver of the real plugin, lib/pq, uses `require` if sslmode is not set.
        sslmode=str(_chosen(values, variables, "sslmode", "PGSSLMODE", values.get("sslMode") or "require")),
        sslrootcert=str(_chosen(values, variables, "sslrootcert", "", "")),
        connect_timeout=int(_chosen(values, variables, "connectTimeout", "PGCONNECT_TIMEOUT", 180)),
    )


def _chosen(values: Mapping[str, Any], variables: Mapping[str, str], key: str, variable: str, default: Any) -> Any:
    value = values.get(key)
    return (variables.get(variable) or default) if value in (None, "") else value


def _refuse_foreign(values: Mapping[str, Any]) -> None:
    if values.get("scheme", "postgres") != "postgres":
        raise _foreign(f"scheme {values['scheme']}")
    for key in sorted(_FOREIGN | {"awsRdsIamAuth", "azureIdentityAuth"}):
        if values.get(key):
            raise _foreign(f"postgresql:{key}")


def _foreign(what: str) -> ProviderError:
    return ProviderError(
        f"the embedded postgresql plugin does not support {what}. Install the Pulumi CLI "
        "(https://www.pulumi.com/docs/install/), whose own plugin supports it, and run `pulumi` instead of "
        "`pulumi-embedded`"
    )
