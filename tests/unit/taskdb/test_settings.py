"""A stack's configuration matches its types, or the error names the key and the command that fixes it."""

import json
from pathlib import Path

import pulumi
import pytest

from pulumi_alembic import Approval
from pulumi_alembic.policy import Policy
from taskdb import local
from taskdb.errors import TaskdbError
from taskdb.settings import Settings
from taskdb.settings.admin import VARIABLES

NAMED = {"postgresql:host": "db.example", "postgresql:username": "admin", "postgresql:password": "hunter2"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Select the stack `dev` of the project `taskdb`, on a machine whose environment names no server."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pulumi, "get_project", lambda: "taskdb")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "dev")


def load(monkeypatch: pytest.MonkeyPatch, project: Path, **values: str) -> Settings:
    configuration = {"taskdb:revision": "head"} | {key.replace("__", ":"): value for key, value in values.items()}
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({key: value for key, value in configuration.items() if value}))
    return Settings.load(project)


def test_the_server_of_the_stack_goes_before_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere.example")
    admin = load(monkeypatch, tmp_path, **NAMED).admin
    assert (admin.host, admin.port, admin.username, admin.sslmode) == ("db.example", 5432, "admin", "verify-full")


def test_the_environment_goes_before_the_development_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, value in {"PGHOST": "localhost", "PGPORT": "5444", "PGUSER": "me", "PGPASSWORD": "x"}.items():
        monkeypatch.setenv(variable, value)
    admin = load(monkeypatch, tmp_path).admin
    assert (admin.host, admin.port, admin.username, admin.sslmode, admin.local) == (
        "localhost",
        5444,
        "me",
        "disable",
        False,
    )


def test_a_committed_configuration_leaves_the_login_to_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The environment sets neither the port, which is part of the address, nor how much of TLS is verified."""
    for variable, value in {"PGUSER": "me", "PGPASSWORD": "x", "PGPORT": "5444", "PGSSLMODE": "disable"}.items():
        monkeypatch.setenv(variable, value)
    admin = load(monkeypatch, tmp_path, postgresql__host="db.example").admin
    assert (admin.username, admin.password, admin.port, admin.sslmode) == ("me", "x", 5432, "verify-full")
    assert load(monkeypatch, tmp_path, **NAMED).admin.username == "admin"


def test_a_committed_sslmode_holds_for_the_server_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variables = {"PGHOST": "127.0.0.1", "PGUSER": "me", "PGPASSWORD": "x", "PGSSLMODE": "disable"}
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert load(monkeypatch, tmp_path, postgresql__sslmode="verify-full").admin.sslmode == "verify-full"


def test_a_production_stack_can_allow_plain_local_connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An example is the near end of a tunnel or proxy."""
    near = NAMED | {"postgresql:host": "127.0.0.1", "postgresql:sslmode": "disable", "taskdb:production": "true"}
    assert load(monkeypatch, tmp_path, **near).admin.tls == {"sslmode": "disable"}


def test_a_production_stack_that_says_why_verifies_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = NAMED | {"postgresql:sslmode": "require", "taskdb:production": "true"}
    assert load(monkeypatch, tmp_path, **known, taskdb__unverified_server="a tunnel").admin.sslmode == "require"


@pytest.mark.parametrize(
    ("values", "protect"),
    [
        ({}, False),
        ({"taskdb:production": "true"}, True),
        ({"taskdb:protect": "true"}, True),
        ({"taskdb:production": "true", "taskdb:protect": "false"}, False),
    ],
)
def test_a_production_stack_is_protected_unless_it_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, values: dict[str, str], *, protect: bool
) -> None:
    assert load(monkeypatch, tmp_path, **NAMED, **values).protect is protect


def test_a_production_stack_is_not_on_the_development_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "find", lambda project: local.Server("127.0.0.1", 5555, "admin", "hunter2"))
    with pytest.raises(
        TaskdbError, match=r"(?s)to the development server would not be encrypted.*postgresql:host HOST"
    ):
        load(monkeypatch, tmp_path, taskdb__production="true")


def test_the_development_server_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = local.Server("127.0.0.1", 5555, "admin", "hunter2")
    monkeypatch.setattr(local, "find", lambda project: server if project == tmp_path else None)
    admin = load(monkeypatch, tmp_path).admin
    assert (admin.port, admin.password, admin.local) == (5555, "hunter2", True)


def test_without_any_server_the_commands_that_give_one_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "find", lambda project: None)
    with pytest.raises(
        TaskdbError, match=r"(?s)taskdb server start\n.*pulumi config set postgresql:host HOST --stack dev"
    ):
        load(monkeypatch, tmp_path)


def test_commands_are_those_of_the_engine_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PULUMI_COMMAND", "pulumi-embedded")
    with pytest.raises(TaskdbError, match="pulumi-embedded config set taskdb:revision head --stack dev"):
        load(monkeypatch, tmp_path, taskdb__revision="")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"taskdb__revison": "head"},
            "unknown configuration taskdb:revison: did you mean taskdb:revision? Remove it:\n  ",
        ),
        ({"takdb__revision": "head"}, "unknown configuration takdb:revision: did you mean taskdb:revision?"),
        ({"postgres__host": "x"}, "unknown configuration postgres:host: did you mean postgresql:host?"),
        ({"taskdb__colour": "x"}, "unknown configuration taskdb:colour: the keys are taskdb:adopt, taskdb:allow_data"),
        (
            {"taskdb__backup": "sometimes"},
            "taskdb:backup must be never, destructive or always, not 'sometimes'",
        ),
        ({"taskdb__backup": "always"}, "taskdb:backup is always, and backup_folder is not set"),
        ({"postgresql__hots": "x"}, "unknown configuration postgresql:hots"),
        ({"taskdb__revision": ""}, "taskdb:revision is not set"),
        ({"taskdb__revision": "latest"}, "not 'latest'. Set it:"),
        ({"taskdb__revision": "20250126"}, "not '20250126'. Set it:"),
        ({"postgresql__port": "5432"}, "postgresql:port is set and postgresql:host is not"),
        ({**NAMED, "postgresql:username": ""}, "postgresql:host names a server, and postgresql:username is not set"),
        (
            {**NAMED, "postgresql:password": ""},
            "postgresql:host names a server, and postgresql:password is not set, nor PGPASSWORD",
        ),
        (
            {"postgresql:sslmode": "verify-full"},
            "postgresql:sslmode is set and postgresql:host is not. Name the server by PGHOST, PGPORT, PGUSER and "
            "PGPASSWORD, or set it:\n  pulumi config set postgresql:host HOST --stack dev",
        ),
        (
            {**NAMED, "postgresql:sslmode": "disable", "taskdb:production": "true"},
            "this is a production stack, and its connections to db.example would not be encrypted (sslmode disable). "
            "Encrypt them:\n  pulumi config set postgresql:sslmode verify-full --stack dev\nOr declare",
        ),
        (
            {**NAMED, "postgresql:host": "localhost", "taskdb:production": "true"},
            "its connections to localhost would not be encrypted",
        ),
        ({**NAMED, "taskdb:protect": "yes"}, "taskdb:protect must be true or false, not 'yes'"),
        ({**NAMED, "postgresql:port": "five"}, "postgresql:port must be a number from 1 to 65535, not 'five'"),
        ({**NAMED, "postgresql:port": "70000"}, "postgresql:port must be a number from 1 to 65535, not '70000'"),
        (
            {**NAMED, "postgresql:sslmode": "require", "taskdb:production": "true"},
            "its connections to db.example would not verify who answers there (sslmode require). If that cannot be "
            "verified, taskdb:unverified_server says why. Otherwise verify it:\n"
            "  pulumi config set postgresql:sslmode verify-full --stack dev",
        ),
        (
            {**NAMED, "taskdb:require_auth": "scram"},
            "taskdb:require_auth must be a list of gss, md5, none, oauth, password, scram-sha-256, sspi, not 'scram'.",
        ),
        (
            {**NAMED, "postgresql:sslmode": "prefer"},
            "postgresql:sslmode must be one of disable, require, verify-ca, verify-full, not 'prefer'",
        ),
        ({**NAMED, "postgresql:host": "/run/postgresql"}, "postgresql:host is a socket's folder"),
        (
            {"taskdb__lock_timeout": "200"},
            "taskdb:lock_timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not '200'",
        ),
        ({"taskdb__lock_timeout": "-1s"}, "Set it:\n  pulumi config set taskdb:lock_timeout 200ms --stack dev"),
        (
            {"taskdb__lock_timeout": "10s", "taskdb__lock_deadline": "5s"},
            "taskdb:lock_timeout, 10 s, is above lock_deadline",
        ),
        ({"taskdb__preflight": "maybe"}, "taskdb:preflight must be true or false, not 'maybe'"),
        ({"taskdb__count_timeout": "fast"}, "Set it:\n  pulumi config set taskdb:count_timeout 1s --stack dev"),
        ({"taskdb__preflight": "maybe"}, "Set it:\n  pulumi config set taskdb:preflight false --stack dev"),
        (
            {"taskdb__promote_from": "a b/c"},
            "taskdb:promote_from must be the name of a stack of this project, of letters, digits, '_', '-' and '.', "
            "not 'a b/c'. Set it:\n  pulumi config set taskdb:promote_from STACK --stack dev",
        ),
        (
            {"taskdb__promote_from": "dev"},
            "Remove it:\n  pulumi config rm taskdb:promote_from --stack dev\nOr name that stack:\n  ",
        ),
        (
            {"taskdb__require_approval": "yes"},
            "taskdb:require_approval must be true or false, not 'yes'. "
            "Set it:\n  pulumi config set taskdb:require_approval true --stack dev",
        ),
        (
            {"taskdb__allow_data_loss": "20250126_002,20250126003"},
            "taskdb:allow_data_loss has '20250126003', which is no revision id (YAML reads 20250126_003 without quotes "
            "as a number). Set it:\n  pulumi config set taskdb:allow_data_loss 20250126_003 --stack dev",
        ),
        (
            {**NAMED, "taskdb__app_login": "c"},
            "taskdb:app_login must be a or b, not 'c'. Set it:\n  pulumi config set taskdb:app_login a --stack dev",
        ),
        (
            {**NAMED, "taskdb__app_connection_limit": "0"},
            "taskdb:app_connection_limit must be a number from 1, or none, not '0'. Set it:\n"
            "  pulumi config set taskdb:app_connection_limit 25 --stack dev",
        ),
        (
            {"taskdb__on_unknown_revision": "ask"},
            "taskdb:on_unknown_revision must be rollback or refuse, not 'ask'. "
            "Set it:\n  pulumi config set taskdb:on_unknown_revision refuse --stack dev",
        ),
        (
            {"taskdb__revision": "20250126002"},
            "without quotes as a number. Set it:\n  pulumi config set taskdb:revision 20250126_002",
        ),
    ],
)
def test_bad_configuration_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, values: dict[str, str], message: str
) -> None:
    with pytest.raises(TaskdbError) as caught:
        load(monkeypatch, tmp_path, **values)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_how_long_to_wait_is_the_stacks_and_has_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load(monkeypatch, tmp_path, **NAMED).policy == Policy()
    settings = load(monkeypatch, tmp_path, **NAMED, taskdb__lock_timeout="1s", taskdb__preflight="true")
    assert settings.policy == Policy(lock_timeout=1, preflight=True)
    assert not load(monkeypatch, tmp_path, **NAMED, taskdb__keep_data="false").policy.keep_data


def test_no_approval_is_required_unless_the_stack_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not load(monkeypatch, tmp_path, **NAMED).approval
    settings = load(monkeypatch, tmp_path, **NAMED, taskdb__require_approval="true", taskdb__approved="v1:0")
    assert settings.approval == Approval("v1:0")


@pytest.mark.parametrize("stack", ["Dev", "d.ev", "-dev", "d" * 48])
def test_a_stack_whose_name_makes_no_role_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: str
) -> None:
    monkeypatch.setattr(pulumi, "get_stack", lambda: stack)
    with pytest.raises(TaskdbError, match="becomes part of database and role names"):
        load(monkeypatch, tmp_path, **NAMED)


def test_the_longest_stack_name_still_makes_whole_role_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pulumi, "get_stack", lambda: "d" * 47)
    assert len(load(monkeypatch, tmp_path, **NAMED).database + "_migrator") == 63


def test_a_server_is_verified_by_the_system_s_or_named_authorities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "ca.pem"
    assert load(monkeypatch, tmp_path, **NAMED, postgresql__sslrootcert=str(own)).admin.tls == {
        "sslmode": "verify-full",
        "sslrootcert": str(own),
    }
    assert Path(load(monkeypatch, tmp_path, **NAMED).admin.tls["sslrootcert"]).is_file()
    assert load(monkeypatch, tmp_path, **NAMED, postgresql__sslmode="disable").admin.tls == {"sslmode": "disable"}


def test_the_password_is_not_in_the_text_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "hunter2" not in repr(load(monkeypatch, tmp_path, **NAMED))


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        ('{"trunkate":"off"}', "taskdb:lint has no rule 'trunkate'; the nearest: truncate"),
        ('{"truncate":"fatal"}', "taskdb:lint.truncate must be one of error, warning, info, off, not 'fatal'"),
        ("truncate=off", "Remove it:\n  pulumi config rm taskdb:lint --stack dev"),
        ('"off"', "taskdb:lint must be an object of rules and their severities, not 'off'"),
        ('{"large_rows":"all"}', "taskdb:lint.large_rows must be a whole number of rows from 1, not 'all'"),
    ],
)
def test_a_lint_that_makes_no_sense_is_refused_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configured: str, message: str
) -> None:
    with pytest.raises(TaskdbError) as caught:
        load(monkeypatch, tmp_path, taskdb__lint=configured, **NAMED)
    assert message in str(caught.value)
    assert "pulumi config set --path taskdb:lint.truncate warning --stack dev" in str(caught.value)


def test_severities_come_from_the_object_that_the_engine_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load(monkeypatch, tmp_path, taskdb__lint='{"truncate":"off","large_rows":500,"cluster":false}', **NAMED)
    assert settings.lint == {"truncate": "off", "large_rows": "500", "cluster": "false"}
    assert settings.commands.lint.format(rule="r") == "pulumi config set --path taskdb:lint.r warning --stack dev"


@pytest.mark.parametrize(
    ("stack", "configured", "production"),
    [("dev", "", False), ("prod", "", True), ("production", "", True), ("prod", "false", False), ("dev", "true", True)],
)
def test_a_stack_is_a_production_one_by_its_name_or_because_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: str, configured: str, production: bool
) -> None:
    monkeypatch.setattr(pulumi, "get_stack", lambda: stack)
    settings = load(monkeypatch, tmp_path, taskdb__production=configured, **NAMED)
    assert settings.production is production


def test_a_stack_is_not_below_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(TaskdbError, match="this stack itself"):
        load(monkeypatch, tmp_path, taskdb__promote_from="dev", **NAMED)
    with pytest.raises(TaskdbError, match="taskdb:production must be true or false, not 'yes'"):
        load(monkeypatch, tmp_path, taskdb__production="yes", **NAMED)


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, True), ({"taskdb__rehearse": "false"}, False), (NAMED, False), ({**NAMED, "taskdb__rehearse": "true"}, True)],
)
def test_previews_rehearse_on_the_development_server_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, values: dict[str, str], *, expected: bool
) -> None:
    monkeypatch.setattr(local, "find", lambda _: local.Server("127.0.0.1", 5555, "admin", "hunter2"))
    assert load(monkeypatch, tmp_path, **values).rehearse is expected


def test_only_the_development_server_is_started_by_a_command_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "find", lambda _: local.Server("127.0.0.1", 5555, "admin", "hunter2"))
    assert load(monkeypatch, tmp_path).commands.start == "taskdb server start"
    assert load(monkeypatch, tmp_path, **NAMED).commands.start == ""


def test_whether_to_rehearse_is_true_or_false(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fix = "pulumi config set taskdb:rehearse true --stack dev"
    with pytest.raises(TaskdbError) as refused:
        load(monkeypatch, tmp_path, **NAMED, taskdb__rehearse="perhaps")
    assert str(refused.value) == f"taskdb:rehearse must be true or false, not 'perhaps'. Set it:\n  {fix}"


@pytest.mark.parametrize(
    ("files", "ring"),
    [
        ({"staging": "dev"}, "dev ← staging ← dev"),
        ({"staging": "qa", "qa": "staging"}, "dev ← staging ← qa ← staging"),
        ({"staging": "qa"}, ""),
        ({"staging": "[", "qa": "dev"}, ""),
    ],
)
def test_stacks_that_prove_each_other_in_a_ring_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], ring: str
) -> None:
    for stack, lower in files.items():
        (tmp_path / f"Pulumi.{stack}.yaml").write_text(f"config:\n  taskdb:promote_from: {lower}\n")
    if not ring:
        assert load(monkeypatch, tmp_path, taskdb__promote_from="staging", **NAMED).lower == "staging"
        return
    with pytest.raises(TaskdbError) as caught:
        load(monkeypatch, tmp_path, taskdb__promote_from="staging", **NAMED)
    assert f"taskdb:promote_from forms a cycle, {ring}:" in str(caught.value)
    assert "pulumi config rm taskdb:promote_from --stack dev" in str(caught.value)


@pytest.mark.parametrize(
    "configured",
    ["table app.tmp_*, setting * of role x", '["table  app.tmp_*","setting * of role x"]'],
    ids=["a text", "a list"],
)
def test_what_may_drift_is_a_list_of_patterns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configured: str) -> None:
    settings = load(monkeypatch, tmp_path, taskdb__drift_ignore=configured, **NAMED)
    assert settings.drift_ignore == ("table app.tmp_*", "setting * of role x")


@pytest.mark.parametrize(
    "configured", ["app.tmp_*", "tables app.tmp_*", "table", "[1]", '["table x", ""]', "[nonsense"]
)
def test_what_is_no_pattern_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configured: str
) -> None:
    with pytest.raises(TaskdbError) as caught:
        load(monkeypatch, tmp_path, taskdb__drift_ignore=configured, **NAMED)
    assert str(caught.value).startswith("taskdb:drift_ignore")
    assert "pulumi config set --path 'taskdb:drift_ignore[0]' 'table app.tmp_*' --stack dev" in str(caught.value)


@pytest.mark.parametrize(("configured", "adopt"), [("true", "true"), ("false", ""), ("20250126_002", "20250126_002")])
def test_what_exists_is_adopted_where_the_stack_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configured: str, adopt: str
) -> None:
    assert load(monkeypatch, tmp_path, taskdb__adopt=configured, **NAMED).adopt == adopt


def test_a_database_is_not_adopted_as_anything_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(
        TaskdbError, match="taskdb:adopt must be true, false, or a revision id such as 20250126_003, not 'yes'"
    ):
        load(monkeypatch, tmp_path, taskdb__adopt="yes", **NAMED)
