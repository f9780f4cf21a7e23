"""The update of the application's two passwords, for each exported login and each requested turn."""

import pytest

from taskdb.passwords import PasswordProvider
from taskdb.rotation import Turn, turn

OLD = {"value": "old", "login": "a"}


def becomes(olds: dict[str, str], due: Turn) -> str:
    """Return `same`, `kept` or `new`: what an update does to a password of this state."""
    news = {"login": due.login, "use": due.use, "__renew": due.renew, "__keep": due.keep}
    provider = PasswordProvider()
    if not provider.diff("password", olds, news).changes:
        return "same"
    outs = provider.update("password", olds, news).outs
    assert outs is not None and outs["use"] == due.use
    return "kept" if outs["value"] == olds["value"] else "new"


@pytest.mark.parametrize(
    ("use", "chosen", "exported", "expected"),
    [
        ("exported", "a", None, "same"),  # the first update failed after it had created the roles
        ("retired", "b", None, "same"),
        ("exported", "a", "a", "same"),
        ("exported", "b", "a", "same"),  # its URL is read until this update is complete
        ("exported", "b", "b", "new"),  # no client reads it any more
        ("retired", "b", "b", "same"),
        ("retired", "a", "b", "new"),  # its turn
        ("exported", "a", "b", "new"),  # its turn again, before it was retired
        ("retired", "a", "a", "kept"),  # exported by a commit that knew of no turns
    ],
)
def test_a_password_changes_where_nobody_reads_its_url(
    use: str, chosen: str, exported: str | None, expected: str
) -> None:
    assert becomes({**OLD, "use": use}, turn("a", chosen, exported)) == expected


@pytest.mark.parametrize(
    ("login", "chosen", "exported", "expected"),
    [("a", "a", "a", "same"), ("b", "a", "a", "same"), ("a", "b", "a", "same"), ("b", "b", "a", "new")],
)
def test_a_state_that_does_not_say_is_taken_for_one_with_a_exported(
    login: str, chosen: str, exported: str, expected: str
) -> None:
    assert becomes({"value": "old"}, turn(login, chosen, exported)) == expected


def test_a_password_that_takes_no_turns_stays() -> None:
    assert not PasswordProvider().diff("password", {"value": "old"}, {}).changes
