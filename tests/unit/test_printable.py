"""No printed text commands a terminal or a CI log: the function, and the streams that apply it to all output."""

import importlib
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pulumi_alembic.output.printable
import pulumi_embedded.printable
from pulumi_alembic import errors
from pulumi_alembic.drift.repair.statement import Statement, literal
from pulumi_alembic.drift.report import render
from pulumi_alembic.output.printable import GuardedStream, json_text, printable
from pulumi_alembic.review import plan_text
from pulumi_alembic.review.plan_review import PlanReview, RevisionReview, StatementReview
from pulumi_alembic.review.report import comment, document, judge
from pulumi_alembic.sql.outside_transaction import printable_sql
from pulumi_alembic.stack import log
from taskdb.errors import TaskdbError
from tests.unit.alembic.report.previews import migrations, previewed

COMMANDS = ("::error::x", "  ::add-mask::x", "a\n\u00a0::x", "##[add-matcher]x", "a ##vso[task.x]y", "##teamcity[x]")
HOSTILE = (
    *COMMANDS,
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31mred",
    "\x9b2J",
    "\r::error::x",
    "a\r\n::error::x",
    "\u2028::error::x",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u200b::error::x",
    "\ufeff::error::x",
    "\u115f::error::x",
    "\x00\x08\x7f",
    "\ud800",
)
TEXT = st.one_of(
    st.lists(st.sampled_from((*HOSTILE, "\n", " ", ":", "#", "[", "a", "é", "😀"))).map("".join), st.text()
)


def assert_harmless(text: str) -> None:
    unusual = {each for each in text if not each.isprintable()} - {"\n", "\t"}
    assert not [each for each in unusual if unicodedata.category(each) != "Zs"]
    for line in text.split("\n"):
        # The runner strips white space, and compares with a comparison that skips marks.
        seen = "".join(each for each in line.lstrip() if unicodedata.category(each) not in ("Mn", "Me"))
        assert not seen.lstrip().startswith("::")
    assert not re.search(r"##\w*\[", text)


@given(TEXT)
def test_a_text_is_made_harmless_once(text: str) -> None:
    assert_harmless(printable(text))
    assert printable(printable(text)) == printable(text)


def test_each_character_that_is_not_seen_is_escaped() -> None:
    everything = "".join(f"{chr(code)}::\n" for code in range(0x20000))
    assert_harmless(printable(everything))


def test_what_can_be_read_stays() -> None:
    for text in ("tabs\tand\nlines", "日本語\u3000é", "a::b, x :: y", "## heading [link]", "1,000\u202f€"):
        assert printable(text) == text
    assert printable("\x1b[1;31mred\x1b[0m") == "red"
    assert printable("\x1b]0;t\x07 \u202e") == r"\x1b]0;t\x07 \u202e"
    assert printable("::error::x") == r"\::error::x"


@given(st.lists(TEXT))
def test_a_stream_makes_harmless_what_is_written_in_pieces(pieces: list[str]) -> None:
    below = io.StringIO()
    stream = GuardedStream(below)
    for piece in pieces:
        stream.write(piece)
    assert_harmless(below.getvalue())


@given(st.lists(TEXT, max_size=3) | st.dictionaries(TEXT, TEXT, max_size=3))
def test_json_is_harmless_and_reads_as_what_it_was(value: object) -> None:
    for text in (json_text(value), json_text(value, ascii_only=False, indent=2)):
        assert printable(text) == text
        assert json.loads(text) == json.loads(json.dumps(value))


def test_both_libraries_have_the_same_function() -> None:
    ours, theirs = (Path(str(each.__file__)) for each in (pulumi_alembic.output.printable, pulumi_embedded.printable))
    assert ours.read_text() == theirs.read_text()


@pytest.mark.parametrize("text", HOSTILE)
def test_each_way_out_is_harmless(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (errors.MigrationError, errors.DatabaseError, TaskdbError):
        assert_harmless(str(error(text)))
    assert_harmless(str(errors.RevisionFailed(text, text)))
    logged: list[str] = []
    engine = type("Engine", (), {"Log": lambda _, request: logged.append(request.message)})()
    monkeypatch.setattr(log, "_engine", lambda: engine)
    log.Log("urn").info(text.encode("utf-8", "replace").decode())
    assert_harmless(logged[0])
    statement = StatementReview(text)
    revision = RevisionReview(text, text, text, text, "upgrade", text, (statement,))
    review = PlanReview(text, text, "upgrade", text, False, (revision,))
    for name, lines in plan_text.statements(review).items():
        assert_harmless("\n".join([name, *lines]))
    report = previewed(migrations(review, name="schema"), diagnostics=(("error", text), ("warning", text)))
    assert_harmless(comment(report, judge(report)))
    assert_harmless(json_text(document(report, judge(report)), indent=2))


@pytest.mark.parametrize("text", HOSTILE[:-1])
def test_a_statement_that_fixes_drift_stays_the_same_statement(text: str) -> None:
    lines = list(render([Statement(f"COMMENT ON TABLE t IS {literal(text)}", 0, note=text)]))
    assert_harmless("\n".join(lines))
    function = f'CREATE FUNCTION "{text}"() RETURNS text LANGUAGE sql AS $x$SELECT {literal(text)}$x$\n::y'
    assert_harmless(printable_sql(function))


PRINTS = """
import sys
from pulumi_alembic.output.printable import guarded_output
with guarded_output():
    for number in range(int(sys.argv[1])):
        print("→", number)
    print("the end ✓", file=sys.stderr)
"""


def test_a_command_whose_reader_went_away_goes_on_to_its_end() -> None:
    command = [sys.executable, "-c", PRINTS, "20000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "→ 0\n".encode()
        running.stdout.close()
        assert (running.stderr.read(), running.wait()) == ("the end ✓\n".encode(), 0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16", "shift_jis", "cp037"])
def test_a_command_prints_in_every_encoding(encoding: str) -> None:
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", PRINTS, "2"], capture_output=True, env=environment)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0)
    assert done.stdout.decode(encoding).replace("\\u2192", "→") == "→ 0\n→ 1\n"


@pytest.mark.parametrize("package", ["pulumi_alembic.output", "pulumi_embedded"])
def test_an_error_that_ctrl_c_caused_is_an_interruption(package: str) -> None:
    """Python raises RuntimeError, or adds a note, if a class is interrupted while it is created."""
    guarded_output = importlib.import_module(f"{package}.printable").guarded_output

    class Interrupted:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), guarded_output():
        type("Created", (), {"field": Interrupted()})
    with pytest.raises(KeyboardInterrupt), guarded_output():
        try:
            raise KeyboardInterrupt
        finally:
            _ = 1 / 0
    with pytest.raises(ZeroDivisionError), guarded_output():
        _ = 1 / 0


def test_a_full_disk_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", PRINTS, "9"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
