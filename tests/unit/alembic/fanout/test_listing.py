"""Lists of database names: an invalid name or list is rejected before any server is asked."""

import pytest

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.fanout.plan.databases import Kind, Listing, address, changes, unpack

TENANTS = [f"tenant_{number:04}" for number in range(1000)]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "there is not one database"),
        ([None], "databases, number 1 is NULL"),
        (["a", 7], "databases, number 2 is 7: the name of a database is a text"),
        ([b"a"], "is b'a'"),
        ([["a"]], r"is \['a'\]"),
        ([""], "is '', which cannot be the name"),
        (["a\0b"], "cannot be the name"),
        (["x" * 64], "has 64 bytes: the name of a database has 63 at most"),
        (["é" * 32], "has 64 bytes"),
        (["a", "b", "a"], "'a' is there twice, as number 1 and number 3"),
        (["template1"], "template1, of which the server makes new databases"),
    ],
)
def test_what_is_no_list_of_databases_is_refused_and_named(names: list[object], said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        Listing.of(names, "databases")


@pytest.mark.parametrize("name", ["migrations", "kept", "information_schema", "pg_catalog", "pg_temp_3"])
def test_what_is_no_tenants_schema_is_refused_and_named(name: str) -> None:
    with pytest.raises(PolicyError, match=f"schemas, number 2 is {name}, which is no tenant's schema"):
        Listing.of(["shop", name], "schemas", kind=Kind.SCHEMA)


def test_a_listing_of_schemas_counts_schemas() -> None:
    assert str(Listing.of(["a", "b"], "schemas", kind=Kind.SCHEMA)).startswith("2 schemas, v1:")
    with pytest.raises(PolicyError, match="there is not one schema"):
        Listing.of([], "schemas", kind=Kind.SCHEMA)


def test_a_name_may_be_anything_that_postgresql_takes() -> None:
    names = ["x" * 63, "Ünï/cöde?", 'with "quotes" and spaces', "a\nb", "-- c"]
    assert Listing.of(names, "databases").names == tuple(names)
    assert unpack(Listing.of(names, "databases").pack()) == tuple(names)


def test_a_thousand_names_are_small_in_a_state() -> None:
    listing = Listing.of(TENANTS, "databases")
    assert unpack(listing.pack()) == tuple(TENANTS)
    assert len(listing.pack()) < 4_000
    assert str(listing).startswith("1,000 databases, v1:")


def test_the_order_matters_to_who_is_first_and_not_to_what_is_listed() -> None:
    there, back = Listing.of(["a", "b"], ""), Listing.of(["b", "a"], "")
    assert there.names != back.names and there.digest == back.digest
    assert there.digest != Listing.of(["a", "c"], "").digest != Listing.of(["ac"], "").digest


def test_those_that_came_and_those_that_went_are_named() -> None:
    assert changes(["a", "b"], ["b", "a"]) == []
    assert changes(["a", "b"], ["b", "c"]) == [
        "new since the last update: c",
        "no longer among them, and left as they are: a",
    ]
    assert changes([], TENANTS)[0].endswith("tenant_0004 and 995 more")


@pytest.mark.parametrize(
    ("url", "name", "led"),
    [
        ("postgresql://u:p@h:5432/a", "b", "postgresql://u:p@h:5432/b"),
        ("postgresql+psycopg://u@h", "b", "postgresql+psycopg://u@h/b"),
        ("postgres://u@h/a?sslmode=require&dbname=c", "b", "postgres://u@h/b?sslmode=require"),
        ("postgresql:///a?host=/tmp", "a/b?c#d%", "postgresql:///a%2Fb%3Fc%23d%25?host=/tmp"),
        ("postgresql://u@h/?dbname=c", "é", "postgresql://u@h/%C3%A9"),
    ],
)
def test_a_login_is_led_to_another_database_of_its_server(url: str, name: str, led: str) -> None:
    assert address(url, name) == led


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(PolicyError) as refused:
        address("host=h password=geheim", "a")
    assert "geheim" not in str(refused.value)
