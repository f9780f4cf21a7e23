"""A squash takes older scripts out of the tree: new databases are what they built, and older ones go on if they can."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_alembic.baselines import writing
from pulumi_alembic.errors import BaselineError, HistoryError, StoredScriptError, TargetError
from pulumi_alembic.migrate.data_loss.settings import ALLOW_DATA_LOSS
from pulumi_alembic.review.plan_review import RESTORES
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.squash import squash
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.stack import Refused, Stack, at
from tests.postgres.alembic.test_baseline import (
    GRANT_BY_DEFAULT,
    ONE,
    SCRIPTS,
    THREE,
    TWO,
    _needs_pg_dump,  # noqa: F401 - for the tests here too
    admin,  # noqa: F401
    baseline,
    content,
    events,
    execute,
    scripts,  # noqa: F401
)

FOUR = "20250101_004"
STRANGE = r"100%, %s, %(m)s, :m and \:m"
MOODS = f"CREATE TABLE moods (m text DEFAULT '{STRANGE}')"


def git(target: Target, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", *arguments],
        cwd=target.directory,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit(target: Target) -> str:
    """Commit the scripts, and return the commit."""
    git(target, "init", "--quiet")
    (target.directory / ".gitignore").write_text("__pycache__\n")
    git(target, "add", "--all", ".")
    git(target, "commit", "--quiet", "--message", "scripts")
    return git(target, "rev-parse", "HEAD")


@pytest.fixture
def before(scripts: Target, admin: str) -> Target:  # noqa: F811
    """The scripts with a baseline of the second, not squashed, and a commit of them."""
    scripts.write(
        THREE,
        TWO,
        f"import sqlalchemy as sa; op.execute(sa.DDL({MOODS.replace('%', '%%')!r}))",
        "op.execute('DROP TABLE moods')",
    )
    History.load(scripts.directory).write_manifest()
    baseline(scripts, admin, TWO)
    commit(scripts)
    return scripts


def clone(target: Target) -> Target:
    """The same database with a copy of the committed scripts."""
    checkout = at(target, target.directory.parent / "clone" / "migrations")
    git(target, "clone", "--quiet", ".", str(checkout.directory))
    return checkout


def squashed(target: Target) -> Target:
    """The same database with a squashed copy of the scripts."""
    checkout = clone(target)
    squash(checkout.directory, TWO)
    return checkout


def test_a_new_database_is_what_the_scripts_build(before: Target, make_target: Callable[[Path], Target]) -> None:
    after = squashed(before)
    assert [path.name for path in sorted(after.directory.glob("versions/*.py"))] == [
        f"{id}_script.py" for id in (TWO, THREE)
    ]
    assert not [*after.directory.glob("baselines/*")]
    replayed = make_target(before.directory)
    execute(replayed, GRANT_BY_DEFAULT)
    assert after.migrate(THREE) == THREE
    assert replayed.migrate(THREE, baselines=False) == THREE
    assert content(after) == content(replayed)
    assert events(after) == [(TWO, "applied"), (THREE, "applied")]
    # Its ledger names the script that was replaced, so that a commit before the squash goes on with it.
    assert before.migrate(TWO) == TWO
    assert before.migrate("base", allow_data_loss=frozenset(SCRIPTS)) == "base"


def test_alembic_finds_one_history_and_runs_it(before: Target) -> None:
    after = squashed(before)
    assert f"<base> -> {TWO}, baseline of {TWO}, in place of 2 revisions" in after.alembic("history")
    after.alembic("upgrade", "head")
    assert THREE in after.alembic("current")
    after.alembic("downgrade", TWO)
    assert "git checkout" in after.alembic("downgrade", "-1", check=False)
    assert "git checkout" in after.alembic("downgrade", ONE, check=False)
    assert "update it: pulumi-alembic manifest" not in after.alembic("upgrade", "head")


@pytest.mark.few(1)
@pytest.mark.parametrize("revision", [TWO, THREE])
def test_a_database_beyond_it_goes_on_untouched(before: Target, revision: str) -> None:
    stack = Stack(before.url)
    stack.up(before.directory, revision, baselines=False)
    older = clone(before)
    squash(before.directory, TWO)
    assert not stack.up(before.directory, revision)
    before.write(FOUR, THREE, "op.execute('CREATE TABLE four ()')", "op.execute('DROP TABLE four')")
    History.load(before.directory).write_manifest()
    stack.up(before.directory, FOUR)
    # A commit of before the squash has the scripts as they ran, and takes the new one from the ledger.
    stack.up(older.directory, ONE)
    assert stack.outputs["revision"] == ONE


def test_a_new_stack_is_reviewed_and_rehearsed_from_it(before: Target, admin: str) -> None:  # noqa: F811
    after = squashed(before)
    stack = Stack(before.url)
    planned = stack.preview(after.directory, THREE, __rehearse_with=admin)
    assert planned["plan"] == f"base → {THREE}, 2 upgrades"
    review = json.loads(planned["__plan"])
    squash_script, later = review["revisions"]
    assert "findings" not in squash_script and not any(one.get("findings") for one in squash_script["statements"])
    assert (squash_script["rehearsed"].get("way_back"), later["rehearsed"]["way_back"]) == (None, RESTORES)
    stack.up(after.directory, THREE, __rehearse_with=admin)
    assert stack.outputs["revision"] == THREE


def test_a_database_before_it_is_refused_with_the_commit(before: Target) -> None:
    before.migrate(ONE)
    after = squashed(before)
    command = f"git checkout {git(before, 'rev-parse', 'HEAD')}"
    with pytest.raises(TargetError, match=f"the database is at revision {ONE}.*\n  {command}"):
        after.migrate(THREE)
    assert command in after.alembic("upgrade", "head", check=False)
    stack = Stack(before.url)
    with pytest.raises(Refused, match=command):
        stack.up(after.directory, THREE)
    assert before.migrate(TWO) == TWO
    assert after.migrate(THREE) == THREE


def test_a_downgrade_below_it_runs_the_scripts_of_the_ledger(before: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(before.url)
    stack.up(before.directory, THREE, baselines=False)
    after = squashed(before)
    stack.up(after.directory, ONE)
    assert stack.outputs["revision"] == ONE
    assert before.query("SELECT to_regclass('users') IS NULL, to_regclass('notes') IS NULL") == [(False, True)]
    assert not stack.up(after.directory, ONE)
    with pytest.raises(Refused, match="git checkout"):
        stack.up(after.directory, THREE)
    monkeypatch.setenv(ALLOW_DATA_LOSS, ONE)
    stack.up(after.directory, "base")
    assert stack.outputs["revision"] == "base"
    # A database at base begins with the squashed script again.
    stack.up(after.directory, THREE)
    assert not stack.up(after.directory, THREE)


def test_a_downgrade_below_it_without_scripts_in_the_ledger_is_refused(before: Target) -> None:
    after = squashed(before)
    after.migrate(THREE)
    for target in (ONE, "base"):
        with pytest.raises(StoredScriptError, match=f"no script of {TWO}.*\n  git checkout"):
            after.migrate(target)
    assert after.migrate(THREE) == THREE


def test_a_script_that_was_changed_in_the_ledger_does_not_run(before: Target) -> None:
    before.migrate(THREE, baselines=False)
    execute(
        before,
        "GRANT UPDATE ON migrations.ledger TO CURRENT_USER",
        "ALTER TABLE migrations.ledger DISABLE TRIGGER USER",
        "UPDATE migrations.ledger SET source = other.source FROM migrations.ledger other "
        f"WHERE ledger.revision = '{TWO}' AND other.revision = '{ONE}'",
    )
    with pytest.raises(StoredScriptError, match=f"no script of {TWO}"):
        squashed(before).migrate(ONE)


def test_a_second_squash_replaces_the_first(before: Target, admin: str, make_target: Callable[[Path], Target]) -> None:  # noqa: F811
    first = git(before, "rev-parse", "HEAD")
    squash(before.directory, TWO)
    writing.write(before.url, admin, before.directory, THREE, lambda text: None)
    second = commit(before)
    script = squash(before.directory, THREE)
    assert [(one.id, one.commit) for one in script.replaces] == [(ONE, first), (TWO, first), (THREE, second)]
    assert before.migrate(THREE) == THREE
    execute(before, "INSERT INTO moods DEFAULT VALUES")
    assert before.query("TABLE moods") == [(STRANGE,)]
    with pytest.raises(TargetError, match=first):
        make_target(before.directory).migrate(ONE)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.few("3")
@pytest.mark.parametrize("survives", range(6))
def test_the_next_call_completes_one_that_was_killed(
    before: Target, survives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every change of a file in turn, the first `survives` happen."""
    done = 0

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def at_most(*arguments: object, **more: object) -> object:
            nonlocal done
            if done == survives:
                raise Killed
            done += 1
            return change(*arguments, **more)

        return at_most

    expected = squashed(before)
    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "write_text"):
            patched.setattr(Path, name, counted(getattr(Path, name)))
        with pytest.raises(Killed):
            squash(before.directory, TWO)
    if any(
        path.stem.startswith(TWO) and "replaces" in path.read_text() for path in before.directory.glob("versions/*.py")
    ):
        with pytest.raises(HistoryError, match=f"(interrupted.*\n  pulumi-alembic squash {TWO}|does not match)"):
            before.migrate(THREE)
    else:
        History.load(before.directory).require_manifest()
    squash(before.directory, TWO)
    squash(before.directory, TWO)
    assert tree(before.directory) == tree(expected.directory)


def tree(directory: Path) -> dict[str, str]:
    paths = [path for path in directory.rglob("*") if path.is_file() and path.suffix in (".py", "")]
    return {str(path.relative_to(directory)): path.read_text() for path in paths if ".git" not in path.parts}


def test_what_cannot_be_squashed_stays(scripts: Target, admin: str) -> None:  # noqa: F811
    for revision, problem in ((ONE, "builds on no other"), (TWO, f"no baseline of {TWO}"), ("base", "no script")):
        with pytest.raises(BaselineError, match=problem):
            squash(scripts.directory, revision)
    baseline(scripts, admin, TWO)
    with pytest.raises(BaselineError, match="must be in git"):
        squash(scripts.directory, TWO)
    commit(scripts)
    path = scripts.write(FOUR, ONE)
    History.load(scripts.directory).write_manifest()
    with pytest.raises(BaselineError, match=f"{FOUR}_script.py builds on {ONE}"):
        squash(scripts.directory, TWO)
    path.unlink()
    (scripts.directory / "versions" / f"{THREE}_script.py").open("a").write("# edited\n")
    with pytest.raises(HistoryError, match="was edited"):
        squash(scripts.directory, TWO)
    assert len([*scripts.directory.glob("versions/*.py")]) == len(SCRIPTS)
