"""Names on the wire: messages, rows, pairs, clients; and times of rows (LeanCloud 4.1, 4.2, 7.13)."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import InvalidCommand
from postroom.core.ids import POSITION_MAX, MessageId, UnixMs
from postroom.transports.leancloud.errors import NameTooLong
from postroom.transports.leancloud.ids import check_client, message_id, message_name, new_object_id, pair_id, unique_id
from postroom.transports.leancloud.times import date, from_iso, iso


@given(st.integers(0, POSITION_MAX).map(MessageId))
def test_a_message_is_named_both_ways(id: MessageId) -> None:
    name = message_name(id)
    assert len(name) == 22
    assert base64.urlsafe_b64decode(name + "==") == b"postroom" + id.to_bytes(8)
    assert message_id(name) == id


@pytest.mark.parametrize(
    "name",
    [
        "",
        "EjRWeJq83vASNFZ4mrze8A",  # somebody else's
        "sb_" + message_name(MessageId(1)),
        message_name(MessageId(1))[:-1],
        message_name(MessageId(1)) + "==",
        message_name(MessageId(1))[:-1] + "R",  # a stray bit behind the last byte
        message_name(MessageId(1)).replace("A", "+", 1),
        base64.urlsafe_b64encode(b"postroom" + b"\xff" * 8).rstrip(b"=").decode(),  # more than any id
        "\u0661" * 22,
    ],
)
def test_what_is_no_name_of_a_message_of_ours(name: str) -> None:
    assert message_id(name) is None


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_none(text: str) -> None:
    id = message_id(text)
    assert id is None or message_name(id) == text


def test_object_ids_are_24_hex_characters() -> None:
    ids = {new_object_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id) == 24 and set(id) <= set("0123456789abcdef") for id in ids)


def test_the_vector_of_the_unique_id() -> None:
    assert unique_id(["alice", "bob"]) == unique_id(["bob", "alice"]) == "ec0048c7d6b5a11cdb261b71a813eff3"
    assert unique_id([]) == "d41d8cd98f00b204e9800998ecf8427e"


def test_two_users_are_a_pair_from_either_side() -> None:
    assert pair_id("alice", "bob") == pair_id("bob", "alice")
    assert pair_id("alice", "bob") != pair_id("alice", "carol")
    assert pair_id("a", "b") == "ff9317335b95a7593b61bd4f7ca4f07f"  # md5 of peer:a:b


def test_client_ids_have_1_to_64_characters_of_any_kind() -> None:
    for name in ("1a", "x" * 64, "\u7528" * 64, " ", "a/b"):
        assert check_client("c", name) == name
    with pytest.raises(InvalidCommand, match=r"^c: must not be empty"):
        check_client("c", "")
    with pytest.raises(NameTooLong):
        check_client("c", "x" * 65)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_001, "2023-11-14T22:13:20.001Z"),
        (1_577_836_799_999, "2019-12-31T23:59:59.999Z"),
    ],
)
def test_times(ms: int, text: str) -> None:
    assert iso(UnixMs(ms)) == text
    assert from_iso(text) == ms
    assert date(UnixMs(ms)) == {"__type": "Date", "iso": text}


def test_times_of_others() -> None:
    assert from_iso("2023-11-15T06:13:20.001+08:00") == 1_700_000_000_001
    assert from_iso("2023-11-14T22:13:20") == 1_700_000_000_000
    assert from_iso("1969-12-31T23:59:59Z") == -1_000
    assert [from_iso(text) for text in ("", "yesterday", "2023-13-01T00:00:00Z", "1700000000000")] == [None] * 4


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:+.Z-]*", fullmatch=True))
def test_any_text_is_a_time_or_none(text: str) -> None:
    from_iso(text)
