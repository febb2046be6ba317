"""Broadcasts through a whole broker: who is told, in which frame and order, and what a change does to what is under way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from postroom.core import Broker, open_broker, service
from postroom.core.commands import CreateConversation, DeleteBroadcast, EditBroadcast, SendBroadcast
from postroom.core.errors import InvalidCommand, QuotaExceeded
from postroom.core.ids import MessageId, UnixMs
from postroom.core.model import Quota, Rules
from postroom.core.queries import FindBroadcasts, FindMessages
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from postroom.storage.verify import verify
from tests.support.machine import START_MS
from tests.support.office import (
    APP,
    HandClock,
    Pages,
    Tray,
    assert_sound,
    open_office,
    send,
    settle_down,
    take,
    texts,
)

NEWS = service("news")


@asynccontextmanager
async def newsroom(store: Any = None, **how: Any) -> AsyncIterator[tuple[Broker, Any]]:
    """An app with a service, and bob, who was there once."""
    async with open_office(store, **how) as (broker, store):
        await broker.submit(CreateConversation(app=APP, conversation=NEWS))
        async with broker.connect(app=APP, user="bob"):
            pass
        yield broker, store


async def tell(broker: Broker, text: str = "hi", **fields: Any) -> MessageId:
    """A broadcast; its id."""
    command = SendBroadcast(**{"app": APP, "sender": "desk", "conversation": NEWS, "body": text.encode(), **fields})
    return (await broker.submit(command)).id


async def edit(broker: Broker, id: MessageId, text: str) -> None:
    """It has another text."""
    await broker.submit(EditBroadcast(app=APP, id=id, by="desk", body=text.encode()))


async def delete(broker: Broker, id: MessageId) -> None:
    """It is gone."""
    await broker.submit(DeleteBroadcast(app=APP, id=id, by="desk"))


async def found(broker: Broker, user: str = "bob", count: int | None = None) -> list[str]:
    """What a new session gets before anything happens; then it acknowledges the first so many."""
    tray = Tray()
    async with broker.connect(app=APP, user=user, sink=tray) as session:
        await settle_down()
        assert session.welcome.queued == len(tray.frames)
        if count:
            await session.ack(tray.frames[count - 1])
    return tray.texts()


async def test_every_session_of_the_app_gets_one_and_the_same_frame() -> None:
    trays = [Tray() for _ in range(4)]
    async with newsroom() as (broker, _):
        async with (
            broker.connect(app=APP, user="bob", sink=trays[0]),
            broker.connect(app=APP, user="bob", sink=trays[1]),
            broker.connect(app=APP, user="desk", sink=trays[2]),
            broker.connect(app="other", user="bob", sink=trays[3]),
        ):
            id = await tell(broker)
        assert [tray.texts() for tray in trays] == [["hi"], ["hi"], ["hi"], []]
        (frame,) = trays[0].frames
        assert frame is trays[1].frames[0] is trays[2].frames[0]
        assert (frame.id, frame.queued, frame.seq, frame.stream) == (id, True, None, None)
        assert (frame.conversation, frame.sender, frame.type) == (NEWS, "desk", "message")


async def test_it_waits_among_everything_else_until_it_is_acknowledged() -> None:
    async with newsroom() as (broker, _):
        await send(broker, "1")
        await tell(broker, "2")
        await send(broker, "3")
        await tell(broker, "4")
        assert await found(broker) == ["1", "2", "3", "4"]
        assert await found(broker, count=2) == ["1", "2", "3", "4"]
        assert await found(broker, count=1) == ["3", "4"]
        assert await found(broker, count=1) == ["4"]
        assert await found(broker) == []


async def test_neither_the_cap_nor_the_time_of_queues_counts_it() -> None:
    async with newsroom(rules={APP: Rules(queue_messages=2)}) as (broker, _):
        await tell(broker, "first")
        for number in range(4):
            await send(broker, str(number))
            await tell(broker, f"b{number}")
        assert await found(broker) == ["first", "b0", "b1", "2", "b2", "3", "b3"]


async def test_who_has_had_nothing_else_acknowledges_it() -> None:
    async with newsroom() as (broker, store):
        id = await tell(broker)
        too, other = Tray(), Tray()
        async with (
            broker.connect(app=APP, user="bob", sink=too) as session,
            broker.connect(app=APP, user="bob", sink=other),
        ):
            await settle_down()
            await session.ack(too.frames[0])
            assert [(frame.type, frame.id, frame.seq) for frame in other.frames[1:]] == [("acked", id, None)]
        assert await found(broker) == []
        with store.snapshot() as snapshot:
            row = snapshot.views.user(APP, "bob")
        assert row is not None
        assert (row.next_seq, row.acked, row.acked_through) == (1, 0, id)


async def test_an_ack_of_what_came_live() -> None:
    async with newsroom() as (broker, _):
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await tell(broker, "1")
            await send(broker, "2")
            await tell(broker, "3")
            await session.ack(tray.frames[1])
        assert await found(broker) == ["3"]


async def test_who_comes_for_the_first_time_gets_the_newest() -> None:
    async with newsroom() as (broker, _):
        await tell(broker, "old")
        id = await tell(broker, "new")
        assert await found(broker, "ann") == ["new"]
        await tell(broker, "newer")
        assert await found(broker, "ann") == ["new", "newer"]
        await delete(broker, id)
        assert await found(broker, "ann") == ["newer"]
        assert await found(broker, "cy") == ["newer"]


async def test_a_transient_one_is_for_who_is_there() -> None:
    async with newsroom() as (broker, _):
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray):
            await tell(broker, transient=True)
        assert [(frame.queued, frame.seq) for frame in tray.frames] == [(False, None)]
        assert await found(broker) == []
        assert await broker.ask(FindBroadcasts(app=APP)) == ()


async def test_a_change_is_for_who_has_not_received_it() -> None:
    async with newsroom() as (broker, _):
        tray = Tray()
        async with broker.connect(app=APP, user="ann", sink=tray):
            first, second = await tell(broker, "one"), await tell(broker, "two")
            await edit(broker, first, "uno")
            await delete(broker, second)
        assert tray.texts() == ["one", "two"]  # and nobody told her more
        assert await found(broker) == ["uno"]
        assert await found(broker, "ann") == ["uno"]  # she acknowledged neither


async def test_a_change_reaches_what_a_slow_session_has_not_taken() -> None:
    async with newsroom() as (broker, _):
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            first, second = await tell(broker, "one"), await tell(broker, "two")
            third = await tell(broker, "three", transient=True)
            await edit(broker, first, "uno")
            await delete(broker, second)
            tray.room = 9
            session.resume()
            assert tray.texts() == ["uno", "three"]
            assert [frame.id for frame in tray.frames] == [first, third]
            assert [frame.type for frame in tray.frames] == ["message", "message"]
            assert tray.frames[0].by == ""


async def test_a_change_reaches_what_is_on_its_way_from_the_disk() -> None:
    async with newsroom() as (broker, _):
        first, second = await tell(broker, "one"), await tell(broker, "two")
        pages, tray = Pages(broker), Tray()
        pages.stop()
        async with broker.connect(app=APP, user="bob", sink=tray):
            await settle_down()
            assert pages.asked == 1
            await edit(broker, first, "uno")
            await delete(broker, second)
            await tell(broker, "three")
            pages.go()
            await settle_down()
            assert tray.texts() == ["uno", "three"]


async def test_a_session_too_slow_for_them_reads_on_from_disk() -> None:
    async with newsroom() as (broker, _):
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            for number in range(200):
                await tell(broker, f"{number}".ljust(20_000))
                await send(broker, f"m{number}")
            tray.room = 1_000
            session.resume()
            await settle_down()
            expected = [text for number in range(200) for text in (str(number), f"m{number}")]
            assert [text.strip() for text in tray.texts()] == expected


async def test_until_when_is_asked_of_the_wall_clock_at_each_reading(autojump_clock: MockClock) -> None:
    clock = HandClock()
    async with newsroom(clock=clock) as (broker, _):
        await tell(broker, "brief", valid_until_ms=UnixMs(START_MS + 60_000))
        await tell(broker, "long")
        assert await found(broker) == ["brief", "long"]
        clock.jump(60_000)
        assert await found(broker) == ["long"]
        assert [message.body for message in await broker.ask(FindBroadcasts(app=APP))] == [b"long"]
        clock.jump(-60_000)
        assert await found(broker) == ["brief", "long"]
        with pytest.raises(InvalidCommand):
            await tell(broker, valid_until_ms=START_MS)


async def test_those_that_are_valid_are_found_the_newest_first() -> None:
    other = service("weather")
    async with newsroom() as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=other))
        until = UnixMs(4_000_000_000_000)
        ids = [
            await tell(broker, f"{n}", conversation=(NEWS, other)[n % 3 == 2], valid_until_ms=(None, until)[n % 2])
            for n in range(7)
        ]
        await edit(broker, ids[3], "three")
        await delete(broker, ids[6])
        everything = await broker.ask(FindBroadcasts(app=APP))
        assert [message.id for message in everything] == ids[5::-1]
        assert [message.body for message in everything] == [b"5", b"4", b"three", b"2", b"1", b"0"]
        assert [message.valid_until_ms for message in everything] == [until, None, until, None, until, None]
        assert [(m.conversation, m.sender, m.via) for m in everything[:2]] == [
            (other, "desk", "embedded"),
            (NEWS, "desk", "embedded"),
        ]
        for query, expected in (
            (FindBroadcasts(app=APP, conversation=NEWS), [4, 3, 1, 0]),
            (FindBroadcasts(app=APP, conversation=NEWS, offset=1, limit=2), [3, 1]),
            (FindBroadcasts(app=APP, conversation=service("nobody's")), []),
            (FindBroadcasts(app="other"), []),
        ):
            assert [message.id for message in await broker.ask(query)] == [ids[n] for n in expected]
        for wrong in ({"offset": -1}, {"limit": 0}, {"limit": 1_001}, {"conversation": service("")}):
            with pytest.raises(InvalidCommand):
                await broker.ask(FindBroadcasts(app=APP, **wrong))  # type: ignore[arg-type]
        assert await broker.ask(FindMessages(app=APP, everything=True)) == ()


async def test_the_sweeper_forgets_what_is_over(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    rules = {APP: Rules(history_ttl_ms=1_000)}
    async with newsroom(store, clock=HandClock(), rules=rules) as (broker, _):
        await tell(broker, "brief", valid_until_ms=UnixMs(START_MS + 60_000))
        await tell(broker, "long")
        await trio.sleep(7_200)
        await settle_down()
        with store.snapshot() as snapshot:
            assert len(list(snapshot.views.broadcasts(APP))) == 1
        assert await found(broker) == ["long"]


async def test_on_disk_and_over_a_restart(tmp_path: Path) -> None:
    quota = Quota(name="broadcasts", per_day=3)
    async with open_broker(tmp_path / "data") as broker:
        await broker.submit(CreateConversation(app=APP, conversation=NEWS))
        async with broker.connect(app=APP, user="bob") as bob:
            for text in ("one", "two"):
                await tell(broker, text, quota=quota)
            assert texts(await take(bob, 2)) == ["one", "two"]
    async with open_broker(tmp_path / "data") as broker:
        await edit(broker, (await broker.ask(FindBroadcasts(app=APP)))[0].id, "dos")
        await tell(broker, "three", quota=quota)
        with pytest.raises(QuotaExceeded):
            await tell(broker, "four", quota=quota)
        async with broker.connect(app=APP, user="bob") as bob:
            assert bob.welcome.queued == 3
            frames = await take(bob, 3)
            assert texts(frames) == ["one", "dos", "three"]
            await bob.ack(frames[1])
    assert verify(tmp_path / "data", progress=lambda _: None).problems == ()
    async with open_broker(tmp_path / "data") as broker, broker.connect(app=APP, user="bob") as bob:
        assert texts(await take(bob, 1)) == ["three"]
    store = LmdbStore(tmp_path / "data")
    assert_sound(store)
    store.close()
