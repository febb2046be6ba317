"""Streams: what is kept once for many, who gets it, from where on, and how it is accounted for."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from postroom.core.commands import (
    Ack,
    AddMembers,
    BanUsers,
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    SweepConversation,
)
from postroom.core.domain import Decision
from postroom.core.errors import Banned, UnknownConversation, UnknownMessage
from postroom.core.events import Acked, HistoryExpired, MessageSent, StaysExpired, StreamNoticesExpired
from postroom.core.ids import MessageId, Position
from postroom.core.limits import GROUP_COPIES_MAX, STREAM_COUNTED_MAX
from postroom.core.model import Conversation, group, service
from postroom.core.rows import Opened
from postroom.core.runtime.reading import read_page
from postroom.storage.checking.bodies import BodyCheck
from postroom.storage.checking.conversations import ConversationCheck
from postroom.storage.checking.owned import Owned
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.memory import MemoryStore
from postroom.storage.views import StoredViews

from ..support.desk import APP, Desk
from ..support.rows import engine_of, replayed, rows

DAY_MS = 86_400_000
S = service("news")
CROWD = tuple(f"u{number}" for number in range(GROUP_COPIES_MAX + 1))


class Newsroom(Desk):
    """A service that bob and carol subscribe to."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.run(CreateConversation(app=APP, conversation=S))
        self.join("bob", "carol")

    def join(self, *users: str, to: Conversation = S) -> None:
        self.run(AddMembers(app=APP, conversation=to, users=users))

    def leave(self, *users: str, of: Conversation = S) -> None:
        self.run(RemoveMembers(app=APP, conversation=of, users=users))

    def say(self, text: str, to: Conversation = S, sender: str = "press", **flags: Any) -> MessageId:
        flags = {"queue": True, "history": True, **flags}
        return self.receipt(self.run(SendMessage(app=APP, sender=sender, to=to, body=text.encode(), **flags))).id

    def page(self, login: Opened, user: str = "bob", after: int = 0) -> Any:
        return self.read(
            lambda snapshot: read_page(
                snapshot, APP, user, Position(after), self.clock.expiry_ms, login, self.clock.wall_ms
            )
        )

    def texts(self, login: Opened, user: str = "bob", after: int = 0) -> list[str]:
        """What a session reads: its type and its text."""
        return [f"{frame.type} {frame.body.decode()}".strip() for frame in self.page(login, user, after).deliveries]

    def acked(self, login: Opened, through: int, user: str = "bob") -> Acked | None:
        command = Ack(app=APP, user=user, session=login.position, through=Position(through), opened=login)
        return next((event for event in self.run(command).events if isinstance(event, Acked)), None)

    def has(self, letter: bytes) -> int:
        return self.read(lambda snapshot: sum(key[:1] == letter for key, _ in rows(engine_of(snapshot), LIVE)[0]))


def counts(event: Acked | None) -> tuple[int, int, int, int]:
    assert event is not None
    return event.count, event.streamed, event.evicted, event.expired


def test_a_message_to_a_service_is_one_entry_whoever_subscribes() -> None:
    desk = Newsroom()
    before = desk.has(b"T")
    desk.join(*CROWD)
    id = desk.say("hello")
    event = desk.events[-1]
    assert isinstance(event, MessageSent)
    assert (event.stream, event.number, event.queued) == (True, 1, ())
    assert (before, desk.has(b"T")) == (0, 1)
    assert desk.kept() == [("message", "hello")]
    frames = desk.page(desk.open()).deliveries
    assert [(f.id, f.queued, f.seq, f.stream, f.conversation) for f in frames] == [(id, True, None, 1, S)]
    terms = desk.terms()
    assert terms.accepted == 0


def test_nobody_created_it() -> None:
    with pytest.raises(UnknownConversation):
        Newsroom().say("x", service("none"))


def test_a_client_does_not_speak_in_a_service() -> None:
    desk = Newsroom()
    with pytest.raises(Banned):
        desk.say("x", speaks=True)
    with pytest.raises(UnknownConversation):
        desk.say("x", service("none"), speaks=True)


def test_queue_and_streams_are_read_in_one_order_and_acknowledged_by_one_position() -> None:
    desk = Newsroom()
    desk.run(CreateConversation(app=APP, conversation=service("more")))
    desk.join("bob", to=service("more"))
    first, second, third, fourth = desk.say("1"), desk.send("2"), desk.say("3", service("more")), desk.send("4")
    assert desk.login().queued == 4
    login = desk.open()
    assert desk.texts(login) == [f"message {n}" for n in (1, 2, 3, 4)]
    event = desk.acked(login, third)
    assert event is not None
    assert (event.id, event.seq) == (third, 0)
    assert counts(event) == (1, 2, 0, 0)
    assert desk.terms() == (4, 3, 1, 0, 0, 0)
    assert desk.texts(desk.open()) == ["message 4"]
    event = desk.acked(login, fourth)
    assert event is not None
    assert (event.id, event.seq, counts(event)) == (fourth, 2, (1, 0, 0, 0))
    assert first < second


def test_who_was_never_queued_for_gets_a_row_with_the_first_ack() -> None:
    desk = Newsroom()
    id = desk.say("1")
    login = desk.open()
    assert desk.ack(id) is None  # nobody said that streams were meant
    assert counts(desk.acked(login, id)) == (0, 1, 0, 0)
    assert desk.acked(login, id) is None or counts(desk.acked(login, id)) == (0, 0, 0, 0)
    assert desk.terms() == (1, 1, 0, 0, 0, 0)
    assert desk.login().queued == 0


def test_what_was_sent_before_and_after_is_not_theirs_but_what_was_between_is() -> None:
    desk = Newsroom()
    desk.say("before")
    desk.join("dan")
    desk.say("between")
    desk.leave("dan")
    desk.say("after")
    desk.join("dan")
    desk.say("again")
    assert desk.texts(desk.open("dan"), "dan") == ["message between", "message again"]
    assert (desk.has(b"i"), desk.has(b"j")) == (1, 1)


def test_a_stay_without_a_message_is_not_remembered() -> None:
    desk = Newsroom()
    desk.say("before")
    desk.join("dan")
    desk.leave("dan")
    assert desk.has(b"i") == 0


def test_who_is_banned_keeps_what_was_theirs() -> None:
    desk = Newsroom()
    desk.say("1")
    desk.run(BanUsers(app=APP, conversation=S, users=("bob",)))
    desk.say("2")
    with pytest.raises(Banned):
        desk.join("bob")
    assert desk.texts(desk.open()) == ["message 1"]


def test_of_each_stream_the_newest_are_read_and_the_rest_is_missed_until_somebody_acts_on_it() -> None:
    desk = Newsroom(queue_messages=3)
    ids = [desk.say(str(number)) for number in range(5)]
    for _ in range(2):
        welcome = desk.login()
        assert (welcome.queued, welcome.missed) == (3, 2)
    login = desk.open()
    late = desk.say("late")
    assert desk.texts(login) == [f"message {text}" for text in ("2", "3", "4", "late")]
    assert counts(desk.acked(login, ids[1])) == (0, 0, 2, 0)
    assert counts(desk.acked(login, ids[3])) == (0, 2, 0, 0)
    assert counts(desk.acked(login, late)) == (0, 2, 0, 0)
    assert desk.terms() == (6, 4, 0, 2, 0, 0)
    assert (desk.login().queued, desk.login().missed) == (0, 0)


def test_what_is_past_its_expiry_at_the_login_is_missed() -> None:
    desk = Newsroom(queue_ttl_ms=DAY_MS)
    desk.say("old")
    desk.clock.run(DAY_MS - 1_000)
    new = desk.say("new")
    login = desk.open()
    desk.clock.run(2_000)
    welcome = desk.login()
    assert (welcome.queued, welcome.missed) == (1, 1)
    later = desk.open()
    assert desk.texts(login) == ["message old", "message new"]
    assert desk.texts(later) == ["message new"]
    assert counts(desk.acked(later, new)) == (0, 1, 0, 1)
    assert desk.terms() == (2, 1, 0, 0, 1, 0)


def test_more_than_is_counted_one_by_one_is_counted_by_numbers() -> None:
    desk = Newsroom(queue_messages=10)
    desk.begin()
    ids = [desk.say("x") for _ in range(STREAM_COUNTED_MAX + 20)]
    desk.commit()
    desk.run(DeleteMessage(app=APP, id=ids[5], by="press", silent=True))
    welcome = desk.login()
    assert (welcome.queued, welcome.missed) == (10, STREAM_COUNTED_MAX + 10)
    assert len(desk.texts(desk.open())) == 10


def test_all_streams_together_are_counted_one_by_one_up_to_a_bound() -> None:
    desk = Newsroom(queue_messages=10_000)
    each = STREAM_COUNTED_MAX // 2 - 1
    places = [service(name) for name in ("a", "b", "c")]
    for place in places:
        desk.run(CreateConversation(app=APP, conversation=place))
        desk.join("bob", to=place)
    for place in places:
        desk.begin()
        ids = [desk.say("x", place) for _ in range(each)]
        desk.commit()
        desk.run(DeleteMessage(app=APP, id=ids[5], by="press", silent=True))
    assert desk.login().queued == 3 * each - 2  # of the third what was deleted, too
    login = desk.open()
    assert counts(desk.acked(login, login.position)) == (0, 3 * each - 2, 0, 0)


def test_an_edit_shows_in_the_messages_place_to_who_has_not_had_it_and_in_its_own_to_who_has() -> None:
    desk = Newsroom()
    id, other = desk.say("one"), desk.say("two")
    login = desk.open("carol")
    desk.acked(login, id, "carol")
    desk.edit(id, "ONE")
    desk.edit(id, "1")
    assert desk.texts(desk.open()) == ["message 1", "message two"]
    assert desk.texts(desk.open("carol"), "carol") == ["message two", "edited 1"]
    assert desk.has(b"T") == 3
    desk.recall(id)
    assert desk.texts(desk.open("carol"), "carol") == ["message two", "recalled"]
    assert desk.texts(desk.open()) == ["recalled", "message two"]
    assert (desk.has(b"T"), desk.has(b"k")) == (3, 0)
    assert desk.kept() == [("message", "two"), ("recalled", "")]
    assert other


def test_what_becomes_of_a_message_is_not_for_who_came_after_it() -> None:
    desk = Newsroom(queue_messages=3)
    edited, recalled, deleted = desk.say("secret"), desk.say("secret"), desk.say("secret")
    desk.join("dan")
    desk.edit(edited, "SECRET")
    desk.recall(recalled)
    new = desk.say("for dan")
    desk.delete(deleted)
    welcome = desk.login("dan")
    assert (welcome.queued, welcome.missed) == (1, 0)
    login = desk.open("dan")
    assert desk.texts(login, "dan") == ["message for dan"]
    desk.leave("dan")
    assert desk.texts(login, "dan") == ["message for dan"]
    event = desk.acked(login, desk.say("more"), "dan")
    assert event is not None
    assert (event.id, counts(event)) == (new, (0, 1, 0, 0))


def test_a_deletion_is_told_to_who_has_had_the_message_and_forgotten_with_the_history() -> None:
    desk = Newsroom(history_ttl_ms=7 * DAY_MS)
    first, second = desk.say("1"), desk.say("2")
    desk.acked(desk.open(), second)
    desk.edit(first, "one")
    desk.delete(first)
    desk.clock.run(1_000)
    desk.run(DeleteMessage(app=APP, id=second, by="press", silent=True))
    frames = desk.page(desk.open()).deliveries
    assert [(frame.type, frame.id, frame.stream, frame.by) for frame in frames] == [("deleted", first, 1, "alice")]
    assert desk.page(desk.open("carol"), "carol").deliveries == []
    assert (desk.has(b"T"), desk.has(b"h"), desk.kept()) == (2, 0, [("deleted", "")])
    with pytest.raises(UnknownMessage):
        desk.edit(first, "x")
    desk.clock.run(7 * DAY_MS)
    (event,) = desk.run(ExpireHistory(app=APP)).events
    assert isinstance(event, StreamNoticesExpired)
    assert (desk.has(b"T"), desk.kept()) == (0, [])


def test_what_leaves_the_history_leaves_its_stream_and_stays_follow() -> None:
    desk = Newsroom(history_ttl_ms=7 * DAY_MS)
    id = desk.say("1")
    desk.edit(id, "one")
    desk.leave("bob")
    desk.clock.run(8 * DAY_MS)
    events: list[Any] = []
    while more := desk.run(ExpireHistory(app=APP)).events:
        events += more
    assert [type(event) for event in events] == [HistoryExpired, StaysExpired]
    assert {letter: desk.has(letter) for letter in (b"T", b"i", b"j", b"h", b"m")} == dict.fromkeys(
        (b"T", b"i", b"j", b"h", b"m"), 0
    )
    assert desk.kept() == []


def test_a_large_group_has_a_stream_which_its_senders_do_not_read_themselves() -> None:
    desk = Newsroom()
    desk.run(CreateConversation(app=APP, conversation=group("g"), members=("ann", "bob")))
    desk.say("copies", group("g"), sender="ann")
    desk.join(*CROWD, to=group("g"))
    mine = desk.say("of bob", group("g"), sender="bob")
    desk.say("of ann", group("g"), sender="ann")
    assert desk.edit(mine, "OF BOB")
    assert desk.texts(desk.open()) == ["message copies", "message of ann"]
    assert desk.login().queued == 2
    assert desk.texts(desk.open("ann"), "ann") == ["message OF BOB"]
    assert desk.texts(desk.open("u7"), "u7") == ["message OF BOB", "message of ann"]


def test_what_one_sent_oneself_takes_no_place_among_the_newest() -> None:
    desk = Newsroom(queue_messages=3)
    desk.run(CreateConversation(app=APP, conversation=group("g"), members=("ann", "bob", *CROWD)))
    for sender in ("ann", "bob", "bob", "ann", "bob", "bob", "ann", "ann", "bob", "bob"):
        desk.say(f"of {sender}", group("g"), sender=sender)
    login = desk.open()
    assert desk.texts(login) == ["message of ann"] * 3
    assert counts(desk.acked(login, login.position)) == (0, 3, 1, 0)


def test_changes_of_what_one_has_not_had_take_no_place_among_the_newest() -> None:
    desk = Newsroom(queue_messages=3)
    old, *ids = [desk.say(f"text {number}") for number in range(4)]
    for id in (old, *ids):
        desk.edit(id, "edited")
        desk.edit(id, "edited twice")
    desk.recall(ids[-1])
    welcome = desk.login()
    assert (welcome.queued, welcome.missed) == (3, 1)
    login = desk.open()
    assert desk.texts(login) == ["message edited twice", "message edited twice", "recalled"]
    assert counts(desk.acked(login, login.position)) == (0, 3, 1, 0)
    desk.edit(ids[0], "again")
    assert desk.texts(desk.open()) == ["edited again"]


def test_what_is_evicted_stays_so_while_a_session_reads() -> None:
    """Whatever becomes of the newest in the meantime."""
    desk = Newsroom(queue_messages=2)
    ids = [desk.say(f"text {number}") for number in range(3)]
    login = desk.open()
    desk.run(DeleteMessage(app=APP, id=ids[2], by="press", silent=True))
    assert desk.texts(login) == ["message text 1"]
    assert counts(desk.acked(login, login.position)) == (0, 1, 1, 0)


def test_messages_that_were_edited_very_often_are_counted_one_by_one() -> None:
    desk = Newsroom()
    ids = desk.say("one"), desk.say("two")
    for number in range(STREAM_COUNTED_MAX):
        desk.edit(ids[number % 2], f"text {number}")
    assert (desk.login().queued, desk.login().missed) == (2, 0)


def test_a_service_is_read_by_its_sender_too() -> None:
    desk = Newsroom()
    desk.say("1", sender="bob")
    assert desk.texts(desk.open()) == ["message 1"]


def test_a_page_looks_at_no_more_than_it_should() -> None:
    desk = Newsroom(queue_messages=10_000)
    desk.run(CreateConversation(app=APP, conversation=group("g"), members=("bob", *CROWD)))
    desk.begin()
    for _ in range(1_001):
        desk.say("mine", group("g"), sender="bob")
    desk.say("yours", group("g"), sender="ann")
    desk.commit()
    login = desk.open()
    page = desk.page(login)
    assert (page.deliveries, page.complete) == ([], False)
    assert desk.texts(login, after=page.through) == ["message yours"]


def test_replay_gives_the_same_rows() -> None:
    desk = Newsroom(history_ttl_ms=7 * DAY_MS)
    id = desk.say("1")
    desk.say("2")
    desk.edit(id, "one")
    desk.leave("carol")
    desk.run(RecallMessage(app=APP, id=id, by="press"))
    login = desk.open()
    desk.acked(login, id)
    desk.delete(id)
    desk.run(EditMessage(app=APP, id=desk.say("3"), by="press", body=b"drei"))
    assert isinstance(desk.store, MemoryStore)
    desk.read(lambda snapshot: None)
    with desk.store.snapshot() as snapshot:
        assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)


def test_a_subscription_begins_once_and_ends() -> None:
    desk = Newsroom()
    assert desk.has(b"P") == 2
    assert desk.receipt(desk.run(AddMembers(app=APP, conversation=S, users=("bob",)))).duplicate
    desk.leave("bob", "nobody")
    assert desk.has(b"P") == 1
    decision: Decision = desk.run(RemoveMembers(app=APP, conversation=S, users=("bob",)))
    assert desk.receipt(decision).duplicate


def checked(desk: Newsroom, damage: Any = None) -> list[str]:
    """What `verify` says of the rows, after something was done to them."""
    if damage is not None:
        with desk.store.transaction() as transaction:
            damage(engine_of(transaction))
    told: list[Problem] = []
    with tempfile.TemporaryDirectory() as scratch, desk.store.snapshot() as snapshot:
        engine, problems = engine_of(snapshot), Problems(told.append)
        list(ConversationCheck(engine, StoredViews(engine, LIVE), problems).run())
        with Owned(Path(scratch) / "owned") as owned:
            list(BodyCheck(engine, StoredViews(engine, LIVE), owned, problems).run())
    return [problem.what for problem in told]


def damaged(prefix: bytes, *, length: int = 17, value: bytes | None = None, index: int = 0) -> Any:
    """Takes a row away, or writes something else there."""

    def damage(engine: Any) -> None:
        found = [key for key, _ in engine.scan("live", prefix, prefix) if len(key) == length]
        if value is None:
            engine.delete("live", found[index])
        else:
            engine.put("live", found[index], value)

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damaged(b"T"), "the stream of its conversation does not say the same of it"),
        (damaged(b"T", index=2, value=msgspec.msgpack.encode([1, 1, 3, 1 << 30])), "is not of the newest change"),
        (damaged(b"T", index=1), "there is no such notice"),
        (damaged(b"T", value=msgspec.msgpack.encode([1, 9, 1, 1])), "has the number 9 of 2"),
        (damaged(b"T", index=1, value=msgspec.msgpack.encode([1, 1, 1, 1])), "is not in order behind"),
        (damaged(b"T", length=33), "rows 'T', the records need"),
        (damaged(b"P", length=25), "does not know of subscribing to it"),
        (damaged(b"P", length=25, value=msgspec.msgpack.encode([1, "news", 1])), "does not know of subscribing to it"),
    ],
    ids=["message", "change", "notice", "number", "order", "end", "subscription", "another"],
)
def test_verify_finds_what_is_wrong_with_a_stream(damage: Any, says: str) -> None:
    desk = Newsroom()
    first, second = desk.say("1"), desk.say("2")
    desk.delete(second)
    desk.edit(first, "one")
    assert checked(desk) == []
    assert any(says in text for text in checked(desk, damage)), checked(desk)


def test_verify_finds_a_notice_without_its_body() -> None:
    desk = Newsroom()
    desk.delete(desk.say("1"))
    (notice,) = desk.body_places()
    told = checked(desk, lambda engine: engine.delete("bodies", notice.to_bytes(8)))
    assert any("the notice has no body" in text for text in told)


def test_a_service_that_is_deleted_has_nothing_for_anybody_and_its_name_begins_anew() -> None:
    desk = Newsroom(history_ttl_ms=7 * DAY_MS)
    desk.join("dan")
    gone, first = desk.say("gone"), desk.say("1")
    desk.edit(first, "one")
    desk.leave("dan")
    desk.delete(gone)
    login = desk.open()
    desk.run(DeleteConversation(app=APP, conversation=S, by="press"))
    for user in ("bob", "dan"):
        welcome = desk.login(user)
        assert (welcome.queued, welcome.missed) == (0, 0)
        assert desk.texts(desk.open(user), user) == []
    assert desk.texts(login) == []
    assert desk.acked(login, first) is None
    assert checked(desk) == []
    while desk.run(SweepConversation(app=APP, conversation=S, limit=1, unblocked=True)).events:
        assert checked(desk) == []
    assert [desk.has(letter) for letter in (b"T", b"P", b"h", b"o")] == [0, 0, 0, 0]
    assert desk.kept() == []
    desk.run(CreateConversation(app=APP, conversation=S))
    desk.join("carol")
    desk.say("new")
    assert (desk.login().queued, desk.texts(desk.open("carol"), "carol")) == (0, ["message new"])
    assert checked(desk) == []
    desk.clock.run(8 * DAY_MS)
    while desk.run(ExpireHistory(app=APP)).events:
        pass
    assert {letter: desk.has(letter) for letter in (b"T", b"i", b"j")} == dict.fromkeys((b"T", b"i", b"j"), 0)
    assert (desk.kept(), checked(desk)) == ([], [])
    with desk.store.snapshot() as snapshot:
        assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)
