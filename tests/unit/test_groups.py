"""Messages to groups: whose queues they lie in, what becomes of them, and that no text outlives its message."""

from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    AddMembers,
    CreateConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    RecallMessage,
    RemoveMembers,
    SendMessage,
)
from postroom.core.domain import Decision
from postroom.core.errors import DedupMismatch, UnknownConversation, UnknownMessage
from postroom.core.events import CopiesExpired, HistoryExpired, MessageDeleted, MessageSent
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId, Place
from postroom.core.limits import GROUP_COPIES_MAX, HISTORY_COPIES_MAX, HISTORY_EXPIRED_MAX
from postroom.core.model import Receipt, group, peer
from postroom.core.rows import Kept
from tests.support.desk import APP, Desk, Shown
from tests.support.rows import engine_of, values

G = group("g")


class Club(Desk):
    """A desk with the group `g` of ann, bob and cy; ann sends."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.run(CreateConversation(app=APP, conversation=G, members=("ann", "bob", "cy")))

    def decide(self, text: str = "hi", *, sender: str = "ann", **fields: Any) -> Decision:
        """Queued and kept unless said otherwise."""
        fields = {"to": G, "queue": True, "history": True, **fields}
        command = SendMessage(app=APP, sender=sender, body=text.encode(), **fields)
        check(command)
        return self.run(command)

    def say(self, text: str = "hi", **fields: Any) -> MessageId:
        return self.receipt(self.decide(text, **fields)).id

    def rows(self, letter: bytes) -> int:
        return self.read(lambda snapshot: len(list(engine_of(snapshot).scan("live", letter, letter))))

    def holds(self, text: bytes) -> bool:
        """Whether any table has it."""
        return self.read(lambda snapshot: any(text in value for value in values(engine_of(snapshot))))


@pytest.fixture
def club() -> Club:
    return Club()


def test_every_member_but_the_sender_has_a_copy_of_one_text(club: Club) -> None:
    club.send("before", "cy")
    decision = club.decide("hi")
    id = club.receipt(decision).id
    assert club.shown("bob") == [Shown(1, "message", "hi")]
    assert club.shown("cy") == [Shown(1, "message", "before"), Shown(2, "message", "hi")]
    assert club.shown("ann") == []
    event = decision.events[0]
    assert isinstance(event, MessageSent)
    assert [(copy.user, copy.owns_body) for copy in event.queued] == [("bob", False), ("cy", False)]
    assert decision.audience == ()
    kept = club.read(lambda snapshot: snapshot.views.kept(APP, Place(event.at_ms, id)))
    assert kept == Kept(G, "ann", queued=True, recipients=("bob", "cy"), number=1)
    assert len(club.body_places()) == 2
    # The text stays when the copies are collected: it is the history's.
    club.ack(id, "bob")
    club.ack(id, "cy")
    assert club.kept() == [("message", "hi")]
    for user in ("bob", "cy"):
        assert club.terms(user).acked >= 1


def test_a_stranger_may_send_and_then_all_get_it(club: Club) -> None:
    club.say(sender="eve")
    assert [len(club.shown(user)) for user in ("ann", "bob", "cy", "eve")] == [1, 1, 1, 0]


def test_a_group_that_nobody_created(club: Club) -> None:
    with pytest.raises(UnknownConversation):
        club.say(to=group("h"))


def test_a_group_of_nobody_else(club: Club) -> None:
    club.run(RemoveMembers(app=APP, conversation=G, users=("bob", "cy")))
    id = club.say()
    assert club.kept() == [("message", "hi")]
    club.delete(id)
    assert club.kept() == []


@pytest.mark.parametrize("history", [False, True])
def test_what_is_not_queued_is_for_members_online_now(club: Club, history: bool) -> None:
    decision = club.decide(queue=False, history=history)
    assert decision.audience == ("bob", "cy")
    assert decision.events[0].queued == ()  # type: ignore[union-attr]
    assert decision.keeps_body == history
    assert club.decide(queue=False, history=history, sender_copy="online").audience == ("bob", "cy", "ann")


def test_the_sender_s_copy_is_for_sessions_open_now_whoever_they_are(club: Club) -> None:
    assert club.decide(sender_copy="online").audience == ("ann",)
    assert club.decide(sender="eve", sender_copy="online").audience == ("eve",)
    assert club.shown("eve") == []


def test_who_left_keeps_what_was_sent_before(club: Club) -> None:
    club.say("one")
    club.run(RemoveMembers(app=APP, conversation=G, users=("bob",)))
    club.run(AddMembers(app=APP, conversation=G, users=("dan",)))
    club.say("two")
    assert [len(club.shown(user)) for user in ("bob", "cy", "dan")] == [1, 2, 1]


@pytest.mark.parametrize("overflow", ["oldest", "refuse"])
def test_a_full_queue_costs_its_owner_alone(overflow: Any) -> None:
    club = Club(queue_messages=1, overflow=overflow)
    club.send("mine", "bob")
    id = club.say("hi")
    assert [shown.payload for shown in club.shown("bob")] == (["hi"] if overflow == "oldest" else ["mine"])
    assert [shown.payload for shown in club.shown("cy")] == ["hi"]
    assert club.terms("bob").evicted == 1
    club.terms("cy")
    # Who went without may still have it on a screen, and is told of a change.
    club.configure(queue_messages=5)
    club.login("bob")
    club.recall(id)
    assert club.shown("bob")[-1] == Shown(3, "recalled", "")


# Changes.


def test_an_edit_reaches_each_recipient_as_they_stand(club: Club) -> None:
    club.run(AddMembers(app=APP, conversation=G, users=("dan", "erin")))
    id = club.say("first text")
    club.ack(id, "cy")  # acknowledged: an entry of its own
    club.login("dan")  # online, maybe on a screen: both
    club.edit(id, "second text")
    club.run(RemoveMembers(app=APP, conversation=G, users=("cy",)))
    assert club.shown("bob") == [Shown(1, "message", "second text")]
    assert club.shown("cy") == [Shown(2, "edited", "second text")]
    assert club.shown("dan") == [Shown(1, "message", "second text"), Shown(2, "edited", "second text")]
    assert not club.holds(b"first text")
    club.edit(id, "third text")
    assert club.shown("cy")[0] == Shown(2, "edited", "third text")
    assert club.rows(b"k") == 2
    for user in ("bob", "cy", "dan", "erin"):
        club.ack(club.records[-1].position, user)
        club.terms(user)
    assert club.rows(b"k") == 0
    assert club.kept() == [("edited", "third text")]


def test_a_recall_takes_the_text_and_what_the_push_said(club: Club) -> None:
    id = club.say("the text", push=b"the push", mentions=("bob",), mention_all=True)
    header = club.header(id)
    assert header is not None
    assert (header.mentions, header.mention_all, header.push) == (("bob",), True, b"the push")
    club.recall(id)
    assert [club.shown(user) for user in ("bob", "cy")] == [[Shown(1, "recalled", "")]] * 2
    assert not club.holds(b"the text")
    assert not club.holds(b"the push")
    assert club.recall(id).duplicate


def test_a_notice_that_many_share_lasts_until_the_last_has_it(club: Club) -> None:
    id = club.say("the text")
    for user in ("bob", "cy"):
        club.login(user)
    club.delete(id)
    assert not club.holds(b"the text")
    assert [club.shown(user) for user in ("bob", "cy")] == [[Shown(2, "deleted", "")]] * 2
    assert club.kept() == [("deleted", "")]
    club.ack(club.records[-1].position, "bob")
    assert club.shown("cy") == [Shown(2, "deleted", "")]
    assert (len(club.kept()), club.rows(b"k")) == (1, 1)
    club.ack(club.records[-1].position, "cy")
    assert (club.kept(), club.rows(b"k"), club.rows(b"h"), club.rows(b"m")) == ([], 0, 0, 0)
    for user in ("bob", "cy"):
        assert club.terms(user) == (2, 1, 0, 0, 0, 1)


def test_a_silent_deletion_tells_nobody(club: Club) -> None:
    id = club.say()
    club.ack(id, "bob")
    club.login("cy")
    decision = club.run(DeleteMessage(app=APP, id=id, by="admin", silent=True))
    event = decision.events[0]
    assert isinstance(event, MessageDeleted)
    assert (event.queued, [copies.user for copies in event.withdrawn]) == ((), ["cy"])
    assert (club.kept(), club.shown("bob"), club.shown("cy")) == ([], [], [])
    assert not decision.keeps_body


def test_changes_of_what_was_not_queued_go_to_members_of_then_who_are_there(club: Club) -> None:
    id = club.say(queue=False, sender_copy="online")
    club.run(AddMembers(app=APP, conversation=G, users=("dan",)))
    club.run(RemoveMembers(app=APP, conversation=G, users=("bob",)))
    edit = EditMessage(app=APP, id=id, by="ann", body=b"x")
    assert club.run(edit).audience == ("cy", "ann")
    assert club.run(RecallMessage(app=APP, id=id, by="ann")).audience == ("cy", "ann")
    queued = club.say(sender_copy="online")
    assert club.run(DeleteMessage(app=APP, id=queued, by="ann")).audience == ("ann",)


@pytest.mark.parametrize("kind", [EditMessage, RecallMessage, DeleteMessage])
def test_a_change_may_say_which_message_it_means(club: Club, kind: Any) -> None:
    receipt = club.receipt(club.decide())
    body = {"body": b"x"} if kind is EditMessage else {}
    for wrong in ({"conversation": peer("g")}, {"sender": "bob"}, {"sent_ms": receipt.at_ms + 1}):
        with pytest.raises(UnknownMessage):
            club.run(kind(app=APP, id=receipt.id, by="ann", **body, **wrong))
    assert len(club.events) == 2
    right = {"conversation": G, "sender": "ann", "sent_ms": receipt.at_ms}
    assert club.receipt(club.run(kind(app=APP, id=receipt.id, by="ann", **body, **right))).id == receipt.id


def test_a_retry_is_one_only_if_all_of_it_is_the_same(club: Club) -> None:
    first = club.decide(dedup="k", mentions=("bob",))
    club.run(AddMembers(app=APP, conversation=G, users=("dan",)))
    again = club.decide(dedup="k", mentions=("bob",))
    assert again.result == Receipt(id=club.receipt(first).id, at_ms=club.receipt(first).at_ms, duplicate=True)
    assert club.shown("dan") == []
    for other in ({}, {"mention_all": True}, {"sender_copy": "online"}, {"push": b"x"}):
        with pytest.raises(DedupMismatch):
            club.decide(dedup="k", **other)


# Age.


def test_copies_leave_with_the_text_and_are_accounted_for() -> None:
    club = Club(history_ttl_ms=DAY_MS, queue_ttl_ms=7 * DAY_MS)
    id = club.say("the text")
    club.login("cy")
    club.edit(id, "the other")
    club.ack(id, "bob")
    club.clock.run(2 * DAY_MS)
    assert len(club.shown("cy")) == 2  # not swept: a copy that waits is read as ever
    decision = club.run(ExpireHistory(app=APP))
    assert [type(event) for event in decision.events] == [CopiesExpired, HistoryExpired]
    assert (club.kept(), club.shown("bob"), club.shown("cy")) == ([], [], [])
    assert club.terms("cy").expired == 2
    assert club.terms("bob").acked == 1
    assert (club.rows(b"k"), club.rows(b"m"), club.rows(b"h"), club.rows(b"t")) == (0, 0, 0, 0)
    with pytest.raises(UnknownMessage):
        club.recall(id)


def test_a_peer_s_copy_keeps_its_text_as_ever() -> None:
    club = Club(history_ttl_ms=DAY_MS, queue_ttl_ms=7 * DAY_MS)
    club.send("theirs", "bob", history=True)
    club.clock.run(2 * DAY_MS)
    assert [type(event) for event in club.run(ExpireHistory(app=APP)).events] == [HistoryExpired]
    assert club.shown("bob") == [Shown(1, "message", "theirs")]


def test_age_goes_on_in_bounded_steps() -> None:
    club = Club(history_ttl_ms=DAY_MS, queue_ttl_ms=7 * DAY_MS)
    users = tuple(f"u{number}" for number in range(GROUP_COPIES_MAX - 3))
    club.run(AddMembers(app=APP, conversation=G, users=users))
    for number in range(30):
        club.say(f"text {number}", sender="eve")
    club.clock.run(2 * DAY_MS)
    events = club.run(ExpireHistory(app=APP, limit=250)).events
    swept = [event for event in events if isinstance(event, HistoryExpired)]
    copies = [event for event in events if isinstance(event, CopiesExpired)]
    assert sum(event.count for event in swept) == HISTORY_COPIES_MAX // GROUP_COPIES_MAX + 1
    assert all(len(event.copies) <= HISTORY_EXPIRED_MAX for event in copies)
    while club.run(ExpireHistory(app=APP, limit=250)).events:
        pass
    assert (club.kept(), club.shown("u7")) == ([], [])
    assert club.terms("u7").expired == 30
