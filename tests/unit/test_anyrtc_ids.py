"""Names (anyRTC 3)."""

import string

import pytest

from postroom.core.errors import InvalidCommand
from postroom.transports.anyrtc.ids import check_name, check_path_name

ALLOWED = string.ascii_letters + string.digits + " " + "!#$%&()+-:;<=.>?@[]^_{}|~,'"


def test_the_characters_allowed() -> None:
    assert len(set(ALLOWED)) == 52 + 10 + 1 + 27
    for code in range(0x250):
        name = f"a{chr(code)}b"
        if chr(code) in ALLOWED:
            assert check_name("destination", name) == name
        else:
            with pytest.raises(InvalidCommand, match="destination: has a character that is not allowed"):
                check_name("destination", name)


@pytest.mark.parametrize("name", ["a", "a" * 64, " a", "a ", " ", "a b+c%#?"])
def test_names(name: str) -> None:
    assert check_name("destination", name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "must not be empty"),
        ("a" * 65, "at most 64 characters"),
        ("\u7528\u6237", "not allowed"),
        ("a/b", "not allowed"),
        ('a"b', "not allowed"),
        ("a\n", "not allowed"),
        ("\u0661", "not allowed"),  # a digit to str.isdigit
    ],
)
def test_what_is_no_name(name: str, message: str) -> None:
    with pytest.raises(InvalidCommand, match=message):
        check_name("destination", name)


@pytest.mark.parametrize("name", [" a", "a ", " "])
def test_a_name_in_a_path_has_no_outer_spaces(name: str) -> None:
    with pytest.raises(InvalidCommand, match="user_id: must not begin or end with a space"):
        check_path_name("user_id", name)


def test_a_name_in_a_path_may_have_inner_spaces() -> None:
    assert check_path_name("user_id", "a b") == "a b"
