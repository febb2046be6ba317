"""What service conversations send, subscriptions and broadcasts as commands and queries (LeanCloud 6.4, 6.5)."""

from typing import Any

import pytest

from postroom.core.commands import (
    AddMembers,
    DeleteBroadcast,
    DeleteMessage,
    EditBroadcast,
    EditMessage,
    RecallMessage,
    RemoveMembers,
    SendBroadcast,
    SendMessage,
)
from postroom.core.errors import InvalidCommand, QuotaExceeded, UnknownConversation, UnknownMessage
from postroom.core.ids import MessageId, Place, UnixMs
from postroom.core.model import Message, Quota, service
from postroom.core.queries import (
    FindAlias,
    FindBroadcasts,
    FindMessages,
    FindSubscribers,
    FindSubscriptions,
    GetConversation,
    GetMessage,
)
from postroom.transports.config import LeancloudConfig
from postroom.transports.http.dialect import Call, Caller, Steps
from postroom.transports.leancloud import broadcasts, realtime, services, subscriptions
from postroom.transports.leancloud.errors import (
    MessageTooLong,
    NameTooLong,
    NoTarget,
    OtherKind,
    SubscriptionQuotaExceeded,
)
from postroom.transports.leancloud.ids import (
    broadcast_id,
    broadcast_name,
    is_broadcast,
    message_name,
    service_pair_id,
)
from tests.support.leancloud import LEANCLOUD
from tests.support.web import NOW_MS, RECEIPT, request, told

S1 = service("s1")
ID = MessageId(4096)
MID, SBID = message_name(ID), broadcast_name(ID)
GOOD = {"from_client": "1a", "message": "hi"}
QUOTA = Quota(name="q", per_day=3)
DAY_MS = 86_400_000


def call(wire: object = None, query: str = "", **params: str) -> Call:
    """A call about service conversation s1."""
    asked = request(
        "/",
        b"" if wire is None else wire,
        query=query,
        headers={"Content-Type": "application/json"},
        params={"cid": "s1", **params},
        received_ms=NOW_MS,
    )
    return Call(asked, "4711", Caller("demo", role="master"))


def first(steps: object) -> Any:
    """What is asked or ordered at first."""
    assert hasattr(steps, "send")
    return next(steps)  # type: ignore[call-overload]


def test_a_broadcasts_id() -> None:
    assert SBID == "sb_" + MID
    assert (broadcast_id(SBID), broadcast_id(MID), broadcast_id("sb_x")) == (ID, None, None)
    assert (is_broadcast(SBID), is_broadcast("sb_x"), is_broadcast(MID)) == (True, True, False)


def test_the_id_of_a_service_and_a_client() -> None:
    assert service_pair_id("6560aa00c0ffee0000000003", "alice") == "a833cb87fa0a947ed0c3abe056b7fb9b"


# Messages.


def test_a_message_to_subscribers() -> None:
    for wire in (
        {"push": "x"},
        {"push_data": "x"},
        {"push": "x", "push_data": "y", "transient": True, "priority": "no"},
    ):
        assert first(services.parse_publish(call(GOOD | wire), QUOTA)) == SendMessage(
            app="demo",
            sender="1a",
            to=S1,
            body=b"hi",
            queue=True,
            history=True,
            push=b'"x"',
            via="leancloud",
            quota=QUOTA,
        )


def test_a_message_by_name() -> None:
    sent = first(services.parse_send(call(GOOD | {"to_clients": ["a", "b", "a"], "push_data": {"alert": "x"}})))
    assert sent == SendMessage(
        app="demo",
        sender="1a",
        to=S1,
        recipients=("a", "b"),
        body=b"hi",
        queue=True,
        history=True,
        sender_copy="online",
        push=b'{"alert":"x"}',
        via="leancloud",
    )
    wire = {"to_clients": ["a"], "transient": True, "no_sync": "True", "priority": "LOW", "push_data": "x"}
    sent = first(services.parse_send(call(GOOD | wire)))
    assert (sent.queue, sent.history, sent.sender_copy, sent.lane, sent.push) == (False, False, "none", "low", b"")


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        ({}, "to_clients: required"),
        ({"to_clients": []}, "to_clients: must name somebody"),
        ({"to_clients": [f"x{n}" for n in range(21)]}, "to_clients: at most 20"),
        ({"to_clients": 5}, "to_clients: must be an array of strings"),
        ({"to_clients": ["a"], "message": None}, "message: required"),
        ({"to_clients": ["a"], "priority": "urgent"}, "priority: must be high, normal or low"),
    ],
)
def test_messages_by_name_that_are_wrong(wire: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        services.parse_send(call(GOOD | wire))
    assert caught.value.message == says


def test_what_is_too_long() -> None:
    with pytest.raises(NameTooLong):
        services.parse_send(call(GOOD | {"to_clients": ["x" * 65]}))
    with pytest.raises(MessageTooLong):
        services.parse_publish(call(GOOD | {"message": "x" * 5_121}), None)


def test_the_quota_of_subscriptions_has_a_word_of_its_own() -> None:
    steps = services.parse_publish(call(GOOD), QUOTA)
    first(steps)
    with pytest.raises(SubscriptionQuotaExceeded) as caught:
        steps.throw(QuotaExceeded("over", retry_after_ms=5))
    assert caught.value.retry_after_ms == 5


# What becomes of them.


def message(*recipients: str) -> Message:
    """One that is there."""
    about: dict[str, Any] = {"format": "text", "lane": "normal", "via": "leancloud"}
    return Message(id=ID, conversation=S1, sender="1a", body=b"hi", at_ms=UnixMs(7), recipients=recipients, **about)


def changed(wire: dict[str, Any], there: Message | None, recall: bool = False) -> Any:
    """What an edit or a recall comes to."""
    asked = call({"from_client": "1a", "timestamp": 7, **wire}, mid=MID)
    steps = services.parse_recall(asked, QUOTA) if recall else services.parse_edit(asked, QUOTA)
    assert first(steps) == GetMessage(app="demo", id=ID, conversation=S1)
    return steps.send(there)


def test_a_change_for_all_counts_by_the_day() -> None:
    which = {"app": "demo", "id": ID, "by": "1a", "conversation": S1, "sender": "1a", "sent_ms": UnixMs(7)}
    assert changed({"message": "x"}, message()) == EditMessage(**which, body=b"x", quota=QUOTA)
    assert changed({}, message(), recall=True) == RecallMessage(**which, quota=QUOTA)
    assert changed({"message": "x", "to_clients": ["a", "a"]}, message("a", "b")) == EditMessage(
        **which, body=b"x", recipients=("a",)
    )
    assert changed({"to_clients": ["b"]}, message("a", "b"), recall=True) == RecallMessage(**which, recipients=("b",))


def test_clients_are_named_as_the_message_named_them() -> None:
    for wire, there, says in (
        ({"message": "x"}, message("a"), "to_clients: required, since the message was sent to clients by name"),
        ({"message": "x", "to_clients": ["a"]}, message(), "to_clients: the message was sent to all who subscribe"),
    ):
        with pytest.raises(InvalidCommand) as caught:
            changed(wire, there)
        assert caught.value.message == says
    for wrong in ({"to_clients": []}, {"to_clients": [f"x{n}" for n in range(21)]}, {"message": None}):
        with pytest.raises(InvalidCommand):
            services.parse_edit(call({"from_client": "1a", "timestamp": 7, "message": "x", **wrong}, mid=MID), None)


def test_a_message_that_is_not_there() -> None:
    asked = call({"from_client": "1a", "timestamp": 7}, mid=MID)
    steps = services.parse_recall(asked, None)
    first(steps)
    assert steps.send(None) == FindAlias(app="demo", alias=MID)
    assert steps.send(None) == GetConversation(app="demo", conversation=S1)
    with pytest.raises(UnknownMessage):
        steps.send("the record")


def test_an_imported_message_has_the_id_that_it_had() -> None:
    asked = call({"from_client": "1a", "timestamp": 7}, mid="EjRWeJq83vASNFZ4mrze8A")
    steps = services.parse_recall(asked, QUOTA)
    assert first(steps) == FindAlias(app="demo", alias="EjRWeJq83vASNFZ4mrze8A")
    assert steps.send(Place(UnixMs(7), ID)) == GetMessage(app="demo", id=ID, conversation=S1)
    assert steps.send(message()).id == ID


def test_a_message_is_hidden_from_one() -> None:
    asked = call(None, "from_client=1a&timestamp=7", uid="al%20ice", mid=MID)
    assert first(services.parse_hide(asked)) == DeleteMessage(
        app="demo",
        id=ID,
        by="1a",
        conversation=S1,
        sender="1a",
        sent_ms=UnixMs(7),
        recipients=("al ice",),
        silent=True,
    )


def test_what_a_client_was_sent() -> None:
    query = first(services.parse_received(call(None, "limit=7", uid="alice"), LEANCLOUD))
    assert query == FindMessages(
        app="demo", conversations=(S1,), recipient="alice", newest_first=True, limit=7, recalled=True
    )
    signed = LeancloudConfig(app_id="a", app_key="b", master_key="c", sign_history=True)
    with pytest.raises(Exception, match="CONVERSATION_SIGNATURE_FAILED"):
        services.parse_received(call(None, uid="alice"), signed)


# Subscriptions.


def test_subscribing() -> None:
    wire = {"client_id": "alice"}
    assert first(subscriptions.parse_subscribe(call(wire))) == AddMembers(app="demo", conversation=S1, users=("alice",))
    gone = RemoveMembers(app="demo", conversation=S1, users=("alice",))
    assert first(subscriptions.parse_unsubscribe(call(b"null", uid="alice"))) == gone
    with pytest.raises(InvalidCommand, match="client_id: required"):
        subscriptions.parse_subscribe(call({}))


@pytest.mark.parametrize(
    ("query", "after", "limit"),
    [
        ("", None, 50),
        ("limit=7&client_id=al+ice", "al ice", 7),
        ("limit=51", None, 50),
        ("client_id=&limit=0", None, 50),
    ],
)
def test_pages_of_subscribers(query: str, after: str | None, limit: int) -> None:
    find = FindSubscribers(app="demo", conversation=S1, after=after, limit=limit)
    assert first(subscriptions.parse_list(call(None, query))) == find


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("direction=new&limit=3", {"limit": 3}),
        ("direction=old", {"newest_first": True}),
        ("conv_id=s1&timestamp=5", {"after": S1}),
    ],
)
def test_pages_of_subscriptions(query: str, expected: dict[str, Any]) -> None:
    find = FindSubscriptions(**{"app": "demo", "user": "alice", "limit": 50} | expected)
    assert first(subscriptions.parse_subscriptions(call(None, query, uid="alice"))) == find


@pytest.mark.parametrize("query", ["conv_id=s1", "direction=up", "conv_id=s1&timestamp=soon"])
def test_pages_of_subscriptions_that_are_wrong(query: str) -> None:
    with pytest.raises(InvalidCommand):
        subscriptions.parse_subscriptions(call(None, query, uid="alice"))


# Broadcasts.


def sent(wire: dict[str, Any]) -> SendBroadcast:
    """The broadcast that a send comes to."""
    step = first(broadcasts.parse_send(call(GOOD | {"conv_id": "s1"} | wire), QUOTA))
    assert isinstance(step, SendBroadcast)
    return step


def test_a_broadcast() -> None:
    assert sent({"push": {"alert": "x"}}) == SendBroadcast(
        app="demo",
        sender="1a",
        conversation=S1,
        body=b"hi",
        valid_until_ms=UnixMs(NOW_MS + 30 * DAY_MS),
        push=b'{"alert":"x"}',
        via="leancloud",
        quota=QUOTA,
    )
    assert sent({"valid_till": NOW_MS + 1}).valid_until_ms == NOW_MS + 1
    now = sent({"transient": True, "push": "x"})
    assert (now.transient, now.valid_until_ms, now.push) == (True, None, b"")


@pytest.mark.parametrize("until", [NOW_MS, NOW_MS - 1, 0, NOW_MS + 30 * DAY_MS + 1, "soon", 10**18])
def test_how_long_a_broadcast_may_be_valid(until: object) -> None:
    with pytest.raises(InvalidCommand, match="valid_till: must be"):
        sent({"valid_till": until})


def test_a_broadcast_of_nobody() -> None:
    with pytest.raises(NoTarget):
        sent({"conv_id": "x" * 300})
    steps = broadcasts.parse_send(call(GOOD | {"conv_id": "s1"}), None)
    first(steps)
    assert isinstance(steps.throw(UnknownConversation("none")), GetConversation)
    with pytest.raises(OtherKind):
        steps.send("a conversation")


def test_changes_of_a_broadcast() -> None:
    wire = GOOD | {"timestamp": 7, "to_clients": ["a"]}
    edit = EditBroadcast(
        app="demo", id=ID, by="1a", conversation=S1, sender="1a", sent_ms=UnixMs(7), body=b"hi", quota=QUOTA
    )
    assert first(broadcasts.parse_edit(call(wire, mid=SBID), QUOTA)) == edit
    delete = DeleteBroadcast(app="demo", id=ID, by="leancloud")
    assert first(broadcasts.parse_delete(call(b"{}", mid=SBID))) == delete
    assert first(broadcasts.parse_old_delete(call(None, f"mid={SBID}"))) == delete
    for mid in (MID, "sb_x", "sb_" + SBID):
        with pytest.raises(UnknownMessage):
            first(broadcasts.parse_delete(call(None, mid=mid)))


def test_lists_of_broadcasts() -> None:
    query = first(broadcasts.parse_list(call(None, "conv_id=s1&limit=5&skip=-2")))
    assert query == FindBroadcasts(app="demo", conversation=S1, limit=5)
    with pytest.raises(InvalidCommand, match="conv_id: required"):
        broadcasts.parse_list(call())


# The calls of 1.1.


def of_1_1(wire: dict[str, Any]) -> Steps:
    """A send to s1."""
    steps = realtime.parse_send(call({"from_peer": "1a", "conv_id": "s1", "message": "hi", **wire}))
    assert first(steps).to.kind == "group"
    assert steps.throw(UnknownConversation("none")).conversation.kind == "group"
    assert [steps.send(None).conversation.kind for _ in range(2)] == ["room", "service"]
    return steps


def test_a_send_of_1_1_by_name() -> None:
    class Info:
        conversation = S1

    message = of_1_1({"to_peers": ["a", "a"]}).send(Info)
    assert (message.to, message.recipients, message.history) == (S1, ("a",), False)
    for wrong, says in (
        (None, "required"),
        ([f"x{n}" for n in range(21)], "at most 20"),
        ([], "must name"),
        (5, "must be an array"),
    ):
        with pytest.raises(InvalidCommand, match=f"to_peers: {says}"):
            of_1_1({"to_peers": wrong}).send(Info)


def test_a_message_of_1_1_to_subscribers() -> None:
    wire = {"from_peer": "1a", "conv_id": "s1", "message": "hi"}
    work = realtime.parse_publish(call(wire), QUOTA)
    assert first(work) == first(services.parse_publish(call(GOOD), QUOTA))
    with pytest.raises(NoTarget):
        realtime.parse_publish(call(wire | {"conv_id": ""}), None)


def test_the_receipt_is_shown_in_both_shapes() -> None:
    said = told(broadcasts.render_send(call(), RECEIPT))
    assert said["result"] == {"msg-id": said["msg-id"], "timestamp": said["timestamp"]}
    assert said["msg-id"].startswith("sb_")
    assert set(told(broadcasts.render_old_send(call(), RECEIPT))) == {"result"}
