"""A session is a cursor: what waited before its login, then what comes after; no gap, nothing twice, no reordering."""

from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from postroom.core import Broker, Delivery, EditMessage, Options, Session, open_broker
from postroom.core.limits import PAGE_BYTES, PAGE_ENTRIES
from tests.support.office import (
    Commits,
    Pages,
    Tray,
    message,
    open_office,
    send,
    send_all,
    settle_down,
    take,
    texts,
    until,
)

MANY = 3 * PAGE_ENTRIES + 7
SMALL = Options(session_buffer_bytes=PAGE_BYTES)


def numbered(count: int, start: int = 0) -> list[str]:
    return [str(number) for number in range(start, start + count)]


async def test_what_waits_comes_first_in_pages_then_what_is_new() -> None:
    async with open_office() as (broker, _):
        await send_all(broker, numbered(MANY))
        async with broker.connect(app="demo", user="bob") as session:
            assert (session.welcome.queued, session.welcome.missed) == (MANY, 0)
            frames = await take(session, 10)
            await send_all(broker, numbered(10, MANY))
            frames += await take(session, MANY)
            assert texts(frames) == numbered(MANY + 10)
            assert [frame.seq for frame in frames] == list(range(1, MANY + 11))
            assert all(frame.queued for frame in frames)


async def test_nothing_waits_and_nothing_is_read() -> None:
    async with open_office() as (broker, _):
        pages = Pages(broker)
        async with broker.connect(app="demo", user="bob") as session:
            await send(broker, "hi")
            assert texts(await take(session, 1)) == ["hi"]
        assert pages.asked == 0


async def test_events_of_the_commit_of_the_login_come_as_well_on_either_side_of_it() -> None:
    async with open_office() as (broker, _):
        commits, trays = Commits(broker), [Tray(), Tray()]
        await settle_down()
        commits.stop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, broker, "takes the writer")
            await settle_down()

            async def hold(tray: Tray) -> None:
                async with broker.connect(app="demo", user="bob", sink=tray):
                    await trio.sleep_forever()

            # One batch: high goes first, in this order: login, message, login, message.
            for tray, text in zip(trays, ("one", "two"), strict=True):
                nursery.start_soon(hold, tray)
                await settle_down()
                nursery.start_soon(lambda text=text: send(broker, text, lane="high"))
                await settle_down()
            before = broker.statistics().batch_commands.count
            commits.go()
            await settle_down()
            assert broker.statistics().batch_commands.count == before + 2  # what took the writer, and the four at once
            for tray in trays:
                assert tray.texts() == ["takes the writer", "one", "two"]
                assert [frame.seq for frame in tray.frames] == [1, 2, 3]
            nursery.cancel_scope.cancel()


async def test_a_message_committed_after_the_page_was_read_comes_once() -> None:
    async with open_office() as (broker, _):
        await send_all(broker, numbered(3))
        pages, tray = Pages(broker), Tray()
        pages.stop()
        async with broker.connect(app="demo", user="bob", sink=tray):
            await settle_down()
            await send_all(broker, numbered(3, 3))
            assert tray.frames == []
            pages.go()
            await settle_down()
            assert tray.texts() == numbered(6)


async def test_a_message_read_before_its_commit_is_made_known_comes_once() -> None:
    """The snapshot of a page may be newer than what the session was told."""
    async with open_office(options=SMALL) as (broker, _):
        large = "x" * 100_000
        commits, pages, tray = Commits(broker), Pages(broker), Tray(room=0)
        async with broker.connect(app="demo", user="bob", sink=tray) as session, trio.open_nursery() as nursery:
            await send_all(broker, [large + number for number in "012"])  # falls behind
            await settle_down()
            assert pages.asked == 0
            commits.stop()
            nursery.start_soon(send_all, broker, [large + "3", large + "4"])
            await settle_down()
            tray.room = 100
            session.resume()
            await settle_down()
            assert [text[-1] for text in tray.texts()] == ["0", "1", "2", "3", "4"]
            commits.go()
            await settle_down()
            await send_all(broker, [large + "5"])
            assert [text[-1] for text in tray.texts()] == ["0", "1", "2", "3", "4", "5"]


async def test_an_edit_read_before_its_commit_is_made_known() -> None:
    """Old news neither undoes it nor is told again."""
    async with open_office(options=SMALL) as (broker, _):
        large = "x" * 200_000
        commits, tray = Commits(broker), Tray(room=0)
        async with broker.connect(app="demo", user="bob", sink=tray) as session, trio.open_nursery() as nursery:
            await send(broker, large)
            id = (await send(broker, large)).id  # falls behind
            await broker.submit(EditMessage(app="demo", id=id, by="alice", body=b"first"))
            commits.stop()
            nursery.start_soon(broker.submit, EditMessage(app="demo", id=id, by="alice", body=b"second"))
            await settle_down()
            tray.room = 100
            session.resume()
            await settle_down()
            commits.go()
            await settle_down()
            seen = [(frame.type, frame.seq, text[:9]) for frame, text in zip(tray.frames, tray.texts(), strict=True)]
            assert seen == [
                ("message", 1, "xxxxxxxxx"),
                ("message", 2, "second"),
                ("edited", 3, "second"),
                ("edited", 4, "second"),
            ]


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_sent_meanwhile_and_however_slow_it_reads(seed: int) -> None:
    """Sinks with little room, small budgets, unqueued frames in between, logins at any time."""
    random = Random(seed)
    async with open_office(options=SMALL) as (broker, _):
        expected: list[str] = []

        async def sender(broker: Broker, count: int) -> None:
            for number in range(count):
                many = [
                    f"{number}.{part}" + "x" * random.choice([0, 10, 30_000]) for part in range(random.randrange(4))
                ]
                expected.extend(many)
                await send_all(broker, many)
                if random.random() < 0.5:
                    await send(broker, "typing", queue=False, lane=random.choice(["high", "normal", "low"]))
                for _ in range(random.randrange(3)):
                    await trio.lowlevel.checkpoint()

        async def reader(late: int) -> None:
            tray = Tray(room=0)
            for _ in range(late):
                await trio.lowlevel.checkpoint()
            async with broker.connect(app="demo", user="bob", sink=tray) as session:
                while len(queued := [frame for frame in tray.frames if frame.queued]) < total or not done.is_set():
                    tray.room = random.randrange(3)
                    session.resume()
                    await trio.lowlevel.checkpoint()
                    if done.is_set():
                        await settle_down()
                assert texts(queued) == expected
                assert [frame.seq for frame in queued] == list(range(1, len(expected) + 1))

        done, total = trio.Event(), 1
        async with trio.open_nursery() as nursery:
            for late in (0, random.randrange(60), random.randrange(200)):
                nursery.start_soon(reader, late)
            await sender(broker, 40)
            total = len(expected)
            done.set()


async def test_it_holds_on_a_disk_with_threads(tmp_path: Path) -> None:
    """Many senders, and sessions that log in while they send and read one frame now and then."""
    count, senders = 40, 4
    async with open_broker(tmp_path, options=SMALL) as broker:
        got: dict[int, list[Delivery]] = {}

        async def sender(name: str) -> None:
            for number in range(count):
                await broker.submit(message(f"{name}{number}" + "x" * 8_000, sender=name, lane="high"))

        async def reader(number: int) -> None:
            await until(lambda: broker.statistics().totals["demo"].accepted >= 10 * number)
            async with broker.connect(app="demo", user="bob") as session:
                got[number] = await take(session, count * senders)

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await send(broker, "first", to="nobody")
                for number in range(4):
                    nursery.start_soon(reader, number)
                for name in "abcd":
                    nursery.start_soon(sender, name)
        for frames in got.values():
            assert [frame.seq for frame in frames] == list(range(1, count * senders + 1))
            assert [frame.position for frame in frames] == sorted(frame.position for frame in frames)


# Iterating.


async def test_a_consumer_that_is_cancelled_loses_nothing() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob") as session:
        for number in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(anext, session)
                    await settle_down()
                    if number % 2:
                        scope.cancel()  # in the same moment as the frame arrives, or before
                    await send(broker, str(number))
                    scope.cancel()
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.cancel()
                nursery.start_soon(anext, session)
        frames = await received(session)
        assert [frame for frame in frames if int(texts([frame])[0]) % 2] == frames
        assert len({frame.seq for frame in frames}) == len(frames)


async def received(session: Session) -> list[Delivery]:
    """Every frame that is there."""
    frames: list[Delivery] = []

    async def read() -> None:
        async for frame in session:
            frames.append(frame)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await settle_down()
        nursery.cancel_scope.cancel()
    return frames


async def test_every_frame_comes_although_every_other_wait_is_broken_off() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob") as session:
        got: list[Delivery] = []
        for number in range(50):
            await send(broker, str(number))
            with trio.CancelScope() as scope:
                if number % 3 == 0:
                    scope.cancel()
                got.append(await anext(session))
        got += await received(session)
        assert texts(got) == numbered(50)


async def test_a_frame_handed_over_as_its_consumer_is_cancelled_comes_next() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob") as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anext, session)
            await settle_down()
            nursery.cancel_scope.cancel()
            session.offer(Delivery(type="message", body=b"after it"))
        assert texts(await received(session)) == ["after it"]


async def test_one_task_at_a_time() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob") as session:
        got: list[Delivery] = []

        async def read() -> None:
            got.append(await anext(session))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await settle_down()
            with pytest.raises(trio.BusyResourceError):
                await anext(session)
            await send(broker, "hi")
        assert texts(got) == ["hi"]


async def test_shutdown_ends_the_iteration() -> None:
    ended: list[str] = []

    async with trio.open_nursery() as nursery, open_office() as (broker, _):

        async def read(user: str) -> None:
            async with broker.connect(app="demo", user=user) as session:
                async for frame in session:
                    await session.ack(frame)
                ended.append(user)

        for user in ("bob", "cy"):
            nursery.start_soon(read, user)
        await send(broker, "hi")
        await settle_down()
    assert sorted(ended) == ["bob", "cy"]


async def test_closed_sessions_stay_closed() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob") as session:
        broker.close_sessions()
        await send(broker, "hi")
        for _ in range(3):
            with pytest.raises(StopAsyncIteration):
                await anext(session)
