"""The embedded engine compared with the Pulumi CLI, and its own cost per step as a stack grows.

The measurements are of whole commands. They need a PostgreSQL server (PG* variables, or the development server). The
comparisons need a Pulumi CLI on the PATH, and are skipped without one.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import Claim, claim, report
from benchmarks.stacks import CLI, EMBEDDED, Stack


def _against_cli(cli: str, ours: Stack, many: Stack) -> list[Claim]:
    claims = []
    for name, stack in (("this project", ours), ("200 resources", many)):
        for flags in ((), ("--skip-preview",)):
            what = f"no-op up {' '.join(flags)} of {name}, embedded ÷ CLI".replace("  ", " ")
            claims.append(claim(what, partial(stack.up, EMBEDDED, *flags), partial(stack.up, cli, *flags), limit=0.5))
    claims.append(
        claim(
            "from the command to the first provider call, embedded ÷ CLI",
            partial(many.first_call, EMBEDDED),
            partial(many.first_call, cli),
            limit=0.5,
        )
    )
    return claims


def _scale(folder: Path) -> list[Claim]:
    """Ten times as many resources, created and then unchanged, take about ten times as long."""
    small, large = Stack.of_many(folder / "hundred", 100), Stack.of_many(folder / "thousand", 1000)
    up = [(stack.up(EMBEDDED, "--skip-preview"), stack.up(EMBEDDED, "--skip-preview")) for stack in (large, small)]
    (creating, unchanged), (few_created, few_unchanged) = up
    return [
        Claim("creating 1,000 ÷ 100 resources", creating, few_created, creating / few_created, 11),
        Claim("no-op up of 1,000 ÷ 100 resources", unchanged, few_unchanged, unchanged / few_unchanged, 11),
    ]


def _growth(folder: Path) -> list[Claim]:
    """For eight times as many resources, the time per step grows at most as fast as the state file."""
    small, large = Stack.of_many(folder / "small", 25), Stack.of_many(folder / "large", 200)
    times, sizes = {}, {}
    for stack in (small, large):
        creating = stack.up(EMBEDDED, "--skip-preview")
        times[stack] = (creating - stack.up(EMBEDDED, "--skip-preview")) / stack.resources()
        sizes[stack] = stack.state_bytes()
    growth = sizes[large] / sizes[small]
    per_step = Claim(
        "time per step, 200 ÷ 25 resources", times[large], times[small], times[large] / times[small], growth
    )
    # The stack and the provider are smaller than a resource, and each exists once.
    one, another = (sizes[each] / each.resources() for each in (large, small))
    size = Claim("state per resource, 200 ÷ 25 resources", one, another, one / another, 1.1, "bytes")
    return [per_step, size]


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        claims = _growth(folder) + _scale(folder)
        if CLI is None:
            print("no Pulumi CLI on the PATH: the comparisons with it are left out")
        else:
            ours, many = Stack.of_this_project(folder / "ours"), Stack.of_many(folder / "many", 200)
            try:
                claims += _against_cli(CLI, ours, many)
            finally:
                ours.run(EMBEDDED, "destroy", "--yes", "--skip-preview")
        sys.exit(0 if report(claims) else 1)


if __name__ == "__main__":
    main()
