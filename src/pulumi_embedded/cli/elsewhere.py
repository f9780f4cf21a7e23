"""Commands and flags of the Pulumi CLI (3.260) that this engine lacks, so that it rejects them by name."""

from __future__ import annotations

from typing import Final

__all__ = ["ELSEWHERE_HELP", "OPERATIONS_HELP", "cli_has_command", "cli_has_flag"]

_COMMANDS: Final = frozenset(
    [
        "api",
        "console",
        "convert",
        "deployment",
        "do",
        "env",
        "esc",
        "gen-completion",
        "completion",
        "import",
        "insights",
        "install",
        "login",
        "logout",
        "logs",
        "neo",
        "new",
        "create",
        "setup",
        "org",
        "package",
        "policy",
        "project",
        "query",
        "schema",
        "template",
        "view-trace",
        "watch",
    ]
)
_STACK: Final = frozenset(["drift", "get", "migrate", "schedule", "tag", "unselect", "webhook"])
_CONFIG: Final = frozenset(["env", "refresh"])
_STATE: Final = frozenset(["edit", "get", "move", "protect", "repair", "taint", "untaint", "upgrade"])
_PLUGIN: Final = frozenset(["install", "remove", "rm", "run"])
_SUBCOMMANDS: Final = {
    "": _COMMANDS,
    "about": frozenset(["env"]),
    "config": _CONFIG,
    "plugin": _PLUGIN,
    "stack": _STACK,
    "state": _STATE,
}

_OPERATIONS: Final = frozenset(
    [
        "--attach-debugger",
        "--debug",
        "-d",
        "--exclude-protected",
        "--ignore-protect",
        "--import-file",
        "--import-pending-creates",
        "--neo",
        "--override-env",
        "--policy-pack",
        "--policy-pack-config",
        "--run-program",
        "--secrets-provider",
        "--show-policy-remediations",
        "--skip-pending-creates",
        "--strict",
        "--remote",
        "--remote-git-branch",
        "--remote-git-repo-dir",
        "--client",
    ]
)
_GLOBAL: Final = frozenset(["--memprofilerate", "--otel-traces", "--profiling", "--tracing"])
_OTHERS: Final[dict[str, frozenset[str]]] = {
    "stack init": frozenset(["--teams", "--copy-config-from", "--remote-config"]),
    "stack ls": frozenset(["-t", "--tag"]),
    "stack export": frozenset(["--version"]),
    "config": frozenset(["--open"]),
    "config get": frozenset(["--open"]),
    "about": frozenset(["-t", "--transitive"]),
    "plugin list": frozenset(["-p", "--project"]),
    **dict.fromkeys(("up", "preview", "refresh", "destroy"), _OPERATIONS),
}

ELSEWHERE_HELP: Final = """
Only in the Pulumi CLI: other languages and backends than Python and file://, other secrets providers than passphrase,
transforms, hooks, remote components, policy packs, the Pulumi Cloud, and the commands console, convert, env, import,
install, login, logout, logs, new, org, package, policy, schema and watch. Install the Pulumi CLI for those. It uses the
same stacks.
"""
OPERATIONS_HELP: Final = (
    "Only in the Pulumi CLI: deploying from a template, "
    + ", ".join(sorted(flag for flag in _OPERATIONS if flag.startswith("--")))
    + "."
)


def cli_has_command(path: str) -> bool:
    """Return whether the CLI has a command such as `plugin` or `stack rename` that this engine lacks."""
    group, _, name = path.rpartition(" ")
    return name in _SUBCOMMANDS.get(group, frozenset())


def cli_has_flag(command: str, flag: str) -> bool:
    """Return whether the CLI's command has a flag that this engine lacks."""
    return flag in _GLOBAL or flag in _OTHERS.get(command, frozenset())
