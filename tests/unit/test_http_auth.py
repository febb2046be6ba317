"""HTTP Basic."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.transports.http.auth import Basic, basic_matches, parse_basic


@pytest.mark.parametrize(
    ("header", "basic"),
    [
        (b"Basic azE6czE=", Basic(b"k1", b"s1")),
        (b"basic azE6czE=", Basic(b"k1", b"s1")),
        (b"BASIC   azE6czE=  ", Basic(b"k1", b"s1")),
        (b"Basic " + base64.b64encode(b"k:s:t"), Basic(b"k", b"s:t")),
        (b"Basic " + base64.b64encode(b":"), Basic(b"", b"")),
        (b"Basic " + base64.b64encode(b"k\xff:\x00"), Basic(b"k\xff", b"\x00")),
        (None, None),
        (b"", None),
        (b"azE6czE=", None),
        (b"Bearer azE6czE=", None),
        (b"Basic", None),
        (b"Basic azE6czE", None),
        (b"Basic azE6 czE=", None),
        (b"Basic ****", None),
        (b"Basic \xff\xff", None),
        (b"Basic " + base64.b64encode(b"no colon"), None),
    ],
)
def test_the_header(header: bytes | None, basic: Basic | None) -> None:
    assert parse_basic(header) == basic


@given(st.binary())
def test_any_header_is_read_or_passed_over(header: bytes) -> None:
    parse_basic(header)
    parse_basic(b"Basic " + header)


def test_both_halves_must_match() -> None:
    assert basic_matches(Basic(b"k1", b"s1"), "k1", "s1")
    assert not basic_matches(Basic(b"k1", b"s2"), "k1", "s1")
    assert not basic_matches(Basic(b"k2", b"s1"), "k1", "s1")
    assert not basic_matches(Basic(b"", b""), "k1", "s1")
    assert basic_matches(Basic("schl\u00fcssel".encode(), b"s"), "schl\u00fcssel", "s")
