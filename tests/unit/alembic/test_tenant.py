"""The URL of a tenant, and the names that are derived from its schema."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from pulumi_alembic.database.tenant import SETTING, in_schema, lock_key, version_table


@pytest.mark.parametrize("schema", ["shop", "Shop, the 3rd", 'a"b', "back\\slash", "ünï%20&?#=", "a\tb"])
def test_libpq_reads_the_schema_and_the_path_from_the_url(schema: str) -> None:
    url = in_schema("postgresql://me:p%40ss@h:5/db?sslmode=require&options=-c%20jit%3Doff", schema, ["public"])
    parameters = conninfo_to_dict(url)
    assert (parameters["password"], parameters["host"], parameters["sslmode"]) == ("p@ss", "h", "require")
    assert str(parameters["options"]).startswith("-c jit=off -c pulumi_alembic.schema=")
    assert str(parameters["options"]).endswith(',"public"')


def test_options_of_the_environment_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=5s")
    options = str(conninfo_to_dict(in_schema("postgresql://h/db", "shop"))["options"])
    assert options.startswith("-c statement_timeout=5s -c pulumi_alembic.schema=shop ")


def test_each_tenant_has_its_own_table_and_key_and_the_database_keeps_its_own() -> None:
    names = ["", "shop", "shop2", *("s" * length for length in range(40, 64)), "é" * 31]
    tables = [version_table(name) for name in names]
    assert tables[:2] == ["alembic_version", "alembic_version_shop"]
    assert len({*tables}) == len(names) and max(len(table.encode()) for table in tables) == 59
    keys = [lock_key(name) for name in names]
    assert len({*keys}) == len(keys) and all(0 <= key < 2**63 for key in keys)
    # Two releases that run at once must agree on the key, and ledgers have the setting in a column's default.
    assert SETTING == "pulumi_alembic.schema"
    assert lock_key("shop") == 5059447200598113205
