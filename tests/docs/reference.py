"""Write the pages of docs/reference that are generated from the program: `python -m tests.docs.reference`."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pulumi_alembic
from pulumi_alembic.review.lint.rules import RULES, Rule, Scale
from taskdb.settings.settings import KEYS
from tests.docs.rules import EXAMPLES, Example

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
WRITTEN = "<!-- Written by `make docs-reference`. -->"

VALUES: Mapping[str, tuple[str, str, str]] = {
    "taskdb:revision": (
        "none",
        "The revision that the schema is brought to: `head` or an id such as `20250126_003`.",
        "rollback.md#a-pinned-revision",
    ),
    "taskdb:production": (
        "`true` for stacks named `prod` or `production`, otherwise `false`",
        "Whether practices of lint are obligations, and connections have to be encrypted. It changes the defaults of "
        "`protect`, `on_unknown_revision` and `contract`.",
        "environments.md#what-prod-adds",
    ),
    "taskdb:protect": (
        "as `taskdb:production`",
        "Whether Pulumi refuses to delete or replace the database and its roles.",
        "environments.md#what-prod-adds",
    ),
    "taskdb:app_login": ("`a`", "Which login's URL is exported as `app_url`: `a` or `b`.", "environments.md#rotation"),
    "taskdb:app_connection_limit": (
        "`25` for a new stack",
        "The most sessions of each of the logins `app_a`, `app_b` and `reader`; `none` removes the limit.",
        "environments.md#sessions-of-the-application",
    ),
    "taskdb:require_auth": (
        "`scram-sha-256`",
        "How the server may ask for the admin's password, as in libpq's `require_auth`.",
        "environments.md#staging-and-prod",
    ),
    "taskdb:unverified_server": (
        "none",
        "Why a production stack does not verify its server's certificate, in words.",
        "environments.md#staging-and-prod",
    ),
    "taskdb:temporary_tables": (
        "`true` for a new stack",
        "Whether the owner can create temporary tables.",
        "migrations.md#statements-outside-a-transaction",
    ),
    "taskdb:rehearse": (
        "`true` on the development server, otherwise `false`",
        "Whether previews and updates run pending revisions in a scratch database first.",
        "previews.md#rehearsal",
    ),
    "taskdb:require_approval": (
        "`false`",
        "Whether an update runs revisions only with the approved digest of their plan.",
        "previews.md#approval",
    ),
    "taskdb:approved": (
        "none",
        "The approved digest; the variable PULUMI_ALEMBIC_APPROVE is the other way to give it.",
        "previews.md#approval",
    ),
    "taskdb:lint": ("each rule's own severity", "The severity of rules: `taskdb:lint.RULE`.", "lint.md#severity"),
    "taskdb:promote_from": ("none", "The stack that has to run a revision before this one does.", "promotion.md"),
    "taskdb:backup": (
        "`never`",
        "When an update makes a backup first: `never`, `destructive` or `always`.",
        "backups.md#backups",
    ),
    "taskdb:backup_folder": ("none", "The backup directory, relative to the program.", "backups.md#backups"),
    "taskdb:keep_data": (
        "`true`",
        "Whether a downgrade or a contract preserves the rows that it drops.",
        "rollback.md#what-a-downgrade-preserves",
    ),
    "taskdb:allow_data_loss": (
        "none",
        "The revisions that are allowed to delete rows, separated by commas.",
        "migrations.md#data-that-would-be-lost",
    ),
    "taskdb:contract": (
        "`hold` on a production stack on which revisions were applied, otherwise `with-deploy`",
        "When revisions of phase contract run: `with-deploy`, `hold`, or a time such as `24h` after the newest expand "
        "before was applied.",
        "zero-downtime.md#when-contracts-run",
    ),
    "taskdb:on_unknown_revision": (
        "`refuse` on a production stack, otherwise `rollback`",
        "What an update does if the scripts lack an applied revision.",
        "rollback.md#an-older-commit",
    ),
    "taskdb:lock_timeout": ("`200ms`", "How long one statement waits for a lock.", "migrations.md#locks-and-waiting"),
    "taskdb:lock_deadline": ("`5min`", "How long a revision is tried again.", "migrations.md#locks-and-waiting"),
    "taskdb:lock_wait_max": (
        "`25ms`",
        "How long the locks of a revision are queued for in the last third of `lock_deadline`.",
        "migrations.md#locks-and-waiting",
    ),
    "taskdb:migration_wait": ("`10min`", "How long to wait for another migration.", "migrations.md#locks-and-waiting"),
    "taskdb:count_timeout": (
        "`1s`",
        "How long rows are counted that a statement would delete, under its lock.",
        "migrations.md#data-that-would-be-lost",
    ),
    "taskdb:backfill_in_update": (
        "`30s`",
        "How long an update works at backfills.",
        "backfills.md#what-the-update-does",
    ),
    "taskdb:preflight": (
        "`false`",
        "Whether an update looks at the server before the first statement.",
        "migrations.md#locks-and-waiting",
    ),
    "taskdb:max_transaction_age": (
        "`1min`",
        "For `preflight`: the age of the oldest transaction.",
        "migrations.md#locks-and-waiting",
    ),
    "taskdb:max_replica_lag": (
        "`30s`",
        "How far a replica is allowed to be behind, for `preflight`, batched updates and backfills.",
        "migrations.md#locks-and-waiting",
    ),
    "taskdb:max_wal_rate": (
        "no limit",
        "The WAL that the server is allowed to write per second, such as `20MB/s`. Batched updates and backfills pause "
        "above it.",
        "backfills.md#go-on-outside-of-any-deployment",
    ),
    "taskdb:min_free_connections": (
        "`3`",
        "For `preflight`: the connections that are left.",
        "migrations.md#locks-and-waiting",
    ),
    "taskdb:drift_ignore": (
        "none",
        "A list of patterns of objects that are not compared.",
        "drift.md#what-is-compared",
    ),
    "taskdb:adopt": (
        "`false`",
        "Whether the stack takes over a database that exists: `true`, or a revision.",
        "adoption.md",
    ),
    "taskdb:baselines": (
        "`true`",
        "Whether an empty database starts from the newest baseline.",
        "baselines.md",
    ),
    "taskdb:reporter": (
        "`false`",
        "Whether the stack creates a login that can make reports, and read no row.",
        "security.md#reports-without-a-state",
    ),
    "postgresql:host": ("PGHOST", "The server's name.", "environments.md#staging-and-prod"),
    "postgresql:port": ("PGPORT, or `5432`", "The server's port.", "environments.md#staging-and-prod"),
    "postgresql:username": ("PGUSER", "The admin's name.", "environments.md#staging-and-prod"),
    "postgresql:password": (
        "PGPASSWORD",
        "The admin's password; set it with `--secret`.",
        "environments.md#staging-and-prod",
    ),
    "postgresql:sslmode": (
        "PGSSLMODE, or `verify-full` for a server that is not on loopback",
        "How the connection is encrypted and verified.",
        "environments.md#staging-and-prod",
    ),
    "postgresql:sslrootcert": (
        "PGSSLROOTCERT, or the system's",
        "The authorities that the server is known by.",
        "environments.md#staging-and-prod",
    ),
}
"""The default of each key of a stack, its meaning, and the page that explains it."""

NAMED = ("Approval", "Backup", "Contract", "PromoteFrom", "Drift", "Query", "Schemas", "Waves", "Commands")
"""The types of arguments of `Migrations`."""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "make": (),
    "taskdb": (
        "server start",
        "server stop",
        "server status",
        "server remove",
        "status",
        "stack",
        "run",
        "pin",
        "psql",
        "pull-request up",
        "pull-request down",
        "report-schema",
        "check-settings",
    ),
    "pulumi-alembic": (
        "status",
        "plan",
        "upgrade",
        "lint",
        "manifest",
        "baseline",
        "squash",
        "accept",
        "history",
        "contract",
        "backfill run",
        "backfill status",
        "backfill pause",
        "backfill resume",
        "backfill cancel",
        "new",
        "kept",
        "prune",
        "backups",
        "restore",
        "drift",
        "capsule",
        "schema",
        "report",
    ),
    "pulumi-embedded": ("preview", "up", "refresh", "destroy", "cancel", "stack", "config", "state", "plugin"),
}


def configuration() -> str:
    """Return the page of the configuration keys."""
    rows = ["| key | default | what it decides |", "|---|---|---|"]
    for key, (default, words, link) in VALUES.items():
        rows.append(f"| [`{key}`](../{link}) | {default} | {words} |")
    return "\n".join(
        (
            "# Configuration keys",
            "",
            "Set a key with `pulumi config set KEY VALUE --stack STACK`. A key that does not exist and an invalid value are",
            "rejected before anything changes. Without `postgresql:host` and `PGHOST`, the server is the development server.",
            "If `postgresql:host` is set, only the login and the authorities can come from the variables.",
            "",
            *rows,
        )
    )


def resource() -> str:
    """Return the page of the resource, from its signature and its docstrings."""
    kind = pulumi_alembic.Migrations
    parts = ["# `Migrations(…)`", "", "The Alembic resource of `pulumi_alembic`, for a Pulumi program of your own.", ""]
    parts += ["```python", "from pulumi_alembic import Migrations", "", *_signature("Migrations", kind.__init__), "```"]
    parts += ["", *_documented(kind.__doc__), "", "## Arguments", "", *_documented(kind.__init__.__doc__)]
    for name in NAMED:
        group = getattr(pulumi_alembic, name)
        parts += ["", f"## `{name}(…)`", "", "```python", *_signature(name, group.__init__), "```", ""]
        parts += _documented(group.__doc__)
    return "\n".join(parts)


def _signature(name: str, function: Callable[..., Any]) -> Iterator[str]:
    yield f"{name}("
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        default = re.sub(r"<.*?: ('.*?')>", r"\1", default)
        yield f"    {parameter.name}: {parameter.annotation}{default},"
    yield ")"


def _documented(text: str | None) -> list[str]:
    """Return a docstring as Markdown. Its sections of arguments become lists."""
    lines: list[str] = []
    for line in inspect.cleandoc(text or "").splitlines():
        if found := re.fullmatch(r"(Args|Returns|Raises|Attributes):", line):
            lines += [f"**{found[1]}**", ""]
        elif found := re.fullmatch(r" {4}([\w.]+): (.*)", line):
            lines.append(f"- `{found[1]}`: {found[2]}")
        else:
            lines.append(re.sub(r"^ {8}", "  ", line))
    return lines


def commands() -> str:
    """Return the page of the commands, from their own help."""
    parts = ["# Commands", "", "`make help` and the `--help` of each command print this page."]
    for program, names in COMMANDS.items():
        parts += ["", f"## {program}", "", "```text", helped(program)[()], "```"]
        for name in names:
            parts += ["", f"### `{program} {name}`", "", "```text", helped(program)[tuple(name.split())], "```"]
    return "\n".join(parts)


_HELP = """
import importlib.metadata, json, os, sys
program, commands = sys.argv[1], json.loads(sys.argv[2])
[entry] = importlib.metadata.entry_points(group="console_scripts", name=program)
main = entry.load()
for names in commands:
    print(json.dumps(names), flush=True)
    sys.stdout.flush()
    if not os.fork():
        sys.argv = [program, *names, "--help"]
        main()
        os._exit(0)
    os.wait()
"""
"""A process that loads a program once, and forks for each command."""


@cache
def helped(program: str) -> Mapping[tuple[str, ...], str]:
    """Return the help of the program and of its commands, in a terminal of a hundred columns."""
    asked = [[], *(name.split() for name in COMMANDS[program])]
    argv = [sys.executable, "-c", _HELP, program, json.dumps(asked)]
    if program == "make":
        argv = ["sh", "-c", "echo []; make --no-print-directory help"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI", "MAKE", "PG"))}
    environment |= {"COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=FOLDER.parents[1], env=environment)
    found: dict[tuple[str, ...], str] = {}
    for part in re.split(r"^(?=\[.*\]$)", done.stdout, flags=re.M)[1:]:
        names, _, text = part.partition("\n")
        found[tuple(json.loads(names))] = re.sub(r" +$", "", text, flags=re.M).strip("\n")
    return found


def rules() -> str:
    """Return the page of the lint rules, with what each finds and accepts."""
    parts = [
        "# Lint rules",
        "",
        "The severity of most rules depends on the number of rows in the table. [Lint](../lint.md) explains the severities,",
        "how a stack changes them, and how a script excepts a statement. The examples are tested: the first one is found by",
        "the rule, the second one is not.",
    ]
    for name, rule in RULES.items():
        parts += ["", f"## `{name}`", "", f"**Severity:** {_severity(rule)}. {_sentence(rule.why)}"]
        parts += _example(EXAMPLES[name])
    return "\n".join(parts)


def _severity(rule: Rule) -> str:
    if rule.scale is Scale.FIXED:
        return str(rule.levels[0])
    situations = str(rule.scale).removesuffix(" table").split(" / ")
    unit = " table" if rule.scale is Scale.SIZE else ""
    return ", ".join(f"{level} ({where}{unit})" for level, where in zip(rule.levels, situations, strict=True))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _example(example: Example) -> Iterator[str]:
    if example.words:
        yield from ("", example.words)
    for title, code in (("Found:", example.bad), ("Instead:", example.good)):
        if code:
            yield from ("", title, "", "```python", textwrap.dedent(code).strip(), "```")


PAGES: Mapping[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "resource.md": resource,
    "commands.md": commands,
    "rules.md": rules,
}
KEYS_OF_A_STACK = KEYS["taskdb"] | KEYS["postgresql"]


def written(name: str) -> str:
    """Return the whole text of a page."""
    title, _, text = PAGES[name]().partition("\n")
    return f"{title}\n\n{WRITTEN}\n{text}\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PAGES:
        (FOLDER / name).write_text(written(name))
