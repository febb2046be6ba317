"""Conversation records: created, found, changed; who is in a group, and who wants no push notifications from it."""

from typing import Any

import msgspec
import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    AddMembers,
    Command,
    CreateConversation,
    Join,
    MuteConversation,
    Operation,
    RemoveMembers,
    SendMessage,
    UnmuteConversation,
    UpdateConversation,
)
from postroom.core.domain import Entered
from postroom.core.errors import ConversationExists, ConversationFull, InvalidCommand, UnknownConversation
from postroom.core.events import (
    ConversationCreated,
    ConversationMuted,
    ConversationUpdated,
    MessageSent,
    RoomJoined,
)
from postroom.core.limits import (
    ATTRIBUTES_BYTES_MAX,
    INDEX_TERMS_MAX,
    MEMBERS_MAX,
    MENTIONS_MAX,
    MUTED_MAX,
    PUSH_BYTES_MAX,
)
from postroom.core.model import Conversation, Receipt, group, peer, room, service
from postroom.core.rows import ConversationRow
from tests.support.desk import APP, Desk


class Hall(Desk):
    """A desk that knows groups; everything is about `g` unless it says otherwise."""

    def do(self, kind: type[Command], name: str = "g", **fields: Any) -> Receipt:
        """Check it and carry it out."""
        command = kind(app=APP, conversation=group(name), **fields)  # type: ignore[call-arg]
        check(command)
        return self.receipt(self.run(command))

    def create(self, name: str = "g", *members: str, **fields: Any) -> Receipt:
        return self.do(CreateConversation, name, members=members, **fields)

    def update(self, *operations: Operation, name: str = "g") -> Receipt:
        return self.do(UpdateConversation, name, operations=operations)

    def add(self, *users: str, name: str = "g") -> Receipt:
        return self.do(AddMembers, name, users=users)

    def remove(self, *users: str, name: str = "g") -> Receipt:
        return self.do(RemoveMembers, name, users=users)

    def row(self, conversation: Conversation | None = None) -> ConversationRow:
        row = self.read(lambda snapshot: snapshot.views.conversation(APP, conversation or group("g")))
        assert row is not None
        return row

    def attributes(self) -> Any:
        return msgspec.json.decode(self.row().attributes)

    def members(self, users: Any = "members") -> list[str]:
        return self.read(lambda snapshot: list(snapshot.views.listed(self.row().number, users)))

    def of(self, user: str) -> list[str]:
        return self.read(lambda snapshot: [each.id for _, each in snapshot.views.conversations_of(APP, user)])

    def with_value(self, key: str, value: bytes) -> list[str]:
        return self.read(lambda snapshot: [each.id for _, each in snapshot.views.conversations_with(APP, key, value)])


@pytest.fixture
def hall() -> Hall:
    return Hall()


# Creation.


@pytest.mark.parametrize("conversation", [group("g"), room("r"), service("s")])
def test_a_conversation_is_created_once(hall: Hall, conversation: Conversation) -> None:
    command = CreateConversation(app=APP, conversation=conversation, attributes=b'{ "name": "n" }')
    check(command)
    receipt = hall.receipt(hall.run(command))
    assert receipt == Receipt(id=receipt.id, at_ms=hall.clock.wall_ms, conversation=conversation)
    row = hall.row(conversation)
    assert (row.number, row.attributes, row.conversation) == (receipt.id, b'{"name":"n"}', conversation)
    assert (row.created_ms, row.updated_ms, row.unique) == (receipt.at_ms, receipt.at_ms, False)
    with pytest.raises(ConversationExists):
        hall.run(command)
    assert len(hall.events) == 1


def test_kinds_are_apart_and_so_are_apps(hall: Hall) -> None:
    for app, conversation in [(APP, group("x")), (APP, room("x")), (APP, service("x")), ("other", group("x"))]:
        hall.run(CreateConversation(app=app, conversation=conversation))
    assert len({event.at_ms for event in hall.events if isinstance(event, ConversationCreated)}) == 1
    with pytest.raises(UnknownConversation):
        hall.run(AddMembers(app="third", conversation=group("x"), users=("bob",)))


def test_members_count_once_and_keep_their_order(hall: Hall) -> None:
    hall.create("g", "cy", "ann", "cy", "bob", "ann")
    assert hall.members() == ["cy", "ann", "bob"]
    assert hall.row().members == 3
    assert hall.of("ann") == ["g"]


def test_a_group_has_so_many_members_at_most(hall: Hall) -> None:
    full = tuple(f"u{number}" for number in range(MEMBERS_MAX))
    hall.create("g", *full, full[0])
    with pytest.raises(ConversationFull):
        hall.add("one more")
    hall.add(full[3])  # who is in it already
    hall.remove(full[3])
    hall.add("one more")
    with pytest.raises(ConversationFull):
        hall.create("h", *full, "one more")
    with pytest.raises(ConversationFull):
        hall.run(CreateConversation(app=APP, conversation=group("h"), members=(*full, "one more")))


def test_attributes_that_are_too_large(hall: Hall) -> None:
    just = b'{"a":"%s"}' % (b"x" * (ATTRIBUTES_BYTES_MAX - 8))
    hall.create("g", attributes=just.replace(b":", b" : "))
    assert hall.row().attributes == just
    with pytest.raises(InvalidCommand, match="attributes"):
        hall.create("h", attributes=just.replace(b"x", b"xx", 1))
    with pytest.raises(InvalidCommand, match="attributes"):
        hall.update(Operation("b", "set", b"1"))
    hall.update(Operation("a", "unset"), Operation("b", "set", b"1"))
    assert hall.attributes() == {"b": 1}


def test_who_wants_no_push_notifications_may_come_with_it(hall: Hall) -> None:
    receipt = hall.create("g", "ann", muted=("cy", "ann", "cy"))
    row = hall.row()
    assert receipt == Receipt(id=receipt.id, at_ms=hall.clock.wall_ms, conversation=group("g"))
    assert (hall.members(), hall.members("muted"), row.muted) == (["ann"], ["cy", "ann"], 2)
    assert (row.number, row.created_ms, row.updated_ms) == (receipt.id, receipt.at_ms, receipt.at_ms)
    assert [type(event) for event in hall.events] == [ConversationCreated, ConversationMuted]
    found = hall.create("h", muted=("ann",), unique=True), hall.create("i", muted=("bob",), unique=True)
    assert [each.conversation for each in found] == [group("h"), group("h")]
    assert len(hall.events) == 4  # what was found is left alone


def test_a_group_is_muted_by_so_many_users_at_most(hall: Hall) -> None:
    full = tuple(f"u{number}" for number in range(MUTED_MAX))
    hall.create("g", muted=(*full, full[0]))
    hall.do(MuteConversation, users=(*full, full[0]))
    for many in (("one more",), (*full, "one more")):
        with pytest.raises(ConversationFull):
            hall.do(MuteConversation, users=many)
    with pytest.raises(ConversationFull):
        hall.create("h", muted=(*full, "one more"))
    with pytest.raises(ConversationFull):
        hall.run(CreateConversation(app=APP, conversation=group("h"), muted=(*full, "one more")))


# The one group of its members.


def test_a_unique_group_is_found_by_its_members_whatever_their_order(hall: Hall) -> None:
    first = hall.create("g", "bob", "ann", unique=True)
    hall.clock.run(5_000)
    again = hall.create("h", "ann", "bob", "ann", unique=True)
    assert again == Receipt(id=first.id, at_ms=first.at_ms, duplicate=True, conversation=group("g"))
    assert len(hall.events) == 1
    other = hall.create("i", "ann", unique=True)
    assert not other.duplicate
    assert other.conversation == group("i")


def test_one_that_was_not_created_so_is_not(hall: Hall) -> None:
    hall.create("g", "ann", "bob")
    assert not hall.create("h", "ann", "bob", unique=True).duplicate


def test_its_members_now_count(hall: Hall) -> None:
    hall.create("g", "ann", "bob", unique=True)
    hall.add("cy")
    assert not hall.create("h", "ann", "bob", unique=True).duplicate
    hall.remove("cy")
    # Both are the one of ann and bob now; the older is the answer.
    assert hall.create("i", "bob", "ann", unique=True).conversation == group("g")
    hall.remove("ann")
    assert hall.create("i", "bob", "ann", unique=True).conversation == group("h")


def test_of_nobody(hall: Hall) -> None:
    hall.create("g", unique=True)
    assert hall.create("h", unique=True).conversation == group("g")


def test_a_name_that_is_taken_is_no_obstacle_if_the_members_are_found(hall: Hall) -> None:
    hall.create("g", "ann", unique=True)
    assert hall.create("g", "ann", unique=True).duplicate
    with pytest.raises(ConversationExists):
        hall.create("g", "bob", unique=True)


# Members and mutes.


def test_who_joins_and_leaves(hall: Hall) -> None:
    hall.create("g", "ann")
    hall.clock.run(1_000)
    receipt = hall.add("cy", "bob", "cy", "ann")
    assert receipt == Receipt(id=receipt.id, at_ms=hall.clock.wall_ms, conversation=group("g"))
    assert hall.members() == ["ann", "cy", "bob"]
    assert (hall.row().members, hall.row().updated_ms) == (3, receipt.at_ms)
    hall.remove("cy", "nobody")
    assert hall.members() == ["ann", "bob"]
    hall.add("cy")
    assert hall.members() == ["ann", "bob", "cy"]
    assert hall.of("nobody") == []


def test_nothing_to_do_is_not_written(hall: Hall) -> None:
    created = hall.create("g", "ann")
    count = len(hall.events)
    for receipt in (
        hall.add("ann"),
        hall.remove("bob"),
        hall.add(),
        hall.do(UnmuteConversation, users=("ann",)),
        hall.update(),
    ):
        assert receipt == Receipt(id=created.id, at_ms=created.at_ms, duplicate=True, conversation=group("g"))
    assert len(hall.events) == count


def test_mutes_are_a_list_of_their_own(hall: Hall) -> None:
    hall.create("g", "ann")
    assert not hall.do(MuteConversation, users=("stranger", "ann")).duplicate
    assert hall.do(MuteConversation, users=("ann",)).duplicate
    assert (hall.members("muted"), hall.members()) == (["stranger", "ann"], ["ann"])
    assert hall.of("stranger") == []
    hall.remove("ann")
    assert hall.members("muted") == ["stranger", "ann"]
    hall.do(UnmuteConversation, users=("stranger",))
    assert (hall.members("muted"), hall.row().muted) == (["ann"], 1)
    with pytest.raises(ConversationFull):
        hall.do(MuteConversation, users=tuple(f"u{number}" for number in range(MEMBERS_MAX)))


@pytest.mark.parametrize("kind", [AddMembers, RemoveMembers, MuteConversation, UnmuteConversation])
def test_a_group_that_nobody_created(hall: Hall, kind: type[Command]) -> None:
    with pytest.raises(UnknownConversation):
        hall.do(kind, users=("ann",))
    with pytest.raises(InvalidCommand):
        check(kind(app=APP, conversation=room("r"), users=("ann",)))  # type: ignore[call-arg]


# Attributes.


def test_operations_one_after_the_other(hall: Hall) -> None:
    hall.create("g", attributes=b'{"n":1,"t":["a"],"keep":{"x" :1.50},"gone":1,"null":null}')
    hall.clock.run(1_000)
    receipt = hall.update(
        Operation("n", "increment", b"2"),
        Operation("n", "increment", b"0.5"),
        Operation("t", "add", b'["a","b"]'),
        Operation("t", "remove", b'["a"]'),
        Operation("t", "add_unique", b'["b","c",1,1.0]'),
        Operation("gone", "unset"),
        Operation("new", "increment", b"-1"),
        Operation("set", "set", b' {"y": [1, 2]} '),
        Operation("was", "set", b"1"),
        Operation("was", "unset"),
        Operation("was", "add", b"[null]"),
        Operation("null", "add", b"[]"),
    )
    assert hall.row().attributes == (
        b'{"n":3.5,"t":["b","c",1],"keep":{"x":1.50},"null":[],"new":-1,"set":{"y":[1,2]},"was":[null]}'
    )
    assert (hall.row().updated_ms, hall.row().created_ms) == (receipt.at_ms, receipt.at_ms - 1_000)
    event = hall.events[-1]
    assert isinstance(event, ConversationUpdated)
    assert dict(event.changed)["t"] == b'["b","c",1]'
    assert event.unset == ("gone",)


@pytest.mark.parametrize(
    ("key", "operation", "value"),
    [
        ("text", "increment", b"1"),
        ("yes", "increment", b"1"),
        ("huge", "increment", b"1e308"),
        ("n", "add", b"[1]"),
        ("text", "remove", b"[1]"),
    ],
)
def test_what_an_operation_cannot_work_on_is_named(hall: Hall, key: str, operation: Any, value: bytes) -> None:
    hall.create("g", attributes=b'{"text":"x","yes":true,"n":1,"huge":1e308}')
    with pytest.raises(InvalidCommand, match=key):
        hall.update(Operation(key, operation, value))
    assert len(hall.events) == 1


@pytest.mark.parametrize(
    "operation",
    [
        Operation("", "set", b"1"),
        Operation("a\nb", "set", b"1"),
        Operation("x" * 257, "set", b"1"),
        Operation("a", "set", b"{"),
        Operation("a", "set", b"[" * 101 + b"]" * 101),
        Operation("a", "increment", b'"1"'),
        Operation("a", "increment", b"true"),
        Operation("a", "add", b"1"),
        Operation("a", "multiply", b"1"),  # type: ignore[arg-type]
    ],
)
def test_operations_that_are_none(operation: Operation) -> None:
    with pytest.raises(InvalidCommand):
        check(UpdateConversation(app=APP, conversation=group("g"), operations=(operation,)))


@pytest.mark.parametrize(
    "command",
    [
        CreateConversation(app=APP, conversation=peer("bob")),
        CreateConversation(app=APP, conversation=Conversation("group", "g", 1)),
        CreateConversation(app=APP, conversation=group("")),
        CreateConversation(app=APP, conversation=room("r"), members=("bob",)),
        CreateConversation(app=APP, conversation=service("s"), unique=True),
        CreateConversation(app=APP, conversation=room("r"), muted=("bob",)),
        CreateConversation(app=APP, conversation=group("g"), members=("",)),
        CreateConversation(app=APP, conversation=group("g"), muted=("",)),
        CreateConversation(app=APP, conversation=group("g"), attributes=b"[]"),
        CreateConversation(app=APP, conversation=group("g"), attributes=b'{"":1}'),
        CreateConversation(app=APP, conversation=group("g"), attributes=b'{"a":1'),
        CreateConversation(app=APP, conversation=group("g"), attributes=b'{"a":"\xff"}'),
        UpdateConversation(app=APP, conversation=peer("bob"), operations=()),
        UpdateConversation(app=APP, conversation=group("g"), operations=(Operation("a", "unset"),) * 1_001),
        RemoveMembers(app=APP, conversation=group("g"), users=tuple(f"u{number}" for number in range(501))),
        SendMessage(app=APP, sender="a", to=service("s"), body=b"", queue=True),
        SendMessage(app=APP, sender="a", to=service("s"), body=b"", wait_ack_ms=1),
        SendMessage(app=APP, sender="a", to=service("s"), body=b"", sender_copy="online"),
        AddMembers(app=APP, conversation=room("r"), users=("bob",)),
        AddMembers(app=APP, conversation=service("s"), users=tuple(f"u{number}" for number in range(501))),
        MuteConversation(app=APP, conversation=service("s"), users=("bob",)),
        SendMessage(app=APP, sender="a", to=group("g"), body=b"", queue=True),
        SendMessage(app=APP, sender="a", to=group("g"), body=b"", wait_ack_ms=1),
        SendMessage(app=APP, sender="a", to=group("g"), body=b"", recipients=("b",)),
        SendMessage(app=APP, sender="a", to=group("g"), body=b"", sender_copy="queue"),  # type: ignore[arg-type]
        SendMessage(app=APP, sender="a", to=peer("b"), body=b"", sender_copy="online"),
        SendMessage(app=APP, sender="a", to=room("b"), body=b"", sender_copy="online"),
        SendMessage(app=APP, sender="a", to=room("b"), body=b"", mentions=("u",) * (MENTIONS_MAX + 1)),
        SendMessage(app=APP, sender="a", to=peer("b"), body=b"", push=b"x" * (PUSH_BYTES_MAX + 1)),
    ],
    ids=str,
)
def test_commands_of_the_wrong_form(command: Command) -> None:
    with pytest.raises(InvalidCommand):
        check(command)


def test_what_is_looked_up_by_an_attribute(hall: Hall) -> None:
    hall.create("g", attributes=b'{"n":1,"tags":["a",2,null,{"no":1}],"deep":{"no":1}}')
    hall.create("h", attributes=b'{"n":1.0,"tags":"a"}')
    assert hall.with_value("n", b"1") == hall.with_value("n", b"1.00") == ["g", "h"]
    assert hall.with_value("n", b"true") == hall.with_value("n", b'"1"') == []
    assert hall.with_value("tags", b'"a"') == ["g", "h"]
    assert hall.with_value("tags", b"2") == hall.with_value("tags", b"null") == ["g"]
    hall.update(Operation("n", "set", b"7"), Operation("tags", "unset"))
    assert hall.with_value("n", b"1") == hall.with_value("tags", b'"a"') == ["h"]
    assert hall.with_value("n", b"7") == ["g"]


def test_a_conversation_with_too_many_values_is_among_all(hall: Hall) -> None:
    many = msgspec.json.encode({"a": list(range(INDEX_TERMS_MAX + 1))})
    hall.create("g", attributes=many)
    hall.create("h", attributes=b'{"b":1}')
    assert hall.with_value("a", b"3") == hall.with_value("c", b"3") == ["g"]
    assert hall.with_value("b", b"1") == ["g", "h"]
    hall.update(Operation("a", "set", b"[3]"))
    assert (hall.with_value("a", b"3"), hall.with_value("c", b"3")) == (["g"], [])


# Rooms.


def test_a_room_has_its_record_from_the_first_send_on(hall: Hall) -> None:
    command = SendMessage(app=APP, sender="ann", to=room("r"), body=b"hi", history=True)
    first, second = (hall.run(command) for _ in range(2))
    assert [type(event) for event in hall.events] == [ConversationCreated, MessageSent, MessageSent]
    assert hall.receipt(first).id == hall.records[1].position
    assert hall.row(room("r")).created_ms == hall.receipt(first).at_ms
    assert hall.header(hall.records[1].position) is not None
    assert hall.receipt(second).id == hall.records[2].position


def test_a_room_has_its_record_from_the_first_join_on(hall: Hall) -> None:
    session = hall.login("ann").session
    decision = hall.run(Join(app=APP, user="ann", session=session, room="r"))
    assert [type(event) for event in decision.events] == [ConversationCreated, RoomJoined]
    assert isinstance(decision.result, Entered)
    assert decision.result.through == hall.records[-1].position
    assert hall.row(room("r")).number == hall.records[-2].position
