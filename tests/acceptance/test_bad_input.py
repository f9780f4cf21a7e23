"""Bad input is one clear error with the command that helps, before anything changes, and never a traceback."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.project import Outcome, Project


@pytest.fixture
def untouched(project: Project, admin: Any) -> Iterator[Project]:
    """A new stack that leaves nothing on the server."""
    yield project
    left = admin.execute(
        "SELECT datname FROM pg_database WHERE datname = %(name)s UNION ALL "
        "SELECT rolname FROM pg_roles WHERE rolname LIKE %(name)s || '\\_%%'",
        {"name": project.name},
    ).fetchall()
    assert left == []


def refused(outcome: Outcome, *parts: str) -> None:
    """Assert that the command failed, printed all of `parts`, and showed no traceback."""
    assert outcome.exit_code != 0
    for part in parts:
        assert part in outcome.text
    assert "Traceback" not in outcome.text


def up(project: Project, **changes: str) -> Outcome:
    """Run `up` as users run it, with the preview before it."""
    return project.pulumi("up", "--yes", **changes)


@pytest.mark.full
def test_an_unknown_revision(untouched: Project) -> None:
    untouched.configure(taskdb__revision="20990101_009")
    refused(up(untouched), "there is no revision '20990101_009' in the scripts", "20250126_003")


@pytest.mark.full
def test_two_heads(untouched: Project) -> None:
    versions = untouched.folder / "migrations/versions"
    for number in ("004", "005"):
        (versions / f"20260101_{number}_branch.py").write_text(
            f'revision = "20260101_{number}"\ndown_revision = "20250126_003"\n'
            "def upgrade(): pass\ndef downgrade(): pass\n"
        )
    untouched.list_scripts()
    refused(up(untouched), "2 heads, 20260101_004 and 20260101_005", "alembic merge --rev-id")


@pytest.mark.full
def test_a_script_that_does_not_import(untouched: Project) -> None:
    script = untouched.script(4, "pass")
    script.write_text("import no_such_module\n" + script.read_text())
    untouched.list_scripts()
    refused(up(untouched), script.name, "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'")


@pytest.mark.full
def test_a_script_that_does_not_parse(untouched: Project) -> None:
    script = untouched.script(4, "pass")
    script.write_text(script.read_text() + "def (:\n")
    refused(up(untouched), f"{script.name}, line ")


@pytest.mark.full
def test_a_script_whose_name_breaks_the_convention(untouched: Project) -> None:
    script = untouched.script(4, "pass")
    script.rename(script.with_name("add_reminders.py"))
    refused(up(untouched), "add_reminders.py breaks the naming rule YYYYMMDD_NNN_description.py")


@pytest.mark.full
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"taskdb__revison": "head"}, "unknown configuration taskdb:revison: did you mean taskdb:revision?"),
        ({"taskdb__revision": ""}, "taskdb:revision is not set"),
        (
            {"taskdb__revision": "newest"},
            "taskdb:revision must be head or a revision id such as 20250126_003, not 'newest'",
        ),
    ],
)
def test_unknown_missing_and_invalid_configuration(untouched: Project, values: dict[str, str], message: str) -> None:
    untouched.configure(**values)
    outcome = up(untouched)
    command = {"pulumi": "pulumi", "embedded": "pulumi-embedded"}[untouched.engine]
    refused(outcome, message, f"  {command} config ")


def test_a_server_that_does_not_run(untouched: Project) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        refused(up(untouched, PGPORT=port), f"cannot use the server at 127.0.0.1:{port}", "Is the server running")


@pytest.mark.full
def test_no_server_at_all(untouched: Project) -> None:
    refused(up(untouched, PGHOST=""), "there is no PostgreSQL server for this stack", "taskdb server start")


@pytest.mark.full
def test_a_wrong_password(untouched: Project) -> None:
    outcome = up(untouched, PGPASSWORD="wrong-password")
    refused(outcome, "password authentication failed", "PGPASSWORD")
    assert "wrong-password" not in outcome.text


@pytest.mark.full
@pytest.mark.parametrize(("held", "lacking"), [("CREATEDB", "CREATEROLE"), ("CREATEROLE", "CREATEDB")])
def test_an_admin_that_lacks_an_attribute(untouched: Project, admin: Any, held: str, lacking: str) -> None:
    weak = f"weak_{untouched.stack}"
    admin.execute(f"CREATE ROLE {weak} LOGIN {held} PASSWORD 'x'")
    try:
        outcome = up(untouched, PGUSER=weak, PGPASSWORD="x")
    finally:
        admin.execute(f"DROP ROLE {weak}")
    refused(outcome, f"lacks {lacking}", f"ALTER ROLE {weak} {lacking}")


@pytest.fixture
def old_server() -> Iterator[int]:
    """Run a server that reports PostgreSQL 12 to one client, and knows nothing else of the protocol. Yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def parameter(name: str, value: str) -> bytes:
        body = f"{name}\0{value}\0".encode()
        return b"S" + (len(body) + 4).to_bytes(4, "big") + body

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                greeting = b"R\0\0\0\x08\0\0\0\0" + parameter("server_version", "12.22")
                client.sendall(greeting + parameter("client_encoding", "UTF8") + b"Z\0\0\0\x05I")
                client.recv(4096)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_server_that_is_too_old(untouched: Project, old_server: int) -> None:
    # The server asks for no password. The stack must accept that before the program checks the version.
    untouched.succeed("config", "set", "taskdb:require_auth", "none")
    refused(up(untouched, PGPORT=str(old_server)), "is PostgreSQL 12: 13 is the oldest that works")
    untouched.succeed("config", "rm", "taskdb:require_auth")


@pytest.mark.full
def test_a_wrong_passphrase(untouched: Project) -> None:
    untouched.succeed("config", "set", "--secret", "other:key", "value")
    refused(up(untouched, PULUMI_CONFIG_PASSPHRASE="wrong"), "incorrect passphrase")


@pytest.mark.full
def test_an_unknown_stack(untouched: Project) -> None:
    from tests.acceptance.project import ENGINES

    outcome = untouched.run(ENGINES[untouched.engine], "up", "--yes", "--stack", "nowhere")
    refused(outcome, "no stack named 'nowhere' found")
