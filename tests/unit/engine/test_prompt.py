"""The keys that are typed at a prompt."""

import pytest

from pulumi_embedded.cli.prompt import keys_of

TYPED = "n\x1b[B\r\x1bOA\x04"


@pytest.mark.parametrize("at", range(len(TYPED) + 1))
def test_a_key_is_one_wherever_the_terminal_cuts_it(at: int) -> None:
    first, begun = keys_of(TYPED[:at])
    second, left = keys_of(begun + TYPED[at:])
    assert [*first, *second] == ["n", "\x1b[B", "\r", "\x1bOA", "\x04"]
    assert left == ""
