"""The arguments that a program can pass to the resource, and the errors if a preview cannot plan with them."""

from typing import Any

import pulumi
import pytest

from pulumi_alembic import Approval, Backup, Drift, Migrations, PromoteFrom, Query, Schemas, Waves
from tests.conftest import PROJECT

pytestmark = pytest.mark.usefixtures("event_loop")

DIRECTORY = str(PROJECT / "migrations")


class Mocks(pulumi.runtime.Mocks):
    """Answers each registration with its inputs, and records them."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs.append(args.inputs)
        return "id", args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(args.token)


def registered(**arguments: Any) -> list[dict[str, Any]]:
    """Return the inputs that a preview of the resource registers.

    Each argument is a function that is called in the program.
    """
    mocks = Mocks()
    pulumi.runtime.set_mocks(mocks, project="shop", stack="dev", preview=True)

    def program() -> None:
        values = {name: make() for name, make in arguments.items()}
        Migrations("schema", **{"url": "postgresql://", "directory": DIRECTORY, **values})

    pulumi.runtime.test(program)()
    return mocks.inputs


def test_downgrades_keep_what_they_take_away_unless_the_program_says_otherwise() -> None:
    [properties] = registered(keep_data=lambda: False, policy=lambda: {"lock_timeout": "1s"})
    assert properties["policy"] == {"lock_timeout": "1s", "keep_data": "false"}
    [properties] = registered()
    assert "policy" not in properties


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        ("directory", lambda: pulumi.Output.from_input("migrations"), "directory"),
        ("target", lambda: pulumi.Output.from_input("head"), "target"),
        ("policy", lambda: pulumi.Output.from_input({}), "policy"),
        ("policy", lambda: {"lock_timeout": pulumi.Output.from_input("1s")}, "policy['lock_timeout']"),
        ("on_unknown_revision", lambda: pulumi.Output.from_input("refuse"), "on_unknown_revision"),
    ],
)
def test_an_output_where_a_preview_needs_a_value_is_refused_by_name(argument: str, value: Any, named: str) -> None:
    with pytest.raises(pulumi.RunError, match="is an output of another resource") as caught:
        registered(**{argument: value})
    assert f"Migrations 'schema': {named} is an output" in str(caught.value)
    assert "Give it a plain value" in str(caught.value)


def test_url_and_approval_may_be_outputs() -> None:
    [inputs] = registered(
        url=lambda: pulumi.Output.from_input("postgresql://elsewhere"),
        approval=lambda: Approval(pulumi.Output.from_input("v1:")),
    )
    # The URL is a secret, even if a plain value was given.
    assert (inputs["url"]["value"], inputs["__approved"]) == ("postgresql://elsewhere", "v1:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"databases": []}, "databases: there is not one database"),
        ({"databases": ["a", "a"]}, "'a' is there twice"),
        ({"databases": ["x" * 64]}, "has 64 bytes"),
        ({"databases": ["a", None]}, "number 2 is NULL"),
        ({"databases": "tenant"}, "databases must be a list of names, or a Query, not 'tenant'"),
        ({"databases": Query("  ")}, "must be a statement (such as SELECT datname"),
        (
            {"databases": Query("SELECT 1", timeout="soon")},
            "the query's timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not 'soon'",
        ),
        ({"databases": ["a"], "waves": Waves(canary=0)}, "canary must be a whole number from 1, not 0"),
        ({"databases": ["a"], "waves": Waves(wave=True)}, "wave must be a whole number from 1, not True"),
        ({"databases": ["a"], "waves": Waves(parallel="2")}, "parallel must be a whole number from 1, not '2'"),
        ({"waves": Waves(parallel=2)}, "waves is for several databases: name them with databases="),
        (
            {"databases": ["a"], "backup": Backup("always", "/b")},
            "backup is for one database, and here are many",
        ),
        ({"schemas": []}, "schemas: there is not one schema"),
        ({"schemas": ["kept"]}, "schemas, number 1 is kept, which is no tenant's schema"),
        ({"schemas": "shop"}, "schemas must be a list of names, or a Query, not 'shop'"),
        ({"schemas": Schemas(["a"], shared=["migrations"])}, "shared, number 1 is migrations"),
        ({"databases": ["a"], "adopt": True}, "adopt and databases cannot be combined: take adopt off"),
        ({"databases": ["a"], "drift": Drift(ignore=["table app.t"])}, "drift and databases cannot be combined"),
        ({"schemas": ["a"], "databases": ["b"]}, "databases and schemas cannot be combined"),
        (
            {"schemas": ["a"], "backup": Backup("always", "/b")},
            "backup and schemas cannot be combined: take backup off",
        ),
        ({"schemas": ["a"], "adopt": True}, "adopt and schemas cannot be combined"),
        ({"schemas": ["a"], "rehearse_with": "postgresql://x"}, "rehearse_with and schemas cannot be combined"),
        ({"schemas": ["a"], "waves": Waves(on_error="skip")}, "on_error must be stop or continue, not 'skip'"),
    ],
)
def test_what_makes_no_fan_out_is_an_error_of_the_program(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        registered(**{name: (lambda value=value: value) for name, value in arguments.items()})
    assert said in str(caught.value)


def test_a_query_goes_to_the_provider_with_its_address_as_a_secret() -> None:
    [inputs] = registered(databases=lambda: Query("SELECT 'a'", url="postgresql://admin"), waves=lambda: Waves(wave=3))
    assert inputs["query"] == "SELECT 'a'" and inputs["waves"] == {"wave": 3}
    assert inputs["__query_url"]["value"] == "postgresql://admin"
    assert "databases" not in inputs


def test_schemas_are_properties_beside_the_query_that_lists_them() -> None:
    [inputs] = registered(schemas=lambda: Schemas(["a", "b"], shared=["public"]))
    assert (inputs["schemas"], inputs["shared_schemas"]) == (["a", "b"], ["public"])
    [inputs] = registered(schemas=lambda: Query("SELECT 'a'"))
    assert (inputs["schemas"], inputs["query"]) == ("", "SELECT 'a'") and "databases" not in inputs


def test_one_database_has_no_property_of_a_fan_out() -> None:
    """Otherwise every existing state would show a change."""
    [inputs] = registered()
    assert not inputs.keys() & {"databases", "schemas", "shared_schemas", "query", "waves", "revisions", "failures"}


@pytest.mark.parametrize(
    ("argument", "value", "properties"),
    [
        ("approval", Approval("v1:"), {"require_approval": True, "__approved": "v1:"}),
        ("backup", Backup("always", "/b"), {"backup": "always", "backup_folder": "/b"}),
        ("backup", Backup("never"), {}),
        ("promote_from", PromoteFrom("staging", "sealed"), {"__lower": {"stack": "staging", "proof": "sealed"}}),
        ("drift", Drift(["table  app.tmp_*"], "v2"), {"drift_ignore": ["table app.tmp_*"], "infrastructure": "v2"}),
        ("drift", Drift(), {}),
    ],
)
def test_what_belongs_together_has_the_properties_that_states_know(
    argument: str, value: object, properties: dict[str, Any]
) -> None:
    [without] = registered()
    [inputs] = registered(**{argument: lambda: value})
    assert {name: each for name, each in inputs.items() if name not in without} == properties


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"approval": True}, "approval must be pulumi_alembic.Approval(…), not True"),
        ({"backup": "always"}, "backup must be pulumi_alembic.Backup(…), not 'always'"),
        ({"databases": ["a"], "waves": 2}, "waves must be pulumi_alembic.Waves(…), not 2"),
        (
            {"drift": Drift("table app.tmp_*")},
            "drift_ignore must be a list of patterns (such as 'table app.tmp_*'), not 'table app.tmp_*'",
        ),
    ],
)
def test_a_word_where_a_group_belongs_is_refused_by_name(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        registered(**{name: (lambda value=value: value) for name, value in arguments.items()})
    assert said in str(caught.value)
