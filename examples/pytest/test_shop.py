"""Test a Pulumi program with a real database: the fixture `engine` of pulumi-embedded runs it in this process.

It tests the example one-database on the server that these variables name, by an admin's login: SHOP_HOST, SHOP_PORT,
SHOP_ADMIN and SHOP_PASSWORD.
"""

import os
from pathlib import Path

import psycopg
import pytest

from pulumi_embedded.testing import Engine, Secret

PROGRAM = Path(__file__).parents[1] / "one-database"
PASSWORD = "a/correct horse"


@pytest.fixture
def shop(engine: Engine):
    """The program's stack; it is destroyed after the test."""
    engine.program = PROGRAM
    engine.config |= {
        "host": os.environ["SHOP_HOST"],
        "port": os.environ["SHOP_PORT"],
        "admin": os.environ["SHOP_ADMIN"],
        "admin_password": Secret(os.environ["SHOP_PASSWORD"]),
        "migrator_password": Secret(PASSWORD),
        "sslmode": "disable",
    }
    yield engine
    engine.destroy()


def test_the_stack_has_the_newest_schema(shop: Engine) -> None:
    assert shop.up().outputs["revision"] == "20260101_001"
    server = {"host": os.environ["SHOP_HOST"], "port": os.environ["SHOP_PORT"]}
    with psycopg.connect(**server, user="shop_migrator", password=PASSWORD, dbname="shop") as connection:
        assert connection.execute("SELECT count(*) FROM app.products").fetchone() == (0,)


def test_a_second_update_changes_nothing(shop: Engine) -> None:
    shop.up()
    assert set(shop.up().changes) == {"same"}
