"""Bytes from outside: what they become, and that whatever is wrong with them is InvalidCommand."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import InvalidCommand
from postroom.transports.http.decode import decode, decode_segment, parse_query, utf8


class Inner(msgspec.Struct):
    count: int


class Wire(msgspec.Struct):
    name: str
    flag: bool | None = None
    inner: Inner | None = None


DECODER = msgspec.json.Decoder(Wire)


def test_a_body_becomes_a_value_and_unknown_members_are_ignored() -> None:
    assert decode(b'{"name": "x", "other": [1, {}]}', DECODER) == Wire("x")
    assert decode('{"name": "\u4e2d", "flag": null}'.encode(), DECODER) == Wire("\u4e2d")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: not JSON"),
        (b"{", "body: not JSON"),
        (b"[]", "body: expected `object`, got `array`"),
        (b"null", "body: expected `object`"),
        (b"{}", "name: required"),
        (b'{"name": 1}', "name: expected `str`, got `int`"),
        (b'{"name": "x", "flag": 1}', "flag: expected `bool | null`, got `int`"),
        (b'{"name": "x", "flag": "true"}', "flag: expected"),
        (b'{"name": "x", "inner": {}}', "inner.count: required"),
        (b'{"name": "x", "inner": {"count": "1"}}', "inner.count: expected `int`, got `str`"),
        (b'{"name": "\xff"}', "body: not UTF-8"),
        (b'{"name": "x", "other": "\xff"}', "body: not UTF-8"),
        (b'{"name": "\\ud800"}', "body: a text with half of a surrogate pair"),
        (b'{"name": "\\ud83d\\ude00"', "body: not JSON"),
        (b'{"name": "x", "other": ' + b"[" * 100_000 + b"}", "body: nested too deeply"),
        (b'{"name": "x"} tail', "body: not JSON"),
        (b'\xef\xbb\xbf{"name": "x"}', "body: not JSON"),
    ],
)
def test_a_bad_body_is_refused_naming_the_member(body: bytes, message: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        decode(body, DECODER)
    assert caught.value.message.startswith(message)


@given(st.binary())
def test_any_body_is_a_value_or_refused(body: bytes) -> None:
    with suppress(InvalidCommand):
        assert isinstance(decode(body, DECODER), Wire)


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", []),
        (b"&&", []),
        (b"?&destination=userB", [("?", ""), ("destination", "userB")]),
        (b"&destination=userB&", [("destination", "userB")]),
        (b"=value", []),
        (b"wait_for_ack", [("wait_for_ack", "")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a=b+c%20d%2Be", [("a", "b c d+e")]),
        (b"wait_for_ack=true%20&b=+x+", [("wait_for_ack", "true"), ("b", "x")]),
        (b"a=%22u%22", [("a", '"u"')]),
        (b"a=%zz%", [("a", "%zz%")]),
        (b"a=1&a=2", [("a", "1"), ("a", "2")]),
        (b"%61=%E4%B8%AD", [("a", "\u4e2d")]),
    ],
)
def test_a_query_is_form_decoded(query: bytes, pairs: list[tuple[str, str]]) -> None:
    assert parse_query(query) == pairs


@given(st.binary())
def test_any_query_is_pairs_or_refused(query: bytes) -> None:
    with suppress(InvalidCommand):
        parse_query(query)


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("userA", "userA"),
        ("a%20b%2Bc%25%23%3F", "a b+c%#?"),
        ("a+b", "a+b"),
        ("a%2520b", "a%20b"),
        ("a%2Fb", "a/b"),
        ("%E4%B8%AD", "\u4e2d"),
        ("%zz", "%zz"),
        ("\u00e4\u00b8\u00ad", "\u4e2d"),  # raw bytes of UTF-8, as HTTP/2 could bring them
        ("", ""),
    ],
)
def test_a_segment_is_decoded_once(raw: str, decoded: str) -> None:
    assert decode_segment(raw, "user_id") == decoded


@pytest.mark.parametrize("raw", ["%ff", "a%C3", "\u00ff"])
def test_a_segment_that_is_not_utf8_is_refused(raw: str) -> None:
    with pytest.raises(InvalidCommand, match="user_id: not UTF-8"):
        decode_segment(raw, "user_id")


def test_header_values_are_utf8() -> None:
    assert utf8("\u4e2d".encode(), "Idempotency-Key") == "\u4e2d"
    with pytest.raises(InvalidCommand, match="Idempotency-Key: not UTF-8"):
        utf8(b"\xff", "Idempotency-Key")
