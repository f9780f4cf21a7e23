"""A plan contains exactly the revisions that lead from the database's heads to the target, in an order that can run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_alembic.errors import TargetError
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.manifest import Manifest
from pulumi_alembic.scripts.plan import Direction, plan
from pulumi_alembic.scripts.revision import Revision, checksum


def history(*lines: str) -> History:
    """Build a history: `"2<1"` is a revision 2 that builds on 1, `"4<2,3"` a revision 4 that merges 2 and 3."""
    revisions = []
    for line in lines:
        id, _, downs = line.partition("<")
        source = f'"""message {id}"""'
        revisions.append(
            Revision(id, tuple(filter(None, downs.split(","))), (), Path(), f"{id}.py", source, checksum(source))
        )
    return History.of(revisions, Manifest(Path("manifest"), exists=False))


LINE = history("1", "2<1", "3<2")
DIAMOND = history("1", "2<1", "3<1", "4<2,3", "5<4")


@pytest.mark.parametrize(
    ("current", "target", "direction", "steps"),
    [
        ((), "3", Direction.UPGRADE, ["1", "2", "3"]),
        (("1",), "3", Direction.UPGRADE, ["2", "3"]),
        (("3",), "3", Direction.UPGRADE, []),
        (("3",), "1", Direction.DOWNGRADE, ["3", "2"]),
        (("3",), "base", Direction.DOWNGRADE, ["3", "2", "1"]),
        ((), "base", Direction.UPGRADE, []),
    ],
)
def test_a_line(current: tuple[str, ...], target: str, direction: Direction, steps: list[str]) -> None:
    made = plan(LINE, current, target)
    assert (made.direction, [step.id for step in made.steps]) == (direction, steps)


@pytest.mark.parametrize(
    ("current", "target", "steps"),
    [(("2", "3"), "4", ["4"]), (("2",), "4", ["3", "4"]), (("5",), "2", ["5", "4", "3"]), (("2", "3"), "2", ["3"])],
)
def test_branches_and_merges(current: tuple[str, ...], target: str, steps: list[str]) -> None:
    assert [step.id for step in plan(DIAMOND, current, target).steps] == steps


def test_another_branch_is_refused() -> None:
    with pytest.raises(TargetError, match="revision 3 is on another branch than 2"):
        plan(history("1", "2<1", "3<1"), ("2",), "3")


def test_a_head_that_the_scripts_lack_is_refused_with_the_way_to_find_it() -> None:
    with pytest.raises(TargetError, match=r"at revision 9, which the scripts here do not have.*git log --all"):
        plan(LINE, ("9",), "3")


def test_a_plan_reads_as_one_line() -> None:
    assert str(plan(LINE, ("1",), "3")) == "1 → 3, 2 upgrades"
    assert str(plan(LINE, (), "1")) == "base → 1, 1 upgrade"
    assert str(plan(LINE, ("3",), "3")) == "at 3: nothing pending"
    assert plan(LINE, ("3",), "2").lines == ["downgrade 3 message 3"]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a history of up to twelve revisions, each of which builds on up to two earlier ones."""
    lines: list[str] = []
    for number in range(draw(st.integers(1, 12))):
        downs = draw(st.sets(st.integers(0, number - 1), max_size=2)) if number else set()
        lines.append(f"{number:02}<{','.join(f'{down:02}' for down in sorted(downs))}")
    return history(*lines)


@given(histories(), st.data())
def test_every_step_comes_after_what_it_builds_on(made: History, data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(sorted(made.revisions)))
    current = data.draw(st.sampled_from(["base", *sorted(made.revisions)]))
    heads = () if current == "base" else (current,)
    try:
        steps = plan(made, heads, target)
    except TargetError:
        return
    applied = set(made.ancestors(heads))
    for step in steps.steps:
        if steps.direction is Direction.UPGRADE:
            assert step.id not in applied
            assert set(step.down_revisions) <= applied
            applied.add(step.id)
        else:
            assert all(step.id not in made.revisions[other].down_revisions for other in applied)
            applied.remove(step.id)
    assert applied == set(made.ancestors([target]))
