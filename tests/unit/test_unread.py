"""What users have not read of groups and services: who counts what, what a mark comes to, and what it costs nobody."""

import itertools
from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    AddMembers,
    BanUsers,
    CreateConversation,
    DeleteMessage,
    ExpireHistory,
    MarkRead,
    RecallMessage,
    RemoveMembers,
    SendMessage,
)
from postroom.core.domain import marks, unread
from postroom.core.errors import InvalidCommand, UnknownConversation
from postroom.core.events.unread import ConversationRead
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId, UnixMs
from postroom.core.limits import GROUP_COPIES_MAX
from postroom.core.model import Conversation, group, peer, room, service
from postroom.core.queries import CountUnread
from postroom.core.rows import UnreadRow
from postroom.core.search import UnreadSearch
from postroom.core.search import unread as search
from tests.support.desk import APP, Desk
from tests.support.rows import engine_of

G, H, S = group("g"), group("h"), service("s")


class Readers(Desk):
    """A desk with the group `g` of ann, bob and cy, and a service; time passes between any two messages."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        self.run(CreateConversation(app=APP, conversation=G, members=("ann", "bob", "cy")))
        self.run(CreateConversation(app=APP, conversation=S))

    def say(self, sender: str = "ann", to: Conversation = G, **fields: Any) -> MessageId:
        """Kept and queued unless said otherwise."""
        self.clock.run(1_000)
        command = SendMessage(app=APP, sender=sender, to=to, body=b"hi", **{"queue": True, "history": True, **fields})
        check(command)
        return self.receipt(self.run(command)).id

    def name(self, *recipients: str, sender: str = "desk") -> None:
        """A message of the service to some users."""
        self.say(sender, to=S, recipients=recipients)

    def mark(self, user: str = "bob", until_ms: int | None = None, of: Conversation = G) -> bool:
        """Up to now unless said otherwise; whether it changed anything."""
        until_ms = self.clock.wall_ms if until_ms is None else until_ms
        command = MarkRead(app=APP, user=user, conversation=of, until_ms=UnixMs(until_ms))
        check(command)
        return not self.receipt(self.run(command)).duplicate

    def unread(self, user: str = "bob", of: Conversation | None = G) -> int:
        """As a query finds it."""
        query = CountUnread(app=APP, user=user, conversation=of)
        query.check()
        found = UnreadSearch(query)
        with self.store.snapshot() as snapshot:
            while found.go_on(snapshot.views):
                pass
        return found.count

    def each(self, of: Conversation | None = G) -> list[int]:
        return [self.unread(user, of) for user in ("ann", "bob", "cy", "dan")]

    def row(self, user: str = "bob", of: Conversation = G) -> UnreadRow | None:
        """What is noted."""

        def read(snapshot: Any) -> UnreadRow | None:
            row: UnreadRow | None = snapshot.views.unread(APP, user, snapshot.views.conversation(APP, of).number)
            return row

        return self.read(read)

    def rows(self, letter: bytes) -> int:
        return self.read(lambda snapshot: len(list(engine_of(snapshot).scan("live", letter, letter))))


@pytest.fixture
def desk() -> Readers:
    return Readers()


def test_what_others_send_is_unread(desk: Readers) -> None:
    assert desk.each() == [0, 0, 0, 0]
    desk.say("ann")
    desk.say("ann")
    desk.say("bob")
    assert desk.each() == [1, 2, 3, 0]
    desk.say("eve")  # no member; nothing is unread for her
    assert desk.each() == [2, 3, 4, 0]
    assert desk.unread("eve") == 0
    assert desk.rows(b"V") == 2  # of who sent something


def test_only_what_is_kept_counts(desk: Readers) -> None:
    desk.say(queue=False, history=False)
    assert desk.unread() == 0
    desk.say(queue=False)
    assert desk.unread() == 1
    desk.send("to a peer", "bob", history=True)
    desk.run(SendMessage(app=APP, sender="ann", to=room("r"), body=b"hi", history=True))
    assert desk.unread(of=None) == 1


def test_a_mark_up_to_now_reads_everything(desk: Readers) -> None:
    for sender in ("ann", "bob", "cy"):
        desk.say(sender)
    assert desk.mark()
    assert desk.each() == [2, 0, 2, 0]
    assert desk.row() == UnreadRow("group", "g", read=3)
    desk.say("ann")
    desk.say("bob")
    assert desk.unread() == 1


def test_a_mark_reads_up_to_its_time(desk: Readers) -> None:
    times = []
    for sender in ("ann", "bob", "ann", "bob", "cy"):
        desk.say(sender)
        times.append(desk.clock.wall_ms)
    unread = []
    for time_ms in times:
        assert desk.mark(until_ms=time_ms)
        unread.append(desk.unread())
    assert unread == [2, 2, 1, 1, 0]
    event = desk.events[-5]
    assert isinstance(event, ConversationRead)
    assert (event.user, event.until_ms, event.read, event.own, event.extra) == ("bob", times[0], 1, 2, 0)


def test_a_time_between_two_messages(desk: Readers) -> None:
    desk.say()
    first_ms = desk.clock.wall_ms
    desk.say()
    assert desk.mark(until_ms=first_ms + 999)
    assert desk.unread() == 1
    assert not desk.mark(until_ms=first_ms)
    assert desk.mark(until_ms=first_ms + 1_000)
    assert desk.unread() == 0


@pytest.mark.parametrize("until_ms", [0, (1 << 63) - 1])
def test_the_first_and_the_last_time_there_can_be(desk: Readers, until_ms: int) -> None:
    desk.say()
    assert desk.mark(until_ms=until_ms) == bool(until_ms)
    desk.say()
    assert desk.unread() == (1 if until_ms else 2)


def test_a_mark_never_goes_back(desk: Readers) -> None:
    desk.say()
    first_ms = desk.clock.wall_ms
    desk.say()
    desk.say("bob")
    assert desk.mark()
    for until_ms in (first_ms, 0, desk.clock.wall_ms):
        assert not desk.mark(until_ms=until_ms)
    assert desk.row() == UnreadRow("group", "g", read=3)


def test_messages_of_one_millisecond_are_read_together(desk: Readers) -> None:
    command = SendMessage(app=APP, sender="ann", to=G, body=b"hi", history=True)
    for _ in range(3):
        desk.run(command)
    assert desk.unread() == 3
    assert desk.mark()
    assert desk.unread() == 0


def test_who_joins_begins_there_and_who_leaves_has_nothing(desk: Readers) -> None:
    desk.say()
    desk.run(AddMembers(app=APP, conversation=G, users=("dan",)))
    assert desk.each() == [0, 1, 1, 0]
    desk.say()
    assert desk.unread("dan") == 1
    desk.run(RemoveMembers(app=APP, conversation=G, users=("dan", "bob")))
    desk.say()
    assert desk.each() == [0, 0, 3, 0]
    assert (desk.row("dan"), desk.row("bob")) == (None, None)
    assert not desk.mark("dan")
    desk.run(AddMembers(app=APP, conversation=G, users=("dan", "bob")))
    desk.say()
    assert desk.each() == [0, 1, 4, 1]
    desk.run(BanUsers(app=APP, conversation=G, users=("dan",)))
    assert (desk.unread("dan"), desk.row("dan")) == (0, None)


def test_before_anything_is_counted_nothing_is_noted(desk: Readers) -> None:
    """A log of before there was this gives the rows it gave then."""
    desk.run(AddMembers(app=APP, conversation=G, users=("dan",)))
    desk.say(queue=False, history=False)
    desk.run(RemoveMembers(app=APP, conversation=G, users=("dan",)))
    assert not desk.mark()
    desk.send(history=True)
    assert (desk.rows(b"V"), desk.rows(b"W")) == (0, 0)


def test_recall_deletion_and_age_change_nothing() -> None:
    desk = Readers(history_ttl_ms=DAY_MS, queue_messages=1)
    ids = [desk.say() for _ in range(4)]
    desk.run(RecallMessage(app=APP, id=ids[0], by="ann"))
    desk.run(DeleteMessage(app=APP, id=ids[1], by="ann"))
    assert desk.unread() == 4
    desk.clock.run(2 * DAY_MS)
    while desk.run(ExpireHistory(app=APP)).events:
        pass
    assert desk.unread() == 4
    assert desk.mark(until_ms=1)  # nothing is left behind it
    assert desk.unread() == 0


def test_what_is_gone_cannot_make_more_unread(desk: Readers) -> None:
    desk.say("ann")
    own = desk.say("bob")
    desk.say("cy")
    assert desk.unread() == 2
    desk.run(DeleteMessage(app=APP, id=own, by="bob"))
    first_ms = desk.clock.wall_ms - 2_000
    assert desk.mark(until_ms=first_ms)
    assert desk.unread() == 1
    assert desk.row() == UnreadRow("group", "g", read=2)


def test_one_s_own_that_is_gone_does_not_count_for_others(desk: Readers) -> None:
    """A mark in front of it finds no row that says whose it was; then it takes as many for one's own as there must be."""
    early_ms = desk.clock.wall_ms + 500
    desk.say("ann")
    own = [desk.say("bob") for _ in range(2)]
    assert desk.unread() == 1
    desk.run(DeleteMessage(app=APP, id=own[0], by="bob"))
    assert not desk.mark(until_ms=early_ms)
    assert desk.mark(until_ms=early_ms + 500)
    assert (desk.unread(), desk.row()) == (0, UnreadRow("group", "g", read=2, own=1))


def test_all_conversations_together(desk: Readers) -> None:
    desk.run(CreateConversation(app=APP, conversation=H, members=("bob", "cy")))
    desk.say("ann")
    desk.say("cy", to=H)
    desk.say("bob", to=H)
    desk.name("bob", "eve")
    assert desk.each(None) == [0, 3, 2, 0]
    assert desk.unread("eve", None) == 1
    assert desk.unread("nobody", None) == 0
    desk.mark(of=H)
    assert desk.each(None) == [0, 2, 2, 0]


def test_many_conversations_slice_by_slice(desk: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SLICE", 2)
    for number in range(5):
        to = group(f"{number}")
        desk.run(CreateConversation(app=APP, conversation=to, members=("bob", "dan")))
        desk.say("ann", to=to)
        if number % 2:
            desk.mark("dan", of=to)
        desk.name("dan", "eve")
    assert [desk.unread(user, None) for user in ("bob", "dan", "eve")] == [5, 3 + 5, 5]


def test_conversations_that_there_are_not(desk: Readers) -> None:
    with pytest.raises(UnknownConversation):
        desk.unread(of=H)
    with pytest.raises(UnknownConversation):
        desk.mark(of=H)


@pytest.mark.parametrize("of", [peer("ann"), room("r"), Conversation("group", "g", 1), group("")])
def test_what_has_no_unread(desk: Readers, of: Conversation) -> None:
    for refused in (desk.mark, desk.unread):
        with pytest.raises(InvalidCommand, match="conversation"):
            refused(of=of)


@pytest.mark.parametrize("until_ms", [-1, 1 << 63])
def test_times_that_cannot_be(desk: Readers, until_ms: int) -> None:
    with pytest.raises(InvalidCommand, match="until_ms"):
        desk.mark(until_ms=until_ms)


def test_names_that_cannot_be(desk: Readers) -> None:
    for refused in (desk.mark, desk.unread):
        with pytest.raises(InvalidCommand, match="user"):
            refused("")


# By name.


def test_what_is_sent_by_name_is_unread_for_those_alone(desk: Readers) -> None:
    desk.name("bob", "cy")
    desk.name("bob", "desk")  # its own sender has read it
    assert desk.each(S) == [0, 2, 1, 0]
    assert desk.unread("desk", S) == 0
    assert desk.row(of=S) == UnreadRow("service", "s", extra=2, guest=True)
    assert desk.rows(b"W") == 2
    assert desk.read(lambda snapshot: sorted(snapshot.views.guests(snapshot.views.conversation(APP, S).number))) == [
        "bob",
        "cy",
    ]


def test_a_guest_who_has_read_everything_is_forgotten(desk: Readers) -> None:
    desk.name("bob")
    first_ms = desk.clock.wall_ms
    desk.name("cy")
    desk.name("bob")
    assert desk.mark(of=S, until_ms=first_ms)
    assert desk.unread(of=S) == 1
    assert not desk.mark(of=S, until_ms=0)
    assert desk.mark(of=S)
    assert (desk.unread(of=S), desk.row(of=S)) == (0, None)
    assert not desk.mark(of=S)
    assert desk.rows(b"W") == 1


def test_what_is_unread_by_name_stays_so_when_somebody_subscribes(desk: Readers) -> None:
    desk.name("ann", "bob")
    desk.run(AddMembers(app=APP, conversation=S, users=("bob",)))
    assert desk.row(of=S) == UnreadRow("service", "s", extra=1)
    assert desk.rows(b"W") == 1
    desk.name("bob", "cy")
    assert desk.each(S) == [1, 2, 1, 0]
    assert desk.mark(of=S)
    assert desk.row(of=S) == UnreadRow("service", "s")
    desk.run(RemoveMembers(app=APP, conversation=S, users=("bob",)))
    assert desk.row(of=S) is None


def test_subscribers_of_a_service_have_what_was_sent_since(desk: Readers) -> None:
    """A message to all of them is one for each, and none for who was sent something by name."""
    desk.run(AddMembers(app=APP, conversation=S, users=("ann", "bob")))
    desk.say("desk", to=S)
    desk.run(AddMembers(app=APP, conversation=S, users=("cy",)))
    desk.name("bob", "dan")
    desk.say("ann", to=S)
    first_ms = desk.clock.wall_ms
    desk.say("desk", to=S, queue=False)
    desk.say("desk", to=S, queue=False, history=False)
    assert desk.each(S) == desk.each(None) == [2, 4, 2, 1]
    assert desk.mark(of=S, until_ms=first_ms)
    assert desk.row(of=S) == UnreadRow("service", "s", read=2)
    assert desk.mark("ann", of=S)
    assert desk.each(S) == [0, 1, 2, 1]


def test_a_group_so_large_that_it_has_a_stream(desk: Readers) -> None:
    users = tuple(f"u{number}" for number in range(GROUP_COPIES_MAX))
    desk.run(AddMembers(app=APP, conversation=G, users=users))
    desk.say("u1")
    desk.say("ann")
    assert [desk.unread(user) for user in ("ann", "bob", "u1", "u2")] == [1, 2, 1, 2]
    assert desk.mark()
    assert desk.unread() == 0


def test_too_much_to_look_at_is_refused(desk: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "READ_ROWS_MAX", 3)
    desk.say("ann")
    early_ms = desk.clock.wall_ms
    for _ in range(4):
        desk.say("bob")
    with pytest.raises(InvalidCommand, match="more than 3 messages"):
        desk.mark(until_ms=early_ms)
    assert desk.unread() == 1
    assert desk.mark(until_ms=early_ms + 1_000)
    assert desk.row() == UnreadRow("group", "g", read=2, own=3)


def test_what_lies_far_ahead_costs_a_mark_nothing(desk: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first counted message behind the time says it all, as long as none of the user's own may follow."""
    monkeypatch.setattr(marks, "READ_ROWS_MAX", 1)
    times = []
    for _ in range(4):
        desk.say("ann")
        times.append(desk.clock.wall_ms)
    for left, until_ms in zip((3, 2, 1, 0), times, strict=True):
        assert desk.mark(until_ms=until_ms)
        assert desk.unread() == left


def test_marks_need_no_order(desk: Readers) -> None:
    """Whatever comes in between, the last of the marks decides."""
    times = []
    for sender in ("ann", "bob", "cy", "bob", "ann", "cy"):
        desk.say(sender)
        times.append(desk.clock.wall_ms)
    direct = {time_ms: _after(desk, [time_ms]) for time_ms in times}
    for earlier, later in itertools.combinations(times, 2):
        assert _after(desk, [earlier, later]) == _after(desk, [later, earlier]) == direct[later]


def _after(desk: Readers, times: list[int]) -> int:
    """How much is unread with these marks; they are undone."""
    desk.begin()
    for time_ms in times:
        desk.mark(until_ms=time_ms)
    assert desk._batch is not None
    views = desk._batch.views
    row = views.conversation(APP, G)
    assert row is not None
    count = unread.unread(views, APP, "bob", row.number)
    desk.abort()
    return count
