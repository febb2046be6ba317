"""Messages of a service to users by name: whose queues and timelines they lie in, and what becomes of them."""

from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    CreateConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    RecallMessage,
    SendMessage,
)
from postroom.core.errors import DedupMismatch, InvalidCommand, UnknownConversation, UnknownMessage
from postroom.core.events import CopiesExpired, HistoryExpired, MessageSent
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId, Place
from postroom.core.limits import HISTORY_EXPIRED_MAX, RECIPIENTS_MAX
from postroom.core.model import Receipt, peer, room, service
from postroom.core.rows import Kept
from tests.support.bureau import BEN_AND_CY, NEWS, Bureau
from tests.support.desk import APP, Shown


@pytest.fixture
def bureau() -> Bureau:
    return Bureau()


def test_whoever_is_named_has_a_copy_of_one_text(bureau: Bureau) -> None:
    decision = bureau.decide("hi", to=("ben", "cy", "ben"))
    id = bureau.receipt(decision).id
    assert [bureau.shown(user) for user in ("ben", "cy", "dan")] == [[Shown(1, "message", "hi")]] * 2 + [[]]
    event = decision.events[0]
    assert isinstance(event, MessageSent)
    assert (event.recipients, event.number) == (("ben", "cy"), 0)
    assert [(copy.user, copy.owns_body) for copy in event.queued] == [("ben", False), ("cy", False)]
    kept = bureau.read(lambda snapshot: snapshot.views.kept(APP, Place(event.at_ms, id)))
    assert kept == Kept(NEWS, "desk", queued=True, recipients=("ben", "cy"))
    for user in BEN_AND_CY:
        bureau.ack(id, user)
        assert bureau.terms(user).acked == 1
    assert bureau.kept() == [("message", "hi")]


def test_a_service_that_nobody_created(bureau: Bureau) -> None:
    for queue in (True, False):
        with pytest.raises(UnknownConversation):
            bureau.say(service="other", queue=queue, history=queue)


@pytest.mark.parametrize("history", [False, True])
def test_what_is_not_queued_is_for_sessions_open_now(bureau: Bureau, history: bool) -> None:
    decision = bureau.decide(queue=False, history=history)
    assert (decision.audience, decision.keeps_body) == (("ben", "cy"), history)
    assert bureau.shown("ben") == []
    assert bureau.found("ben") == (["hi"] if history else [])


def test_the_sender_s_copy_is_for_sessions_open_now(bureau: Bureau) -> None:
    assert bureau.decide(sender_copy="online").audience == ("desk",)
    assert bureau.decide(sender_copy="online", to=("desk", "ben")).audience == ()
    assert [len(bureau.shown(user)) for user in ("desk", "ben")] == [1, 2]


@pytest.mark.parametrize("overflow", ["oldest", "refuse"])
def test_a_full_queue_costs_its_owner_alone(overflow: Any) -> None:
    bureau = Bureau(queue_messages=1, overflow=overflow)
    bureau.send("mine", "ben")
    bureau.say("hi")
    assert [shown.payload for shown in bureau.shown("ben")] == (["hi"] if overflow == "oldest" else ["mine"])
    assert [shown.payload for shown in bureau.shown("cy")] == ["hi"]
    assert bureau.terms("ben").evicted == 1
    bureau.terms("cy")


def test_a_retry_is_one_only_to_the_same(bureau: Bureau) -> None:
    first = bureau.receipt(bureau.decide(dedup="k"))
    assert bureau.decide(dedup="k").result == Receipt(id=first.id, at_ms=first.at_ms, duplicate=True)
    with pytest.raises(DedupMismatch):
        bureau.decide(dedup="k", to=("ben",))


def test_where_it_is_found(bureau: Bureau) -> None:
    """By whom it is for; by its sender; among all. Not among what the service sent to whoever subscribes."""
    bureau.run(CreateConversation(app=APP, conversation=service("other")))
    first = bureau.say("one", to=("ben",))
    second = bureau.say("two", to=("ben", "cy"))
    third = bureau.say("three", to=("ben",), service="other")
    assert [bureau.found(user) for user in ("ben", "cy", "desk")] == [["one", "two"], ["two"], []]
    assert bureau.found("ben", newest_first=True, limit=1) == ["two"]
    assert bureau.ids(conversations=(NEWS,)) == []
    assert bureau.ids(conversations=(NEWS,), sender="ben") == []
    assert bureau.ids(sender="desk") == bureau.ids(everything=True) == [first, second, third]


def test_a_message_by_its_id(bureau: Bureau) -> None:
    id = bureau.say("hi")
    message = bureau.message(id)
    assert message is not None
    assert (message.body, message.recipients, message.recalled) == (b"hi", ("ben", "cy"), False)
    assert bureau.message(id, service("other")) is None
    assert bureau.message(id, NEWS, "other") is None
    for wrong in (0, -1, id + 1, 1 << 80):
        assert bureau.message(MessageId(wrong)) is None
    letter = bureau.send("letter", "ben", history=True)
    told = bureau.message(letter, peer("ben"))
    assert told is not None
    assert (told.body, told.recipients) == (b"letter", ())
    bureau.recall(id)
    recalled = bureau.message(id)
    assert recalled is not None
    assert (recalled.body, recalled.recalled) == (b"", True)
    bureau.delete(id)
    assert bureau.message(id) is None


# What becomes of the message itself.


def test_an_edit_reaches_each_as_they_stand(bureau: Bureau) -> None:
    id = bureau.say("first text", to=("ben", "cy", "dan"))
    bureau.ack(id, "cy")
    bureau.login("dan")
    bureau.edit(id, "second text")
    assert bureau.shown("ben") == [Shown(1, "message", "second text")]
    assert bureau.shown("cy") == [Shown(2, "edited", "second text")]
    assert bureau.shown("dan") == [Shown(1, "message", "second text"), Shown(2, "edited", "second text")]
    assert bureau.found("ben") == ["second text"]
    assert not bureau.holds(b"first text")
    bureau.sound()


def test_a_recall_takes_it_from_all(bureau: Bureau) -> None:
    id = bureau.say("the text")
    bureau.recall(id)
    assert [bureau.shown(user) for user in BEN_AND_CY] == [[Shown(1, "recalled", "")]] * 2
    assert [bureau.found("ben", recalled=recalled) for recalled in (False, True)] == [[], [""]]
    assert not bureau.holds(b"the text")
    bureau.sound()


def test_a_deletion_leaves_nothing(bureau: Bureau) -> None:
    id = bureau.say("the text")
    bureau.run(DeleteMessage(app=APP, id=id, by="desk", silent=True))
    assert (bureau.kept(), bureau.found("ben"), bureau.shown("cy")) == ([], [], [])
    assert [bureau.rows(letter) for letter in (b"h", b"t", b"m", b"k")] == [0] * 4
    assert bureau.terms("cy").withdrawn == 1


def test_changes_of_what_was_not_queued_go_to_sessions_of_whom_it_named(bureau: Bureau) -> None:
    id = bureau.say(queue=False, sender_copy="online")
    assert bureau.run(EditMessage(app=APP, id=id, by="desk", body=b"x")).audience == ("ben", "cy", "desk")
    assert bureau.run(RecallMessage(app=APP, id=id, by="desk")).audience == ("ben", "cy", "desk")
    queued = bureau.say(sender_copy="online")
    assert bureau.run(DeleteMessage(app=APP, id=queued, by="desk")).audience == ("desk",)


# Age.


def test_copies_leave_with_the_text_and_are_accounted_for() -> None:
    bureau = Bureau(history_ttl_ms=DAY_MS, queue_ttl_ms=7 * DAY_MS)
    id = bureau.say("the text")
    bureau.ack(id, "ben")
    bureau.clock.run(2 * DAY_MS)
    assert bureau.found("cy") == []
    decision = bureau.run(ExpireHistory(app=APP))
    assert [type(event) for event in decision.events] == [CopiesExpired, HistoryExpired]
    assert (bureau.kept(), bureau.shown("cy"), bureau.rows(b"t")) == ([], [], 0)
    assert (bureau.terms("ben").acked, bureau.terms("cy").expired) == (1, 1)
    with pytest.raises(UnknownMessage):
        bureau.recall(id)


def test_timelines_of_many_leave_in_events_of_bounded_size() -> None:
    bureau = Bureau(history_ttl_ms=DAY_MS, queue_ttl_ms=DAY_MS)
    for count in (1, 1, 60, 60, 300, 1):
        bureau.say(to=tuple(f"u{number}" for number in range(count)), queue=False)
    for _ in range(30):
        bureau.say(to=("ben",), queue=False)
    bureau.clock.run(2 * DAY_MS)
    events = bureau.run(ExpireHistory(app=APP, limit=250)).events
    counts = [event.count for event in events if isinstance(event, HistoryExpired)]
    assert counts == [3, 1, 1, HISTORY_EXPIRED_MAX, 6]
    assert (bureau.rows(b"h"), bureau.rows(b"t")) == (0, 0)


# The form.


def letter(**fields: Any) -> SendMessage:
    defaults = {"app": APP, "sender": "desk", "to": NEWS, "body": b"hi", "queue": True, "history": True}
    return SendMessage(**{**defaults, "recipients": BEN_AND_CY, **fields})


@pytest.mark.parametrize(
    ("field", "command"),
    [
        ("queue", letter(history=False)),
        ("wait_ack_ms", letter(wait_ack_ms=1_000)),
        ("recipients", letter(recipients=("ben", ""))),
        ("recipients", letter(recipients=tuple(f"u{number}" for number in range(RECIPIENTS_MAX + 1)))),
        ("recipients", letter(to=peer("ben"))),
        ("recipients", letter(to=room("den"), queue=False)),
        ("recipients", EditMessage(app=APP, id=MessageId(1), by="desk", body=b"", recipients=("",))),
        ("sender_copy", letter(sender_copy="queue")),
    ],
)
def test_the_field_that_is_wrong_is_named(field: str, command: Any) -> None:
    with pytest.raises(InvalidCommand, match=f"^{field}: "):
        check(command)


def test_so_many_and_no_more() -> None:
    check(letter(recipients=tuple(f"u{number}" for number in range(RECIPIENTS_MAX))))
