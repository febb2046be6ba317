"""Sessions slower than what comes: a bounded memory, queued frames from disk, the rest dropped, counted and told."""

from random import Random

import pytest
import trio

from postroom.core import Broker, Delivery, Options
from postroom.core.limits import BODY_BYTES_MAX, FRAME_OVERHEAD_BYTES, PAGE_BYTES, PAGE_ENTRIES
from postroom.core.model import LANES
from postroom.core.runtime.buffer import frame_bytes
from tests.support.office import Pages, Tray, open_office, queue, send, send_all, settle_down, texts

SMALL = Options(session_buffer_bytes=PAGE_BYTES)
"""The least there may be."""
PAGE_BYTES_MOST = PAGE_BYTES + BODY_BYTES_MAX + (PAGE_ENTRIES + 1) * FRAME_OVERHEAD_BYTES
"""A page ends with the entry that passes its bound."""


def held(broker: Broker) -> int:
    """Bytes in the buffers of all sessions."""
    return sum(session._buffer.bytes for session in broker._fanout.sessions())


async def empty(tray: Tray) -> None:
    """It has room again, one frame at a time."""
    assert tray.session is not None
    while True:
        before = len(tray.frames)
        tray.room = 1
        tray.session.resume()
        await settle_down()
        if len(tray.frames) == before:
            return


def queued(frames: list[Delivery]) -> list[str]:
    """The texts of the queued ones."""
    return [text[:4] for text in texts([frame for frame in frames if frame.queued])]


def numbers(count: int, size: int = 0) -> list[str]:
    return [f"{number:04}" + "x" * size for number in range(count)]


async def test_a_session_that_falls_behind_reads_on_from_disk() -> None:
    async with open_office(options=SMALL) as (broker, _):
        tray = Tray(room=0)
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            for text in numbers(150, 10_000):
                await send(broker, text)
                assert held(broker) <= PAGE_BYTES
            assert tray.session._buffer.reading
            await empty(tray)
            assert queued(tray.frames) == [text[:4] for text in numbers(150)]
            assert not tray.session._buffer.reading
            await send(broker, "live")
            await empty(tray)
            assert tray.texts()[-1] == "live"


async def test_it_may_fall_behind_again_and_again() -> None:
    async with open_office(options=SMALL) as (broker, _):
        tray, expected = Tray(room=0), []
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            for turn in range(5):
                many = [f"{turn}{text[1:]}" for text in numbers(30, 20_000)]
                expected += [text[:4] for text in many]
                await send_all(broker, many)
                await empty(tray)
                assert held(broker) == 0
            assert queued(tray.frames) == expected


async def test_unqueued_frames_that_came_while_it_reads_do_not_block_the_reading() -> None:
    """They wait for the pages to get to their place, so the pages must not wait for them."""
    async with open_office(options=SMALL) as (broker, _):
        await send_all(broker, numbers(100, 10_000))
        tray, pages = Tray(room=0), Pages(broker)
        pages.stop()
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            await send(broker, "typing", queue=False)
            assert held(broker) > 0
            pages.go()
            await empty(tray)
            assert queued(tray.frames) == [text[:4] for text in numbers(100)]
            seen = [frame for frame in tray.frames if not frame.queued]
            assert sum(frame.count or 1 for frame in seen) == 1


async def test_a_buffer_full_of_unqueued_frames_does_not_block_the_reading_either() -> None:
    async with open_office() as (broker, _):
        await send_all(broker, numbers(200, 10_000))
        tray = Tray(room=0)
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            await settle_down()
            for number in range(60):
                await send(broker, f"{number}" + "x" * 16_000, queue=False)
            await empty(tray)
            assert queued(tray.frames) == [text[:4] for text in numbers(200)]
            unqueued = [frame for frame in tray.frames if not frame.queued and frame.type == "message"]
            dropped = sum(frame.count for frame in tray.frames)
            assert len(unqueued) + dropped == 60
            assert unqueued == sorted(unqueued, key=lambda frame: frame.position)


async def test_unqueued_frames_are_dropped_lowest_lane_first_counted_and_told() -> None:
    async with open_office(options=SMALL) as (broker, _):
        tray = Tray(room=0)
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            for number, lane in enumerate(("low", "low", "normal", "high", "normal", "high", "low")):
                await send(broker, f"{number}" + "x" * 100_000, queue=False, lane=lane)
            assert held(broker) <= PAGE_BYTES
            assert broker.statistics().session_dropped == {"demo": 5}
            await empty(tray)
            assert [text[0] for text in tray.texts()] == ["d", "3", "5"]
            assert (tray.frames[0].type, tray.frames[0].count) == ("dropped", 5)
            await send(broker, "7", queue=False)
            await empty(tray)
            assert tray.texts()[-1] == "7"
            assert broker.statistics().session_dropped == {"demo": 5}


async def test_what_is_dropped_counts_even_if_nobody_is_ever_told() -> None:
    async with open_office(options=SMALL) as (broker, _):
        async with broker.connect(app="demo", user="bob", sink=Tray(room=0)):
            for _ in range(10):
                await send(broker, "x" * 100_000, queue=False)
        assert broker.statistics().session_dropped == {"demo": 8}


async def test_queued_messages_are_never_dropped_for_a_session() -> None:
    async with open_office(options=SMALL) as (broker, store):
        tray = Tray(room=0)
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            await send_all(broker, numbers(50, 50_000))
            assert broker.statistics().session_dropped == {}
            await empty(tray)
            await tray.session.ack(tray.frames[-1])
        assert queue(store) == []


@pytest.mark.parametrize("seed", range(10))
async def test_anything_at_all_stays_within_the_budget_and_comes_in_order(seed: int) -> None:
    random = Random(seed)
    budget = random.choice([PAGE_BYTES, 2 * PAGE_BYTES, 4 * PAGE_BYTES])
    async with open_office(options=Options(session_buffer_bytes=budget)) as (broker, _):
        tray, sent, unqueued = Tray(room=0), [], 0
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            for number in range(150):
                text = f"{number:04}" + "x" * random.choice([0, 100, 10_000, 100_000, BODY_BYTES_MAX - 4])
                is_queued = random.random() < 0.5
                sender, lane = random.choice(["ann", "cy"]), random.choice(LANES)
                await send(broker, text, queue=is_queued, lane=lane, sender=sender)
                sent += [text[:4]] if is_queued else []
                unqueued += not is_queued
                most = max(budget, budget - PAGE_BYTES + PAGE_BYTES_MOST)
                assert held(broker) <= most
                if random.random() < 0.3:
                    tray.room = random.randrange(4)
                    tray.session.resume()
                if random.random() < 0.2:
                    await settle_down()
                    assert held(broker) <= most
            await empty(tray)
            assert held(broker) == 0
        assert queued(tray.frames) == sent
        others = [frame for frame in tray.frames if not frame.queued]
        assert sum(frame.count or 1 for frame in others) == unqueued
        assert sum(frame.count for frame in others) == broker.statistics().session_dropped.get("demo", 0)
        for lane in LANES:
            for sender in ("ann", "cy"):
                # Within a conversation and lane nothing unqueued overtakes what was queued before it.
                of = [frame for frame in tray.frames if (frame.lane, frame.sender) == (lane, sender)]
                newest = 0
                for frame in of:
                    if not frame.queued:
                        later = [other.position for other in of[of.index(frame) :] if other.queued]
                        assert all(position > frame.position for position in later)
                        assert frame.position > newest
                        newest = frame.position


async def test_a_thousand_sessions_that_never_read_slow_nobody() -> None:
    users, each, size = 1_000, 20, 20_000
    async with open_office(options=SMALL) as (broker, _), trio.open_nursery() as nursery:
        logged_in = 0

        async def sleep(user: str) -> None:
            nonlocal logged_in
            sink = Tray(room=0) if int(user) % 2 else None  # an iterator that nobody iterates is a session, too
            async with broker.connect(app="demo", user=user, sink=sink):
                logged_in += 1
                await trio.sleep_forever()

        for number in range(users):
            nursery.start_soon(sleep, str(number))
        await settle_down()
        assert logged_in == users

        got: list[Delivery] = []

        async def read() -> None:
            async with broker.connect(app="demo", user="awake") as session:
                async for frame in session:
                    got.append(frame)

        nursery.start_soon(read)
        await settle_down()
        body = "x" * size
        for number in range(each):
            for user in range(0, users, 50):
                await send(broker, body, to=str(user), queue=number % 2 == 0)
            for user in range(users):
                await send(broker, "hi", to=str(user), queue=number % 2 == 0) if number < 2 else None
            await send(broker, f"{number}", to="awake", queue=number % 2 == 0)
            await settle_down()
            assert len(got) == number + 1
        assert texts(got) == [str(number) for number in range(each)]
        assert held(broker) <= users * PAGE_BYTES
        slow = [session for session in broker._fanout.sessions() if session.user != "awake"]
        assert max(session._buffer.bytes for session in slow) <= PAGE_BYTES
        assert broker.statistics().totals["demo"].queued == each // 2 * (users // 50 + 1) + users
        assert broker.statistics().session_dropped["demo"] > 0
        nursery.cancel_scope.cancel()


async def test_many_sessions_that_fell_behind_catch_up_a_few_at_a_time() -> None:
    async with open_office(options=SMALL) as (broker, _), trio.open_nursery() as nursery:
        trays = [Tray(room=0) for _ in range(40)]

        async def hold(tray: Tray) -> None:
            async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
                await trio.sleep_forever()

        for tray in trays:
            nursery.start_soon(hold, tray)
        await settle_down()
        await send_all(broker, numbers(40, 20_000))
        for tray in trays:
            tray.room = 1_000
            assert tray.session is not None
            tray.session.resume()
        await settle_down()
        assert all(queued(tray.frames) == numbers(40) for tray in trays)
        nursery.cancel_scope.cancel()


def test_an_empty_frame_costs_something() -> None:
    """Or a session could hold any number of them."""
    assert frame_bytes(Delivery(type="message")) >= 256
