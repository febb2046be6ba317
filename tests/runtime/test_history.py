"""Questions to a whole broker: history, results under a handle, presence feeds; across restarts, crashes and retention."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from postroom.core import Broker, BrokerThread, Message, Options, Receipt, SendMessage, open_broker, peer, room
from postroom.core.commands import DeleteMessage, EditMessage, EndStaleSessions, RecallMessage
from postroom.core.domain import presence as presence_of_domain
from postroom.core.domain import results as results_of_domain
from postroom.core.domain import rooms as rooms_of_domain
from postroom.core.errors import (
    Corruption,
    InvalidCommand,
    Overloaded,
    Refusal,
    StorageFailure,
    UnknownApp,
    UnknownMessage,
    UnknownResult,
)
from postroom.core.events import (
    GapsExpired,
    HistoryExpired,
    PresenceTaken,
    ResultCollected,
    ResultReserved,
    ResultsExpired,
    StaysExpired,
)
from postroom.core.ids import UnixMs
from postroom.core.limits import FEED_EVENTS_MAX, FEED_TAKE_MAX, FIND_MESSAGES_MAX, RESULT_MESSAGES_MAX
from postroom.core.model import PresenceEvent, Rules
from postroom.core.queries import (
    CollectMessages,
    CountMessages,
    FindMembers,
    FindMessages,
    Query,
    ReserveMessages,
    TakePresence,
)
from postroom.core.runtime import history as history_of_runtime
from postroom.core.runtime.sweeper import Sweeper
from postroom.core.search import Search
from postroom.storage.engine import LIVE
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from postroom.storage.transaction import StoredBodies
from tests.support.faulty import FaultyStore
from tests.support.office import APP, HandClock, Tray, assert_sound, events, open_office, queue, settle_down
from tests.support.rows import engine_of, rows

LONG = 20
"""Seconds after which a future that never ends is a failed test."""
DEN = room("den")


def letter(text: str, to: Any, sender: str = "alice", **fields: Any) -> SendMessage:
    """A message that is kept unless said otherwise."""
    defaults = {"app": APP, "sender": sender, "to": to, "body": text.encode(), "history": True}
    return SendMessage(**{**defaults, **fields})


async def say(broker: Broker, text: str, to: Any = DEN, sender: str = "alice", **fields: Any) -> Receipt:
    """Submit one; to a room, unless it is told."""
    return await broker.submit(letter(text, to, sender, **fields))


def texts(messages: tuple[Message, ...]) -> list[str]:
    """Their bodies."""
    return [message.body.decode() for message in messages]


async def find(broker: Broker, **fields: Any) -> list[str]:
    """The texts of what is found."""
    found = await broker.ask(FindMessages(**{"app": APP, **fields}))
    count = await broker.ask(CountMessages(**{"app": APP, **without(fields, "offset", "limit", "newest_first")}))
    if not {"offset", "limit"} & set(fields):
        assert count == len(found)
    return texts(found)


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """Some of the fields."""
    return {name: value for name, value in fields.items() if name not in names}


async def reserve(broker: Broker, ttl_ms: int = 600_000, **fields: Any) -> str:
    """A handle."""
    query = FindMessages(**{"app": APP, "conversations": (DEN,), "limit": RESULT_MESSAGES_MAX, **fields})
    return await broker.ask(ReserveMessages(app=query.app, find=query, ttl_ms=ttl_ms))


async def collect(broker: Broker, handle: str, app: str = APP) -> list[str]:
    """What waits under it."""
    return texts(await broker.ask(CollectMessages(app=app, handle=handle)))


async def presence(broker: Broker, feed: Any, app: str = APP, **fields: Any) -> list[tuple[str, ...]]:
    """Type, user and room of what is taken."""
    taken = await broker.ask(TakePresence(app=app, feed=feed, **fields))
    return [tuple(filter(None, (event.type, event.user, event.room))) for event in taken]


def of(kind: Any, store: Any) -> list[Any]:
    """Events of a kind."""
    return [event for event in events(store) if isinstance(event, kind)]


def letters(store: Any) -> Counter[bytes]:
    """How many rows there are of each kind."""
    with store.snapshot() as snapshot:
        return Counter(key[:1] for key, _ in rows(engine_of(snapshot), LIVE)[0])


def bodies(store: Any) -> int:
    """How many bodies there are."""
    with store.snapshot() as snapshot:
        return int(engine_of(snapshot).count("bodies"))


@asynccontextmanager
async def on_disk(path: Path) -> AsyncIterator[Broker]:
    """A broker on a directory, which must be sound afterwards."""
    async with open_broker(path) as broker:
        yield broker
    store = LmdbStore(path)
    assert_sound(store)
    store.close()


@asynccontextmanager
async def failing(store: FaultyStore) -> AsyncIterator[Broker]:
    """A broker whose store fails in the block."""
    failed = False
    try:
        async with open_broker(store) as broker:
            yield broker
            await trio.sleep_forever()
    except StorageFailure:
        failed = True
    assert failed


@asynccontextmanager
async def visitor(broker: Broker, user: str, *names: str) -> AsyncIterator[None]:
    """Somebody in rooms for a while."""
    async with broker.connect(app=APP, user=user, sink=Tray()) as session:
        for name in names:
            await session.join(name)
        yield


# What is found.


async def test_the_table_of_sources_and_destinations() -> None:
    """Who is asked for as a receiver also received what was sent to rooms they were in, their own excepted."""
    async with open_office() as (broker, _):
        await say(broker, "before", sender="bob")
        async with visitor(broker, "ann", "den"):
            await say(broker, "bob in den", sender="bob")
            await say(broker, "ann in den", sender="ann")
            await say(broker, "bob in attic", room("attic"), "bob")
        await say(broker, "after", sender="bob")
        await say(broker, "bob to ann", peer("ann"), "bob")
        await say(broker, "ann to bob", peer("bob"), "ann")
        await say(broker, "ann to herself", peer("ann"), "ann")
        await say(broker, "bob to the room ann", room("ann"), "bob")
        await say(broker, "not kept", peer("ann"), "bob", history=False)
        await say(broker, "elsewhere", peer("ann"), "bob", app="other")
        assert await find(broker, receiver="ann") == ["bob in den", "bob to ann", "ann to herself"]
        assert await find(broker, receiver="bob") == ["ann to bob"]
        assert await find(broker, receiver="nobody") == []
        assert await find(broker, conversations=(DEN,)) == ["before", "bob in den", "ann in den", "after"]
        assert await find(broker, sender="ann") == ["ann in den", "ann to bob", "ann to herself"]
        assert await find(broker, sender="den") == []
        assert await find(broker, sender="bob", conversations=(peer("ann"),)) == ["bob to ann"]
        assert await find(broker, sender="ann", conversations=(DEN,)) == ["ann in den"]
        assert await find(broker, sender="bob", receiver="ann") == ["bob in den", "bob to ann"]
        assert await find(broker, sender="ann", receiver="ann") == ["ann to herself"]
        both = (peer("ann"), room("ann"))
        assert await find(broker, conversations=both) == ["bob to ann", "ann to herself", "bob to the room ann"]
        assert await find(broker, conversations=both, receiver="ann") == [
            "bob in den",
            "bob to ann",
            "ann to herself",
            "bob to the room ann",
        ]
        assert await find(broker, app="other", receiver="ann") == ["elsewhere"]
        twice = (DEN, DEN, peer("bob"), DEN)
        assert len(await find(broker, conversations=twice)) == 5


async def test_kinds_of_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever slice of the search they are met."""
    for rows_max in (10_000, 3):
        monkeypatch.setattr(history_of_runtime, "Search", sliced(rows_max))
        async with open_office() as (broker, _):
            for number in range(4):
                await say(broker, f"room {number}", sender="ann")
                await say(broker, f"peer {number}", peer("bob"), "ann")
            peers = [f"peer {number}" for number in range(4)]
            assert await find(broker, sender="ann", kinds=("peer",)) == peers
            assert await find(broker, sender="ann", kinds=("peer",), newest_first=True, limit=2) == peers[:1:-1]
            assert await find(broker, sender="ann", kinds=("peer",), offset=3) == peers[3:]
            assert len(await find(broker, sender="ann", kinds=("peer", "room"))) == 8
            assert await find(broker, everything=True, kinds=("group", "service")) == []
            assert await find(broker, conversations=(DEN,), kinds=("peer",)) == []


async def test_a_message_is_found_as_it_is_now() -> None:
    async with open_office() as (broker, _):
        first = await say(broker, '{"a":1}', format="json", lane="low", via="anyrtc")
        ids = [(await say(broker, text)).id for text in ("edited", "recalled", "deleted")]
        await broker.submit(EditMessage(app=APP, id=ids[0], by="mod", body=b"EDITED"))
        await broker.submit(RecallMessage(app=APP, id=ids[1], by="mod"))
        await broker.submit(DeleteMessage(app=APP, id=ids[2], by="mod"))
        found = await broker.ask(FindMessages(app=APP, conversations=(DEN,)))
        assert texts(found) == ['{"a":1}', "EDITED"]
        assert found[0] == Message(
            id=first.id,
            conversation=DEN,
            sender="alice",
            body=b'{"a":1}',
            format="json",
            at_ms=first.at_ms,
            lane="low",
            via="anyrtc",
        )
        assert found[1].id == ids[0]
        assert await broker.ask(CountMessages(app=APP, sender="alice")) == 2


async def test_pages_from_either_end_are_what_is_counted() -> None:
    async with open_office() as (broker, _):
        all_of_them = [f"{number}" for number in range(25)]
        for text in all_of_them:
            await say(broker, text)
        for size in (1, 7, 25, 26):
            for newest_first in (False, True):
                pages: list[str] = []
                while page := await find(
                    broker, conversations=(DEN,), offset=len(pages), limit=size, newest_first=newest_first
                ):
                    assert len(page) <= size
                    pages += page
                assert pages == (all_of_them[::-1] if newest_first else all_of_them)
        assert await broker.ask(CountMessages(app=APP, conversations=(DEN,))) == 25


async def test_times_are_included_at_both_ends(autojump_clock: MockClock) -> None:
    clock = HandClock()
    async with open_office(clock=clock) as (broker, _):
        sent = []
        for text in ("0", "1", "2"):
            sent.append(await say(broker, text))
            await trio.sleep(1)
        at = [receipt.at_ms for receipt in sent]
        for start, end, expected in (
            (at[0], at[2], ["0", "1", "2"]),
            (at[0] + 1, at[2] - 1, ["1"]),
            (at[1], at[1], ["1"]),
            (at[1] + 1, at[2] - 1, []),
            (0, at[0] - 1, []),
            (at[2] + 1, at[2] + 10**9, []),
            (at[2], at[0], []),
        ):
            for newest_first in (False, True):
                found = await find(
                    broker, sender="alice", start_ms=UnixMs(start), end_ms=UnixMs(end), newest_first=newest_first
                )
                assert found == (expected[::-1] if newest_first else expected)


async def test_times_that_are_alike_are_in_the_order_of_ids(autojump_clock: MockClock) -> None:
    """The wall clock steps back: all get the newest time there was."""
    clock = HandClock()
    async with open_office(clock=clock) as (broker, _):
        await say(broker, "0")
        clock.jump(-3_600_000)
        receipts = [await say(broker, f"{number}") for number in range(1, 4)]
        assert len({receipt.at_ms for receipt in receipts}) == 1
        assert await find(broker, sender="alice") == ["0", "1", "2", "3"]
        assert await find(broker, sender="alice", newest_first=True, limit=2) == ["3", "2"]


async def test_what_was_answered_is_found_by_whoever_asks_next() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:

        async def talk(user: str) -> None:
            for number in range(20):
                receipt = await say(broker, f"{user} {number}", sender=user)
                found = await broker.ask(FindMessages(app=APP, sender=user, newest_first=True, limit=1))
                assert [message.id for message in found] == [receipt.id]
                assert await broker.ask(CountMessages(app=APP, sender=user)) == number + 1

        for number in range(5):
            nursery.start_soon(talk, f"user {number}")


async def test_what_is_sent_while_somebody_asks_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slices of a query add up to one answer."""
    monkeypatch.setattr(history_of_runtime, "Search", sliced(3))
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        known = [(await say(broker, f"{number}")).id for number in range(40)]
        ids, going_on = list(known), True

        async def talk() -> None:
            while going_on:
                ids.append((await say(broker, "meanwhile")).id)

        nursery.start_soon(talk)
        for newest_first in (False, True) * 3:
            before = len(ids)
            found = [
                message.id
                for message in await broker.ask(
                    FindMessages(app=APP, conversations=(DEN,), newest_first=newest_first, limit=FIND_MESSAGES_MAX)
                )
            ]
            ordered = found[::-1] if newest_first else found
            assert ordered == ids[: len(ordered)]
            assert before <= len(ordered) < len(ids), "others went on meanwhile"
        going_on = False


def sliced(rows_max: int) -> Any:
    """A search that looks at so few rows in a snapshot."""

    class Sliced(Search):
        def go_on(self, views: Any, rows_max: int = rows_max) -> bool:
            return super().go_on(views, rows_max)

    return Sliced


async def test_counting_reads_no_body(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    body = StoredBodies.body
    async with open_office() as (broker, _):
        for number in range(30):
            await say(broker, f"{number}")
        async with visitor(broker, "ann", "den"):
            await say(broker, "heard")
        await settle_down()
        with monkeypatch.context() as watched:
            watched.setattr(
                StoredBodies, "body", lambda self, position: (read.append(position), body(self, position))[1]
            )
            assert await broker.ask(CountMessages(app=APP, conversations=(DEN,))) == 31
            assert await broker.ask(CountMessages(app=APP, receiver="ann")) == 1
            await reserve(broker)
            assert read == []
            assert len(await find(broker, conversations=(DEN,), offset=20, limit=5)) == 5
            assert len(read) == 5


class Looking:
    """The searches that a broker made."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.searches: list[Search] = []
        looking = self

        class Noted(Search):
            def __init__(self, *of: Any) -> None:
                super().__init__(*of)
                looking.searches.append(self)

        patch.setattr(history_of_runtime, "Search", Noted)


async def test_a_query_costs_what_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is kept of other users, rooms and times."""
    looking = Looking(monkeypatch)
    async with open_office() as (broker, _):

        async def fill(count: int) -> None:
            for number in range(count):
                await say(broker, f"{number}", room(f"room {number % 7}"), f"user {number % 5}")
                await say(broker, f"{number}", peer(f"user {number % 5}"), "carl")

        async def cost(**fields: Any) -> int:
            await broker.ask(FindMessages(app=APP, **fields))
            return looking.searches[-1].rows

        questions: list[dict[str, Any]] = [
            {"conversations": (DEN,)},
            {"sender": "dora"},
            {"sender": "dora", "conversations": (peer("eve"), room("eve"))},
            {"receiver": "eve"},
            {"conversations": (room("room 1"),), "limit": 3, "newest_first": True},
            {"sender": "carl", "limit": 2},
        ]
        await fill(30)
        async with visitor(broker, "eve", "den", "room 1"):
            for number in range(3):
                await say(broker, f"{number}", DEN, "dora")
                await say(broker, f"{number}", peer("eve"), "dora")
        asked = [await cost(**question) for question in questions]
        assert asked == [3, 6, 3, 6, 3, 2]
        await fill(300)
        assert [await cost(**question) for question in questions] == asked


async def test_a_long_answer_is_a_matter_of_many_snapshots() -> None:
    store = FaultyStore(MemoryStore())
    snapshots: list[int] = []
    async with open_office(store) as (broker, _):
        for number in range(450):
            await say(broker, f"{number}")
        await settle_down()
        store.hooks["snapshot"] = lambda: snapshots.append(1)
        assert len(await broker.ask(FindMessages(app=APP, conversations=(DEN,), limit=450))) == 450
        assert len(snapshots) == 1 + 1 + 5, "where it is now, one slice of rows, and a hundred bodies in each"


async def test_a_damaged_body_is_named_and_keeps_nothing_else_from_being_found(tmp_path: Path) -> None:
    async with on_disk(tmp_path) as broker:
        ids = [(await say(broker, text)).id for text in ("one", "two", "three")]
        handle = await reserve(broker)
    store = LmdbStore(tmp_path)
    with store.transaction() as transaction:
        engine = engine_of(transaction)
        key = ids[1].to_bytes(8)
        value = engine.get("bodies", key)
        assert value is not None
        engine.put("bodies", key, value[:-1] + bytes([value[-1] ^ 1]))
    store.close()
    async with open_broker(tmp_path) as broker:
        with pytest.raises(Corruption, match=str(ids[1])):
            await find(broker, conversations=(DEN,))
        for _ in range(2):  # what cannot be read is not used up
            with pytest.raises(Corruption, match=str(ids[1])):
                await collect(broker, handle)
        assert await broker.ask(CountMessages(app=APP, conversations=(DEN,))) == 3
        page = FindMessages(app=APP, conversations=(DEN,), limit=1)
        assert texts(await broker.ask(page)) == ["one"]
        assert texts(await broker.ask(FindMessages(app=APP, conversations=(DEN,), offset=2))) == ["three"]
        await say(broker, "four")


# What is refused.


@pytest.mark.parametrize(
    "query",
    [
        FindMessages(app=APP),
        CountMessages(app=APP),
        FindMessages(app=APP, sender=""),
        FindMessages(app=APP, receiver="x" * 257),
        FindMessages(app=APP, conversations=(room(""),)),
        FindMessages(app=APP, conversations=(room("\ud800"),)),
        FindMessages(app=APP, sender="a", offset=-1),
        FindMessages(app=APP, sender="a", limit=0),
        FindMessages(app=APP, sender="a", kinds=("channel",)),  # type: ignore[arg-type]
        FindMessages(app=APP, sender="a", limit=FIND_MESSAGES_MAX + 1),
        FindMessages(app=APP, sender="a", start_ms=UnixMs(-1)),
        CountMessages(app=APP, sender="a", end_ms=UnixMs(1 << 63)),
        ReserveMessages(app=APP, find=FindMessages(app=APP, sender="a", limit=RESULT_MESSAGES_MAX + 1), ttl_ms=1),
        ReserveMessages(app=APP, find=FindMessages(app=APP, sender="a"), ttl_ms=0),
        ReserveMessages(app=APP, find=FindMessages(app=APP, sender="a"), ttl_ms=1 << 64),
        ReserveMessages(app=APP, find=FindMessages(app="other", sender="a"), ttl_ms=1),
        ReserveMessages(app=APP, find=FindMessages(app=APP), ttl_ms=1),
        TakePresence(app=APP, feed="rooms", limit=0),
        TakePresence(app=APP, feed="users", limit=FEED_TAKE_MAX + 1),
        TakePresence(app=APP, feed="nothing"),  # type: ignore[arg-type]
        FindMembers(app=APP, room=""),
        FindMembers(app=APP, room="\ud800"),
        Query(app=APP),
    ],
)
async def test_a_query_that_is_none(query: Query[Any]) -> None:
    async with open_office() as (broker, store):
        before = len(events(store))
        with pytest.raises(InvalidCommand):
            await broker.ask(query)
        assert len(events(store)) == before


async def test_a_limit_is_a_limit() -> None:
    async with open_office() as (broker, _):
        await say(broker, "1")
        for limit in (1, FIND_MESSAGES_MAX):
            assert await find(broker, sender="alice", limit=limit) == ["1"]
        assert await find(broker, sender="alice", offset=1 << 70) == []
        handle = await reserve(broker, limit=RESULT_MESSAGES_MAX, ttl_ms=1 << 62)
        assert await collect(broker, handle) == ["1"]


async def test_other_apps_are_unknown() -> None:
    queries: list[Query[Any]] = [
        FindMessages(app="other", sender="a"),
        CountMessages(app="other", sender="a"),
        ReserveMessages(app="other", find=FindMessages(app="other", sender="a"), ttl_ms=1),
        CollectMessages(app="other", handle="1"),
        TakePresence(app="other", feed="users"),
        FindMembers(app="other", room="den"),
    ]
    async with open_office(rules={APP: Rules()}) as (broker, _):
        for query in queries:
            with pytest.raises(UnknownApp):
                await broker.ask(query)
        assert broker.statistics().refusals == {("other", "unknown_app"): len(queries)}


# Results.


async def test_of_any_number_of_collectors_one_gets_it() -> None:
    async with open_office() as (broker, store):
        await say(broker, "1")
        rounds = 50
        for number in range(rounds):
            handle = await reserve(broker)
            got: list[list[str]] = []
            refused: list[Refusal] = []

            async def try_to_collect(handle: str, got: list[list[str]], refused: list[Refusal]) -> None:
                try:
                    got.append(await collect(broker, handle))
                except UnknownResult as error:
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                for _ in range(2 + number % 4):
                    nursery.start_soon(try_to_collect, handle, got, refused)
            assert got == [["1"]]
            assert len(refused) == 1 + number % 4
        assert len(of(ResultCollected, store)) == rounds


def test_of_collectors_in_other_threads_one_gets_it(tmp_path: Path) -> None:
    with BrokerThread(tmp_path) as broker:
        broker.submit(letter("1", DEN)).result(LONG)
        query = FindMessages(app=APP, conversations=(DEN,), limit=1)
        for _ in range(20):
            handle = broker.ask(ReserveMessages(app=APP, find=query, ttl_ms=60_000)).result(LONG)
            futures = [broker.ask(CollectMessages(app=APP, handle=handle)) for _ in range(3)]
            outcomes = [future.exception(LONG) or future.result(LONG) for future in futures]
            assert sorted(type(outcome) is UnknownResult for outcome in outcomes) == [False, True, True]
        assert broker.ask(CountMessages(app=APP, conversations=(DEN,))).result(LONG) == 1
        assert [event.type for event in broker.ask(TakePresence(app=APP, feed="users")).result(LONG)] == []


async def test_a_result_is_what_was_there_when_it_was_reserved() -> None:
    async with open_office() as (broker, _):
        ids = [(await say(broker, text)).id for text in ("one", "two", "three", "four")]
        handle = await reserve(broker)
        await say(broker, "five")
        await broker.submit(DeleteMessage(app=APP, id=ids[0], by="mod"))
        await broker.submit(RecallMessage(app=APP, id=ids[1], by="mod"))
        await broker.submit(EditMessage(app=APP, id=ids[2], by="mod", body=b"THREE"))
        assert await collect(broker, handle) == ["THREE", "four"]
        for again in (handle, "0" * 24, "", "\ud800", "x" * 1_000):
            with pytest.raises(UnknownResult):
                await collect(broker, again)


async def test_a_result_has_the_page_that_was_asked_for() -> None:
    async with open_office() as (broker, _):
        for number in range(10):
            await say(broker, f"{number}")
        handle = await reserve(broker, offset=2, limit=3, newest_first=True)
        assert (len(handle), handle.isdecimal()) == (24, True)
        assert await collect(broker, handle) == ["7", "6", "5"]
        assert await collect(broker, await reserve(broker, sender="nobody")) == []
        assert len({await reserve(broker) for _ in range(20)}) == 20


async def test_a_handle_is_of_its_app() -> None:
    async with open_office() as (broker, _):
        await say(broker, "1")
        handle = await reserve(broker)
        with pytest.raises(UnknownResult):
            await collect(broker, handle, "other")
        assert await collect(broker, handle) == ["1"]


async def test_results_survive_a_restart_and_what_is_used_up_stays_used_up(tmp_path: Path) -> None:
    async with on_disk(tmp_path) as broker:
        await say(broker, "1")
        await say(broker, "2", room("attic"))
        kept, used = await reserve(broker), await reserve(broker)
        assert await collect(broker, used) == ["1"]
    async with on_disk(tmp_path) as broker:
        await say(broker, "3")
        with pytest.raises(UnknownResult):
            await collect(broker, used)
        assert await collect(broker, kept) == ["1"]
        with pytest.raises(UnknownResult):
            await collect(broker, kept)
    async with on_disk(tmp_path) as broker:
        with pytest.raises(UnknownResult):
            await collect(broker, kept)
        assert await find(broker, conversations=(DEN,)) == ["1", "3"]


async def test_a_commit_that_fails_hands_nothing_out() -> None:
    """Of a collection whose commit fails nobody knows the outcome, and nobody is told one."""
    store = FaultyStore(MemoryStore())
    handle = ""
    async with failing(store) as broker:
        await say(broker, "1")
        handle = await reserve(broker)
        await settle_down()
        store.fail("before")
        with pytest.raises(StorageFailure):
            await collect(broker, handle)
    async with open_office(store.inner) as (broker, _):
        assert await collect(broker, handle) == ["1"]


async def test_handles_expire(autojump_clock: MockClock) -> None:
    async with open_office(clock=HandClock(), options=Options(sweep_every_s=3_600)) as (broker, store):
        await say(broker, "1")
        handles = [await reserve(broker, ttl_ms=60_000) for _ in range(3)]
        later = await reserve(broker, ttl_ms=7_200_000)
        await trio.sleep(59.999)
        assert await collect(broker, handles[0]) == ["1"]
        await trio.sleep(0.001)
        with pytest.raises(UnknownResult):
            await collect(broker, handles[1])
        assert letters(store)[b"q"] == letters(store)[b"z"] == 3, "not swept yet"
        await trio.sleep(3_600)
        assert letters(store)[b"q"] == letters(store)[b"z"] == 1
        assert sum(event.count for event in of(ResultsExpired, store)) == 2
        with pytest.raises(UnknownResult):
            await collect(broker, handles[2])
        assert await collect(broker, later) == ["1"]
        assert letters(store)[b"q"] == letters(store)[b"z"] == 0
        assert broker.statistics().totals[APP].results == 0


async def test_handles_outlast_a_clock_that_jumps(autojump_clock: MockClock) -> None:
    clock = HandClock()
    async with open_office(clock=clock) as (broker, _):
        await say(broker, "1")
        handles = [await reserve(broker, ttl_ms=60_000) for _ in range(2)]
        clock.jump(86_400_000)
        assert await collect(broker, handles[0]) == ["1"]
        clock.jump(-2 * 86_400_000)
        await trio.sleep(50)
        assert await collect(broker, handles[1]) == ["1"]


async def test_so_many_results_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_of_domain, "RESULTS_PER_APP_MAX", 2)
    async with open_office() as (broker, store):
        await say(broker, "1")
        handles = [await reserve(broker) for _ in range(2)]
        with pytest.raises(Overloaded) as refused:
            await reserve(broker)
        assert refused.value.retry_after_ms
        await reserve(broker, app="other", sender="x")
        await collect(broker, handles[0])
        await reserve(broker)
        assert len(of(ResultReserved, store)) == 4


# Presence.


async def test_feeds_tell_who_came_and_went() -> None:
    async with open_office() as (broker, _):
        async with visitor(broker, "bob", "den"), visitor(broker, "bob", "attic"), visitor(broker, "cy", "den"):
            pass
        await say(broker, "of nobody who is here", sender="dora")
        taken = await broker.ask(TakePresence(app=APP, feed="users"))
        assert all(isinstance(event, PresenceEvent) for event in taken)
        assert all(one.at_ms <= other.at_ms for one, other in pairwise(taken))
        assert [(event.type, event.user, event.room) for event in taken] == [
            ("login", "bob", ""),
            ("login", "cy", ""),
            ("logout", "cy", ""),
            ("logout", "bob", ""),
        ]
        joins = await presence(broker, "rooms")
        assert joins[:3] == [("join", "bob", "den"), ("join", "bob", "attic"), ("join", "cy", "den")]
        assert joins[3] == ("leave", "cy", "den")
        assert sorted(joins[4:]) == [("leave", "bob", "attic"), ("leave", "bob", "den")]
        assert await presence(broker, "rooms") == await presence(broker, "users") == []
        assert await presence(broker, "users", "other") == []


async def test_leaves_come_before_the_logout() -> None:
    async with open_office() as (broker, store):
        async with visitor(broker, "bob", "den", "attic", "cellar"):
            pass
        kinds = [type(event).__name__ for event in events(store)]
        assert kinds[-4:] == ["RoomLeft", "RoomLeft", "RoomLeft", "LoggedOut"]


async def test_two_thousand_and_one_events() -> None:
    """The newest 2,000 stay, a thousand at a time."""
    assert FEED_EVENTS_MAX == 2 * FEED_TAKE_MAX == 2_000
    async with open_office() as (broker, store), broker.connect(app=APP, user="bob", sink=Tray()) as session:
        for number in range(FEED_EVENTS_MAX // 2):
            await session.join(f"room {number}")
            await session.leave(f"room {number}")
        await session.join("last")
        assert letters(store)[b"f"] == FEED_EVENTS_MAX + 1, "and the login"
        taken = [await presence(broker, "rooms") for _ in range(3)]
        assert [len(events) for events in taken] == [1_000, 1_000, 0]
        assert taken[0][:2] == [("leave", "bob", "room 0"), ("join", "bob", "room 1")]
        assert taken[1][-2:] == [("leave", "bob", "room 999"), ("join", "bob", "last")]
        assert await presence(broker, "users") == [("login", "bob")], "the other feed is its own"
        assert letters(store)[b"f"] == 0


async def test_of_a_feed_as_much_as_is_asked_for() -> None:
    async with open_office() as (broker, _), visitor(broker, "bob", "a", "b", "c"):
        assert await presence(broker, "rooms", limit=2) == [("join", "bob", "a"), ("join", "bob", "b")]
        assert await presence(broker, "rooms", limit=2) == [("join", "bob", "c")]
        assert await presence(broker, "rooms", limit=2) == []


async def test_takers_never_share_an_event() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        taken: list[list[tuple[str, ...]]] = []
        going_on = True

        async def take() -> None:
            while going_on:
                taken.append(await presence(broker, "rooms", limit=3))

        for _ in range(4):
            nursery.start_soon(take)
        async with broker.connect(app=APP, user="bob", sink=Tray()) as session:
            for number in range(100):
                await session.join(f"{number}")
                await session.leave(f"{number}")
        going_on = False
    async with open_office(store) as (broker, _):
        rest = await presence(broker, "rooms")
    every = [event for part in taken for event in part] + rest
    assert len(every) == len(set(every)) == 200
    for part in taken:  # each is a piece of the feed, in its order
        places = [int(event[2]) * 2 + (event[0] == "leave") for event in part]
        assert places == list(range(places[0], places[0] + len(places))) if places else not part
    assert sum(event.count for event in of(PresenceTaken, store)) == 200


async def test_an_empty_feed_writes_nothing() -> None:
    async with open_office() as (broker, store):
        before = len(events(store))
        assert await presence(broker, "rooms") == []
        assert len(events(store)) == before


async def test_feeds_survive_a_restart_and_what_is_taken_stays_taken(tmp_path: Path) -> None:
    async with on_disk(tmp_path) as broker, visitor(broker, "bob", "den"):
        assert await presence(broker, "users") == [("login", "bob")]
    async with on_disk(tmp_path) as broker:
        assert await presence(broker, "users") == [("logout", "bob")]
        assert await presence(broker, "rooms", limit=1) == [("join", "bob", "den")]
    async with on_disk(tmp_path) as broker:
        assert await presence(broker, "rooms") == [("leave", "bob", "den")]
        assert await presence(broker, "users") == []


async def test_a_feed_keeps_its_newest_also_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_of_domain, "FEED_EVENTS_MAX", 3)
    async with open_office() as (broker, _):
        async with visitor(broker, "bob", "a", "b"):
            pass
        assert [event[0] for event in await presence(broker, "rooms")] == ["join", "leave", "leave"]
        assert len(await presence(broker, "users")) == 2


# After a crash.


@contextmanager
def not_sweeping() -> Iterator[None]:
    """Brokers that open in this block do not sweep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sweeper, "run", idle)
        yield


async def idle(_: Sweeper) -> None:
    """Instead of sweeping."""
    await trio.sleep_forever()


async def crash(store: Any) -> None:
    """A broker whose disk fails while bob is online, in two rooms, after something was said in one of them."""
    faulty = FaultyStore(store)
    async with failing(faulty) as broker, broker.connect(app=APP, user="bob", sink=Tray()) as session:
        await session.join("den")
        await session.join("attic")
        await say(broker, "heard")
        await say(broker, "in private", peer("bob"))
        faulty.fail("before")
        with pytest.raises(StorageFailure):
            await say(broker, "never")


@pytest.fixture(params=["memory", "disk"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The store that a process left behind, opened (again)."""
    memory = MemoryStore()
    return lambda: memory if request.param == "memory" else LmdbStore(tmp_path)


async def test_after_a_crash_leave_and_logout_are_told(reopen: Any) -> None:
    store = reopen()
    await crash(store)
    store = reopen()
    with store.snapshot() as snapshot:
        assert list(snapshot.views.members(APP, "den")) == ["bob"], "nobody could write that they left"
    async with open_broker(store) as broker:
        with trio.fail_after(LONG):
            while len(left := [event for event in events(store) if type(event).__name__ == "LoggedOut"]) < 1:
                await trio.lowlevel.checkpoint()
        assert left[0].last
        joins = await presence(broker, "rooms")
        assert joins[:2] == [("join", "bob", "den"), ("join", "bob", "attic")]
        assert sorted(joins[2:]) == [("leave", "bob", "attic"), ("leave", "bob", "den")]
        assert await presence(broker, "users") == [("login", "bob"), ("logout", "bob")]
        assert await broker.ask(FindMembers(app=APP, room="den")) == ()
    store = reopen()
    assert_sound(store)
    store.close()


@pytest.mark.parametrize("swept", ["first", "later", "never"])
async def test_after_a_crash_stays_ended_with_it(swept: str) -> None:
    """By rule, whenever the events that say so are written."""
    store = MemoryStore()
    await crash(store)
    with not_sweeping():
        async with open_office(store) as (broker, _):
            if swept == "first":
                await broker._carry_out_own(EndStaleSessions())
            await say(broker, "after")
            if swept == "later":
                await broker._carry_out_own(EndStaleSessions())
            assert await broker.ask(FindMembers(app=APP, room="den")) == ()
            assert await find(broker, receiver="bob") == ["heard", "in private"]
            # Of the room where nothing was said nothing is remembered.
            stays = letters(store)[b"r"], letters(store)[b"i"], letters(store)[b"j"]
            assert stays == ((2, 2, 0) if swept == "never" else (0, 1, 1))


async def test_of_two_crashes_the_first_one_ended_the_stay() -> None:
    """The second process dies, too, before it wrote that bob left."""
    store = MemoryStore()
    await crash(store)
    with not_sweeping():
        async with open_office(store) as (broker, _):
            await say(broker, "after")
        async with open_office(store) as (broker, _):
            assert await find(broker, receiver="bob") == ["heard", "in private"]


async def test_who_comes_back_after_a_crash_is_in_no_room() -> None:
    store = MemoryStore()
    await crash(store)
    with not_sweeping():
        async with open_office(store) as (broker, _):
            tray = Tray()
            async with broker.connect(app=APP, user="bob", sink=tray) as session:
                await say(broker, "to nobody")
                assert tray.frames == []
                assert await broker.ask(FindMembers(app=APP, room="den")) == ()
                await session.join("den")
                await say(broker, "to bob")
                assert [frame.body for frame in tray.frames] == [b"to bob"]
                assert await broker.ask(FindMembers(app=APP, room="den")) == ("bob",)
            assert await find(broker, receiver="bob") == ["heard", "in private", "to bob"]
            assert [event[0] for event in await presence(broker, "users")] == ["login", "logout", "login", "logout"]
            joins = [event[0] for event in await presence(broker, "rooms")]
            assert joins == ["join", "join", "leave", "leave", "join", "leave"]


async def test_members_who_are_here_are_told_from_those_of_a_dead_process() -> None:
    store = MemoryStore()
    await crash(store)
    with not_sweeping():
        async with open_office(store) as (broker, _), visitor(broker, "cy", "den"):
            assert await broker.ask(FindMembers(app=APP, room="den")) == ("cy",)


# Retention.


async def test_what_is_over_is_not_found_and_then_swept(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_of_domain, "GAP_TTL_MS", 2_000_000)
    ttl_s = 600
    how = {"rules": {APP: Rules(history_ttl_ms=ttl_s * 1000)}, "clock": HandClock()}
    async with open_office(options=Options(sweep_every_s=3_600), **how) as (broker, store):
        async with visitor(broker, "bob", "den"):
            for number in range(60):
                await say(broker, f"old {number}")
            await say(broker, "lost", history=False)
            old = await say(broker, "old", peer("bob"))
        handle = await reserve(broker, limit=3, ttl_ms=3 * 3_600_000)
        await trio.sleep(ttl_s / 2)
        async with visitor(broker, "bob", "den"):
            await say(broker, "new")
        assert len(await find(broker, receiver="bob")) == 62
        await trio.sleep(ttl_s / 2)
        assert await find(broker, receiver="bob") == await find(broker, conversations=(DEN,)) == ["new"]
        assert await find(broker, conversations=(DEN,), newest_first=True) == ["new"]
        with pytest.raises(UnknownMessage):
            await broker.submit(EditMessage(app=APP, id=old.id, by="mod", body=b"x"))
        assert letters(store)[b"h"] == bodies(store) == 62, "not swept yet"
        await trio.sleep(3_100)
        assert letters(store)[b"h"] == bodies(store) == 0
        for letter_of_rows in (b"t", b"i", b"j", b"r", b"g", b"m"):
            assert letters(store)[letter_of_rows] == 0, letter_of_rows
        assert sum(event.count for event in of(HistoryExpired, store)) == 62
        assert sum(event.count for event in of(StaysExpired, store)) == 2
        assert [event.rooms for event in of(GapsExpired, store)] == [("den",)]
        assert await collect(broker, handle) == []
        assert await find(broker, receiver="bob") == []


async def test_a_copy_that_waits_outlives_the_history(autojump_clock: MockClock) -> None:
    how = {"rules": {APP: Rules(history_ttl_ms=60_000, queue_ttl_ms=86_400_000)}, "clock": HandClock()}
    async with open_office(options=Options(sweep_every_s=30), **how) as (broker, store):
        await say(broker, "waits", peer("bob"), queue=True)
        other = await say(broker, "changed", peer("bob"), queue=True)
        await broker.submit(EditMessage(app=APP, id=other.id, by="mod", body=b"CHANGED"))
        await trio.sleep(200)
        assert await find(broker, receiver="bob") == []
        assert (letters(store)[b"h"], bodies(store)) == (0, 2)
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await settle_down()
            assert tray.texts() == ["waits", "CHANGED"]
            await session.ack(tray.frames[-1])
        assert bodies(store) == 0


async def test_of_several_entries_the_newest_has_the_text_that_the_history_gave_up(autojump_clock: MockClock) -> None:
    """Bob is online, so each change is an entry of its own, and he acknowledges them one by one."""
    how = {"rules": {APP: Rules(history_ttl_ms=60_000, queue_ttl_ms=86_400_000)}, "clock": HandClock()}
    async with open_office(options=Options(sweep_every_s=30), **how) as (broker, store):
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            sent = await say(broker, "first", peer("bob"), queue=True)
            await broker.submit(EditMessage(app=APP, id=sent.id, by="mod", body=b"second"))
            await trio.sleep(200)
            assert (letters(store)[b"h"], bodies(store), queue(store)) == (0, 1, ["second", "second"])
            await session.ack(tray.frames[0])
            assert (bodies(store), queue(store)) == (1, ["second"])
            await broker.submit(EditMessage(app=APP, id=sent.id, by="mod", body=b"third"))
            assert (bodies(store), queue(store)) == (1, ["third", "third"])
            await session.ack(tray.frames[1])
            assert (bodies(store), queue(store)) == (1, ["third"])
            await broker.submit(DeleteMessage(app=APP, id=sent.id, by="mod"))
            assert (bodies(store), queue(store)) == (1, ["-"]), "a notice that it is gone"
            await session.ack(tray.frames[-1])
            assert (bodies(store), letters(store)[b"m"], letters(store)[b"k"]) == (0, 0, 0)


async def test_what_is_over_in_the_queue_and_was_in_the_history_is_over(autojump_clock: MockClock) -> None:
    """Also if the history has been made longer since."""
    store, clock = MemoryStore(), HandClock()
    short = Rules(history_ttl_ms=60_000, queue_ttl_ms=120_000)
    async with open_office(store, rules={APP: short}, options=Options(sweep_every_s=30), clock=clock) as (broker, _):
        sent = await say(broker, "1", peer("bob"), queue=True)
        await trio.sleep(100)
        assert (letters(store)[b"h"], bodies(store)) == (0, 1)
    with not_sweeping():
        async with open_office(store, rules={APP: Rules(queue_ttl_ms=120_000)}, clock=clock) as (broker, _):
            await broker.submit(EditMessage(app=APP, id=sent.id, by="mod", body=b"2"))
            assert await find(broker, receiver="bob") == []
            await trio.sleep(100)
            with pytest.raises(UnknownMessage):
                await broker.submit(EditMessage(app=APP, id=sent.id, by="mod", body=b"3"))
    async with open_office(store, rules={APP: Rules()}, clock=clock):
        await trio.sleep(130)
        assert bodies(store) == 0


async def test_a_message_outlives_the_copy_that_waited(autojump_clock: MockClock) -> None:
    how = {"rules": {APP: Rules(history_ttl_ms=86_400_000, queue_ttl_ms=60_000)}, "clock": HandClock()}
    async with open_office(options=Options(sweep_every_s=30), **how) as (broker, store):
        await say(broker, "kept", peer("bob"), queue=True)
        await trio.sleep(200)
        assert broker.statistics().totals[APP].expired == 1
        assert await find(broker, receiver="bob") == ["kept"]
        assert bodies(store) == 1


async def test_a_shorter_retention_is_for_what_is_there_as_well(autojump_clock: MockClock) -> None:
    store, clock = MemoryStore(), HandClock()
    async with open_office(store, rules={APP: Rules(history_ttl_ms=None)}, clock=clock) as (broker, _):
        await say(broker, "1")
        await trio.sleep(1_000)
        await say(broker, "2")
    for ttl_ms, expected in ((60_000, ["2"]), (None, ["1", "2"]), (2_000_000, ["1", "2"])):
        with not_sweeping():
            async with open_office(store, rules={APP: Rules(history_ttl_ms=ttl_ms)}, clock=clock) as (broker, _):
                assert await find(broker, conversations=(DEN,)) == expected


async def test_a_clock_that_jumps_forgets_nothing(autojump_clock: MockClock) -> None:
    clock = HandClock()
    how = {"rules": {APP: Rules(history_ttl_ms=7 * 86_400_000)}, "clock": clock}
    async with open_office(options=Options(sweep_every_s=10), **how) as (broker, store):
        await say(broker, "1")
        clock.jump(8 * 86_400_000)
        await say(broker, "2")
        await trio.sleep(100)
        assert await find(broker, conversations=(DEN,)) == ["1", "2"]
        clock.jump(-8 * 86_400_000)
        await say(broker, "3")
        await trio.sleep(100)
        assert await find(broker, conversations=(DEN,)) == ["1", "2", "3"]
        assert of(HistoryExpired, store) == []


# Cancelled, and from other threads.


async def test_a_query_that_is_cancelled_costs_nothing_but_itself() -> None:
    async with open_office() as (broker, store):
        await say(broker, "1")
        handle = await reserve(broker)
        queries: list[Query[Any]] = [
            FindMessages(app=APP, conversations=(DEN,)),
            CountMessages(app=APP, conversations=(DEN,)),
            TakePresence(app=APP, feed="users"),
        ]
        for query in queries:
            with trio.CancelScope() as scope:
                scope.cancel()
                await broker.ask(query)
            assert scope.cancelled_caught
        assert await collect(broker, handle) == ["1"]
        assert of(PresenceTaken, store) == []


def test_questions_from_other_threads(tmp_path: Path) -> None:
    with BrokerThread(tmp_path) as broker:
        for number in range(20):
            broker.submit(letter(f"{number}", DEN)).result(LONG)
        page = FindMessages(app=APP, conversations=(DEN,), limit=20)
        futures = [broker.ask(page) for _ in range(10)]
        assert all(texts(future.result(LONG)) == [f"{number}" for number in range(20)] for future in futures)
        with pytest.raises(InvalidCommand):
            broker.ask(FindMessages(app=APP)).result(LONG)
        handle = broker.ask(ReserveMessages(app=APP, find=page, ttl_ms=60_000)).result(LONG)
        assert len(broker.ask(CollectMessages(app=APP, handle=handle)).result(LONG)) == 20
        with pytest.raises(UnknownResult):
            broker.ask(CollectMessages(app=APP, handle=handle)).result(LONG)
    with pytest.raises(StorageFailure):
        broker.ask(page).result(LONG)
