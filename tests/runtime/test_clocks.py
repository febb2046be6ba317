"""Time: jumps of the wall clock expire nothing, real time does; ids rise; what is over is swept; the log is trimmed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from postroom.core import Broker, Options, StorageFailure
from postroom.core.events import DedupExpired, LoggedIn, LoggedOut, MessageSent, QueueExpired
from postroom.core.expiry import CATCH_UP, DAY_MS
from postroom.core.ids import ExpiryMs, MonotonicMs, UnixMs
from postroom.core.model import Rules
from postroom.core.runtime.clock import ExpiryClock
from postroom.core.runtime.sweeper import Sweeper
from postroom.storage.engine import BASE
from postroom.storage.memory import MemoryStore
from tests.support.faulty import FaultyStore
from tests.support.machine import START_MS
from tests.support.office import (
    HandClock,
    Tray,
    assert_sound,
    events,
    message,
    open_office,
    queue,
    run,
    send,
    send_all,
    settle_down,
)
from tests.support.rows import engine_of, rows

HOUR_S = 3600
DAY_S = 24 * HOUR_S


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store() -> MemoryStore:
    """Outlives brokers."""
    return MemoryStore()


@asynccontextmanager
async def office(store: MemoryStore, clock: HandClock, **how: Any) -> AsyncIterator[Broker]:
    """A broker by this clock; a sweep at the start, and every hour."""
    options = Options(sweep_every_s=HOUR_S, **how.pop("options", {}))
    async with open_office(store, clock=clock, options=options, **how) as (broker, _):
        await settle_down()
        yield broker


def expiry_ms(store: Any) -> int:
    """The expiry clock as of the last event."""
    with store.snapshot() as snapshot:
        return int(snapshot.views.clock_ms)


def of(kind: Any, store: Any) -> list[Any]:
    """Events of a kind."""
    return [event for event in events(store) if isinstance(event, kind)]


# Jumps.


async def test_eight_days_ahead_two_restarts_and_back_nothing_is_gone(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        await send_all(broker, ["0", "1"], dedup=None)
        await send(broker, "2", dedup="k")
    clock.jump(8 * DAY_MS)
    for number in range(2):
        async with office(store, clock) as broker:
            await trio.sleep(60)
            await send(broker, f"jumped {number}")
            async with broker.connect(app="demo", user="bob") as session:
                assert (session.welcome.queued, session.welcome.missed) == (4 + number, 0)
    clock.jump(-8 * DAY_MS)
    async with office(store, clock) as broker:
        await trio.sleep(HOUR_S + 60)
        assert (await send(broker, "2", dedup="k")).duplicate
        async with broker.connect(app="demo", user="bob") as session:
            assert (session.welcome.queued, session.welcome.missed) == (5, 0)
    assert queue(store) == ["0", "1", "2", "jumped 0", "jumped 1"]
    assert of(QueueExpired | DedupExpired, store) == []


async def test_eight_days_back_and_forth_nothing_is_gone(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        await send(broker, "0")
        clock.jump(-8 * DAY_MS)
        await send(broker, "1")
        await trio.sleep(2 * HOUR_S)
        clock.jump(16 * DAY_MS)
        await send(broker, "2")
        clock.jump(-8 * DAY_MS)
        await trio.sleep(2 * HOUR_S)
        assert queue(store) == ["0", "1", "2"]
        assert of(QueueExpired, store) == []


async def test_behind_the_wall_it_catches_up_at_sixty_times_its_pace(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        await send(broker)
        before = expiry_ms(store)
        clock.jump(8 * DAY_MS)
        await send(broker)
        assert expiry_ms(store) - before <= 1
        await trio.sleep(60)
        await send(broker)
        assert expiry_ms(store) - before == pytest.approx(CATCH_UP * 60_000, abs=100)
        await trio.sleep(8 * DAY_S / CATCH_UP + HOUR_S)
        await send(broker)
        assert expiry_ms(store) == clock.wall_ms()


async def test_ahead_of_the_wall_it_goes_at_the_pace_of_time(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        await send(broker)
        before = expiry_ms(store)
        clock.jump(-8 * DAY_MS)
        for _ in range(100):
            await trio.sleep(10)
            await send(broker)
        assert expiry_ms(store) - before == pytest.approx(1_000_000, abs=2)


async def test_downtime_is_caught_up_but_not_at_once(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    """A week off does not expire what waited, and after a while it counts."""
    rules = {"demo": Rules(queue_ttl_ms=DAY_MS)}
    async with office(store, clock, rules=rules) as broker:
        await send(broker, "old")
    await trio.sleep(7 * DAY_S)
    async with office(store, clock, rules=rules) as broker:
        assert queue(store) == ["old"]
        async with broker.connect(app="demo", user="bob") as session:
            assert session.welcome.queued == 1
        await trio.sleep(3 * HOUR_S)
        assert queue(store) == []
        assert of(QueueExpired, store) == [QueueExpired(app="demo", user="bob", count=1)]


async def test_a_restart_goes_on_from_the_log_not_from_the_wall(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        await send(broker)
    before = expiry_ms(store)
    for jump in (DAY_MS, -3 * DAY_MS):
        clock.jump(jump)
        async with office(store, clock) as broker:
            await send(broker)
        assert 0 <= expiry_ms(store) - before <= 2
    assert [record.clock_ms for record in records(store)] == sorted(record.clock_ms for record in records(store))


def records(store: Any) -> list[Any]:
    """The log."""
    with store.snapshot() as snapshot:
        return list(snapshot.log())


async def test_ids_rise_and_times_never_run_back_within_an_app(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        receipts = []
        for jump in (0, DAY_MS, -2 * DAY_MS, 1_000, -1_000, 0):
            clock.jump(jump)
            receipts += await send_all(broker, ["0", "1"])
        elsewhere = await send(broker, app="other")
    clock.jump(-30 * DAY_MS)
    async with office(store, clock) as broker:
        receipts += await send_all(broker, ["0", "1"])
    ids = [receipt.id for receipt in receipts]
    times = [receipt.at_ms for receipt in receipts]
    assert ids == sorted(set(ids))
    assert times == sorted(times)
    assert max(ids) < 1 << 53
    assert elsewhere.at_ms < times[-1]  # another app's times are its own
    assert times[-1] == times[2]


async def test_a_clock_read_often_loses_nothing() -> None:
    """Moving it on must not cost the time between two readings."""

    class Ticking:
        """Time passes whenever somebody looks."""

        now = 0

        def monotonic_ms(self) -> MonotonicMs:
            self.now += 1
            return MonotonicMs(self.now)

        def wall_ms(self) -> UnixMs:
            return UnixMs(START_MS)

    clock = Ticking()
    expiry = ExpiryClock(clock, ExpiryMs(START_MS + DAY_MS))
    began = clock.now
    for _ in range(1_000):
        expiry.move()
    assert expiry.now() - (START_MS + DAY_MS) == clock.now - began


# What is over.


async def test_messages_expire_when_their_time_has_really_passed(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        await send(broker, "0")
        await trio.sleep(3 * DAY_S)
        await send(broker, "1")
        await trio.sleep(4 * DAY_S - 60)
        async with broker.connect(app="demo", user="bob") as session:
            assert session.welcome.queued == 2
        await trio.sleep(120)
        async with broker.connect(app="demo", user="bob") as session:
            assert (session.welcome.queued, session.welcome.missed) == (1, 1)
        await trio.sleep(3 * DAY_S + HOUR_S)
        assert queue(store) == []
        assert sum(event.count for event in of(QueueExpired, store)) == 2
        assert broker.statistics().totals["demo"].expired == 2


async def test_a_session_never_gets_what_is_over_swept_or_not(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rest(_: Sweeper) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Sweeper, "run", rest)
    rules = {"demo": Rules(queue_ttl_ms=10_000)}
    async with office(store, clock, rules=rules) as broker:
        await send(broker, "0")
        await trio.sleep(6)
        await send(broker, "1")
        await trio.sleep(6)
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray):
            await settle_down()
            assert tray.texts() == ["1"]
        assert len(queue(store)) == 1  # the login accounted for the other one
        await trio.sleep(6)
        assert len(queue(store)) == 1


async def test_dedup_outcomes_are_kept_for_a_day(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock) as broker:
        first = await send(broker, "0", dedup="k")
        await trio.sleep(DAY_S - HOUR_S)
        assert (await send(broker, "0", dedup="k")).id == first.id
        await trio.sleep(2 * HOUR_S + 60)
        assert sum(event.count for event in of(DedupExpired, store)) == 1
        again = await send(broker, "0", dedup="k")
        assert not again.duplicate
        assert again.id != first.id


async def test_everything_is_swept_in_bounded_steps(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    rules = {"demo": Rules(queue_ttl_ms=1_000)}
    async with office(store, clock, rules=rules) as broker:
        await broker.submit_many([message("0", f"user{number}", dedup=f"{number}") for number in range(2_500)])
        await trio.sleep(DAY_S + 2 * HOUR_S)
        assert len(of(QueueExpired, store)) == 2_500
        swept = of(DedupExpired, store)
        assert sum(event.count for event in swept) == 2_500
        assert max(event.count for event in swept) <= 1_000
        with store.snapshot() as snapshot:
            assert list(snapshot.views.queue_owners()) == []
            assert list(snapshot.views.dedup_ends()) == []
        assert broker.statistics().totals["demo"].queued == 0


async def test_queues_of_an_app_that_is_configured_no_more_are_swept_too(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    rules = {"aaa": Rules(queue_ttl_ms=1_000), "demo": Rules(queue_ttl_ms=1_000)}
    async with office(store, clock, rules=rules) as broker:
        for app in rules:
            for number in range(5):
                await send(broker, to=f"user{number}", app=app)
    await trio.sleep(60)
    async with office(store, clock, rules={"demo": Rules()}) as broker:
        await trio.sleep(2 * HOUR_S)
        assert len(of(QueueExpired, store)) == 10
        assert broker.statistics().refusals == {}


async def test_sessions_of_a_process_that_died_are_logged_out_after_the_start(
    clock: HandClock, autojump_clock: MockClock
) -> None:
    faulty = FaultyStore(MemoryStore())
    users = 40

    async def hold(broker: Broker, user: str) -> None:
        async with broker.connect(app="demo", user=user), broker.connect(app="demo", user=user):
            await trio.sleep_forever()

    async def die(broker: Broker) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(users):
                nursery.start_soon(hold, broker, f"user{number}")
            await settle_down()
            faulty.fail("before")
            await send(broker)

    with pytest.raises(StorageFailure):
        await run(faulty, die, clock=clock)
    store = faulty.inner
    assert len(of(LoggedIn, store)) == 2 * users
    assert of(LoggedOut, store) == []
    async with office(store, clock):
        outs = of(LoggedOut, store)
        assert len(outs) == 2 * users
        assert sum(event.last for event in outs) == users
        with store.snapshot() as snapshot:
            assert list(snapshot.views.stale_sessions()) == []


async def test_a_login_before_that_logs_out_its_own_users_dead_sessions(
    clock: HandClock, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = FaultyStore(MemoryStore())

    async def die(broker: Broker) -> None:
        async with broker.connect(app="demo", user="bob"):
            faulty.fail("before")
            await send(broker)

    with pytest.raises(StorageFailure):
        await run(faulty, die, clock=clock)

    async def rest(_: Sweeper) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Sweeper, "run", rest)
    async with office(faulty.inner, clock) as broker, broker.connect(app="demo", user="bob"):
        order = [(type(event), event.app) for event in of(LoggedIn | LoggedOut, faulty.inner)]
        assert [kind for kind, _ in order] == [LoggedIn, LoggedOut, LoggedIn]
        assert of(LoggedIn, faulty.inner)[-1].first


# Trimming.


RETENTION = {"log_retention_ms": DAY_MS}


def base_position(store: Any) -> int:
    """How far the log is trimmed."""
    with store.snapshot() as snapshot:
        from postroom.storage.views import StoredViews

        return int(StoredViews(engine_of(snapshot), BASE).position)


async def test_the_log_is_trimmed_in_the_background_and_base_and_log_tell_live(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock, options=RETENTION) as broker:
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            for number in range(100):
                await send_all(broker, [f"{number}.{part}" for part in range(3)], dedup=None)
                await send(broker, "waits", to="cy", history=True, dedup=f"{number}")
                if number % 7 == 0:
                    await session.ack(tray.frames[-1])
                await trio.sleep(HOUR_S)
                assert_sound(store)
        oldest = records(store)[0].clock_ms
        assert clock.wall_ms() - oldest <= DAY_MS + 2 * HOUR_S * 1000
        assert base_position(store) > 0
    async with office(store, clock, options=RETENTION) as broker:
        assert (await send(broker, "waits", to="cy", history=True, dedup="99")).duplicate
    with store.snapshot() as snapshot:
        assert rows(engine_of(snapshot), BASE) != ([], [])


async def test_the_whole_log_may_be_trimmed(store: MemoryStore, clock: HandClock, autojump_clock: MockClock) -> None:
    async with office(store, clock, options=RETENTION) as broker:
        await send_all(broker, [str(number) for number in range(150)])
        await trio.sleep(3 * DAY_S)
        assert records(store) == []
        assert_sound(store)
    before = base_position(store)
    async with office(store, clock, options=RETENTION) as broker:
        receipt = await send(broker)
        assert receipt.id > before
        assert len(queue(store)) == 151


async def test_more_than_a_step_is_trimmed_in_several(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock, options=RETENTION) as broker:
        await broker.submit_many([message("0", f"user{number}") for number in range(3_300)])
        await trio.sleep(2 * DAY_S)
        assert len(of(MessageSent, store)) == 0
        assert broker.statistics().store.log_records < 100


async def test_trimming_goes_on_under_load(store: MemoryStore, clock: HandClock, autojump_clock: MockClock) -> None:
    async with office(store, clock, options=RETENTION) as broker:
        done = trio.Event()

        async def load() -> None:
            while not done.is_set():
                await send(broker, to="cy", queue=False)

        await broker.submit_many([message("0", f"user{number}") for number in range(2_500)])
        await trio.sleep(2 * DAY_S - 2 * HOUR_S)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(load)
            for _ in range(2_000):
                await trio.lowlevel.checkpoint()
            done.set()
        assert len([event for event in of(MessageSent, store) if event.queued]) == 0


async def test_a_jump_of_the_wall_trims_nothing(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock, options=RETENTION) as broker:
        await send(broker)
        clock.jump(30 * DAY_MS)
        await send(broker)
        await trio.sleep(60)
    async with office(store, clock, options=RETENTION) as broker:
        await send(broker)
        assert base_position(store) == 0


async def test_trimming_that_meets_a_corrupt_record_leaves_it_and_the_broker_goes_on(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with office(store, clock, options=RETENTION) as broker:
        await send_all(broker, [str(number) for number in range(10)])
        key = int(records(store)[4].position).to_bytes(8)
        with store.transaction() as transaction:
            engine = engine_of(transaction)
            value = engine.get("log", key)
            assert value is not None
            engine.put("log", key, value[:-1] + bytes([value[-1] ^ 1]))
        await trio.sleep(3 * DAY_S)
        assert "CRC mismatch" in caplog.text
        await send(broker, "still here", to="cy")
        assert queue(store, "cy") == ["still here"]
        with store.transaction() as transaction:
            engine_of(transaction).put("log", key, value)


async def test_an_oldest_record_that_is_corrupt_does_not_end_the_broker(
    store: MemoryStore, clock: HandClock, autojump_clock: MockClock
) -> None:
    async with office(store, clock, options=RETENTION) as broker:
        await send(broker)
        first = int(records(store)[0].position).to_bytes(8)
    with store.transaction() as transaction:
        engine = engine_of(transaction)
        value = engine.get("log", first)
        assert value is not None
        engine.put("log", first, b"?" + value[1:])
    async with open_office_unchecked(store, clock) as broker:
        await send(broker, "1", dedup="k")
        await trio.sleep(DAY_S + 3 * HOUR_S)
        assert queue(store) == ["hi", "1"]
    with store.transaction() as transaction:
        engine_of(transaction).put("log", first, value)
    assert len(of(DedupExpired, store)) == 1  # sweeping goes on
    assert_sound(store)


@asynccontextmanager
async def open_office_unchecked(store: MemoryStore, clock: HandClock) -> AsyncIterator[Broker]:
    """While its log cannot be read."""
    from postroom.core import open_broker

    options = Options(sweep_every_s=HOUR_S, log_retention_ms=DAY_MS)
    async with open_broker(store, clock=clock, options=options) as broker:
        yield broker
