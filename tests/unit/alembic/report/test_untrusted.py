"""Hostile scripts, messages and names: the comment keeps its form, mentions no user, and is not too long."""

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pulumi_alembic.review.plan_review import Finding, PlanReview, RevisionReview, Severity, StatementReview
from pulumi_alembic.review.report import LIMIT, comment, document, judge
from pulumi_alembic.sql.locks import Effects, Lock
from pulumi_alembic.sql.tables import ColumnChange, ForeignKey, TableChange, TableState
from tests.unit.alembic.report.previews import document as preview_document
from tests.unit.alembic.report.previews import migrations, previewed, resource

HOSTILE = (
    *(
        "```",
        "~~~~",
        "`",
        "``a`",
        "|",
        "\\|",
        "\\",
        "</details>",
        "</summary>",
        "<details>",
        "<!--",
        "-->",
        "<b>",
        "<script>",
    ),
    *("@alice", "x@alice.example", "#12", "shop/shop#12", "GH-12", "https://example.org/issues/1", "www.example.org"),
    *(
        "# a",
        "- a",
        "1. a",
        "> a",
        "---",
        "===",
        "***a***",
        "__a__",
        "_a_",
        "[a](b)",
        "![a](b)",
        "[a]: b",
        "~~a~~",
        "$a$",
    ),
    *(
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\t",
        "    ",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\u2028",
        "\ud800",
        "é",
        "😀",
        "&lt;",
        "&#124;",
        "a",
    ),
)
PIECES = st.lists(st.sampled_from(HOSTILE), max_size=5).map("".join)
TEXT = st.one_of(PIECES, st.text(max_size=12), st.builds(lambda text, times: text * times, PIECES, st.integers(1, 300)))


def tuples(part: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(part, max_size=most).map(tuple)


EFFECTS = st.builds(
    Effects, tuples(st.builds(Lock, TEXT, TEXT)), tuples(TEXT), tuples(TEXT), tuples(TEXT), tuples(TEXT)
)
FINDINGS = tuples(st.builds(Finding, TEXT, st.sampled_from(Severity), TEXT, TEXT, TEXT))
STATEMENTS = tuples(st.builds(StatementReview, TEXT, st.booleans(), EFFECTS, FINDINGS))
REVISION = st.builds(RevisionReview, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, STATEMENTS, FINDINGS)
REVISIONS = st.builds(lambda some, times: some * times, tuples(REVISION, 3), st.integers(1, 20))
COLUMNS = tuples(st.builds(ColumnChange, TEXT, TEXT, st.booleans(), TEXT, TEXT), 3)
STATES = st.none() | st.builds(TableState, COLUMNS, tuples(st.builds(ForeignKey, TEXT, tuples(TEXT))))
TABLES = tuples(st.builds(TableChange, TEXT, STATES, STATES, TEXT), 4)
REVIEWS = st.builds(PlanReview, TEXT, TEXT, TEXT, TEXT, st.booleans(), REVISIONS, TABLES)

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = re.compile(r"(</?(details|details open|summary|code)>|<br>|<!-- pulumi-alembic-report -->)")
PINGS = re.compile(r"(^|\W)@\w|#\d|\bGH-\d|https?://|www\.")
FORMS = {"em_open", "s_open", "link_open", "image", "code_block", "hr", "blockquote_open", "ordered_list_open"}
HEADINGS = re.compile(
    r"#### (Infrastructure|Schema|Findings|Locks|Data at risk|Tables before and after|Apply and|Next"
    r"|Messages of the preview)|### [⛔🗑⚠✅]"
)


def assert_whole(text: str) -> None:
    tokens, lines = MARKDOWN.parse(text), text.split("\n")
    everything = [part for token in tokens for part in (token, *(token.children or ()))]
    assert not FORMS & {token.type for token in everything}
    assert_html(everything)
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            assert HEADINGS.match(f"{token.markup} {tokens[number + 1].content}")
        if token.type == "tr_open" and token.map:
            # The parser would silently ignore an additional cell.
            assert lines[token.map[0]].count("|") == 4
    inside = False
    for token in everything:
        inside = token.content == "<code>" or (inside and token.content != "</code>")
        assert inside or token.type != "text" or not PINGS.search(token.content), token.content


def assert_html(tokens: list[Token]) -> None:
    found = "".join(token.content for token in tokens if token.type in ("html_block", "html_inline"))
    folds = re.findall(r"</?details", found)
    assert folds.count("<details") == folds.count("</details")
    summaries = re.sub(r"<summary>[\w ,:]+</summary>", "", found)
    assert not OURS.sub("", summaries).strip()


@pytest.mark.parametrize("piece", HOSTILE)
def test_nothing_breaks_out_of_where_it_stands(piece: str) -> None:
    text = f"{piece} x\n{piece}\n# a\n</details>\n@alice <b>\n\n{piece}@alice{piece}"
    finding = Finding(text, Severity.WARNING, text, text)
    excused = Finding(text, Severity.ERROR, text, "", text)
    effects = Effects((Lock(text, text), Lock(text, text, True)), (text,), (text,), (text,), (text,))
    statement = StatementReview(text, True, effects, (finding, excused))
    revision = RevisionReview(text, text, text, text, text, text, (statement,), (finding,))
    state = TableState((ColumnChange(text, text, True, text, text),), (ForeignKey(text, (text,)),))
    table = TableChange(text, state, TableState((ColumnChange(text, f"{text}x"),)), text)
    review = PlanReview(text, text, text, text, True, (revision,), (table,))
    steps = (migrations(review, name=text), resource("create", text, text), resource(text, "a:b:C", text))
    preview = previewed(*steps, diagnostics=(("error", text), ("warning", piece)))
    assert_whole(comment(preview, judge(preview)))


@given(REVIEWS, TEXT, TEXT)
@settings(deadline=None)
def test_any_plan_makes_a_whole_comment_that_is_not_too_long(review: PlanReview, name: str, message: str) -> None:
    steps = (migrations(review, name=name), resource("create", "a:b:C", message), resource("delete", name, "x"))
    preview = previewed(*steps, diagnostics=(("error", message), ("warning", name)))
    text = comment(preview, judge(preview))
    assert len(text.encode()) <= LIMIT
    assert_whole(text)


@given(REVIEWS)
@settings(deadline=None)
def test_any_plan_is_in_the_document_whole(review: PlanReview) -> None:
    preview = previewed(migrations(review))
    found = json.loads(json.dumps(document(preview, judge(preview))))
    assert PlanReview.from_json(found["plans"][0]["plan"]) == review
    severities = [each["severity"] for each in found["findings"] if not each["excused"]]
    assert severities == sorted(severities, key=list(Severity).index)


@pytest.mark.few("300-300", "3000-1")
@pytest.mark.parametrize(
    ("number", "size"),
    [*itertools.product([1, 300, 3_000], [1, 300, 3_000]), (20_000, 1)],
)
def test_every_id_is_named_or_counted_as_left_out(number: int, size: int) -> None:
    statement = StatementReview("x" * size, effects=Effects(locks=(Lock("t", "SHARE"),)))
    revisions = tuple(
        RevisionReview(f"id{each:05}", "m" * min(size, 200), "f", "v1:0", "upgrade", "", (statement,))
        for each in range(number)
    )
    preview = previewed(migrations(PlanReview("base", "last", "upgrade", "h:1/d", False, revisions)))
    text = comment(preview, judge(preview))
    assert len(text.encode()) <= LIMIT
    named = len(set(re.findall(r"`(id\d{5})`", text)))
    left = re.search(r"([\d,]+) revisions left out", text)
    assert named + (int(left[1].replace(",", "")) if left else 0) == number
    assert named >= min(number, 500)


@pytest.mark.few(1)
@pytest.mark.parametrize("filling", ["|", "`", "\u202e", "😀", "@a ", "a\n", "<", "é"])
def test_the_longest_of_everything_fits(filling: str) -> None:
    long = filling * 200
    finding = Finding(long, Severity.ERROR, long, long, long)
    effects = Effects((Lock(long, long),) * 9, (long,) * 9, (long,) * 9, (long,) * 9, (long,) * 9)
    statement = StatementReview(long, effects=effects, findings=(finding,) * 9)
    revisions = tuple(
        RevisionReview(f"{each}{long}", long, long, long, long, long, (statement,) * 2, (finding,))
        for each in range(20)
    )
    review = PlanReview(long, long, long, long, revisions=revisions)
    steps = [
        step for each in range(5) for step in (migrations(review, long, f"{each}"), resource(long, long, f"{each}"))
    ]
    preview = previewed(*steps, diagnostics=(("error", long), ("warning", long)) * 40)
    text = comment(preview, judge(preview))
    assert len(text.encode()) <= LIMIT
    assert_whole(text)


def test_passwords_in_a_plan_are_not_shown() -> None:
    statement = StatementReview("ALTER ROLE app PASSWORD 'hunter2'")
    review = PlanReview(
        "base", "a", "upgrade", revisions=(RevisionReview("a", "", "f", "c", "upgrade", "", (statement,)),)
    )
    preview = previewed(migrations(review), diagnostics=(("error", "near ALTER ROLE app PASSWORD 'hunter2'"),))
    assert "hunter2" not in comment(preview, judge(preview)) + json.dumps(document(preview, judge(preview)))


def test_the_marker_is_the_first_line() -> None:
    preview = previewed(*preview_document()["steps"])
    assert comment(preview, judge(preview), "shop/prod").splitlines()[0] == "<!-- shop/prod -->"
