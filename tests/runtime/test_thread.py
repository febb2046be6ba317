"""The broker from synchronous code and from asyncio."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from postroom.core import BrokerThread, Options, Receipt, Refusal, StorageFailure
from postroom.core.errors import InvalidCommand, StoreInUse, UnknownApp, UnknownFormat, UnknownId
from postroom.core.ids import MessageId
from postroom.core.limits import SESSIONS_PER_USER_MAX
from postroom.core.model import LANES, Lane, Rules
from postroom.core.runtime.thread import SessionThread
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from tests.support.faulty import FaultyStore
from tests.support.office import assert_sound, message, queue

LONG = 20
"""Seconds after which a future that never ends is a failed test."""


@pytest.fixture(autouse=True)
def no_thread_stays() -> Any:
    """Whatever happened, the thread is gone when the block is left."""
    yield
    stay = [thread for thread in threading.enumerate() if thread.name == "postroom-broker"]
    for thread in stay:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in stay)


def connect(broker: BrokerThread, user: str = "bob") -> SessionThread:
    return broker.connect(app="demo", user=user)


# Synchronous code.


def test_send_receive_acknowledge(tmp_path: Path) -> None:
    with BrokerThread(tmp_path) as broker:
        receipts = [broker.submit(message(f"{number}")).result(LONG) for number in range(3)]
        with connect(broker) as session:
            assert (session.welcome.queued, session.welcome.missed) == (3, 0)
            seen = []
            for delivery in session:
                seen.append(delivery)
                if len(seen) == 3:
                    break
            assert [delivery.id for delivery in seen] == [receipt.id for receipt in receipts]
            assert [delivery.body for delivery in seen] == [b"0", b"1", b"2"]
            session.ack(seen[1]).result(LONG)
            session.ack_id(seen[2].id).result(LONG)
        assert broker.statistics().result(LONG).totals["demo"].acked == 3
    store = LmdbStore(tmp_path)
    assert_sound(store)
    assert queue(store) == []
    store.close()


@pytest.mark.parametrize("lane", LANES)
def test_what_one_thread_submits_keeps_its_order(lane: Lane) -> None:
    """Also without waiting for each answer, and mixed with many at once."""
    store = MemoryStore()
    with BrokerThread(store) as broker:
        futures: list[Future[Any]] = []
        for number in range(0, 190, 5):
            futures += [broker.submit(message(f"{number + part}", lane=lane)) for part in range(3)]
            futures.append(broker.submit_many([message(f"{number + part}", lane=lane) for part in (3, 4)]))
        for future in futures:
            future.result(LONG)
    assert queue(store) == [str(number) for number in range(190)]


def test_refusals_are_the_futures(tmp_path: Path) -> None:
    with BrokerThread(MemoryStore(), rules={"demo": Rules()}) as broker:
        with pytest.raises(InvalidCommand):
            broker.submit(message(sender="")).result(LONG)
        with pytest.raises(UnknownApp):
            broker.submit(message(app="other")).result(LONG)
        outcomes = broker.submit_many([message("0"), message(sender=""), message("1")]).result(LONG)
        assert [type(outcome) for outcome in outcomes] == [Receipt, InvalidCommand, Receipt]
        assert broker.submit_many([]).result(LONG) == []
        with pytest.raises(UnknownApp), broker.connect(app="other", user="bob"):
            pass
        with connect(broker) as session:
            with pytest.raises(UnknownId):
                session.ack_id(MessageId(1)).result(LONG)
            assert session.receive().result(LONG).body == b"0"


def test_every_session_that_does_not_open_says_why() -> None:
    with BrokerThread(MemoryStore()) as broker:
        sessions = [connect(broker).__enter__() for _ in range(SESSIONS_PER_USER_MAX)]
        with pytest.raises(Refusal, match="sessions open"), connect(broker):
            pass
        with pytest.raises(InvalidCommand), connect(broker, ""):
            pass
        for session in sessions:
            session.close().result(LONG)
        with connect(broker):
            pass


def test_waiting_for_an_ack() -> None:
    with BrokerThread(MemoryStore()) as broker:
        assert broker.submit(message(wait_ack_ms=60_000)).result(LONG).confirmation == "offline"
        with connect(broker) as session:
            session.receive().result(LONG)
            waiting = broker.submit(message("1", wait_ack_ms=60_000))
            session.ack(session.receive().result(LONG)).result(LONG)
            assert waiting.result(LONG).confirmation == "delivered"


def test_leaving_a_session_logs_it_out() -> None:
    with BrokerThread(MemoryStore()) as broker:
        with connect(broker):
            assert broker.statistics().result(LONG).sessions == {"demo": 1}
        assert broker.statistics().result(LONG).sessions == {"demo": 0}
        assert broker.submit(message(wait_ack_ms=60_000)).result(LONG).confirmation == "offline"


def test_a_session_may_be_closed_twice_and_before_its_block_ends() -> None:
    with BrokerThread(MemoryStore()) as broker, connect(broker) as session:
        session.close().result(LONG)
        session.close().result(LONG)
        assert list(session) == []


def test_leaving_a_session_ends_a_wait_for_its_next_frame() -> None:
    with BrokerThread(MemoryStore()) as broker:
        with connect(broker) as session:
            waiting = session.receive()
        with pytest.raises(StopAsyncIteration):
            waiting.result(LONG)


def test_another_thread_that_iterates_stops_with_the_session() -> None:
    seen: list[bytes] = []

    def iterate(session: SessionThread) -> None:
        seen.extend(delivery.body for delivery in session)

    with BrokerThread(MemoryStore()) as broker, ThreadPoolExecutor() as pool:
        with connect(broker) as session:
            running = pool.submit(iterate, session)
            broker.submit(message("0", wait_ack_ms=1)).result(LONG)
        running.result(LONG)
    assert seen in ([], [b"0"])


# Leaving.


def test_leaving_carries_out_what_was_taken() -> None:
    store = MemoryStore()
    with BrokerThread(store) as broker:
        futures = [broker.submit(message(f"{number}")) for number in range(200)]
    outcomes = [future.exception(LONG) or future.result() for future in futures]
    answered = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert len(queue(store)) == min(200, len(answered))
    assert {type(outcome) for outcome in outcomes} <= {Receipt, StorageFailure}
    assert_sound(store)


def test_leaving_ends_waits_iterations_and_sessions() -> None:
    store = MemoryStore()
    with BrokerThread(store) as broker:
        session = connect(broker).__enter__()
        waiting = broker.submit(message("0", wait_ack_ms=60_000))
        session.receive().result(LONG)
        frame = session.receive()
    assert waiting.result(LONG).confirmation in ("timeout", "offline")
    with pytest.raises(StopAsyncIteration):
        frame.result(LONG)
    with pytest.raises(StorageFailure):
        next(session)
    session.close().result(LONG)
    assert queue(store) == ["0"]


def test_after_the_block_everything_is_a_storage_failure() -> None:
    with BrokerThread(MemoryStore()) as broker, connect(broker) as session:
        pass
    calls: list[Callable[[], Future[Any]]] = [
        lambda: broker.submit(message()),
        lambda: broker.submit_many([message()]),
        broker.statistics,
        session.receive,
        lambda: session.ack_id(MessageId(1)),
    ]
    for call in calls:
        with pytest.raises(StorageFailure):
            call().result(LONG)
    with pytest.raises(StorageFailure), connect(broker):
        pass


def test_an_error_in_the_block_comes_out_and_what_was_taken_is_kept(tmp_path: Path) -> None:
    def work() -> None:
        with BrokerThread(tmp_path) as broker:
            broker.submit(message("0")).result(LONG)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with BrokerThread(tmp_path) as broker, connect(broker) as session:
        assert session.welcome.queued == 1


def test_threads_that_go_on_submitting_while_the_block_ends() -> None:
    """Each future ends, and says what is so."""
    store = MemoryStore()
    outcomes: list[list[Any]] = [[], []]
    started = threading.Barrier(3)

    def submit(number: int) -> None:
        started.wait(LONG)
        while True:
            future = broker.submit(message(f"{len(outcomes[number])}", f"user{number}"))
            error = future.exception(LONG)
            outcomes[number].append(error or future.result())
            if isinstance(error, StorageFailure):
                return

    with ThreadPoolExecutor() as pool:
        with BrokerThread(store) as broker:
            running = [pool.submit(submit, number) for number in range(2)]
            started.wait(LONG)
            broker.submit(message()).result(LONG)
        for thread in running:
            thread.result(LONG)
    for number, mine in enumerate(outcomes):
        answered = [outcome for outcome in mine if isinstance(outcome, Receipt)]
        with store.snapshot() as snapshot:
            row = list(snapshot.views.entries("demo", f"user{number}"))
        assert [entry.position for entry in row] == [receipt.id for receipt in answered][-200:]
    assert_sound(store)


def test_connecting_while_the_block_ends() -> None:
    """Nobody waits for ever for a session that will not open."""
    results: list[str] = []
    started = threading.Event()

    def log_in() -> None:
        while True:
            try:
                with connect(broker):
                    started.set()
            except (Refusal, StorageFailure) as error:
                results.append(type(error).__name__)
                return

    with ThreadPoolExecutor() as pool:
        with BrokerThread(MemoryStore()) as broker:
            running = [pool.submit(log_in) for _ in range(3)]
            assert started.wait(LONG)
        for thread in running:
            thread.result(LONG)
    assert len(results) == 3


def test_calls_while_the_store_is_being_closed() -> None:
    """The loop is there but takes nothing any more."""
    closing, go = threading.Event(), threading.Event()
    store = FaultyStore(MemoryStore())

    def close() -> None:
        closing.set()
        assert go.wait(LONG)

    store.hooks["close"] = close
    errors: list[BaseException | None] = []
    broker = BrokerThread(store)

    def leave() -> None:
        with broker:
            pass

    with ThreadPoolExecutor() as pool:
        leaving = pool.submit(leave)
        assert closing.wait(LONG)
        late = [broker.submit(message()), broker.submit_many([message()]), broker.statistics()]
        go.set()
        leaving.result(LONG)
        errors = [future.exception(LONG) for future in late]
    assert all(isinstance(error, StorageFailure) for error in errors)


def test_a_future_cancelled_in_time_sends_nothing() -> None:
    store = MemoryStore()
    with BrokerThread(store) as broker:
        futures = [broker.submit(message(f"{number}")) for number in range(50)]
        cancelled = {number for number, future in enumerate(futures) if future.cancel()}
        for number, future in enumerate(futures):
            if number in cancelled:
                with pytest.raises(CancelledError):
                    future.result(LONG)
            else:
                future.result(LONG)
    assert queue(store) == [str(number) for number in range(50) if number not in cancelled]


# Several threads.


def test_two_threads_at_once(tmp_path: Path) -> None:
    count = 100

    def sender(name: str) -> None:
        for number in range(count):
            receipt = broker.submit(message(f"{name}{number}", sender=name, dedup=f"{number}")).result(LONG)
            again = broker.submit(message(f"{name}{number}", sender=name, dedup=f"{number}")).result(LONG)
            assert (again.id, again.duplicate) == (receipt.id, True)

    def receiver() -> list[int]:
        with connect(broker) as session:
            frames = []
            for delivery in session:
                frames.append(delivery)
                if len(frames) % 10 == 0:
                    session.ack(delivery)
                if len(frames) == 2 * count:
                    session.ack(delivery).result(LONG)
                    return [frame.seq or 0 for frame in frames]
        return []

    with BrokerThread(tmp_path) as broker, ThreadPoolExecutor() as pool:
        receiving = pool.submit(receiver)
        for sending in [pool.submit(sender, name) for name in "ab"]:
            sending.result(LONG)
        assert receiving.result(LONG) == list(range(1, 2 * count + 1))
        totals = broker.statistics().result(LONG).totals["demo"]
        assert (totals.accepted, totals.acked, totals.queued) == (2 * count, 2 * count, 0)


# The machine.


@pytest.mark.parametrize("place", ["begin", "put", "before", "after", "room"])
def test_a_store_that_fails(tmp_path: Path, place: Any) -> None:
    store = FaultyStore(LmdbStore(tmp_path))
    sessions, futures = [], list[Future[Any]]()

    def work() -> None:
        with BrokerThread(store) as broker:
            sessions.append(connect(broker).__enter__())
            futures.append(sessions[0].receive())
            broker.submit(message("0", "cy")).result(LONG)
            store.fail(place)
            futures.append(broker.submit(message("1", "cy")))
            futures.append(broker.submit_many([message("2", "cy")]))
            for future in futures:
                assert isinstance(future.exception(LONG), StorageFailure)
            with pytest.raises(StorageFailure):
                broker.submit(message("3", "cy")).result(LONG)
            with pytest.raises(StorageFailure):
                next(sessions[0])
            with pytest.raises(StorageFailure), connect(broker, "dan"):
                pass
            sessions[0].close().result(LONG)

    with pytest.raises(StorageFailure, match="the disk failed"):
        work()
    with BrokerThread(tmp_path) as broker:
        broker.submit(message("4", "cy")).result(LONG)
    store = LmdbStore(tmp_path)
    assert queue(store, "cy") in (["0", "4"], ["0", "1", "4"], ["0", "1", "2", "4"], ["0", "2", "4"])
    assert_sound(store)
    store.close()


def test_the_error_of_the_block_is_not_hidden_by_the_stores() -> None:
    store = FaultyStore(MemoryStore())

    def work() -> None:
        with BrokerThread(store) as broker:
            store.fail("before")
            broker.submit(message()).exception(LONG)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_a_directory_in_use(tmp_path: Path) -> None:
    with BrokerThread(tmp_path) as broker:
        with pytest.raises(StoreInUse), BrokerThread(tmp_path):
            pass
        broker.submit(message()).result(LONG)
    with BrokerThread(tmp_path):
        pass


def test_a_directory_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailure), BrokerThread(tmp_path / "file"):
        pass
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1_000)
    with pytest.raises((StorageFailure, UnknownFormat)), BrokerThread(tmp_path):
        pass


def test_a_store_that_fails_at_the_start() -> None:
    for place in ("snapshot", "room", "before"):
        store = FaultyStore(MemoryStore())
        store.fail(place, StorageFailure("EIO"))
        with pytest.raises(StorageFailure, match="EIO"), BrokerThread(store):
            pass
        assert store.closed


# asyncio.


def test_from_asyncio(tmp_path: Path) -> None:
    async def main() -> list[bytes]:
        with BrokerThread(tmp_path) as broker:
            sent = [asyncio.wrap_future(broker.submit(message(f"{number}"))) for number in range(50)]
            receipts = await asyncio.gather(*sent)
            assert len({receipt.id for receipt in receipts}) == 50
            with pytest.raises(InvalidCommand):
                await asyncio.wrap_future(broker.submit(message(sender="")))
            outcomes = await asyncio.wrap_future(broker.submit_many([message("50"), message(sender="")]))
            assert [type(outcome) for outcome in outcomes] == [Receipt, InvalidCommand]
            with connect(broker) as session:
                seen = []
                while len(seen) < 51:
                    seen.append(await asyncio.wrap_future(session.receive()))
                await asyncio.wrap_future(session.ack(seen[-1]))
                return [delivery.body for delivery in seen]

    bodies = asyncio.run(main())
    assert sorted(bodies[:50], key=int) == [str(number).encode() for number in range(50)]
    assert bodies[50] == b"50"
    store = LmdbStore(tmp_path)
    assert queue(store) == []
    store.close()


def test_a_receive_that_asyncio_gave_up_loses_no_frame() -> None:
    async def main() -> None:
        with BrokerThread(MemoryStore()) as broker, connect(broker) as session:
            for number in range(20):
                for _ in range(number % 3):
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(asyncio.wrap_future(session.receive()), 0.001)
                await asyncio.wrap_future(broker.submit(message(f"{number}")))
                frame = await asyncio.wrap_future(session.receive())
                assert frame.body == f"{number}".encode()

    asyncio.run(main())


def test_an_interrupted_iteration_loses_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C while it waits for the next frame."""
    with BrokerThread(MemoryStore()) as broker, connect(broker) as session:
        result = Future.result

        def interrupted(self: Future[Any], timeout: float | None = None) -> Any:
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(Future, "result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(session)
        assert Future.result is result
        broker.submit(message("0")).result(LONG)
        assert next(session).body == b"0"


def test_the_loop_of_asyncio_is_not_held_up_by_a_commit() -> None:
    """Futures, not calls: while one commit stands still, the loop goes on."""
    go = threading.Event()
    store = FaultyStore(MemoryStore())

    async def main() -> None:
        with BrokerThread(store) as broker:
            await asyncio.wrap_future(broker.submit(message("0")))
            store.hooks["before"] = lambda: go.wait(LONG)
            sending = asyncio.wrap_future(broker.submit(message("1")))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not sending.done()
            store.hooks.clear()
            go.set()
            await sending

    asyncio.run(main())
    assert queue(store.inner) == ["0", "1"]


def test_options_and_rules_are_the_brokers() -> None:
    store = MemoryStore()
    rules = {"demo": Rules(queue_messages=2)}
    with BrokerThread(store, rules=rules, options=Options(session_buffer_bytes=512 * 1024)) as broker:
        broker.submit_many([message(f"{number}") for number in range(5)]).result(LONG)
    assert queue(store) == ["3", "4"]
