"""Read and review the plans of all databases in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from textwrap import indent
from typing import Any

from pulumi_alembic.database.connection import NoDatabase, NoSchema, log_in
from pulumi_alembic.errors import DatabaseError, Moved
from pulumi_alembic.fanout.plan.databases import Kind, Listing, address
from pulumi_alembic.fanout.plan.groups import Groups, failures
from pulumi_alembic.fanout.worker_pool.pool import WorkerPool
from pulumi_alembic.review.plan_review import PlanReview

__all__ = ["judged", "knock", "read", "survey"]

_LOOKS = 3


def knock(url: str, listing: Listing) -> None:
    """Log in to the first database, to find a failing server before all databases are tried. Raises DatabaseError."""
    try:
        log_in(address(url, listing.names[0]) if listing.kind is Kind.DATABASE else url).close()
    except NoDatabase:
        if listing.kind is Kind.SCHEMA:
            raise
        # The server answers. Missing databases are reported together later.


def survey(pool: WorkerPool, listing: Listing, processes: int, *, known: bool = True) -> Groups:
    """Return the plan of each database. Nothing is changed, and no script is loaded.

    Args:
        pool: The worker pool.
        listing: The databases.
        processes: The largest number of processes.
        known: Whether the server can be contacted. Otherwise each plan is that of an empty database.

    Raises:
        DatabaseError: Some databases have no plan. The text names them.

    """
    groups, wrong = Groups(listing, pool.target), {}
    items = [(name if known else None, None) for name in (*listing.names, *[None] * listing.to_come)]
    for number, answer in _of_each(pool, "look", items, processes, listing):
        if "error" in answer:
            wrong[groups.name(number)] = answer["error"] + _advice(answer["kind"])
        else:
            groups.add(number, answer["key"], answer.get("plan"))
    if wrong:
        raise DatabaseError(
            "\n".join(
                [f"{listing.counted(len(wrong))} of {len(items):,} cannot be migrated, and nothing was changed:"]
                + [
                    indent(failure, "  ")
                    for failure in failures({name: wrong[name] for name in sorted(wrong)}, listing.kind)
                ]
                + [f"Fix these {listing.kind}s, or remove them from the list, then run:\n  {pool.command}"]
            )
        )
    for group in groups.known.values():
        group.numbers.sort()
    return groups


def judged(
    pool: WorkerPool,
    listing: Listing,
    processes: int,
    tell: Callable[[str], None],
    *,
    seen: Groups | None = None,
    known: bool = True,
) -> Groups:
    """Return the plan of each database with its review.

    If another migration changes a database meanwhile, all are read again, a few times.

    Args:
        pool: The worker pool.
        listing: The databases.
        processes: The largest number of processes.
        tell: Receives the progress as text.
        seen: The result of a recent survey. None for a new one.
        known: Whether the server can be contacted.

    Raises:
        DatabaseError: Some databases have no plan, or a plan cannot be reviewed. Nothing was changed.

    """
    for _ in range(_LOOKS - 1):
        with suppress(Moved):
            return _judge(pool, seen or survey(pool, listing, processes, known=known), processes, tell, known)
        seen = None
    return _judge(pool, survey(pool, listing, processes, known=known), processes, tell, known)


def _judge(pool: WorkerPool, groups: Groups, processes: int, tell: Callable[[str], None], known: bool) -> Groups:
    """Review each plan on its first database, with the losses in any of its databases.

    Raises DatabaseError if a plan cannot be reviewed, and Moved if the database has another plan by now.
    """
    pending = list(groups.pending.items())
    items = [(_name(groups, group.numbers[0], known), key) for key, group in pending]
    # Read all answers, because those of the next task follow them.
    answers = dict(pool.run("review", items, processes, lambda number, text, lasting: tell(text)))
    for number, (_, group) in enumerate(pending):
        answer = answers[number]
        if "error" in answer:
            kind = Moved if answer["kind"] == Moved.__name__ else DatabaseError
            raise kind(failures({groups.name(group.numbers[0]): answer["error"]}, groups.listing.kind)[0])
        group.review = PlanReview.from_json(answer["review"])
    for _, group in pending:
        review = group.review
        if (
            known
            and review
            and any(statement.does.destroys for revision in review.revisions for statement in revision.statements)
        ):
            group.review = _with_losses(pool, groups, review, group.numbers, processes)
    return groups


def read(pool: WorkerPool, listing: Listing, processes: int) -> tuple[dict[str, int], dict[str, str], int]:
    """Return how many databases are at each revision, the errors by database, and how many databases are missing."""
    counts: dict[str, int] = {}
    wrong: dict[str, str] = {}
    gone = 0
    items = [(name, None) for name in listing.names]
    for number, answer in _of_each(pool, "read", items, processes, listing):
        if answer.get("kind") in (NoDatabase.__name__, NoSchema.__name__):
            gone += 1
        elif "error" in answer:
            wrong[listing.names[number]] = answer["error"]
        else:
            counts[answer["revision"]] = counts.get(answer["revision"], 0) + 1
    return counts, wrong, gone


def _of_each(
    pool: WorkerPool, task: str, items: Sequence[tuple[str | None, None]], processes: int, listing: Listing
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run a task that reads, and return the answer for each item with its number.

    Tenants that are alike have one answer. An error names its tenant, so the others of its group are asked too.
    """
    groups = [[number] for number in range(len(items))]
    if listing.kind is Kind.SCHEMA and listing.names and items[0][0] is not None:
        [(_, answer)] = pool.run("alike", [(None, list(listing.names))], 1)
        # The task itself reports an error for each tenant.
        if "error" not in answer:
            groups = [*answer["groups"], *([number] for number in range(len(listing.names), len(items)))]
    failed: list[int] = []
    for place, answer in pool.run(task, [items[group[0]] for group in groups], processes):
        first, *others = groups[place]
        yield first, answer
        if "error" in answer:
            failed += others
        else:
            yield from ((number, answer) for number in others)
    if failed:
        for place, answer in pool.run(task, [items[number] for number in failed], processes):
            yield failed[place], answer


def _with_losses(
    pool: WorkerPool, groups: Groups, review: PlanReview, numbers: Iterable[int], processes: int
) -> PlanReview:
    """Return the review with what each revision would delete, once for each amount, with an example."""
    names = [groups.name(number) for number in numbers if number < len(groups.listing.names)]
    lost: dict[str, dict[str, list[str]]] = {}
    for number, answer in pool.run("losses", [(name, None) for name in names], processes, shared=review.to_json()):
        if "error" in answer:
            raise DatabaseError(failures({names[number]: answer["error"]}, groups.listing.kind)[0])
        for id, texts in answer["losses"].items():
            lost.setdefault(id, {}).setdefault(", ".join(texts), []).append(names[number])
    return replace(
        review,
        revisions=tuple(
            replace(revision, losses=_losses_text(lost.get(revision.id, {}), groups.listing))
            for revision in review.revisions
        ),
    )


def _losses_text(lost: Mapping[str, list[str]], listing: Listing, shown: int = 5) -> tuple[str, ...]:
    texts = [f"{loss} in {sorted(names)[0]}" + _others(len(names) - 1) for loss, names in sorted(lost.items())]
    more = sum(len(names) for names in [lost[loss] for loss in sorted(lost)][shown:])
    return (*texts[:shown], *([f"others in {listing.counted(more)} more"] if more else []))


def _others(number: int) -> str:
    return f" and as much in {number:,} more" if number else ""


def _name(groups: Groups, number: int, known: bool) -> str | None:
    return groups.listing.names[number] if known and number < len(groups.listing.names) else None


def _advice(kind: str) -> str:
    if kind == NoDatabase.__name__:
        return ". It does not exist on the server: create it first, or remove it from the list"
    return ""
