"""Messages and their changes as commands (LeanCloud 6.3)."""

from typing import Any

import pytest

from postroom.core.commands import DeleteMessage, EditMessage, RecallMessage, SendMessage
from postroom.core.errors import InvalidCommand, UnknownConversation, UnknownMessage
from postroom.core.ids import MessageId, Place, UnixMs
from postroom.core.model import group, room, service
from postroom.core.queries import FindAlias, GetConversation
from postroom.transports.http.dialect import Call, Caller
from postroom.transports.leancloud import messages, realtime
from postroom.transports.leancloud.errors import MessageTooLong, NameTooLong, NoTarget, OtherKind
from postroom.transports.leancloud.ids import message_name
from tests.support.web import RECEIPT, request, told

GOOD = {"from_client": "1a", "message": "hi"}


def call(wire: object, **params: str) -> Call:
    """A call about conversation c1."""
    headers = {"Content-Type": "application/json"}
    return Call(
        request("/", wire, headers=headers, params={"cid": "c1", **params}), "4711", Caller("demo", role="master")
    )


def sent(wire: dict[str, Any], kind: str = "group") -> SendMessage:
    """The message that a send comes to."""
    steps = messages.parse_send(call(GOOD | wire), kind)  # type: ignore[arg-type]
    step = next(steps)
    if kind == "room":
        assert step == GetConversation(app="demo", conversation=room("c1"))
        step = steps.send("there")
    assert isinstance(step, SendMessage)
    with pytest.raises(StopIteration) as ended:
        steps.send(RECEIPT)
    assert ended.value.value is RECEIPT
    return step


def test_a_message_to_a_conversation() -> None:
    assert sent({}) == SendMessage(
        app="demo",
        sender="1a",
        to=group("c1"),
        body=b"hi",
        queue=True,
        history=True,
        sender_copy="online",
        via="leancloud",
    )


def test_a_message_to_a_chatroom() -> None:
    assert sent({"no_sync": True, "push_data": "x"}, "room") == SendMessage(
        app="demo", sender="1a", to=room("c1"), body=b"hi", history=True, lane="high", via="leancloud"
    )


def test_a_transient_message_is_not_kept() -> None:
    for kind in ("group", "room"):
        message = sent({"transient": True, "priority": "LOW", "push_data": {"alert": "x"}}, kind)
        assert (message.queue, message.history, message.lane, message.push) == (False, False, "low", b"")


def test_the_senders_copy() -> None:
    assert sent({"no_sync": True}).sender_copy == "none"
    assert sent({"no_sync": None}).sender_copy == "online"


def test_what_a_kept_message_carries() -> None:
    message = sent(
        {
            "priority": "Low",
            "push_data": {"alert": "hi", "badge": "Increment"},
            "mention_all": True,
            "mention_client_ids": ["a", "b"],
            "other": 5,
        }
    )
    assert (message.lane, message.push) == ("normal", b'{"alert":"hi","badge":"Increment"}')
    assert (message.mention_all, message.mentions) == (True, ("a", "b"))


def test_a_message_that_is_an_object_is_sent_as_its_text() -> None:
    assert sent({"message": {"_lctype": -1, "_lctext": "ü"}}).body == '{"_lctype":-1,"_lctext":"ü"}'.encode()
    assert sent({"message": [1, 2]}).body == b"[1,2]"
    assert sent({"message": ""}).body == b""


def test_a_message_has_at_most_5_kib() -> None:
    assert len(sent({"message": "ü" * 2_560}).body) == 5_120
    for much in ("ü" * 2_560 + "x", {"a": "x" * 5_120}):
        with pytest.raises(MessageTooLong):
            messages.parse_send(call(GOOD | {"message": much}), "group")


@pytest.mark.parametrize(
    ("wire", "refusal"),
    [
        ({"message": None}, "message: required"),
        ({"message": 5}, "message: must be a string"),
        ({"message": True}, "message: must be a string"),
        ({"from_client": None}, "from_client: required"),
        ({"from_client": ""}, "from_client: must not be empty"),
        ({"from_client": 1}, "from_client: must be a string"),
        ({"priority": "urgent"}, "priority: must be high, normal or low"),
        ({"priority": 1}, "priority: must be a string"),
        ({"transient": "maybe"}, "transient: must be true or false"),
        ({"push_data": 5}, "push_data: must be a string or an object"),
        ({"push_data": "x" * 4_096}, "push_data: at most 4096 bytes"),
        ({"mention_client_ids": ["x"] * 21}, "mention_client_ids: at most 20"),
        ({"mention_client_ids": 5}, "mention_client_ids: must be an array of strings"),
        ({"mention_all": 2}, "mention_all: must be true or false"),
    ],
)
def test_messages_that_are_wrong(wire: dict[str, Any], refusal: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        messages.parse_send(call(GOOD | wire), "group")
    assert caught.value.message == refusal


def test_a_sender_with_too_long_a_name() -> None:
    with pytest.raises(NameTooLong):
        messages.parse_send(call(GOOD | {"from_client": "x" * 65}), "group")


def test_a_message_to_nowhere() -> None:
    steps = messages.parse_send(call(GOOD), "group")
    next(steps)
    asked = [steps.throw(UnknownConversation("none")), steps.send(None)]
    assert asked == [GetConversation(app="demo", conversation=each("c1")) for each in (room, service)]
    with pytest.raises(NoTarget):
        steps.send(None)


def test_a_message_to_another_kind() -> None:
    steps = messages.parse_send(call(GOOD), "room")
    next(steps)
    assert steps.send(None) == GetConversation(app="demo", conversation=group("c1"))
    with pytest.raises(OtherKind):
        steps.send("there")


def test_both_shapes_of_the_answer() -> None:
    said = told(messages.render_send(call(GOOD), RECEIPT))
    assert said["result"] == {"msg-id": said["msg-id"], "timestamp": said["timestamp"]}
    assert said["timestamp"] == RECEIPT.at_ms
    assert told(realtime.render_send(call(GOOD), RECEIPT)) == {"result": said["result"]}


ID = message_name(MessageId(4096))
FOREIGN = "EjRWeJq83vASNFZ4mrze8A"
WHICH: dict[str, Any] = {
    "app": "demo",
    "id": MessageId(4096),
    "by": "a",
    "conversation": group("c1"),
    "sender": "a",
    "sent_ms": 17,
}
ASKED = {"from_client": "a", "timestamp": 17}


def test_changes() -> None:
    edit = messages.parse_edit(call(ASKED | {"message": "bye"}, mid=ID), "group")
    assert next(edit) == EditMessage(**WHICH, body=b"bye")
    recall = messages.parse_recall(call(ASKED, mid=ID), "group")
    assert next(recall) == RecallMessage(**WHICH)
    delete = messages.parse_delete(call(ASKED, mid=ID), "group")
    assert next(delete) == DeleteMessage(**WHICH, silent=True)


def test_an_id_of_somebody_elses_may_be_an_imported_message() -> None:
    steps = messages.parse_recall(call(ASKED, mid=FOREIGN), "group")
    assert next(steps) == FindAlias(app="demo", alias=FOREIGN)
    assert steps.send(Place(UnixMs(17), MessageId(4096))) == RecallMessage(**WHICH)
    with pytest.raises(StopIteration) as done:
        steps.send(RECEIPT)
    assert done.value.value == RECEIPT


def test_an_id_of_ours_may_be_one_of_another_broker() -> None:
    steps = messages.parse_recall(call(ASKED, mid=ID), "group")
    next(steps)
    assert steps.throw(UnknownMessage("none")) == FindAlias(app="demo", alias=ID)
    assert steps.send(Place(UnixMs(17), MessageId(5))) == RecallMessage(**WHICH | {"id": MessageId(5)})


@pytest.mark.parametrize("mid", [FOREIGN, "x" * 257])
def test_an_id_of_somebody_elses_is_that_of_no_message(mid: str) -> None:
    steps = messages.parse_recall(call(ASKED, mid=mid), "group")
    asked = next(steps)
    if mid == FOREIGN:
        asked = steps.send(None)
    assert asked == GetConversation(app="demo", conversation=group("c1"))
    with pytest.raises(UnknownMessage):
        steps.send("there")


def test_a_change_in_a_conversation_that_is_not_there() -> None:
    steps = messages.parse_recall(call(ASKED, mid=ID), "group")
    next(steps)
    steps.throw(UnknownMessage("none"))
    assert steps.send(None) == GetConversation(app="demo", conversation=group("c1"))
    assert steps.send(None) == GetConversation(app="demo", conversation=room("c1"))
    with pytest.raises(OtherKind):
        steps.send("there")


@pytest.mark.parametrize("wire", [{}, {"from_client": "a"}, {"timestamp": 1}, ASKED | {"timestamp": "x"}, ASKED])
def test_changes_that_are_wrong(wire: dict[str, Any]) -> None:
    with pytest.raises(InvalidCommand):
        messages.parse_edit(call(wire, mid=ID), "group")
