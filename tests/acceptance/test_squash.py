"""Older scripts leave the tree of a stack that is up: it stays as it is, and can go back to before them."""

from __future__ import annotations

import psycopg
import pytest

from pulumi_alembic.database.pg_programs import find_client
from tests.acceptance.project import Project
from tests.acceptance.test_rollback import git, refused

ONE, TWO, HEAD = (f"20250126_00{number}" for number in range(1, 4))


def test_a_stack_goes_on_after_a_squash_and_back_below_it(stack: Project) -> None:
    login = stack.server
    with psycopg.connect(stack.outputs()["migrator_url"]) as connection:
        if find_client(connection.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")
    git(stack.folder, "init")
    (stack.folder / ".gitignore").write_text(".state\n.venv\n__pycache__\n")
    url = {"DATABASE_URL": stack.outputs()["migrator_url"], "PULUMI_STACK": stack.stack}
    admin = f"postgresql://{login.username}@{login.host}:{login.port}/postgres"
    command = ("pulumi-alembic", "baseline", TWO, "--rehearse-with", admin)
    assert stack.run(*command, **url).exit_code == 0, stack.printed[-1].text
    git(stack.folder, "add", ".")
    git(stack.folder, "commit", "-m", "with all scripts")
    commit = git(stack.folder, "rev-parse", "HEAD").strip()

    squashed = stack.run("pulumi-alembic", "squash", TWO, **url)
    assert squashed.exit_code == 0 and commit in squashed.text, squashed.text
    git(stack.folder, "add", ".")
    git(stack.folder, "commit", "-m", "squashed")
    stack.succeed("preview", "--expect-no-changes")
    assert f"<base> -> {TWO}" in stack.run("alembic", "history", **url).stdout

    # The scripts that ran are in the ledger.
    stack.configure(taskdb__revision=ONE)
    stack.up()
    assert stack.outputs()["revision"] == ONE
    stack.succeed("preview", "--expect-no-changes")
    stack.configure()
    refused(stack.pulumi("preview"), f"at revision {ONE}", f"git checkout {commit}")

    git(stack.folder, "checkout", commit)
    stack.configure()
    stack.up()
    assert stack.outputs()["revision"] == HEAD
