"""Drift of tenants' schemas: one refresh compares all with what the last update left, and groups equal differences."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_alembic.database.connection import connect
from pulumi_alembic.drift import tenants
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.stack.plugin_errors import HalfDone
from tests.postgres.alembic.test_schemas import ONE, TWO, Shops, shops

__all__ = ["shops"]


def refreshed(shops: Shops) -> dict[str, Any]:
    shops.stack.refresh()
    return dict(shops.stack.outputs.get("drift") or {})


def test_equal_drift_of_tenants_is_reported_once_with_their_names(shops: Shops, said: list[str]) -> None:
    shops.up()
    assert refreshed(shops) == {}
    shops.run("ALTER TABLE shop_a.two ADD COLUMN extra int; ALTER TABLE shop_b.two ADD COLUMN extra int")
    shops.run('DROP TABLE "Shop, the 3rd".one')
    said.clear()
    found = refreshed(shops)
    assert sorted(found) == [
        "column two.extra in 2 schemas (shop_a, shop_b)",
        "table one in 1 schema (Shop, the 3rd)",
    ]
    assert found["column two.extra in 2 schemas (shop_a, shop_b)"][0] == "expected: nothing"
    assert [text.partition(" from")[0] for text in said] == [
        "drift in 2 schemas (shop_a, shop_b)",
        "drift in 1 schema (Shop, the 3rd)",
    ]
    assert "shop_a." not in said[0]


@pytest.mark.full
def test_an_update_does_not_accept_drift_and_ends_none(shops: Shops, said: list[str]) -> None:
    shops.up(ONE)
    shops.run("ALTER TABLE shop_a.one ADD COLUMN extra int")
    said.clear()
    shops.up(TWO)
    assert [text for text in said if text.startswith("drift in 1 schema (shop_a)")]
    assert list(refreshed(shops)) == ["column one.extra in 1 schema (shop_a)"]
    assert shops.preview(TWO)["plan"] == f"at {TWO}: nothing pending"
    assert shops.up(TWO, drift_ignore=["column one.*"])
    assert refreshed(shops) == {}


@pytest.mark.full
def test_tenants_that_failed_are_compared_with_what_they_have(shops: Shops) -> None:
    shops.up(ONE)
    shops.run("CREATE TABLE shop_a.broken ()")
    with pytest.raises(HalfDone):
        shops.up(TWO)
    assert list(refreshed(shops)) == ["table broken in 1 schema (shop_a)"]


@pytest.mark.full
def test_what_an_interrupted_update_left_becomes_the_baseline_and_is_said(shops: Shops, said: list[str]) -> None:
    shops.up(ONE)
    shops.at("shop_b").migrate(TWO)
    assert refreshed(shops) == {}
    shops.up(TWO)
    assert [text for text in said if text.startswith("1 schema (shop_b): at another revision than the last update")]
    shops.run("DROP TABLE shop_b.two")
    assert list(refreshed(shops)) == ["table two in 1 schema (shop_b)"]


@pytest.mark.full
def test_equal_schemas_have_one_fingerprint_and_one_stored_text(shops: Shops) -> None:
    shops.up()
    rows = shops.target.query(
        "SELECT count(*), count(DISTINCT checksum), count(source) FROM migrations.ledger WHERE event = 'snapshot'"
    )
    assert rows == [(3, 1, 1)]
    with connect(shops.target.url) as session:
        found = tenants.read(session, shops.names)
    assert len({snapshot.digest for snapshot in found.values()}) == 1


def test_the_name_of_the_schema_is_removed_wherever_the_server_prints_it() -> None:
    def of(name: str) -> Snapshot:
        return Snapshot(
            (
                Item("server", "15"),
                Item("role", "app"),
                Item("schema", name),
                Item("table", f"{name}.t"),
                Item(
                    "index",
                    f"{name}.i",
                    {"table": f"{name}.t", "definition": f"CREATE INDEX i ON {name}.t (f({name}.g()))"},
                ),
                Item("owner", f"table {name}.t", {"kind": "table", "object": f"{name}.t", "owner": "me"}),
                Item("owner", f"schema {name}", {"kind": "schema", "object": name, "owner": "me"}),
                Item("table", "other.t"),
            )
        )

    for schema, quoted in (("a", "a"), ("An Owl", '"An Owl"')):
        [found] = tenants.split(of(quoted), [schema], {schema: ["1"]}).values()
        assert [str(item) for item in found.items] == ["server 15", "heads 1", "table t", "index i", "owner table t"]
        assert found.by_key["index", "i"].facts["definition"] == "CREATE INDEX i ON t (f(g()))"
    assert tenants.split(of("a"), ["b"])["b"].items == (Item("server", "15"),)
