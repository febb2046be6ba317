"""Conversations as rows, messages as records, fields as attributes (LeanCloud 4.2, 4.3, 6.1)."""

import json
from typing import Any

import pytest

from postroom.core.commands import Operation
from postroom.core.errors import InvalidCommand
from postroom.core.ids import MessageId, UnixMs
from postroom.core.model import Conversation, ConversationInfo, Message, group, peer, room, service
from postroom.transports.leancloud.errors import InvalidKey, NameTooLong, ReadOnly
from postroom.transports.leancloud.fields import Creation, People, creation, update
from postroom.transports.leancloud.ids import message_name, pair_id
from postroom.transports.leancloud.records import record
from postroom.transports.leancloud.rows import alone, narrowed, row

C1 = group("c1")
CREATED = "2023-11-14T22:13:20.000Z"


def info(of: Conversation = C1, **more: Any) -> ConversationInfo:
    """A record."""
    given: dict[str, Any] = {
        "conversation": of,
        "created_ms": UnixMs(1_700_000_000_000),
        "updated_ms": UnixMs(1_700_000_000_001),
        "attributes": b"{}",
        "members": (),
        "member_count": 0,
        "muted": (),
        "unique": False,
        "last_message_ms": None,
    }
    return ConversationInfo(**given | more)


def test_a_row_of_a_group() -> None:
    shown = row(info(attributes=b'{"name":"one","c":"alice","attr":{"a":[1,null]}}', members=("bob", "alice")))
    assert shown == {
        "name": "one",
        "c": "alice",
        "attr": {"a": [1, None]},
        "m": ("bob", "alice"),
        "objectId": "c1",
        "createdAt": CREATED,
        "updatedAt": "2023-11-14T22:13:20.001Z",
    }


def test_what_a_row_has_only_if_it_is_set() -> None:
    shown = row(info(members=("bob", "alice"), muted=("bob",), unique=True, last_message_ms=UnixMs(1_700_000_000_000)))
    assert (shown["mu"], shown["unique"]) == (("bob",), True)
    assert shown["uniqueId"] == "ec0048c7d6b5a11cdb261b71a813eff3"
    assert shown["lm"] == {"__type": "Date", "iso": CREATED}


def test_rows_of_other_kinds_have_no_members() -> None:
    assert {key for key in row(info(room("r")))} == {"tr", "objectId", "createdAt", "updatedAt"}
    assert {key for key in row(info(service("s")))} == {"sys", "objectId", "createdAt", "updatedAt"}


def test_attributes_of_another_dialect_do_not_pose_as_our_own_fields() -> None:
    shown = row(info(room("r"), attributes=b'{"objectId":"x","m":["eve"],"tr":false,"createdAt":1,"lm":2,"mu":[]}'))
    assert shown == {"tr": True, "objectId": "r", "createdAt": CREATED, "updatedAt": "2023-11-14T22:13:20.001Z"}


def test_a_row_alone_has_no_error() -> None:
    imported = info(attributes=b'{"error":"boom","errors":1}')
    assert row(imported)["error"] == "boom"
    assert alone(imported) == {key: value for key, value in row(imported).items() if key != "error"}


def test_keys() -> None:
    shown = row(info(attributes=b'{"name":"one","level":1}'))
    always = {"objectId", "createdAt", "updatedAt"}
    assert set(narrowed(shown, "name, level.x")) == always | {"name", "level"}
    assert set(narrowed(shown, "-m,-level")) == always | {"name"}
    assert narrowed(shown, None) == narrowed(shown, "") == shown
    assert set(narrowed(shown, "-objectId,nothing")) == always


def message(to: Conversation = C1, **more: Any) -> Message:
    """A kept message."""
    given: dict[str, Any] = {
        "id": MessageId(4096),
        "conversation": to,
        "sender": "alice",
        "body": b'{"_lctype":-1}',
        "format": "text",
        "at_ms": UnixMs(1_700_000_012_345),
        "lane": "normal",
        "via": "leancloud",
    }
    return Message(**given | more)


def test_a_record() -> None:
    assert record(message()) == {
        "timestamp": 1_700_000_012_345,
        "conv-id": "c1",
        "data": '{"_lctype":-1}',
        "from": "alice",
        "msg-id": message_name(MessageId(4096)),
        "is-conv": True,
        "is-room": False,
        "to": "c1",
        "bin": False,
        "from-ip": None,
    }


def test_a_recalled_message_is_a_placeholder() -> None:
    assert record(message(body=b"", recalled=True))["data"] == '{"_lctype":-127}'


def test_messages_of_other_dialects() -> None:
    """Wildfire's payloads are JSON: they are shown as their text."""
    shown = record(message(room("lobby"), body='{"type": 1, "searchableContent": "ü"}'.encode(), format="json"))
    assert (shown["conv-id"], shown["to"]) == ("lobby", "lobby")
    assert json.loads(shown["data"]) == {"type": 1, "searchableContent": "ü"}


def test_messages_of_two_users() -> None:
    shown = record(message(peer("bob")))
    assert (shown["to"], shown["conv-id"]) == ("bob", pair_id("bob", "alice"))


def test_mentions() -> None:
    shown = record(message(mentions=("bob",), mention_all=True))
    assert (shown["mention-all"], shown["mention-pids"]) == (True, ("bob",))


# Fields.


def attributes(made: Creation) -> Any:
    """What is kept of a create."""
    return json.loads(made.attributes)


def test_a_create() -> None:
    made = creation(
        {
            "name": "one",
            "m": ["alice", "bob"],
            "mu": ["bob"],
            "unique": True,
            "attr": {"x": 1},
            "c": "alice",
            "nothing": None,
            "objectId": "mine",
            "createdAt": "mine",
            "tr": True,
            "sys": True,
            "uniqueId": "mine",
            "lm": 5,
        }
    )
    assert (made.members, made.muted, made.unique) == (("alice", "bob"), ("bob",), True)
    assert attributes(made) == {"name": "one", "attr": {"x": 1}, "c": "alice", "nothing": None}


def test_unique_is_a_boolean_like_any_other() -> None:
    for value in (True, "true", "True", "1", 1):
        assert creation({"unique": value}).unique
    for value in (False, "false", "0", 0, None, ""):
        assert not creation({"unique": value}).unique
    for value in ("yes", 2, [], 1.0):
        with pytest.raises(InvalidCommand, match=r"^unique: must be true or false"):
            creation({"unique": value})


def test_a_create_with_operators() -> None:
    made = creation(
        {
            "m": {"__op": "Add", "objects": ["a"]},
            "tags": {"__op": "AddUnique", "objects": [1, 1]},
            "level": {"__op": "Increment", "amount": 2.5},
            "once": {"__op": "Increment"},
            "gone": {"__op": "Delete"},
            "less": {"__op": "Remove", "objects": [1]},
        }
    )
    assert made.members == ("a",)
    assert attributes(made) == {"tags": [1, 1], "level": 2.5, "once": 1, "less": []}
    assert creation({"m": {"__op": "Remove", "objects": ["a"]}}).members == ()


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"m": "alice"}, InvalidCommand),
        ({"m": [1]}, InvalidCommand),
        ({"m": ["x" * 65]}, NameTooLong),
        ({"mu": {}}, InvalidCommand),
        ({"unique": "yes"}, InvalidCommand),
        ({"a.b": 1}, InvalidKey),
        ({"": 1}, InvalidKey),
        ({"x" * 257: 1}, InvalidKey),
        ({"größe": 1}, InvalidKey),
        ({"error": 1}, InvalidKey),
        ({"error": {"__op": "Delete"}}, InvalidKey),
        ({"a": {"__op": "AddRelation"}}, InvalidCommand),
        ({"a": {"__op": ["Add"]}}, InvalidCommand),
        ({"a": {"__op": "Add", "objects": 5}}, InvalidCommand),
        ({"a": {"__op": "Increment", "amount": True}}, InvalidCommand),
        ({"m": {"__op": "Increment"}}, InvalidCommand),
    ],
)
def test_bodies_that_are_wrong(body: dict[str, Any], refusal: type[Exception]) -> None:
    with pytest.raises(InvalidCommand) as caught:
        creation(body)
    assert type(caught.value) is refusal
    with pytest.raises(InvalidCommand):
        update(body, members=True)


def test_an_update() -> None:
    wanted = update(
        {
            "name": "two",
            "gone": {"__op": "Delete"},
            "level": {"__op": "Increment"},
            "tags": {"__op": "Add", "objects": [1]},
            "set": {"__op": "AddUnique", "objects": ["x"]},
            "less": {"__op": "Remove", "objects": [{"a": 1}]},
            "mu": ["bob"],
        },
        members=False,
    )
    assert wanted.operations == (
        Operation("name", "set", b'"two"'),
        Operation("gone", "unset", b"null"),
        Operation("level", "increment", b"1"),
        Operation("tags", "add", b"[1]"),
        Operation("set", "add_unique", b'["x"]'),
        Operation("less", "remove", b'[{"a":1}]'),
    )
    assert (wanted.members, wanted.muted) == (None, People("set", ("bob",)))


@pytest.mark.parametrize("key", ["m", "objectId", "createdAt", "updatedAt", "tr", "sys", "unique", "uniqueId", "lm"])
def test_what_is_read_only(key: str) -> None:
    with pytest.raises(ReadOnly):
        update({"name": "x", key: None}, members=False)


def test_members_by_storage() -> None:
    for body, people in (
        (["a"], People("set", ("a",))),
        ({"__op": "Add", "objects": ["a"]}, People("add", ("a",))),
        ({"__op": "AddUnique", "objects": ["a"]}, People("add", ("a",))),
        ({"__op": "Remove", "objects": ["a"]}, People("remove", ("a",))),
        ({"__op": "Delete"}, People("set", ())),
    ):
        assert update({"m": body}, members=True).members == people
