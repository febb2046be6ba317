"""What a command must look like before the writer sees it."""

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    Command,
    DeleteMessage,
    EditMessage,
    ImportConversation,
    ImportMessage,
    Join,
    Leave,
    RecallMessage,
    SendMessage,
)
from postroom.core.errors import InvalidCommand
from postroom.core.ids import MessageId, Position, UnixMs
from postroom.core.limits import BODY_BYTES_MAX, NAME_BYTES_MAX, RECIPIENTS_MAX
from postroom.core.model import Conversation, group, peer, room, service


def send(**fields: object) -> SendMessage:
    """A good one, but for these fields."""
    return SendMessage(**{"app": "demo", "sender": "alice", "to": peer("bob"), "body": b"hi", **fields})


def edit(**fields: object) -> EditMessage:
    """A good one, but for these fields."""
    return EditMessage(**{"app": "demo", "id": MessageId(1), "by": "alice", "body": b"hi", **fields})


def take(**fields: object) -> ImportMessage:
    """A good one, but for these fields."""
    given = {"app": "demo", "conversation": group("g"), "sender": "al", "body": b"hi", "at_ms": UnixMs(1), "alias": "m"}
    return ImportMessage(**given | fields)


def there(**fields: object) -> ImportConversation:
    """A good one, but for these fields."""
    given = {"app": "demo", "conversation": group("g"), "created_ms": UnixMs(1), "updated_ms": UnixMs(2)}
    return ImportConversation(**given | fields)


@pytest.mark.parametrize(
    "command",
    [
        send(),
        send(body=b""),
        send(body=b"x" * BODY_BYTES_MAX),
        send(body="ü".encode()),
        send(body=b'{"a":[1,null]}', format="json"),
        send(sender="x" * NAME_BYTES_MAX, to=peer("ü" * (NAME_BYTES_MAX // 2))),
        send(dedup="k"),
        send(dedup="k" * 128),
        send(wait_ack_ms=1),
        send(wait_ack_ms=60_000),
        send(to=room("r")),
        send(to=room("r"), history=True, dedup="k"),
        send(to=room("r"), recipients=("bob",) * RECIPIENTS_MAX),
        Join(app="demo", user="bob", session=Position(1), room="ü" * (NAME_BYTES_MAX // 2)),
        Leave(app="demo", user="bob", session=Position(1), room="r"),
        edit(),
        RecallMessage(app="demo", id=MessageId(1), by="alice"),
        DeleteMessage(app="demo", id=MessageId(1), by="alice"),
        take(),
        take(body=b"\xff", format="binary"),
        take(body=b"", recalled=True),
        take(conversation=service("s"), recipients=("bob",) * RECIPIENTS_MAX),
        take(conversation=peer("bob"), mentions=("bob",) * 500, alias="ü" * (NAME_BYTES_MAX // 2)),
        there(),
        there(members=("bob",) * 501, muted=("al",), unique=True, attributes=b'{"a":1}'),
        there(conversation=service("s")),
    ],
)
def test_good_ones_pass(command: Command) -> None:
    check(command)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (send(sender=""), "sender"),
        (send(sender="x" * (NAME_BYTES_MAX + 1)), "sender"),
        (send(sender="ü" * (NAME_BYTES_MAX // 2 + 1)), "sender"),
        (send(sender="\ud800"), "sender"),
        (send(to=peer("")), "to"),
        (send(to=peer("x" * 257)), "to"),
        (send(to=room("")), "to"),
        (send(to=room("x" * 257)), "to"),
        (send(to=Conversation("room", "r", 1)), "to"),
        (send(to=room("r"), queue=True), "queue"),
        (send(to=room("r"), wait_ack_ms=1_000), "wait_ack_ms"),
        (send(to=room("r"), recipients=("bob",), history=True), "recipients"),
        (send(to=room("r"), recipients=("bob", "")), "recipients"),
        (send(to=room("r"), recipients=("\ud800",)), "recipients"),
        (send(to=room("r"), recipients=("bob",) * (RECIPIENTS_MAX + 1)), "recipients"),
        (send(recipients=("bob",)), "recipients"),
        (send(to=Conversation("crowd", "s")), "to"),
        (send(to=Conversation("peer", "bob", 1)), "to"),
        (send(body=b"x" * (BODY_BYTES_MAX + 1)), "body"),
        (send(body=b"\xff"), "body"),
        (send(body=b"\xed\xa0\x80"), "body"),
        (send(body=b"", format="json"), "body"),
        (send(body=b"{", format="json"), "body"),
        (send(body=b'"\xff"', format="json"), "body"),
        (send(body=b"{} {}", format="json"), "body"),
        (send(body=b"[" * 100_000, format="json"), "body"),
        (send(body=b"[" * 100_000 + b"]" * 100_000, format="json"), "body"),
        (send(format="xml"), "format"),
        (send(lane="urgent"), "lane"),
        (send(dedup=""), "dedup"),
        (send(dedup="k" * 129), "dedup"),
        (send(dedup="ü" * 65), "dedup"),
        (send(dedup="\udfff"), "dedup"),
        (send(wait_ack_ms=0), "wait_ack_ms"),
        (send(wait_ack_ms=-1), "wait_ack_ms"),
        (send(wait_ack_ms=60_001), "wait_ack_ms"),
        (send(via="v" * 100_000), "via"),
        (edit(by=""), "by"),
        (edit(by="x" * 257), "by"),
        (edit(body=b"\xff"), "body"),
        (edit(body=b"{", format="json"), "body"),
        (edit(format="xml"), "format"),
        (RecallMessage(app="demo", id=MessageId(1), by=""), "by"),
        (DeleteMessage(app="demo", id=MessageId(1), by="\ud800"), "by"),
        (Join(app="demo", user="bob", session=Position(1), room=""), "room"),
        (Join(app="demo", user="bob", session=Position(1), room="x" * 257), "room"),
        (Leave(app="demo", user="bob", session=Position(1), room="\ud800"), "room"),
        (take(sender=""), "sender"),
        (take(alias=""), "alias"),
        (take(alias="x" * 257), "alias"),
        (take(conversation=group("")), "conversation"),
        (take(conversation=Conversation("group", "g", 1)), "conversation"),
        (take(at_ms=UnixMs(-1)), "at_ms"),
        (take(at_ms=UnixMs(1 << 63)), "at_ms"),
        (take(via=""), "via"),
        (take(body=b"\xff"), "body"),
        (take(body=b"x" * (BODY_BYTES_MAX + 1), format="binary"), "body"),
        (take(body=b"x", recalled=True), "body"),
        (take(recipients=("bob",)), "recipients"),
        (take(conversation=service("s"), recipients=("bob",) * (RECIPIENTS_MAX + 1)), "recipients"),
        (take(mentions=("bob",) * 501), "mentions"),
        (send(format="binary"), "format"),
        (edit(format="binary"), "format"),
        (there(conversation=peer("bob")), "conversation"),
        (there(attributes=b"[]"), "attributes"),
        (there(conversation=room("r"), members=("bob",)), "members, muted, unique"),
        (there(created_ms=UnixMs(3)), "updated_ms"),
        (there(created_ms=UnixMs(-1)), "created_ms"),
        (there(muted=("",)), "muted"),
        (there(muted=tuple(f"u{number}" for number in range(501))), "muted"),
    ],
)
def test_the_field_that_is_wrong_is_named(command: Command, field: str) -> None:
    with pytest.raises(InvalidCommand, match=f"^{field}: "):
        check(command)


def test_a_json_body_is_no_deeper_than_receivers_can_read() -> None:
    def nested(depth: int) -> SendMessage:
        body = b"[" * depth + b"]" * depth
        return SendMessage(app="demo", sender="alice", to=peer("bob"), body=body, format="json")

    check(nested(100))
    with pytest.raises(InvalidCommand, match="deep"):
        check(nested(101))
