"""Parameters as clients write them (LeanCloud 2.1, 2.2)."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import InvalidCommand
from postroom.transports.leancloud.errors import Malformed, NameTooLong
from postroom.transports.leancloud.parameters import Parameters, arguments_of, body_of, parse_json
from tests.support.web import request


def body(raw: bytes, label: str | None = "application/json") -> dict[str, Any]:
    """The body of a POST."""
    return body_of(request("/", raw, headers={} if label is None else {"Content-Type": label}))


@pytest.mark.parametrize(
    "label",
    [
        "application/json",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "Application/JSON",
        None,
    ],
)
def test_a_body_is_json(label: str | None) -> None:
    assert body(b'{"a": 1}', label) == {"a": 1}


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        (b'{"a": 1}', "application/x-www-form-urlencoded"),
        (b'{"a": 1}', "text/plain"),
        (b"{", "application/json"),
        (b"null", "application/json"),
        (b"[]", "application/json"),
        (b"1", "application/json"),
        (b'"x"', "application/json"),
        (b" ", "application/json"),
        (b"\xff", "application/json"),
        (b'{"a": "\\ud800"}', "application/json"),
        (b'{"a": ' * 2_000, "application/json"),
        (b'{"a": 1e999}', "application/json"),
    ],
)
def test_a_body_that_is_none(raw: bytes, label: str) -> None:
    with pytest.raises(Malformed):
        body(raw, label)


def test_no_body_has_no_label() -> None:
    assert body(b"", "text/plain") == {}


@pytest.mark.parametrize("raw", [b"", b"null", b"{}", b" null\n"])
def test_a_delete_without_arguments(raw: bytes) -> None:
    assert arguments_of(request("/", raw, headers={})).value("a") is None
    assert arguments_of(request("/", raw, headers={}, query="a=1")).value("a") == "1"


def test_a_delete_is_given_its_arguments_in_either_place() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert arguments_of(request("/", b'{"a": ["x"]}', headers=form)).value("a") == ["x"]
    both = arguments_of(request("/", b'{"a": 1, "c": null}', headers={}, query="a=2&b=3&c=4"))
    assert [both.value(name) for name in "abcd"] == [1, "3", None, None]
    with pytest.raises(Malformed):
        arguments_of(request("/", b"a=1", headers=form))


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (True, True),
        (False, False),
        ("True", True),
        ("False", False),
        ("TRUE", True),
        ("1", True),
        ("0", False),
        (1, True),
        (0, False),
        ("", None),
        (None, None),
    ],
)
def test_booleans(value: object, meant: bool | None) -> None:
    for default in ("true", "false"):
        found = Parameters({"f": value}).flag("f", default)
        assert found is ((default == "true") if meant is None else meant)


@pytest.mark.parametrize("value", ["yes", 2, -1, 1.0, [], {}, "t"])
def test_what_is_no_boolean(value: object) -> None:
    with pytest.raises(InvalidCommand, match=r"^f: must be true or false"):
        Parameters({"f": value}).flag("f")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (5, 5),
        (-5, -5),
        ("5", 5),
        ("-5", -5),
        ("00", 0),
        ("0" * 5_000 + "7", 7),
        (5.0, 5),
        ("", None),
        (None, None),
        (10**18 - 1, 10**18 - 1),
        (10**18, 10**18 - 1),
        (-(10**30), 1 - 10**18),
        (1e300, 10**18 - 1),
        ("9" * 19, 10**18 - 1),
        ("-" + "9" * 5_000, 1 - 10**18),
    ],
)
def test_whole_numbers(value: object, meant: int | None) -> None:
    assert Parameters({"n": value}).integer("n") == meant


@pytest.mark.parametrize("value", [True, 1.5, "x", "-", "1.0", "\u0661", [], {}, " 1"])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(InvalidCommand, match=r"^n: must be a whole number"):
        Parameters({"n": value}).integer("n")


def test_a_time_must_be_given() -> None:
    assert Parameters({"t": 0}).time("t") == 0
    with pytest.raises(InvalidCommand, match=r"^t: required"):
        Parameters({}).time("t")


def test_a_limit_out_of_range_is_the_default() -> None:
    found = [Parameters({"limit": value}).limit() for value in (None, "", 0, -1, 1, 1000, 1001, "7")]
    assert found == [100, 100, 100, 100, 1, 1000, 100, 7]


@pytest.mark.parametrize(
    "value", ["abc", "1.5", "9" * 20, "1" + "0" * 18, "9" * 5_000, "-1", "\u0661", 1.5, True, [], {}]
)
def test_a_limit_that_is_none_is_the_default(value: object) -> None:
    assert Parameters({"limit": value}).limit() == 100
    assert Parameters({"limit": value}).limit(50, 10) == 10


def test_texts() -> None:
    given = Parameters({"a": "", "b": "x", "c": 5})
    assert (given.text("a"), given.text("b"), given.maybe("a"), given.maybe("b"), given.maybe("d")) == (
        "",
        "x",
        None,
        "x",
        None,
    )
    with pytest.raises(InvalidCommand, match=r"^c: must be a string"):
        given.text("c")
    with pytest.raises(InvalidCommand, match=r"^d: required"):
        given.text("d")


def test_clients() -> None:
    assert Parameters({"c": ["a", "b", "a"]}).clients("c") == ("a", "b", "a")
    assert Parameters({"c": []}).clients("c") == ()
    for wrong, says in ((None, "required"), ({}, "must be"), ([1], "must be"), ([""], "must not be empty")):
        with pytest.raises(InvalidCommand, match=f"^c: {says}"):
            Parameters({"c": wrong}).clients("c")
    with pytest.raises(InvalidCommand, match=r"^c: at most 2"):
        Parameters({"c": ["a", "b", "c"]}).clients("c", 2)
    with pytest.raises(NameTooLong):
        Parameters({"c": ["x" * 65]}).clients("c")


def test_clients_are_counted_once() -> None:
    """Where it says nothing to name one twice (LeanCloud 6.4)."""
    given = Parameters({"c": ["a", "b", "a", "b"], "d": []})
    assert given.maybe_clients("c", 2) == ("a", "b")
    assert given.maybe_clients("e", 2) is None
    for name, most, says in (("c", 1, "at most 1"), ("d", 1, "must name somebody")):
        with pytest.raises(InvalidCommand, match=f"^{name}: {says}"):
            given.maybe_clients(name, most)


@pytest.mark.parametrize("text", ["a", "", '["a"]'])
def test_a_text_is_no_array_of_clients(text: str) -> None:
    for given_in_body in (Parameters({"c": text}), Parameters({"c": text}, {"c": '["a"]'})):
        with pytest.raises(InvalidCommand, match=r"^c: must be an array of strings"):
            given_in_body.clients("c")


def test_clients_in_the_query_of_a_delete() -> None:
    """There is no other way to write them there (LeanCloud 2.2)."""
    for written, meant in (('["a","b"]', ("a", "b")), ("a,b", ("a,b",)), ("a", ("a",))):
        assert Parameters({}, {"c": written}).clients("c") == meant
    with pytest.raises(InvalidCommand, match=r"^c: must be an array of strings"):
        Parameters({}, {"c": "[1]"}).clients("c")


@given(st.text())
def test_any_text_is_json_or_malformed(text: str) -> None:
    with suppress(Malformed):
        parse_json(text)
