"""Conversations deleted: at once for whoever looks, and from the store in steps that account for every copy."""

from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    AddMembers,
    BanUsers,
    BlockConversation,
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    ExpireHistory,
    ExpireSilences,
    Join,
    Leave,
    MuteConversation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    SetRole,
    SilenceUsers,
    SweepConversation,
    UpdateConversation,
)
from postroom.core.domain import Decision, Entered
from postroom.core.domain.stream_reading import opened
from postroom.core.errors import (
    ConversationExists,
    InvalidCommand,
    Overloaded,
    Refusal,
    UnknownConversation,
    UnknownMessage,
)
from postroom.core.events import AnyEvent, ConversationCreated, RoomJoined, RoomLeft
from postroom.core.events.deletion import ConversationDeleted, ConversationSwept, CopiesWithdrawn
from postroom.core.ids import MessageId, Position, UnixMs
from postroom.core.limits import (
    DEDUP_EXPIRED_MAX,
    DELETED_LEAVES_MAX,
    GROUP_COPIES_MAX,
    HISTORY_COPIES_MAX,
    HISTORY_EXPIRED_MAX,
)
from postroom.core.model import Conversation, group, peer, room, service
from postroom.core.queries import FindBlocked, FindMessages, FindSubscriptions
from postroom.core.runtime.reading import read_page
from postroom.core.search import Search, lists
from postroom.core.search.subscriptions import subscriptions
from postroom.storage.checking.conversations import ConversationCheck
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import LIVE
from postroom.storage.views import StoredViews
from tests.support.desk import APP, Desk, Terms
from tests.support.rows import engine_of, rows, values

G, R = group("g"), room("r")


class House(Desk):
    """A desk with the group `g` of ann, bob and cy, and with the room `r`, which nobody used."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(**rules)
        attributes = b'{"name":"g","tags":["a","b"]}'
        self.run(
            CreateConversation(
                app=APP, conversation=G, attributes=attributes, members=("ann", "bob", "cy"), unique=True
            )
        )
        self.run(MuteConversation(app=APP, conversation=G, users=("bob", "eve")))
        self.run(CreateConversation(app=APP, conversation=R))

    def say(self, text: str = "hi", to: Conversation = G) -> MessageId:
        queue = to.kind != "room"
        command = SendMessage(app=APP, sender="ann", to=to, body=text.encode(), queue=queue, history=True)
        return self.receipt(self.run(command)).id

    def doom(self, conversation: Conversation = G) -> tuple[AnyEvent, ...]:
        command = DeleteConversation(app=APP, conversation=conversation, by="eve")
        check(command)
        return self.run(command).events

    def clear(self, conversation: Conversation = G, limit: int = 1_000) -> tuple[AnyEvent, ...]:
        """One step."""
        command = SweepConversation(app=APP, conversation=conversation, limit=limit, unblocked=True)
        return self.run(command).events

    def clear_all(self, conversation: Conversation = G) -> list[AnyEvent]:
        """Every step."""
        every: list[AnyEvent] = []
        while events := self.clear(conversation):
            every += events
        return every

    def letters(self) -> set[bytes]:
        """Of the rows there are."""
        return self.read(lambda snapshot: {key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0]})

    def holds(self, text: bytes) -> bool:
        """Whether any table has it."""
        return self.read(lambda snapshot: any(text in value for value in values(engine_of(snapshot))))

    def problems(self) -> list[Problem]:
        """What the check of records says."""
        told: list[Problem] = []

        def look(snapshot: Any) -> None:
            engine = engine_of(snapshot)
            list(ConversationCheck(engine, StoredViews(engine, LIVE), Problems(told.append)).run())

        self.read(look)
        return told

    def waits(self, user: str) -> int:
        """What a session that opens now is given."""
        clock = self.clock.expiry_ms

        def read(snapshot: Any) -> int:
            login, _ = opened(snapshot.views, APP, user, snapshot.views.position, clock, self.rules)
            return len(read_page(snapshot, APP, user, Position(0), clock, login, self.clock.wall_ms).deliveries)

        return self.read(read)

    def found(self, query: FindMessages) -> list[MessageId]:
        """What a query finds."""

        def read(snapshot: Any) -> list[MessageId]:
            search = Search(query, snapshot.views.position, UnixMs(-1))
            assert not search.go_on(snapshot.views)
            return search.ids

        return self.read(read)

    def members(self) -> list[str]:
        return self.read(lambda snapshot: sorted(snapshot.views.members(APP, "r")))


@pytest.fixture
def house() -> House:
    return House()


def test_nothing_finds_it_any_more(house: House) -> None:
    decision = house.run(DeleteConversation(app=APP, conversation=G, by="eve"))
    receipt = house.receipt(decision)
    assert decision.events == (ConversationDeleted(app=APP, conversation=G, at_ms=receipt.at_ms, by="eve"),)
    assert receipt.conversation == G
    house.doom(R)
    assert house.letters().isdisjoint({b"o", b"n", b"y", b"U"})

    def deleted(snapshot: Any) -> tuple[list[Conversation], list[bool]]:
        views = snapshot.views
        names = [G, R, group("r"), room("g")]
        return list(views.deleted_conversations(APP)), [views.is_deleted(APP, name) for name in names]

    found, each = house.read(deleted)
    assert set(found) == {G, R}
    assert each == [True, True, False, False]


def test_what_has_to_do_with_a_deleted_group_is_refused(house: House) -> None:
    id = house.say()
    house.doom()
    unknown: list[tuple[Any, type[Refusal]]] = [
        (SendMessage(app=APP, sender="ann", to=G, body=b"hi"), UnknownConversation),
        (UpdateConversation(app=APP, conversation=G, operations=()), UnknownConversation),
        (AddMembers(app=APP, conversation=G, users=("dan",)), UnknownConversation),
        (DeleteConversation(app=APP, conversation=G, by="eve"), UnknownConversation),
        (CreateConversation(app=APP, conversation=G), ConversationExists),
        (EditMessage(app=APP, id=id, by="ann", body=b"x"), UnknownMessage),
        (RecallMessage(app=APP, id=id, by="ann"), UnknownMessage),
        (DeleteMessage(app=APP, id=id, by="ann"), UnknownMessage),
    ]
    for command, refusal in unknown:
        with pytest.raises(refusal):
            house.run(command)
    house.clear_all()
    for command, refusal in unknown:
        if refusal is not ConversationExists:
            with pytest.raises(refusal):
                house.run(command)
    assert isinstance(house.run(CreateConversation(app=APP, conversation=G)).events[0], ConversationCreated)


def test_the_one_group_of_its_members_is_not_found(house: House) -> None:
    house.doom()
    create = CreateConversation(app=APP, conversation=group("h"), members=("cy", "bob", "ann"), unique=True)
    assert house.receipt(house.run(create)).conversation == group("h")


def test_it_is_swept_with_all_its_copies(house: House) -> None:
    edited, recalled = house.say("<one>"), house.say("<two>")
    house.login("bob")
    house.run(EditMessage(app=APP, id=edited, by="ann", body=b"<three>"))  # bob is online: an entry of its own
    house.run(RecallMessage(app=APP, id=recalled, by="ann"))
    house.say("<four>")
    house.ack(edited, "cy")
    house.send("<mail>", "bob")
    house.doom()
    assert house.terms("bob").queued == 6
    events = house.clear()
    assert [type(event) for event in events] == [CopiesWithdrawn] * 3 + [ConversationSwept]
    end = events[-1]
    assert isinstance(end, ConversationSwept)
    assert (end.what, end.count) == ("messages", 3)
    assert [event.what for event in house.clear_all() if isinstance(event, ConversationSwept)] == [
        "members",
        "muted",
        "record",
    ]
    assert house.terms("bob") == Terms(accepted=6, acked=0, queued=1, evicted=0, expired=0, withdrawn=5)
    assert house.terms("cy") == Terms(accepted=3, acked=1, queued=0, evicted=0, expired=0, withdrawn=2)
    assert not any(house.holds(text) for text in (b"<one>", b"<two>", b"<three>", b"<four>"))
    assert house.holds(b"<mail>")
    assert house.letters().isdisjoint({b"m", b"k", b"h", b"t", b"X", b"b", b"l", b"v", b"N"})
    assert len(house.body_places()) == 1
    assert house.clear() == ()


def test_word_of_a_deletion_before_stays_in_the_queue(house: House) -> None:
    house.login("bob")
    id = house.say()
    house.run(DeleteMessage(app=APP, id=id, by="ann"))
    house.doom()
    house.clear_all()
    assert [shown.type for shown in house.shown("bob")] == ["deleted"]


@pytest.mark.parametrize("limit", [1, 3, 30, 1_000])
def test_steps_are_as_large_as_they_may_be(house: House, limit: int) -> None:
    count = 2 * HISTORY_EXPIRED_MAX + 3
    for number in range(count):
        house.say(str(number))
    house.doom()
    swept: list[ConversationSwept] = []
    steps = 0
    while events := house.clear(limit=limit):
        step = [event for event in events if isinstance(event, ConversationSwept) and event.what == "messages"]
        if not step:
            break
        steps += 1
        assert sum(event.count for event in step) == min(limit, count - sum(event.count for event in swept))
        swept += step
    assert steps == -(-count // limit)
    assert max(event.count for event in swept) <= HISTORY_EXPIRED_MAX


def test_a_step_ends_with_so_many_recipients(house: House) -> None:
    users = tuple(f"u{number}" for number in range(GROUP_COPIES_MAX))
    house.run(CreateConversation(app=APP, conversation=group("crowd"), members=users))
    for _ in range(30):
        house.say(to=group("crowd"))
    house.doom(group("crowd"))
    events = house.clear(group("crowd"))
    copies = [event for event in events if isinstance(event, CopiesWithdrawn)]
    assert max(len(event.copies) for event in copies) == HISTORY_EXPIRED_MAX
    withdrawn = sum(len(event.copies) for event in copies)
    assert HISTORY_COPIES_MAX < withdrawn <= HISTORY_COPIES_MAX + GROUP_COPIES_MAX
    assert isinstance(events[-1], ConversationSwept)
    house.clear_all(group("crowd"))
    assert house.terms("u7").withdrawn == 30


def test_a_room_that_nobody_used_is_swept_in_one_event(house: House) -> None:
    house.doom(R)
    assert house.clear(R) == (ConversationSwept(app=APP, conversation=R, what="record"),)
    assert house.clear(R) == ()


def test_a_service_is_deleted_like_any_other(house: House) -> None:
    s = service("s")
    house.run(CreateConversation(app=APP, conversation=s, attributes=b'{"a":1}'))
    house.run(BanUsers(app=APP, conversation=s, users=("bob",)))
    house.doom(s)
    with pytest.raises(UnknownConversation):
        house.run(BanUsers(app=APP, conversation=s, users=("cy",)))
    assert [event.what for event in house.clear_all(s) if isinstance(event, ConversationSwept)] == ["banned", "record"]
    house.run(CreateConversation(app=APP, conversation=s))


def test_a_service_goes_with_its_stream_and_its_subscribers(house: House) -> None:
    """And word of a message that was deleted before."""
    s, users = service("s"), tuple(f"u{number}" for number in range(70))
    house.run(CreateConversation(app=APP, conversation=s))
    house.run(AddMembers(app=APP, conversation=s, users=users))
    edited, recalled, gone, _ = (house.say(text, s) for text in ("<one>", "<two>", "<three>", "<four>"))
    house.run(EditMessage(app=APP, id=edited, by="ann", body=b"<five>"))
    house.run(RecallMessage(app=APP, id=recalled, by="ann"))
    house.run(DeleteMessage(app=APP, id=gone, by="ann"))
    house.run(RemoveMembers(app=APP, conversation=s, users=("u3",)))
    assert [house.waits(user) for user in ("u3", "u4", "ann")] == [3, 3, 0]
    assert house.login("u4").queued == 3
    house.doom(s)
    assert [house.waits(user) for user in ("u3", "u4")] == [0, 0]
    assert house.login("u5").queued == 0
    found = FindSubscriptions(app=APP, user="u4", limit=10)
    assert house.read(lambda snapshot: subscriptions(found, snapshot.views)) == ()
    with pytest.raises(UnknownConversation):
        house.say("<no>", s)
    whats: list[str] = []
    while events := house.clear(s, limit=40):
        whats += [event.what for event in events if isinstance(event, ConversationSwept)]
        assert house.problems() == []
    assert whats == ["messages", "notices", "members", "members", "record"]
    assert not any(house.holds(b"<%s>" % text) for text in (b"one", b"two", b"three", b"four", b"five"))
    assert house.letters().isdisjoint({b"X", b"P", b"N", b"T", b"h", b"t", b"m"})
    assert house.body_places() == []
    house.run(CreateConversation(app=APP, conversation=s))
    house.run(AddMembers(app=APP, conversation=s, users=("u4",)))
    house.say("<anew>", s)
    assert [house.waits(user) for user in ("u3", "u4", "u5")] == [0, 1, 0]
    house.clock.run(181 * 86_400_000)
    while house.run(ExpireHistory(app=APP)).events:
        pass
    assert house.problems() == []
    assert house.body_places() == []


def test_a_stream_that_age_shortens_while_it_is_swept(house: House) -> None:
    s = service("s")
    house.run(CreateConversation(app=APP, conversation=s))
    house.run(AddMembers(app=APP, conversation=s, users=("bob",)))
    for _ in range(3):
        house.run(EditMessage(app=APP, id=house.say("<old>", s), by="ann", body=b"<new>"))
    house.doom(s)
    house.clear(s, limit=1)
    house.clock.run(181 * 86_400_000)
    house.run(ExpireHistory(app=APP, limit=1))
    assert house.problems() == []
    house.clear_all(s)
    assert house.letters().isdisjoint({b"X", b"T", b"h", b"m"})
    assert house.body_places() == []


def everything_about(house: House, users: tuple[str, ...]) -> None:
    """Lists, silences, roles of the group."""
    house.run(SilenceUsers(app=APP, conversation=G, users=users))
    house.run(SilenceUsers(app=APP, conversation=G, users=users, ttl_ms=60_000))
    house.run(BanUsers(app=APP, conversation=G, users=users))
    for user in users:
        house.run(SetRole(app=APP, conversation=G, user=user, role="owner"))


def test_what_is_known_of_users_goes_too_a_kind_at_a_time(house: House) -> None:
    users = tuple(f"u{number:03}" for number in range(120))
    everything_about(house, users)
    house.doom()
    swept: list[tuple[str, int]] = []
    while events := house.clear(limit=70):
        for event in events:
            assert isinstance(event, ConversationSwept)
            assert event.count <= DEDUP_EXPIRED_MAX
            swept.append((event.what, event.count))
        assert len({event.what for event in events if isinstance(event, ConversationSwept)}) == 1
        assert house.problems() == []
    in_steps = [50, 20, 50]
    assert swept == [
        ("members", 3),
        ("muted", 2),
        *(("silenced", count) for count in in_steps),
        *(("banned", count) for count in in_steps),
        *(("silences", count) for count in in_steps),
        *(("roles", count) for count in in_steps),
        ("record", 0),
    ]
    assert house.letters().isdisjoint({b"X", b"b", b"l", b"v", b"S", b"E", b"R", b"N"})


def test_a_silence_that_is_over_by_then_is_gone_before(house: House) -> None:
    house.run(SilenceUsers(app=APP, conversation=G, users=("bob", "cy"), ttl_ms=60_000))
    house.doom()
    house.clock.run(61_000)
    house.run(ExpireSilences(limit=1))
    assert [event.count for event in house.clear_all() if isinstance(event, ConversationSwept)] == [3, 2, 1, 0]
    assert house.run(ExpireSilences()).events == ()


def test_its_name_is_free_when_nobody_blocks_it(house: House) -> None:
    """Who does is found by others, since blocks lie by user."""
    for user in ("bob", "cy", "dan"):
        house.run(BlockConversation(app=APP, conversation=G, user=user))
    house.run(BlockConversation(app=APP, conversation=R, user="bob"))
    house.doom()
    while house.run(SweepConversation(app=APP, conversation=G)).events:
        pass
    assert house.problems() == []
    with pytest.raises(ConversationExists):
        house.run(CreateConversation(app=APP, conversation=G))
    found = house.read(lambda snapshot: [each[1:] for each in snapshot.views.blocks()])
    assert {(user, named[1]) for _, user, named in found} == {("bob", G), ("bob", R), ("cy", G), ("dan", G)}
    sweep = SweepConversation(app=APP, conversation=G, blockers=("bob", "eve", "dan", "bob"))
    assert house.run(sweep).events == (
        ConversationSwept(app=APP, conversation=G, what="blocks", count=2, users=("bob", "dan")),
    )
    assert house.run(sweep).events == ()
    house.run(SweepConversation(app=APP, conversation=G, blockers=("cy",)))
    house.clear_all()
    assert house.problems() == []
    assert len(house.read(lambda snapshot: list(snapshot.views.blocks()))) == 1
    house.run(CreateConversation(app=APP, conversation=G))


def test_nobody_is_told_that_they_block_it(house: House) -> None:
    for conversation in (G, R):
        house.run(BlockConversation(app=APP, conversation=conversation, user="bob"))
    house.doom()
    query = FindBlocked(app=APP, user="bob")
    assert house.read(lambda snapshot: lists.blocked(query, snapshot.views)).conversations == (R,)


def test_a_name_that_is_used_again_has_nothing_of_before(house: House) -> None:
    house.say("<before>")
    everything_about(house, ("bob",))
    house.doom()
    house.clear_all()
    house.run(CreateConversation(app=APP, conversation=G, members=("bob",)))
    house.say("<after>")
    assert [shown.payload for shown in house.shown("bob")] == ["<after>"]
    assert house.shown("cy") == []
    timeline = house.read(lambda snapshot: len(list(snapshot.views.timeline(APP, G, None))))
    assert timeline == 1
    row = house.read(lambda snapshot: snapshot.views.conversation(APP, G))
    assert row is not None
    assert (row.members, row.silenced, row.banned, row.roles, row.owners) == (1, 0, 0, 0, 0)
    house.run(SendMessage(app=APP, sender="bob", to=G, body=b"hi", speaks=True))


def test_whoever_is_in_a_room_leaves_it(house: House) -> None:
    sessions = {user: house.login(user).session for user in ("bob", "cy")}
    for user, session in sessions.items():
        house.run(Join(app=APP, user=user, session=session, room="r"))
    house.say("<said>", R)
    events = house.doom(R)
    assert sorted(event.user for event in events if isinstance(event, RoomLeft)) == ["bob", "cy"]
    assert house.members() == []
    with pytest.raises(Overloaded) as met:
        house.run(Join(app=APP, user="bob", session=sessions["bob"], room="r"))
    assert met.value.retry_after_ms is not None
    with pytest.raises(Overloaded):
        house.say("<no>", R)
    assert house.run(Leave(app=APP, user="bob", session=sessions["bob"], room="r")).events == ()
    house.clear_all(R)
    assert not house.holds(b"<said>")
    decision = house.run(Join(app=APP, user="bob", session=sessions["bob"], room="r"))
    assert [type(event) for event in decision.events] == [ConversationCreated, RoomJoined]


def test_who_is_too_many_to_leave_at_once_leaves_later(house: House) -> None:
    count = 2 * DELETED_LEAVES_MAX + 7
    sessions = {}
    for number in range(count):
        user = f"u{number}"
        sessions[user] = house.login(user).session
        house.run(Join(app=APP, user=user, session=sessions[user], room="r"))
    house.say(to=R)
    assert len(house.doom(R)) == 1 + DELETED_LEAVES_MAX
    left = house.members()
    assert len(left) == DELETED_LEAVES_MAX + 7
    with pytest.raises(Overloaded):  # they are not in it any more, as far as they can tell
        house.run(Join(app=APP, user=left[0], session=sessions[left[0]], room="r"))
    assert len(house.run(Leave(app=APP, user=left[0], session=sessions[left[0]], room="r")).events) == 1
    steps = []
    while events := house.clear(R):
        steps.append(len(events))
    assert steps == [DELETED_LEAVES_MAX, 6, 1, 1]
    assert house.members() == []


def test_a_join_is_answered_while_its_room_is_there(house: House) -> None:
    session = house.login("bob").session
    join = Join(app=APP, user="bob", session=session, room="r")
    house.run(join)
    again: Decision = house.run(join)
    assert isinstance(again.result, Entered)


@pytest.mark.parametrize("conversation", [peer("bob"), Conversation("group", "g", 1), group("")])
def test_what_cannot_be_deleted(conversation: Conversation) -> None:
    with pytest.raises(InvalidCommand):
        check(DeleteConversation(app=APP, conversation=conversation, by="eve"))


def test_somebody_deletes_it() -> None:
    with pytest.raises(InvalidCommand, match="by"):
        check(DeleteConversation(app=APP, conversation=G, by=""))


def test_messages_by_name_and_copies_go_too(house: House) -> None:
    s = service("s")
    house.run(CreateConversation(app=APP, conversation=s))
    house.run(AddMembers(app=APP, conversation=s, users=("bob", "cy")))
    to_all = house.say("<all>", s)
    named = SendMessage(
        app=APP, sender="ann", to=s, body=b"<named>", queue=True, history=True, recipients=("bob", "cy", "dan")
    )
    by_name = house.receipt(house.run(named)).id
    house.login("bob")
    for id in (to_all, by_name):
        house.run(EditMessage(app=APP, id=id, by="ann", body=b"<bob's>", recipients=("bob",)))
        house.run(RecallMessage(app=APP, id=id, by="ann", recipients=("cy",)))
    assert [house.waits(user) for user in ("bob", "cy", "dan")] == [4, 2, 1]
    found = FindMessages(app=APP, conversations=(s,), recipient="bob")
    assert len(house.found(found)) == 2
    house.doom(s)
    assert house.found(found) == []
    assert [house.waits(user) for user in ("bob", "cy", "dan")] == [0, 0, 0]
    house.clear_all(s)
    assert not any(house.holds(text) for text in (b"<all>", b"<named>", b"<bob's>"))
    assert house.letters().isdisjoint({b"X", b"T", b"C", b"O", b"h", b"t", b"m", b"k"})
    assert house.body_places() == []
    assert house.terms("bob").queued == 0
    assert house.problems() == []
