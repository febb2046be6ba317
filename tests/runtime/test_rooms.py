"""Rooms in a whole broker: who gets what, what a join replays, and what becomes of it when something is slow or cut short."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from postroom.core import Broker, BrokerThread, Joined, Options, Receipt, SendMessage, Session, open_broker, peer, room
from postroom.core.commands import DeleteMessage, EditMessage, RecallMessage
from postroom.core.domain import rooms as rooms_of_domain
from postroom.core.errors import InvalidCommand, SessionEnded, StorageFailure, TooManyRooms, UnknownMessage
from postroom.core.events import (
    ConversationCreated,
    EpochStarted,
    LoggedIn,
    LoggedOut,
    MessageSent,
    RoomJoined,
    RoomLeft,
)
from postroom.core.ids import MessageId
from postroom.core.limits import PAGE_BYTES
from postroom.core.model import Rules
from postroom.core.queries import FindMembers
from postroom.core.runtime import reading
from postroom.storage import room_views
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from tests.support.faulty import FaultyStore
from tests.support.machine import START_MS
from tests.support.office import (
    APP,
    Commits,
    HandClock,
    Replays,
    Tray,
    assert_sound,
    events,
    open_office,
    send,
    settle_down,
    take,
    texts,
    until,
)

LONG = 20
"""Seconds after which a future that never ends is a failed test."""


class Joining:
    """A join in a task of its own."""

    def __init__(self, session: Session, since: int | None, name: str = "den") -> None:
        self._session = session
        self._since = None if since is None else MessageId(since)
        self._name = name
        self.scope = trio.CancelScope()
        self.joined: Joined | None = None
        self.error: Exception | None = None

    async def run(self) -> None:
        with self.scope:
            try:
                self.joined = await self._session.join(self._name, self._since)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.error = error


def speech(text: str, name: str = "den", **fields: Any) -> SendMessage:
    """A message to a room, kept unless said otherwise."""
    defaults = {"app": APP, "sender": "alice", "to": room(name), "body": text.encode(), "history": True}
    return SendMessage(**{**defaults, **fields})


async def say(broker: Broker, text: str, name: str = "den", **fields: Any) -> Receipt:
    """Submit one."""
    return await broker.submit(speech(text, name, **fields))


def connect(broker: Broker, user: str, tray: Tray | None = None, app: str = APP) -> Any:
    """A session."""
    return broker.connect(app=app, user=user, sink=tray)


@asynccontextmanager
async def member(
    broker: Broker, user: str, tray: Tray | None = None, name: str = "den", app: str = APP
) -> AsyncIterator[Session]:
    """A session of somebody who is in a room."""
    async with connect(broker, user, tray, app) as session:
        await session.join(name)
        yield session


def members(store: Any, name: str = "den", app: str = APP) -> set[str]:
    """Who is in a room, as far as the store knows."""
    with store.snapshot() as snapshot:
        return set(snapshot.views.members(app, name))


def held_back(session: Session) -> int:
    """Conversations whose frames wait for a replay."""
    return len(session._buffer._held_back)


async def replayed(broker: Broker, since: int, user: str = "bob", name: str = "den") -> tuple[list[str], bool | None]:
    """What somebody who comes back is given, and whether it is all."""
    tray = Tray()
    async with connect(broker, user, tray) as session:
        joined = await session.join(name, MessageId(since))
        return tray.texts(), joined.recovered


# Who gets what.


async def test_a_message_reaches_all_sessions_of_all_members_but_the_senders() -> None:
    async with open_office() as (broker, store), AsyncExitStack() as stack:
        trays = {name: Tray() for name in ("alice", "alice 2", "bob", "bob 2", "cy", "dan", "elsewhere")}
        alice = await stack.enter_async_context(member(broker, "alice", trays["alice"]))
        await stack.enter_async_context(connect(broker, "alice", trays["alice 2"]))
        await stack.enter_async_context(member(broker, "bob", trays["bob"]))
        await stack.enter_async_context(connect(broker, "bob", trays["bob 2"]))
        await stack.enter_async_context(member(broker, "cy", trays["cy"]))
        await stack.enter_async_context(member(broker, "dan", trays["dan"], "attic"))
        await stack.enter_async_context(member(broker, "bob", trays["elsewhere"], app="other"))
        receipt = await say(broker, "hi")
        await say(broker, "typing", history=False)
        assert {name: tray.texts() for name, tray in trays.items()} == {
            name: ["hi", "typing"] if name in ("bob", "bob 2", "cy") else [] for name in trays
        }
        frame = trays["bob"].frames[0]
        assert (frame.type, frame.id, frame.conversation, frame.sender) == ("message", receipt.id, room("den"), "alice")
        assert (frame.queued, frame.seq, frame.at_ms) == (False, None, receipt.at_ms)
        assert trays["cy"].frames[0] is frame, "a transport encodes it once"
        await alice.leave("den")
        await say(broker, "from outside")
        assert trays["bob"].texts()[2:] == ["from outside"]
        assert members(store) == {"bob", "cy"}


async def test_a_room_is_no_user() -> None:
    """Nor is a user a room of the same name."""
    async with open_office() as (broker, _):
        trays = Tray(), Tray()
        async with member(broker, "bob", trays[0], "cy"), connect(broker, "cy", trays[1]):
            await say(broker, "to the room", "cy")
            await send(broker, "to the user", "cy")
            assert [tray.texts() for tray in trays] == [["to the room"], ["to the user"]]


async def test_directed_messages_reach_those_of_them_who_are_there() -> None:
    async with open_office() as (broker, store), AsyncExitStack() as stack:
        trays = {name: Tray() for name in ("alice", "bob", "cy", "dan")}
        for name, tray in trays.items():
            enter = connect if name == "dan" else member
            await stack.enter_async_context(enter(broker, name, tray))
        for recipients in (("cy",), ("cy", "cy", "dan", "nobody", "alice"), ("nobody",)):
            await say(broker, f"for {recipients[0]}", history=False, recipients=recipients)
        assert {name: tray.texts() for name, tray in trays.items()} == {
            name: ["for cy", "for cy"] if name == "cy" else [] for name in trays
        }
        with pytest.raises(InvalidCommand, match="recipients"):
            await say(broker, "kept", recipients=("cy",))
        with pytest.raises(InvalidCommand, match="recipients"):
            await send(broker, "peer", "cy", recipients=("cy",))
        assert sum(isinstance(event, MessageSent) for event in events(store)) == 3


async def test_what_becomes_of_a_message_is_told_to_all_who_are_there_now() -> None:
    async with open_office() as (broker, _), AsyncExitStack() as stack:
        alice, bob, late = Tray(), Tray(), Tray()
        await stack.enter_async_context(member(broker, "alice", alice))
        session = await stack.enter_async_context(member(broker, "bob", bob))
        ids = [(await say(broker, text)).id for text in ("one", "two", "three")]
        await stack.enter_async_context(member(broker, "cy", late))
        await broker.submit(EditMessage(app=APP, id=ids[0], by="mod", body=b"ONE"))
        await broker.submit(RecallMessage(app=APP, id=ids[1], by="mod"))
        await broker.submit(DeleteMessage(app=APP, id=ids[2], by="mod"))
        changes = [("edited", ids[0], b"ONE", "mod"), ("recalled", ids[1], b"", "mod"), ("deleted", ids[2], b"", "mod")]
        for tray, before in ((alice, 0), (bob, 3), (late, 0)):
            assert [(frame.type, frame.id, frame.body, frame.by) for frame in tray.frames[before:]] == changes
            assert all(frame.conversation == room("den") and not frame.queued for frame in tray.frames)
        await session.leave("den")
        await broker.submit(EditMessage(app=APP, id=ids[0], by="mod", body=b"1"))
        assert len(bob.frames) == 6
        with pytest.raises(UnknownMessage):
            await broker.submit(EditMessage(app=APP, id=ids[2], by="mod", body=b"3"))


async def test_a_message_that_is_not_kept_cannot_be_changed() -> None:
    async with open_office() as (broker, _), member(broker, "bob", Tray()):
        receipt = await say(broker, "typing", history=False)
        for change in (DeleteMessage, RecallMessage):
            with pytest.raises(UnknownMessage):
                await broker.submit(change(app=APP, id=receipt.id, by="alice"))


async def test_a_retry_is_told_nobody() -> None:
    async with open_office() as (broker, store):
        tray = Tray()
        async with member(broker, "bob", tray):
            first = await say(broker, "once", dedup="k")
            again = await say(broker, "once", dedup="k")
            assert (again.id, again.duplicate) == (first.id, True)
            assert tray.texts() == ["once"]
        assert sum(isinstance(event, MessageSent) for event in events(store)) == 1


async def test_rooms_never_queue() -> None:
    async with open_office() as (broker, store):
        for fields in ({"queue": True}, {"wait_ack_ms": 1_000}):
            with pytest.raises(InvalidCommand):
                await say(broker, "hi", **fields)
        assert not any(isinstance(event, MessageSent) for event in events(store))


# Membership.


async def test_membership_is_the_users_and_ends_with_the_last_session() -> None:
    async with open_office() as (broker, store):
        first, second = Tray(), Tray()
        async with connect(broker, "bob", first) as one:
            async with member(broker, "bob", second):
                await say(broker, "both")
            await say(broker, "the one that did not join")
            assert (first.texts(), second.texts()) == (["both", "the one that did not join"], ["both"])
            assert members(store) == {"bob"}
            await one.leave("den")
            await say(broker, "nobody")
            await one.join("den")
            assert members(store) == {"bob"}
        assert members(store) == set()
        assert broker.statistics().rooms == 0
        third = Tray()
        async with connect(broker, "bob", third):
            await say(broker, "not a member any more")
        assert third.frames == []
        kinds = [event for event in events(store) if isinstance(event, RoomJoined | RoomLeft | LoggedOut)]
        assert [type(event) for event in kinds[-4:]] == [RoomJoined, RoomLeft, LoggedOut, LoggedOut]
        assert [event.last for event in kinds if isinstance(event, LoggedOut)] == [False, True, True]


async def test_leaving_stops_what_is_sent_later() -> None:
    async with open_office() as (broker, _):
        tray, other = Tray(), Tray()
        async with member(broker, "bob", tray) as session, member(broker, "cy", other):
            await say(broker, "before")
            await session.leave("den")
            await say(broker, "after")
            await session.leave("den")
            assert tray.texts() == ["before"]
            assert other.texts() == ["before", "after"]


async def test_what_happens_twice_is_written_once() -> None:
    async with open_office() as (broker, store), connect(broker, "bob", Tray()) as session:
        joined = [await session.join("den") for _ in range(2)]
        assert joined[0].through <= joined[1].through
        assert [one.recovered for one in joined] == [None, None]
        await session.leave("den")
        await session.leave("den")
        await session.leave("attic")
        kinds = [type(event) for event in events(store)]
        assert kinds == [EpochStarted, LoggedIn, ConversationCreated, RoomJoined, RoomLeft]


async def test_members_are_asked_for() -> None:
    async with open_office() as (broker, _), member(broker, "bob", Tray()), member(broker, "cy", Tray()) as cy:
        assert set(await broker.ask(FindMembers(app=APP, room="den"))) == {"bob", "cy"}
        assert await broker.ask(FindMembers(app="other", room="den")) == ()
        assert broker.statistics().rooms == 1
        await cy.leave("den")
        assert await broker.ask(FindMembers(app=APP, room="den")) == ("bob",)


async def test_a_user_is_in_so_many_rooms_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_of_domain, "ROOMS_PER_USER_MAX", 3)
    async with open_office() as (broker, store), connect(broker, "bob", Tray()) as session:
        for name in ("a", "b", "c"):
            await session.join(name)
        for since in (None, MessageId(0)):
            with pytest.raises(TooManyRooms):
                await session.join("d", since)
        assert held_back(session) == 0
        await session.join("a")
        await session.leave("b")
        await session.join("d")
        assert [name for name in "abcd" if members(store, name)] == ["a", "c", "d"]


@pytest.mark.parametrize("name", ["", "x" * 257, "\ud800"])
async def test_a_name_that_is_none(name: str) -> None:
    async with open_office() as (broker, _), connect(broker, "bob", Tray()) as session:
        with pytest.raises(InvalidCommand):
            await session.join(name, MessageId(0))
        with pytest.raises(InvalidCommand):
            await session.leave(name)
        assert held_back(session) == 0


async def test_a_session_that_is_over_enters_nothing() -> None:
    async with open_office() as (broker, store):
        tray = Tray()
        async with connect(broker, "bob", tray) as other:
            async with member(broker, "bob", Tray()) as session:
                pass
            for since in (None, MessageId(0)):
                with pytest.raises(SessionEnded):
                    await session.join("attic", since)
            with pytest.raises(SessionEnded):
                await session.leave("den")
            assert members(store) == {"bob"}, "the other session keeps the user there"
            await say(broker, "hi")
            assert tray.texts() == ["hi"]
            await other.leave("den")
        assert members(store) == members(store, "attic") == set()


async def test_a_closing_broker_empties_its_rooms() -> None:
    store = MemoryStore()
    async with open_office(store) as (broker, _), trio.open_nursery() as nursery:
        for user in ("bob", "cy"):
            for name in ("den", "attic"):
                await nursery.start(_stay, broker, user, name)
        nursery.cancel_scope.cancel()
    assert members(store) == members(store, "attic") == set()
    left = [(event.user, event.room) for event in events(store) if isinstance(event, RoomLeft)]
    assert sorted(left) == [(user, name) for user in ("bob", "cy") for name in ("attic", "den")]


async def _stay(broker: Broker, user: str, name: str, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    async with member(broker, user, Tray(), name):
        task_status.started()
        await trio.sleep_forever()


async def test_a_room_of_ten_thousand_costs_an_event_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever is not in it costs a message nothing: receivers are found without going through others."""
    crowd = [f"user {number}" for number in range(10_000)]
    async with open_office() as (broker, store), AsyncExitStack() as stack:
        trays = {user: Tray() for user in (*crowd[:100], "bob", "cy")}
        for user, tray in trays.items():
            await stack.enter_async_context(member(broker, user, tray, "hall" if user in crowd else "den"))
        index = broker._fanout._rooms
        for user in crowd[100:]:  # their logins would take this test ten seconds
            index.joined(RoomJoined(app=APP, room="hall", user=user, at_ms=START_MS))
        asked = Counter[str]()
        known = broker._fanout._sessions

        class Asked(dict[tuple[str, str], list[Session]]):
            def get(self, key: Any, default: Any = None) -> Any:
                asked[key[1]] += 1
                return super().get(key, default)

            def __iter__(self) -> Any:
                raise AssertionError("nobody looks at everybody")

        def refuse(*_: Any) -> Any:
            raise AssertionError("a message needs no list of members")

        with monkeypatch.context() as watched:
            watched.setattr(broker._fanout, "_sessions", Asked(known))
            watched.setattr(room_views.RoomViews, "members", refuse)
            watched.setattr(room_views.RoomViews, "open_stay", refuse)
            watched.setattr(room_views.RoomViews, "open_stays", refuse)
            before = store.statistics().log_records
            await say(broker, "small", history=False)
            assert asked == {"bob": 1, "cy": 1}
            asked.clear()
            await say(broker, "large", "hall", sender=crowd[1])
            assert asked == {user: 1 for user in crowd if user != crowd[1]}
            asked.clear()
            await say(broker, "some", "hall", history=False, recipients=tuple(crowd[5:8]))
            assert asked == dict.fromkeys(crowd[5:8], 1)
            assert store.statistics().log_records == before + 3
            assert [event.conversation for event in events(store)[-3:] if isinstance(event, MessageSent)] == [
                room("den"),
                room("hall"),
                room("hall"),
            ]
        told = {user: tray.texts() for user, tray in trays.items()}
        assert told.pop("bob") == told.pop("cy") == ["small"]
        assert told.pop(crowd[1]) == []
        assert [told.pop(user) for user in crowd[5:8]] == [["large", "some"]] * 3
        assert list(told.values()) == [["large"]] * 96
        for user in crowd[100:]:
            index.left(RoomLeft(app=APP, room="hall", user=user, at_ms=START_MS))


# What a join replays.


async def test_a_replay_is_what_was_kept_since_in_its_order() -> None:
    async with open_office() as (broker, _):
        tray = Tray()
        first = await say(broker, "known")
        await say(broker, "1")
        await say(broker, "of another room", "attic")
        await send(broker, "of a user", "den", queue=False, history=True)
        await say(broker, "own", sender="bob")
        await say(broker, "2")
        await say(broker, "3", app="other")
        async with connect(broker, "bob", tray) as session:
            joined = await session.join("den", first.id)
            assert joined.recovered is True
            assert tray.texts() == ["1", "2"]
            await say(broker, "live")
            assert tray.texts() == ["1", "2", "live"]
            assert {frame.conversation for frame in tray.frames} == {room("den")}
            assert [frame.type for frame in tray.frames] == ["message"] * 3
            assert all(frame.id <= joined.through for frame in tray.frames[:2])
            assert tray.frames[2].id > joined.through
        assert await replayed(broker, 0) == (["known", "1", "2", "live"], True)
        assert await replayed(broker, tray.frames[2].id) == ([], True)


async def test_only_the_session_that_asks_is_given_a_replay() -> None:
    async with open_office() as (broker, _):
        await say(broker, "1")
        one, other = Tray(), Tray()
        async with connect(broker, "bob", other), connect(broker, "bob", one) as session:
            await session.join("den", MessageId(0))
            await say(broker, "2")
            assert (one.texts(), other.texts()) == (["1", "2"], ["2"])


async def test_a_replay_shows_messages_as_they_are_now() -> None:
    async with open_office() as (broker, _):
        ids = [(await say(broker, text)).id for text in ("one", "two", "three", "four")]
        await broker.submit(EditMessage(app=APP, id=ids[0], by="mod", body=b"ONE"))
        await broker.submit(RecallMessage(app=APP, id=ids[1], by="mod"))
        await broker.submit(DeleteMessage(app=APP, id=ids[2], by="mod"))
        tray = Tray()
        async with connect(broker, "bob", tray) as session:
            joined = await session.join("den", MessageId(0))
            assert joined.recovered is True, "of what was deleted nothing is missing"
            told = [(frame.type, frame.id, frame.body, frame.by) for frame in tray.frames]
            assert told == [
                ("message", ids[0], b"ONE", ""),
                ("recalled", ids[1], b"", "mod"),
                ("message", ids[3], b"four", ""),
            ]


async def test_what_was_not_kept_is_missed() -> None:
    async with open_office() as (broker, _):
        assert await replayed(broker, 0) == ([], True)
        kept = await say(broker, "kept")
        typing = await say(broker, "typing", history=False)
        later = await say(broker, "later")
        assert await replayed(broker, 0) == (["kept", "later"], False)
        assert await replayed(broker, kept.id) == (["later"], False)
        assert await replayed(broker, typing.id) == (["later"], True)
        assert await replayed(broker, later.id) == ([], True)
        await say(broker, "for cy", history=False, recipients=("cy",))
        assert await replayed(broker, later.id) == ([], False), "it may have been for bob, for all that is known"


async def test_a_room_that_lost_something_says_so_after_a_restart() -> None:
    store = MemoryStore()
    async with open_office(store) as (broker, _):
        kept = await say(broker, "kept")
        await say(broker, "typing", history=False)
    async with open_office(store) as (broker, _):
        assert await replayed(broker, kept.id) == ([], False)


@pytest.mark.parametrize("swept", [False, True])
async def test_what_is_past_retention_is_missed(autojump_clock: MockClock, swept: bool) -> None:
    """Swept or not: expiry is a rule of reading."""
    store, clock = MemoryStore(), HandClock()
    how = {"rules": {APP: Rules(history_ttl_ms=10_000)}, "clock": clock}
    async with open_office(store, options=Options(sweep_every_s=60 if swept else 3_600), **how) as (broker, _):
        old = await say(broker, "old")
        await trio.sleep(5)
        new = await say(broker, "new")
        await trio.sleep(6)
        assert await replayed(broker, 0) == (["new"], False)
        assert await replayed(broker, old.id) == (["new"], True)
        await trio.sleep(60)
        with store.snapshot() as snapshot:
            assert len(list(snapshot.views.oldest_kept(APP))) == (0 if swept else 2)
        assert await replayed(broker, old.id) == ([], False)
        assert await replayed(broker, new.id) == ([], True)


async def test_of_more_than_the_limit_the_newest_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RECOVERED_MESSAGES_MAX", 3)
    async with open_office() as (broker, _):
        ids = [(await say(broker, f"{number}")).id for number in range(5)]
        assert await replayed(broker, 0) == (["2", "3", "4"], False)
        assert await replayed(broker, ids[0]) == (["2", "3", "4"], False)
        assert await replayed(broker, ids[1]) == (["2", "3", "4"], True)
        assert await replayed(broker, ids[2]) == (["3", "4"], True)


async def test_of_more_than_half_the_buffer_the_newest_come() -> None:
    async with open_office(options=Options(session_buffer_bytes=PAGE_BYTES)) as (broker, _):
        size = PAGE_BYTES // 8
        ids = [(await say(broker, f"{number}" + "." * size)).id for number in range(5)]
        for since, expected, recovered in ((0, "234", False), (ids[0], "234", False), (ids[1], "234", True)):
            given, complete = await replayed(broker, since)
            assert ("".join(text[0] for text in given), complete) == (expected, recovered)


async def test_what_nobody_was_ever_sent_recovers_nothing() -> None:
    async with open_office() as (broker, _):
        last = await say(broker, "1")
        assert await replayed(broker, last.id + (1 << 40)) == ([], False)
        assert await replayed(broker, -1) == (["1"], False)


async def test_an_id_of_another_room_is_as_good() -> None:
    """Ids are places in one order."""
    async with open_office() as (broker, _):
        await say(broker, "before")
        elsewhere = await say(broker, "elsewhere", "attic")
        await say(broker, "after")
        assert await replayed(broker, elsewhere.id) == (["after"], True)


async def test_a_retention_that_ended_elsewhere_in_the_app_is_told_as_well(autojump_clock: MockClock) -> None:
    """The price of one number for the whole app: what is older than anything that was forgotten counts as not recovered."""
    how = {"rules": {APP: Rules(history_ttl_ms=10_000)}, "clock": HandClock()}
    async with open_office(options=Options(sweep_every_s=5), **how) as (broker, _):
        await send(broker, "to a user", queue=False, history=True)
        await trio.sleep(30)
        await say(broker, "1")
        assert await replayed(broker, 0) == (["1"], False)


# While a replay is under way.


async def test_what_is_sent_while_a_replay_is_read_comes_after_it() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        replays, tray = Replays(broker), Tray()
        await say(broker, "1")
        async with connect(broker, "bob", tray) as session:
            replays.stop()
            joining = Joining(session, 0)
            nursery.start_soon(joining.run)
            await settle_down()
            assert (replays.asked, held_back(session)) == (1, 1)
            await say(broker, "2")
            await say(broker, "3")
            await say(broker, "4", history=False)
            await send(broker, "queued")
            await say(broker, "elsewhere", "attic")
            await send(broker, "transient", queue=False)
            assert tray.texts() == ["queued", "transient"], "only this room waits"
            replays.go()
            await settle_down()
            assert joining.joined is not None
            assert joining.joined.recovered is True, "what comes live is not missed"
            assert tray.texts()[2:] == ["1", "2", "3", "4"]
            assert held_back(session) == 0
            await say(broker, "5")
            assert tray.texts()[-1] == "5"


async def test_order_holds_within_a_lane_also_in_a_replay() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        replays, tray = Replays(broker), Tray()
        for lane, text in (("low", "l1"), ("normal", "n1"), ("high", "h1"), ("low", "l2"), ("normal", "n2")):
            await say(broker, text, lane=lane)
        async with connect(broker, "bob", tray) as session:
            replays.stop()
            nursery.start_soon(Joining(session, 0).run)
            await settle_down()
            await say(broker, "h2", lane="high")
            await say(broker, "l3", lane="low")
            replays.go()
            await settle_down()
            assert tray.texts() == ["h1", "h2", "n1", "n2", "l1", "l2", "l3"]


async def test_changes_while_a_replay_is_read_are_not_lost() -> None:
    """Of what the replay brings as it was, and of what waits for the replay."""
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        replays, tray = Replays(broker), Tray()
        ids = [(await say(broker, text)).id for text in ("one", "two", "three")]
        async with connect(broker, "bob", tray) as session:
            replays.stop()
            joining = Joining(session, 0)
            nursery.start_soon(joining.run)
            await settle_down()
            ids += [(await say(broker, text)).id for text in ("four", "five", "six")]
            for edited in (ids[0], ids[3]):
                await broker.submit(EditMessage(app=APP, id=edited, by="mod", body=b"edited"))
            for recalled in (ids[1], ids[4]):
                await broker.submit(RecallMessage(app=APP, id=recalled, by="mod"))
            for deleted in (ids[2], ids[5]):
                await broker.submit(DeleteMessage(app=APP, id=deleted, by="mod"))
            assert tray.frames == []
            replays.go()
            await settle_down()
            shown: dict[int, tuple[str, bytes]] = {}
            for frame in tray.frames:
                shown[frame.id] = frame.type, frame.body
            assert shown == {
                ids[0]: ("edited", b"edited"),
                ids[1]: ("recalled", b""),
                ids[2]: ("deleted", b""),
                ids[3]: ("edited", b"edited"),
                ids[4]: ("recalled", b""),
                ids[5]: ("deleted", b""),
            }
            assert not {frame.body for frame in tray.frames} - {b"edited", b""}, "a text taken back is not handed out"
            assert joining.joined is not None
            assert joining.joined.recovered is True


async def test_the_answer_is_before_the_first_frame() -> None:
    order: list[Any] = []

    class Noting(Tray):
        def offer(self, delivery: Any) -> bool:
            order.append(delivery.body)
            return super().offer(delivery)

    async with open_office() as (broker, _):
        await say(broker, "1")
        async with connect(broker, "bob", Noting()) as session:
            given = [await session.join("den", MessageId(0), answer=order.append)]
            assert order == [given[0], b"1"]
            order.clear()
            given.append(await session.join("den", answer=order.append))
            assert order == given[1:]
            assert given[1].recovered is None


async def test_an_answer_that_fails_leaves_nothing_held_back() -> None:
    class Broken(Exception):
        """The transport's own."""

    def fail(_: Joined) -> None:
        raise Broken

    async with open_office() as (broker, _):
        await say(broker, "1")
        tray = Tray()
        async with connect(broker, "bob", tray) as session:
            with pytest.raises(Broken):
                await session.join("den", MessageId(0), answer=fail)
            assert held_back(session) == 0
            await say(broker, "2")
            assert tray.texts()[-1] == "2"


async def test_a_join_cancelled_while_it_reads_leaves_nothing_held_back() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        replays, tray = Replays(broker), Tray()
        await say(broker, "1")
        async with connect(broker, "bob", tray) as session:
            replays.stop()
            joining = Joining(session, 0)
            nursery.start_soon(joining.run)
            await settle_down()
            await say(broker, "2")
            joining.scope.cancel()
            await settle_down()
            assert (joining.joined, joining.error) == (None, None)
            assert held_back(session) == 0
            assert tray.texts() == ["2"], "the user is in the room"
            assert members(store) == {"bob"}
            await say(broker, "3")
            assert tray.texts() == ["2", "3"]
            assert session._buffer.bytes == 0


@pytest.mark.parametrize("since", [None, 0])
async def test_a_join_cancelled_in_its_commit_leaves_nothing_held_back(since: int | None) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        commits, tray = Commits(broker), Tray()
        async with connect(broker, "bob", tray) as session:
            await settle_down()  # the sweeper has been
            commits.stop()
            joining = Joining(session, since)
            nursery.start_soon(joining.run)
            await settle_down()
            joining.scope.cancel()
            await settle_down()
            assert joining.joined is None
            commits.go()
            await settle_down()
            assert held_back(session) == 0
            assert members(store) == {"bob"}, "it was taken, so it is carried out"
            await say(broker, "1")
            assert tray.texts() == ["1"]


async def test_a_join_cancelled_before_it_is_taken_did_not_happen() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        commits, tray = Commits(broker), Tray()
        async with connect(broker, "bob", tray) as session:
            await settle_down()  # the sweeper has been
            commits.stop()
            nursery.start_soon(say, broker, "first")
            await settle_down()
            joining = Joining(session, 0)
            nursery.start_soon(joining.run)
            await settle_down()
            joining.scope.cancel()
            await settle_down()
            commits.go()
            await settle_down()
            assert members(store) == set()
            assert held_back(session) == 0


async def test_a_join_whose_reading_fails_leaves_nothing_held_back() -> None:
    store = FaultyStore(MemoryStore())
    async with open_office(store) as (broker, _):
        await say(broker, "1")
        tray = Tray()
        async with connect(broker, "bob", tray) as session:
            await settle_down()  # the sweeper has been
            store.fail("snapshot", StorageFailure("it cannot be read"))
            with pytest.raises(StorageFailure, match="cannot be read"):
                await session.join("den", MessageId(0))
            assert held_back(session) == 0
            await say(broker, "2")
            assert tray.texts() == ["2"]


async def test_joins_of_one_session_at_the_same_time() -> None:
    """Two rooms do not disturb each other, and the same one twice loses nothing."""
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        replays, tray = Replays(broker), Tray()
        await say(broker, "den 1")
        await say(broker, "attic 1", "attic")
        async with connect(broker, "bob", tray) as session:
            replays.stop()
            joins = [Joining(session, 0), Joining(session, 0, "attic"), Joining(session, 0)]
            for joining in joins:
                nursery.start_soon(joining.run)
            await settle_down()
            await say(broker, "den 2")
            await say(broker, "attic 2", "attic")
            replays.go()
            await settle_down()
            assert [joining.joined.recovered for joining in joins if joining.joined] == [True] * 3
            seen = tray.texts()
            assert [text for text in dict.fromkeys(seen) if text.startswith("attic")] == ["attic 1", "attic 2"]
            assert [text for text in dict.fromkeys(seen) if text.startswith("den")] == ["den 1", "den 2"]
            assert held_back(session) == 0


async def test_one_after_the_other_the_same_join_replays_again() -> None:
    async with open_office() as (broker, _):
        first = await say(broker, "1")
        tray = Tray()
        async with connect(broker, "bob", tray) as session:
            for expected in (["1"], ["1", "1"]):
                assert (await session.join("den", MessageId(0))).recovered
                assert tray.texts() == expected
            await say(broker, "2")
            assert (await session.join("den", first.id)).recovered
            assert tray.texts() == ["1", "1", "2", "2"]


async def test_a_leave_while_a_replay_is_read() -> None:
    """The replay still comes, and what was sent between the two; nothing later."""
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        replays, tray = Replays(broker), Tray()
        await say(broker, "1")
        async with connect(broker, "bob", tray) as session:
            replays.stop()
            joining = Joining(session, 0)
            nursery.start_soon(joining.run)
            await settle_down()
            await say(broker, "2")
            await session.leave("den")
            await say(broker, "3")
            replays.go()
            await settle_down()
            assert tray.texts() == ["1", "2"]
            assert held_back(session) == 0


async def test_a_session_that_ends_while_a_replay_is_read() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        replays, tray = Replays(broker), Tray()
        await say(broker, "1")
        replays.stop()
        async with connect(broker, "bob", tray) as session:
            joining = Joining(session, 0)
            nursery.start_soon(joining.run)
            await settle_down()
        replays.go()
        await settle_down()
        assert tray.frames == []
        assert members(store) == set()


# Slow sessions.


async def test_what_a_slow_session_has_no_room_for_is_dropped_and_counted() -> None:
    async with open_office(options=Options(session_buffer_bytes=PAGE_BYTES)) as (broker, _):
        slow, quick = Tray(room=0), Tray()
        async with member(broker, "bob", slow) as session, member(broker, "cy", quick):
            size = PAGE_BYTES // 4
            for number in range(6):
                await say(broker, f"{number}" + "." * size, lane="low" if number < 2 else "high", history=False)
            assert session._buffer.bytes <= PAGE_BYTES
            assert [text[0] for text in quick.texts()] == list("012345")
            slow.room = 100
            session.resume()
            assert slow.frames[0].type == "dropped"
            told = slow.frames[0].count
            assert [frame.body[:1] for frame in slow.frames[1:]] == [b"2", b"3", b"4"]
            assert told == 6 - len(slow.frames[1:]) == broker.statistics().session_dropped[APP]


async def test_what_waits_for_a_replay_is_within_the_budget() -> None:
    async with open_office(options=Options(session_buffer_bytes=PAGE_BYTES)) as (broker, _):
        replays, tray, size = Replays(broker), Tray(), PAGE_BYTES // 8
        for number in range(4):
            await say(broker, f"{number}" + "." * size)
        async with connect(broker, "bob", tray) as session, trio.open_nursery() as nursery:
            replays.stop()
            joining = Joining(session, 0)
            nursery.start_soon(joining.run)
            await settle_down()
            for number in range(4, 9):
                await say(broker, f"{number}" + "." * size, history=False)
            assert session._buffer.bytes <= PAGE_BYTES
            replays.go()
            await settle_down()
            assert session._buffer.bytes == 0
            seen = "".join(text[0] for text in tray.texts())
            # What waits has the room already: of the replay the newest fit, and the answer says that there was more.
            assert seen == "2345678"
            assert joining.joined is not None
            assert joining.joined.recovered is False
            assert APP not in broker.statistics().session_dropped


async def test_what_waits_for_a_replay_and_finds_no_room_is_told() -> None:
    async with open_office(options=Options(session_buffer_bytes=PAGE_BYTES)) as (broker, _):
        replays, tray, size = Replays(broker), Tray(), PAGE_BYTES // 4
        await say(broker, "0")
        async with connect(broker, "bob", tray) as session, trio.open_nursery() as nursery:
            replays.stop()
            nursery.start_soon(Joining(session, 0).run)
            await settle_down()
            for number in range(1, 7):
                await say(broker, f"{number}" + "." * size, history=False)
            assert session._buffer.bytes <= PAGE_BYTES
            replays.go()
            await settle_down()
            assert session._buffer.bytes == 0
            dropped = sum(frame.count for frame in tray.frames)
            assert dropped == broker.statistics().session_dropped[APP] == 3
            assert "".join(text[0] for text in tray.texts() if text != "dropped") == "0123"


# On a disk, and from other threads.


@asynccontextmanager
async def on_disk(path: Path) -> AsyncIterator[Broker]:
    """A broker on a directory, which must be sound afterwards."""
    async with open_broker(path) as broker:
        yield broker
    store = LmdbStore(path)
    assert_sound(store)
    store.close()


async def test_a_replay_from_the_disk(tmp_path: Path) -> None:
    async with on_disk(tmp_path) as broker:
        known = await say(broker, "known")
        for number in range(3):
            await say(broker, f"{number}")
        async with connect(broker, "bob") as session, member(broker, "cy") as other:
            replays = Replays(broker)
            replays.stop()
            async with trio.open_nursery() as nursery:
                joining = Joining(session, known.id)
                nursery.start_soon(joining.run)
                await until(lambda: replays.asked == 1)
                await say(broker, "3")
                replays.go()
            assert joining.joined is not None
            assert joining.joined.recovered is True
            assert texts(await take(session, 4)) == ["0", "1", "2", "3"]
            assert texts(await take(other, 1)) == ["3"]
            await session.leave("den")
            await say(broker, "4")
            assert texts(await take(other, 1)) == ["4"]
            assert set(await broker.ask(FindMembers(app=APP, room="den"))) == {"cy"}
    async with on_disk(tmp_path) as broker:
        assert await broker.ask(FindMembers(app=APP, room="den")) == ()
        async with connect(broker, "bob") as session:
            assert (await session.join("den", known.id)).recovered is True
            assert texts(await take(session, 5)) == ["0", "1", "2", "3", "4"]


def test_rooms_from_another_thread(tmp_path: Path) -> None:
    with BrokerThread(tmp_path) as broker:
        known = broker.submit(speech("known")).result(LONG)
        broker.submit(speech("missed")).result(LONG)
        with broker.connect(app=APP, user="bob") as session, broker.connect(app=APP, user="cy") as other:
            assert other.join("den").result(LONG).recovered is None
            joined = session.join("den", known.id).result(LONG)
            assert joined.recovered is True
            broker.submit(speech("live")).result(LONG)
            assert texts([next(session), next(session)]) == ["missed", "live"]
            assert texts([next(other)]) == ["live"]
            assert set(broker.ask(FindMembers(app=APP, room="den")).result(LONG)) == {"bob", "cy"}
            session.leave("den").result(LONG)
            session.leave("den").result(LONG)
            broker.submit(speech("later")).result(LONG)
            broker.submit(SendMessage(app=APP, sender="alice", to=peer("bob"), body=b"last")).result(LONG)
            assert texts([next(session)]) == ["last"]
            with pytest.raises(InvalidCommand):
                session.join("").result(LONG)
        with pytest.raises(SessionEnded):
            session.join("den").result(LONG)
        with pytest.raises(SessionEnded):
            session.leave("den").result(LONG)
        assert broker.ask(FindMembers(app=APP, room="den")).result(LONG) == ()
    with pytest.raises(StorageFailure):
        session.join("den").result(LONG)
