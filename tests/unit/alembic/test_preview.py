"""What a preview shows of a plan: in a few lines what can hurt, and line by line what runs."""

from pulumi_alembic.account import Account, Effects, Finding, Lock, RevisionAccount, Severity, StatementAccount
from pulumi_alembic.preview import statements, summary


def revision(number: int, *found: StatementAccount, **changes: str) -> RevisionAccount:
    values = {"message": "does it", "file": "f.py", "checksum": "v1:0", "direction": "upgrade", **changes}
    return RevisionAccount(f"r{number}", statements=found, **values)


def shown(*revisions: RevisionAccount) -> list[str]:
    return summary(Account("base", "r1", "upgrade", revisions=revisions))[:-1]


def test_of_each_table_that_is_there_the_strongest_lock_is_shown_once() -> None:
    first = StatementAccount("a", effects=Effects((Lock("t", "SHARE"), Lock("made", "ACCESS EXCLUSIVE", new=True))))
    second = StatementAccount("b", effects=Effects((Lock("t", "ACCESS EXCLUSIVE"), Lock("u", "SHARE"))))
    assert shown(revision(1, first, second)) == [
        "upgrade r1 does it: 2 statements",
        "    locks t: ACCESS EXCLUSIVE",
        "    locks u: SHARE",
    ]


def test_what_is_written_anew_read_whole_destroyed_and_not_known_is_said_of_what_is_there() -> None:
    effects = Effects((Lock("made", "SHARE", new=True),), ("t", "made"), ("u", "made"), ("table v",), ("DO block",))
    assert shown(revision(1, StatementAccount("a", effects=effects)))[1:] == [
        "    writes anew: t",
        "    reads whole: u",
        "    destroys: table v",
        "    not known: DO block",
    ]


def test_a_finding_is_shown_with_its_excuse() -> None:
    found = Finding("slow", Severity.WARNING, "it is slow", excused="at night")
    assert shown(revision(1, StatementAccount("a", findings=(found,))))[1:] == [
        "    warning slow: it is slow (excused: at night)"
    ]


def test_a_revision_that_runs_python_says_why() -> None:
    assert shown(revision(1, runs_python="line 9 reads rows")) == ["upgrade r1 does it: runs Python, line 9 reads rows"]


def test_of_very_many_revisions_those_in_the_middle_are_counted() -> None:
    lines = shown(*(revision(number) for number in range(300)))
    assert (len(lines), lines[19], lines[20], lines[21]) == (
        41,
        "upgrade r19 does it: no statement",
        "… 260 more revisions",
        "upgrade r280 does it: no statement",
    )


def test_statements_are_shown_line_by_line_as_they_are_behind_what_they_do() -> None:
    inside = StatementAccount("\nUPDATE t\n   SET x = 'a  b'\n", effects=Effects((Lock("t", "ROW EXCLUSIVE"),)))
    account = Account(
        "base", "r1", "upgrade", revisions=(revision(1, inside, StatementAccount("VACUUM", outside=True)),)
    )
    assert statements(account) == {
        "upgrade r1": [
            "-- locks t: ROW EXCLUSIVE",
            "UPDATE t",
            "   SET x = 'a  b'",
            "-- outside of the transaction",
            "VACUUM",
        ]
    }
