"""An update runs exactly the approved plan, to the last statement. Otherwise it says what changed, and runs nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.output import Unknown

from pulumi_alembic.errors import LintError, NotApproved
from pulumi_alembic.migrate import planner
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.review.gates import APPROVE
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"

provider = MigrationsProvider()


@pytest.fixture
def three(empty_target: Target) -> Target:
    """Write three scripts, with the database at the first."""
    empty_target.write(ONE, None, "op.execute('CREATE TABLE t (x int)')", "op.execute('DROP TABLE t')")
    empty_target.write(TWO, ONE, "op.execute('ALTER TABLE t ADD y int')", "op.execute('ALTER TABLE t DROP y')")
    empty_target.write(THREE, TWO, "op.execute('ALTER TABLE t ADD z int')", "op.execute('ALTER TABLE t DROP z')")
    empty_target.migrate(ONE)
    return empty_target


def asked(database: Target, revision: str, **changes: Any) -> dict[str, Any]:
    news = {"url": database.url, "directory": str(database.directory), "target": revision, "__urn": "urn"}
    answer = provider.check({}, {**news, "require_approval": True, "__approved": "", **changes})
    assert answer.failures == []
    return dict(answer.inputs)


def refusal(target: Target, planned: dict[str, Any]) -> str:
    before = planner.read_revision(target.url)
    with pytest.raises(NotApproved) as caught:
        provider.create(planned)
    assert planner.read_revision(target.url) == before
    return str(caught.value)


def test_without_an_approval_nothing_runs_and_the_message_has_the_command(three: Target) -> None:
    planned = asked(three, TWO)
    message = refusal(three, planned)
    assert message.startswith("the pending revisions are not approved")
    assert f"Then:\n  {APPROVE}={planned['digest']} pulumi up" in message


@pytest.mark.parametrize("by", ["variable", "configuration"])
def test_what_was_approved_runs_once(three: Target, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = asked(three, TWO)
    if by == "variable":
        monkeypatch.setenv(APPROVE, planned["digest"])
    approved = "" if by == "variable" else planned["digest"]
    outs = provider.create({**planned, "__approved": approved}).outs
    assert outs is not None and outs["revision"] == TWO
    # If nothing is pending, nothing needs approval. A downgrade and an upgrade again are not the approved plan.
    assert provider.create({**planned, "__approved": approved}).outs == outs
    assert "approved: heads, target, statements and findings changed" in refusal(
        three, asked(three, ONE, __approved=approved)
    )


def changed_script(target: Target) -> dict[str, Any]:
    [path] = target.directory.glob("versions/*002*.py")
    path.write_text(path.read_text() + "# looked at\n")
    return {}


def changed_target(_: Target) -> dict[str, Any]:
    return {"target": THREE}


def changed_heads(target: Target) -> dict[str, Any]:
    target.migrate("base")
    return {}


def changed_database(target: Target) -> dict[str, Any]:
    return {"url": target.url.replace("127.0.0.1", "localhost")}


def changed_tables(target: Target) -> dict[str, Any]:
    """Add a child table, so that the same statements lock more tables."""
    with connect(target.url) as connection:
        connection.execute("CREATE TABLE child () INHERITS (t)")
        connection.commit()
    return {}


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (changed_script, "scripts"),
        (changed_target, "target, scripts and statements"),
        (changed_heads, "heads, scripts and statements"),
        (changed_database, "database"),
        (changed_tables, "statements"),
    ],
)
def test_what_changed_since_is_named(
    three: Target, change: Callable[[Target], dict[str, Any]], parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(APPROVE, asked(three, TWO)["digest"])
    again = asked(three, TWO, **change(three))
    assert f"the plan is not the one that was approved: {parts} changed since" in refusal(three, again)


def test_what_a_server_does_to_the_order_of_its_catalog_changes_no_digest(three: Target) -> None:
    three.write("20250104_004", THREE, "op.execute('ALTER TABLE t ADD w int')")
    with connect(three.url) as connection:
        for child in "abc":
            connection.execute(f"CREATE TABLE {child} () INHERITS (t)".encode())
        connection.commit()
    before = asked(three, "20250104_004")
    with connect(three.url) as connection:
        # Each statement rewrites the table's rows in the catalog, after the rows of others.
        for child in "bca":
            connection.execute(f"ALTER TABLE {child} SET (fillfactor = 90)".encode())
        connection.commit()
    assert asked(three, "20250104_004")["digest"] == before["digest"]


def test_an_approval_that_a_preview_does_not_know_yet_is_no_reason_to_fail(three: Target) -> None:
    """The approval can come from another resource. Then only the update knows it."""
    planned = asked(three, TWO, __approved=Unknown())
    assert provider.create({**planned, "__approved": planned["digest"]}).outs


def test_a_digest_that_is_none_is_refused_as_such(three: Target) -> None:
    assert refusal(three, asked(three, TWO, __approved="yes")).startswith("'yes' is not a digest of a plan")


@pytest.mark.parametrize(("version", "age"), [("v1", "an older"), ("v3", "a newer")])
def test_an_approval_by_another_version_is_to_be_given_again(three: Target, version: str, age: str) -> None:
    """The approved digest was computed in another way, so the changed parts of the plan are unknown."""
    planned = asked(three, TWO)
    approved = version + planned["digest"].removeprefix("v2")
    message = refusal(three, {**planned, "__approved": approved})
    assert message.startswith(f"approved by {age} version. Review it again:\n  pulumi preview\n")
    assert message.endswith(f"Then:\n  {APPROVE}={planned['digest']} pulumi up")


def test_a_plan_for_a_database_to_come_can_be_approved(make_target: Callable[[Path], Target], three: Target) -> None:
    directory = three.directory.parent / "elsewhere"
    shutil.copytree(three.directory, directory)
    make_target(directory)
    fresh = make_target(directory)
    planned = asked(fresh, TWO, url=Unknown())
    with connect(fresh.url) as connection:
        connection.execute("CREATE TABLE somebodys ()")
        connection.commit()
    assert "database" in refusal(fresh, {**planned, "url": fresh.url, "__approved": planned["digest"]})
    with connect(fresh.url) as connection:
        connection.execute("DROP TABLE somebodys")
        connection.commit()
    outs = provider.create({**planned, "url": fresh.url, "__approved": planned["digest"]}).outs
    assert outs is not None and outs["revision"] == TWO
    assert "heads" in refusal(fresh, asked(fresh, THREE, __approved=planned["digest"]))


def test_a_table_that_grew_large_since_needs_another_approval(three: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    script = three.write(TWO, ONE, "op.execute('ALTER TABLE t ALTER x TYPE bigint')", "op.execute('DROP TABLE t')")
    script.write_text(script.read_text().replace("from alembic", '"""It is for larger numbers."""\nfrom alembic'))
    judged = {"large_rows": "100", "changing-column-type": "warning"}
    monkeypatch.setenv(APPROVE, asked(three, TWO, lint=judged)["digest"])
    again = asked(three, TWO, lint=judged)
    with connect(three.url) as connection:
        connection.execute("INSERT INTO t SELECT generate_series(1, 200); ANALYZE t")
        connection.commit()
    assert "is not the one that was approved: findings changed since" in refusal(three, again)


def test_an_error_of_lint_stops_the_update_and_not_the_preview(three: Target) -> None:
    with connect(three.url) as connection:
        connection.execute("INSERT INTO t SELECT generate_series(1, 200); ANALYZE t")
        connection.commit()
    script = three.write(
        TWO, ONE, "op.execute('ALTER TABLE t ALTER x TYPE bigint')", "op.execute('ALTER TABLE t ALTER x TYPE int')"
    )
    judged = {"lint": {"large_rows": "100"}, "require_approval": False, "__configure": "conf {rule} warning"}
    planned = asked(three, TWO, **judged)
    with pytest.raises(LintError) as caught:
        provider.create(planned)
    said = str(caught.value)
    assert "changing-column-type: changes the type of x of app.t to bigint, which rewrites the table" in said
    assert "# lint: allow changing-column-type: REASON" in said and "conf changing-column-type warning" in said
    assert planner.read_revision(three.url) == ONE
    assert provider.create(asked(three, TWO, **judged | {"lint": {"changing-column-type": "info"}})).outs
    three.migrate(ONE)
    script.write_text(
        script.read_text().replace(
            "op.execute('ALTER", "# lint: allow changing-column-type: at night\n    op.execute('ALTER"
        )
    )
    excused = asked(three, TWO, **judged)
    assert provider.create(excused).outs
    assert "at night" in excused["__plan"]
