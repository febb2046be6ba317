"""Queries between two places, of the whole app, and of what was recalled: the same on a store in memory and on LMDB."""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
from trio.testing import MockClock

from postroom.core import Broker, Message, SendMessage, open_broker, peer, room
from postroom.core.commands import DeleteMessage, EditMessage, RecallMessage
from postroom.core.errors import InvalidCommand
from postroom.core.ids import POSITION_MAX, MessageId, MonotonicMs, UnixMs
from postroom.core.model import Rules
from postroom.core.queries import Bound, CountMessages, FindMessages, ReserveMessages
from postroom.core.runtime import history as history_of_runtime
from postroom.core.search import Search
from postroom.storage.lmdb import LmdbStore
from tests.support.machine import START_MS
from tests.support.office import APP, HandClock, open_office

DEN = room("den")


@asynccontextmanager
async def on_disk(path: Path, **how: Any) -> AsyncIterator[Broker]:
    """A broker on LMDB."""
    store = LmdbStore(path)
    async with open_broker(store, **how) as broker:
        yield broker


@asynccontextmanager
async def in_memory(path: Path, **how: Any) -> AsyncIterator[Broker]:
    """A broker on a memory store."""
    async with open_office(**how) as (broker, _):
        yield broker


@pytest.fixture(params=[in_memory, on_disk])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[Broker]:
    """A broker on each kind of store, with a clock of its own."""
    opening: AbstractAsyncContextManager[Broker] = request.param(tmp_path, clock=Ticking())
    return opening


class Ticking:
    """A wall clock that the test alone moves; any thread may ask."""

    def __init__(self) -> None:
        self.ms = START_MS

    def monotonic_ms(self) -> MonotonicMs:
        return MonotonicMs(int(time.monotonic() * 1000))

    def wall_ms(self) -> UnixMs:
        return UnixMs(self.ms)


class Sent(NamedTuple):
    """What was answered."""

    id: MessageId
    at_ms: UnixMs


async def say(broker: Broker, text: str, to: Any = DEN, sender: str = "alice", *, app: str = APP, ms: int = 1) -> Sent:
    """Something that is kept; then so much time passes."""
    receipt = await broker.submit(SendMessage(app=app, sender=sender, to=to, body=text.encode(), history=True))
    clock = broker._settler._clock
    assert isinstance(clock, Ticking)
    clock.ms = UnixMs(clock.ms + ms)
    return Sent(receipt.id, receipt.at_ms)


async def find(broker: Broker, **fields: Any) -> list[str]:
    """The texts of what is found."""
    fields = {"app": APP, "conversations": (DEN,), **fields}
    return [message.body.decode() for message in await broker.ask(FindMessages(**fields))]


async def test_the_truth_table_of_bounds(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        t1, t2, t3 = [await say(broker, text, ms=10) for text in ("1", "2", "3")]
        for start, stop, with_start, with_stop, expected in (
            (t3, t1, False, False, "2"),
            (t3, t1, True, False, "32"),
            (t3, t1, False, True, "21"),
            (t3, t1, True, True, "321"),
            (t2, t2, False, False, ""),
            (t2, t2, True, True, "2"),
            (t2, t2, True, False, ""),
            (t1, t3, True, True, ""),
        ):
            for by_id in (True, False):
                ends = {
                    "start": Bound(start.at_ms, start.id if by_id else None, with_start),
                    "stop": Bound(stop.at_ms, stop.id if by_id else None, with_stop),
                }
                assert await find(broker, newest_first=True, **ends) == list(expected)
        for start, stop, with_start, with_stop, expected in (
            (t1, t3, False, False, "2"),
            (t1, t3, True, False, "12"),
            (t1, t3, False, True, "23"),
            (t1, t3, True, True, "123"),
            (t3, t1, True, True, ""),
        ):
            ends = {
                "start": Bound(start.at_ms, start.id, with_start),
                "stop": Bound(stop.at_ms, stop.id, with_stop),
            }
            assert await find(broker, **ends) == list(expected)
        assert await find(broker, start=Bound(t2.at_ms, t2.id)) == ["3"]
        assert await find(broker, stop=Bound(t2.at_ms, t2.id)) == ["1"]
        assert await find(broker, newest_first=True, start=Bound(t2.at_ms)) == ["1"]
        assert await find(broker, newest_first=True, stop=Bound(t2.at_ms)) == ["3"]


async def test_a_bound_without_an_id_is_the_whole_millisecond(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        early = await say(broker, "1")
        same = [await say(broker, text, ms=0) for text in "abc"]
        (await say(broker, "9", ms=5)), (await say(broker, "z"))
        at = same[0].at_ms
        assert {sent.at_ms for sent in same} == {at}
        assert early.at_ms == at - 1
        assert await find(broker, start=Bound(at)) == ["z"]
        assert await find(broker, start=Bound(at, None, True)) == ["a", "b", "c", "9", "z"]
        assert await find(broker, stop=Bound(at)) == ["1"]
        assert await find(broker, stop=Bound(at, None, True)) == ["1", "a", "b", "c", "9"]
        assert await find(broker, start=Bound(at, same[1].id)) == ["c", "9", "z"]
        assert await find(broker, stop=Bound(at, same[1].id, True)) == ["1", "a", "b"]
        assert await find(broker, start=Bound(at, None, True), newest_first=True) == ["9", "c", "b", "a", "1"]
        assert await find(broker, start=Bound(at), newest_first=True) == ["1"]


async def test_what_is_known_stands_for_its_place_and_what_is_not_for_what_was_given(
    opened: AbstractAsyncContextManager[Broker],
) -> None:
    async with opened as broker:
        sent = [await say(broker, text, ms=10) for text in "abcd"]
        wrong = UnixMs(1)
        assert await find(broker, start=Bound(wrong, sent[1].id)) == ["c", "d"]
        await broker.submit(EditMessage(app=APP, id=sent[1].id, by="mod", body=b"B"))
        assert await find(broker, start=Bound(wrong, sent[1].id, True)) == ["B", "c", "d"]
        await broker.submit(RecallMessage(app=APP, id=sent[1].id, by="mod"))
        assert await find(broker, start=Bound(wrong, sent[1].id)) == ["c", "d"]
        await broker.submit(DeleteMessage(app=APP, id=sent[2].id, by="mod"))
        assert await find(broker, start=Bound(wrong, sent[2].id)) == ["a", "d"]
        assert await find(broker, start=Bound(sent[2].at_ms, sent[2].id)) == ["d"]
        other = await say(broker, "elsewhere", app="other")
        assert await find(broker, start=Bound(wrong, other.id)) == ["a", "d"]
        for id in (0, 1, POSITION_MAX, POSITION_MAX + 1, (1 << 64) - 1):
            behind = id >= POSITION_MAX
            at = sent[0].at_ms
            assert await find(broker, start=Bound(at, MessageId(id))) == (["d"] if behind else ["a", "d"])
            assert await find(broker, stop=Bound(at, MessageId(id))) == (["a"] if behind else [])
            assert await find(broker, start=Bound(at, MessageId(id)), newest_first=True) == (["a"] if behind else [])


async def test_bounds_at_the_ends_of_time(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        for text in "abc":
            await say(broker, text)
        last = UnixMs((1 << 63) - 1)
        for at, id, included, newest_first in product((UnixMs(0), last), (None, 0, POSITION_MAX), *[(False, True)] * 2):
            bound = Bound(at, None if id is None else MessageId(id), included)
            start = await find(broker, start=bound, newest_first=newest_first)
            stop = await find(broker, stop=bound, newest_first=newest_first)
            everything = ["c", "b", "a"] if newest_first else ["a", "b", "c"]
            from_start = newest_first == (at == last)
            assert (start, stop) == ((everything, []) if from_start else ([], everything))


async def test_bounds_and_times_are_both_kept_to(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        sent = [await say(broker, text) for text in "abcdef"]
        assert await find(broker, start=Bound(sent[1].at_ms, None, True), end_ms=sent[3].at_ms) == ["b", "c", "d"]
        assert await find(broker, stop=Bound(sent[4].at_ms), start_ms=sent[2].at_ms) == ["c", "d"]
        page = await find(broker, start=Bound(sent[0].at_ms, sent[0].id), offset=1, limit=2)
        assert page == ["c", "d"]
        assert await find(broker, start=Bound(sent[0].at_ms), conversations=(), sender="alice", limit=1) == ["b"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"start": Bound(UnixMs(-1))}, "start"),
        ({"stop": Bound(UnixMs(1 << 63))}, "stop"),
        ({"start": Bound(UnixMs(0), MessageId(-1))}, "start"),
        ({"stop": Bound(UnixMs(0), MessageId(1 << 64))}, "stop"),
        ({"everything": True}, "everything"),
        ({"everything": True, "conversations": (), "sender": "ann"}, "everything"),
        ({"everything": True, "conversations": (), "receiver": "ann"}, "everything"),
        ({"conversations": ()}, "one of them"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidCommand, match=named):
        FindMessages(**{"app": APP, "conversations": (DEN,), **fields}).check()


def test_a_result_holds_nothing_recalled() -> None:
    asked = FindMessages(app=APP, conversations=(DEN,), recalled=True)
    with pytest.raises(InvalidCommand, match="recalled"):
        ReserveMessages(app=APP, find=asked, ttl_ms=1).check()


# The whole app.


async def test_everything_is_every_kept_message_of_the_app(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        sent = [
            await say(broker, "a"),
            await say(broker, "b", peer("bob")),
            await say(broker, "c", room("attic"), "carl"),
            await say(broker, "d", peer("ann"), "bob"),
        ]
        await say(broker, "elsewhere", app="other")
        await broker.submit(SendMessage(app=APP, sender="ann", to=peer("bob"), body=b"not kept", queue=True))
        every: dict[str, Any] = {"conversations": (), "everything": True}
        assert await find(broker, **every) == ["a", "b", "c", "d"]
        assert await find(broker, **every, newest_first=True, limit=2, offset=1) == ["c", "b"]
        assert await find(broker, **every, start=Bound(sent[1].at_ms, sent[1].id)) == ["c", "d"]
        assert await broker.ask(CountMessages(app=APP, everything=True)) == 4
        await broker.submit(RecallMessage(app=APP, id=sent[0].id, by="mod"))
        await broker.submit(DeleteMessage(app=APP, id=sent[1].id, by="mod"))
        assert await find(broker, **every) == ["c", "d"]
        assert await broker.ask(CountMessages(app=APP, everything=True, start_ms=sent[3].at_ms)) == 1


async def test_everything_costs_what_it_gives(
    opened: AbstractAsyncContextManager[Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[Search] = []

    class Noted(Search):
        def __init__(self, *of: Any) -> None:
            super().__init__(*of)
            searches.append(self)

    monkeypatch.setattr(history_of_runtime, "Search", Noted)
    async with opened as broker:
        sent = [await say(broker, f"{number}", peer(f"user {number}")) for number in range(60)]
        for newest_first in (False, True):
            start = Bound(sent[30].at_ms, sent[30].id)
            every = {"conversations": (), "everything": True, "newest_first": newest_first}
            assert len(await find(broker, **every, start=start, limit=5)) == 5
            assert searches[-1].rows == 5
            assert len(await find(broker, **every, limit=3)) == 3
            assert searches[-1].rows == 3


async def test_everything_ends_with_the_retention(autojump_clock: MockClock) -> None:
    """Swept or not."""
    async with open_office(rules={APP: Rules(history_ttl_ms=10_000, queue_ttl_ms=10_000)}, clock=HandClock()) as (
        broker,
        _,
    ):
        await broker.submit(SendMessage(app=APP, sender="ann", to=DEN, body=b"old", history=True))
        await trio.sleep(6)
        young = await broker.submit(SendMessage(app=APP, sender="ann", to=DEN, body=b"young", history=True))
        await trio.sleep(5)
        found = await broker.ask(FindMessages(app=APP, everything=True, start=Bound(UnixMs(0))))
        assert [message.id for message in found] == [young.id]
        assert await broker.ask(CountMessages(app=APP, everything=True)) == 1


# What was recalled.


async def test_recalled_messages_are_shown_to_who_asks_for_them(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        sent = [await say(broker, text, peer("bob")) for text in "abc"]
        await broker.submit(RecallMessage(app=APP, id=sent[1].id, by="mod"))
        for how in (
            {"sender": "alice"},
            {"conversations": (peer("bob"),)},
            {"conversations": (peer("bob"),), "sender": "alice"},
            {"receiver": "bob"},
            {"everything": True},
        ):
            asked: Any = {"app": APP, **how}
            shown = await broker.ask(FindMessages(**asked, recalled=True))
            assert [(message.id, message.body, message.recalled) for message in shown] == [
                (sent[0].id, b"a", False),
                (sent[1].id, b"", True),
                (sent[2].id, b"c", False),
            ]
            assert [message.id for message in await broker.ask(FindMessages(**asked))] == [sent[0].id, sent[2].id]
            assert await broker.ask(CountMessages(**asked)) == 2
        assert shown[1] == Message(
            id=sent[1].id,
            conversation=peer("bob"),
            sender="alice",
            body=b"",
            format="text",
            at_ms=sent[1].at_ms,
            lane="normal",
            via=shown[0].via,
            recalled=True,
        )
        await broker.submit(DeleteMessage(app=APP, id=sent[1].id, by="mod"))
        assert len(await broker.ask(FindMessages(app=APP, everything=True, recalled=True))) == 2


async def test_a_message_is_found_with_its_mentions(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        to: Any = {"app": APP, "sender": "ann", "to": DEN, "history": True}
        await broker.submit(SendMessage(**to, body=b"you two", mentions=("bob", "carl")))
        await broker.submit(SendMessage(**to, body=b"everybody", mention_all=True))
        found = await broker.ask(FindMessages(app=APP, conversations=(DEN,)))
        assert [(each.mentions, each.mention_all) for each in found] == [(("bob", "carl"), False), ((), True)]
