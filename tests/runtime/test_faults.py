"""The machine fails under the broker: nobody is told what is not known, and what was told is there afterwards."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import lmdb
import pytest
import trio
import trio.testing

from postroom.core import Broker, Delivery, EditMessage, Options, Receipt, SendMessage, StorageFailure, open_broker
from postroom.core.errors import StoreInUse
from postroom.core.events import MessageSent
from postroom.core.model import LANES
from postroom.core.runtime.fanout import Fanout
from postroom.core.runtime.sweeper import Sweeper
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from tests.support.faulty import DiskError, FaultyStore, Place
from tests.support.office import (
    Commits,
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
    take,
)

PLACES: tuple[Place, ...] = ("room", "begin", "put", "before", "after")
STORES = ("memory", "lmdb")


class Disk:
    """A place that outlives brokers."""

    def __init__(self, kind: str, path: Path) -> None:
        self._path = path
        self._memory = MemoryStore() if kind == "memory" else None

    def store(self) -> FaultyStore:
        """Open it."""
        return FaultyStore(self._memory or LmdbStore(self._path))


@pytest.fixture(params=STORES)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """One of each kind."""
    return Disk(request.param, tmp_path / "data")


async def failing(call: Callable[[], Any]) -> None:
    """The broker is closed for good, and says so."""
    with pytest.raises(StorageFailure):
        await call()


@pytest.fixture
def unswept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written but what the test asks for."""

    async def rest(_: Sweeper) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Sweeper, "run", rest)


@pytest.mark.parametrize("place", PLACES)
async def test_whoever_waits_and_whoever_comes_is_told(disk: Disk, place: Place) -> None:
    store, told = disk.store(), []

    async def caller(name: str, call: Callable[[], Any]) -> None:
        await failing(call)
        told.append(name)

    async def body(broker: Broker) -> None:
        async with broker.connect(app="demo", user="bob") as session, broker.connect(app="demo", user="bob") as other:
            await send(broker, "0")
            frame = await anext(session)
            store.fail(place)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(caller, "waits for a frame", session.__anext__)
                nursery.start_soon(caller, "sends", lambda: send(broker, "1", to="cy"))
                nursery.start_soon(caller, "waits for an ack", lambda: send(broker, "1", wait_ack_ms=60_000))
                nursery.start_soon(caller, "sends many", lambda: send_all(broker, ["2", "3"], "cy"))
                nursery.start_soon(caller, "acknowledges", lambda: session.ack(frame))
                nursery.start_soon(caller, "logs in", lambda: enter(broker))
                with trio.CancelScope(shield=True):  # the body is cancelled, these are not
                    async with trio.open_nursery() as shielded:
                        shielded.start_soon(caller, "sends, shielded", lambda: send(broker, "4", to="cy"))
                        shielded.start_soon(caller, "iterates, shielded", lambda: exhaust(other))
                    for name, call in (
                        ("sends later", lambda: send(broker, "5")),
                        ("sends many later", lambda: send_all(broker, ["6"])),
                        ("acknowledges later", lambda: session.ack(frame)),
                        ("logs in later", lambda: enter(broker)),
                        ("iterates later", session.__anext__),
                    ):
                        await caller(name, call)
                    session.ack_soon(frame)
                    session.resume()
            await trio.lowlevel.checkpoint()
            raise AssertionError("the body goes on")

    with trio.fail_after(20), pytest.raises(StorageFailure) as caught:
        await run(store, body)
    assert "the disk failed" in str(caught.value)
    assert store.closed
    assert {"sends, shielded", "iterates, shielded", "sends later", "sends many later"} <= set(told)
    assert {"acknowledges later", "logs in later", "iterates later"} <= set(told)


async def enter(broker: Broker) -> None:
    async with broker.connect(app="demo", user="dan"):
        pass


async def exhaust(session: Any) -> None:
    async for _ in session:
        pass


@pytest.mark.usefixtures("unswept")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "error",
    [StorageFailure("EIO"), MemoryError(), lmdb.DiskError("EIO"), OSError(5, "EIO"), KeyboardInterrupt(), SystemExit()],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_the_machine_raises(tmp_path: Path, place: Place, error: BaseException) -> None:
    """Also what is no Exception: it is the writer's, and does not get out as itself."""
    disk = Disk("lmdb", tmp_path)
    store = disk.store()

    async def body(broker: Broker) -> None:
        await send(broker, "there")
        store.fail(place, error)
        await send(broker, "nobody knows")

    with pytest.raises(StorageFailure):
        await run(store, body)
    async with open_broker(disk.store()) as broker:
        assert (await send_all(broker, ["there again"]))[0].id
        with broker.snapshot() as snapshot:
            queued = sum(1 for _ in snapshot.views.entries("demo", "bob"))
        assert queued == 2 + (place == "after")


@pytest.mark.usefixtures("unswept")
async def test_a_fault_before_the_commit_leaves_nothing_and_one_after_it_leaves_all(disk: Disk) -> None:
    for place, expected in (("before", ["0"]), ("after", ["0", "nobody knows"])):
        store = disk.store()

        async def body(broker: Broker, store: FaultyStore = store, place: Any = place) -> None:
            await send(broker, "0", dedup="0")
            store.fail(place)
            await send(broker, "nobody knows")

        with pytest.raises(StorageFailure):
            await run(store, body)
        store = disk.store()
        assert queue(store) == expected
        store.close()


@pytest.mark.usefixtures("unswept")
async def test_a_retry_with_a_dedup_key_is_safe_either_way(disk: Disk) -> None:
    for place in ("before", "after"):
        store = disk.store()

        async def body(broker: Broker, store: FaultyStore = store, place: Any = place) -> None:
            store.fail(place)
            await send(broker, place, dedup=place)

        with pytest.raises(StorageFailure):
            await run(store, body)
        async with open_broker(disk.store()) as broker:
            receipt = await send(broker, place, dedup=place)
            assert receipt.duplicate == (place == "after")
    store = disk.store()
    assert queue(store) == ["before", "after"]
    store.close()


@pytest.mark.usefixtures("unswept")
async def test_an_ack_is_on_disk_or_comes_again(disk: Disk) -> None:
    for place, expected in (("before", ["0"]), ("after", [])):
        store = disk.store()

        async def body(broker: Broker, store: FaultyStore = store, place: Any = place) -> None:
            await send(broker, "0", dedup="0")
            async with broker.connect(app="demo", user="bob") as session:
                frame = await anext(session)
                store.fail(place)
                await session.ack(frame)

        with pytest.raises(StorageFailure):
            await run(store, body)
        store = disk.store()
        assert queue(store) == expected
        store.close()


class Told:
    """What the processes were asked, and what they answered."""

    def __init__(self) -> None:
        self.commands: dict[str, SendMessage] = {}
        self.sent: dict[str, Receipt] = {}
        self.unknown: set[str] = set()
        self.acked: set[str] = set()
        self.seen: set[str] = set()


async def live(broker: Broker, told: Told, process: int, random: Random) -> None:
    """Senders and a receiver at work until the store fails."""

    async def sender(name: str) -> None:
        for number in range(100):
            key = f"{process}-{name}-{number}"
            told.unknown.add(key)
            command = message(key, dedup=key, sender=name, lane=random.choice(LANES))
            told.commands[key] = command
            told.sent[key] = await broker.submit(command)
            told.unknown.remove(key)

    async def receiver() -> None:
        seen = set()
        async with broker.connect(app="demo", user="bob") as session:
            async for frame in session:
                seen.add(frame.body.decode())
                told.seen |= seen
                if random.random() < 0.3:
                    await session.ack(frame)
                    told.acked |= seen

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(sender, name)
        nursery.start_soon(receiver)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_was_answered_is_there_and_the_rest_at_most_once(disk: Disk, seed: int) -> None:
    """Three processes in a row whose disk fails somewhere; the fourth retries everything nobody knows of."""
    random = Random(seed)
    told = Told()
    for process in range(3):
        store = disk.store()
        place = random.choice(PLACES)
        store.fail(place, passing=random.randrange(200) if place == "put" else random.randrange(3, 25))
        with pytest.raises(StorageFailure):
            await run(store, lambda broker, process=process: live(broker, told, process, random))
        assert not store.lit
    store = disk.store()
    sent = [event.dedup for event in events(store) if isinstance(event, MessageSent)]
    assert len(set(sent)) == len(sent)
    assert set(told.sent) <= set(sent) <= set(told.sent) | told.unknown
    assert not told.acked & set(queue(store)), f"seed {seed}"
    assert told.seen <= set(sent)
    async with open_broker(store) as broker:
        for key, command in told.commands.items():
            receipt = await broker.submit(command)
            assert receipt.duplicate == (key in sent)
            assert key in told.unknown or receipt.id == told.sent[key].id
    store = disk.store()
    assert_sound(store.inner)
    store.close()


@pytest.mark.parametrize("place", ["put", "before", "after"])
async def test_a_fault_while_closing_is_told_as_well(place: Place) -> None:
    store = FaultyStore(MemoryStore())
    outcomes: list[BaseException] = []

    async def late(broker: Broker) -> None:
        try:
            await send(broker, "taken")
        except StorageFailure as failure:
            outcomes.append(failure)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def body(broker: Broker) -> None:
            await settle_down()
            commits = Commits(broker)
            commits.stop()
            for _ in range(3):
                nursery.start_soon(late, broker)
                await settle_down()
            commits.go()  # the first is taken and committed, the others are left for the drain
            store.fail(place, passing=0)

        with pytest.raises(StorageFailure):
            await run(store, body)
    assert len(outcomes) == 2
    assert trio.current_time() - began < 5  # not the deadline of the drain


async def test_a_store_that_cannot_be_closed() -> None:
    store = FaultyStore(MemoryStore())
    store.fail("close", StorageFailure("EIO"))
    with pytest.raises(StorageFailure, match="EIO"):
        await run(store, send)


@pytest.mark.parametrize("place", ["snapshot", *PLACES])
async def test_a_fault_at_the_start(disk: Disk, place: Place) -> None:
    store = disk.store()
    store.fail(place)
    with pytest.raises((StorageFailure, DiskError)) as caught:
        await run(store, send)
    assert store.closed
    assert place in str(caught.value)
    async with open_broker(disk.store()) as broker:
        await send(broker)


async def test_a_body_that_raises_as_it_is_cancelled_hides_nothing() -> None:
    store = FaultyStore(MemoryStore())

    async def stubborn(broker: Broker) -> None:
        store.fail("before")
        try:
            await send(broker)
        finally:
            raise ZeroDivisionError

    with pytest.raises(StorageFailure):
        await run(store, stubborn)


async def test_a_body_with_tasks_that_all_fail_raises_one_storage_failure() -> None:
    store = FaultyStore(MemoryStore())

    async def body(broker: Broker) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(send, broker, f"{number}")
            store.fail("before")
            nursery.start_soon(trio.sleep_forever)

    with pytest.raises(StorageFailure) as caught:
        await run(store, body)
    assert isinstance(caught.value.__cause__, StorageFailure)


async def test_each_caller_gets_an_error_of_its_own() -> None:
    """A traceback grows with every raise."""
    store, errors = FaultyStore(MemoryStore()), []

    async def caller(broker: Broker) -> None:
        try:
            await send(broker)
        except StorageFailure as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:

        async def body(broker: Broker) -> None:
            store.fail("before")
            for _ in range(10):
                nursery.start_soon(caller, broker)
            await trio.sleep_forever()

        with pytest.raises(StorageFailure):
            await run(store, body)
    assert len({id(error) for error in errors}) == 10


async def test_a_fault_in_making_a_commit_known_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, not the machine's; but nobody can tell any more who was told what."""
    tell = Fanout._tell

    def broken(self: Fanout, record: Any, *rest: Any) -> None:
        if isinstance(record.event, MessageSent) and record.event.dedup == "3":
            raise RuntimeError("a fault of ours")
        tell(self, record, *rest)

    monkeypatch.setattr(Fanout, "_tell", broken)
    store = MemoryStore()
    outcomes: dict[int, Any] = {}

    async def caller(broker: Broker, number: int) -> None:
        try:
            outcomes[number] = await send(broker, f"{number}", dedup=f"{number}")
        except StorageFailure as error:
            outcomes[number] = error

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def body(broker: Broker) -> None:
                await settle_down()
                commits = Commits(broker)
                commits.stop()
                nursery.start_soon(send, broker, "takes the writer")
                await settle_down()
                for number in range(6):
                    nursery.start_soon(caller, broker, number)
                    await settle_down()
                commits.go()
                await trio.sleep_forever()

            with pytest.raises(StorageFailure, match="a fault of ours"):
                await run(store, body)
    assert {number for number, outcome in outcomes.items() if isinstance(outcome, Receipt)} == {0, 1, 2}
    assert {number for number, outcome in outcomes.items() if isinstance(outcome, StorageFailure)} == {3, 4, 5}


async def test_a_sweeper_that_cannot_read_does_not_end_the_broker(autojump_clock: trio.testing.MockClock) -> None:
    store = FaultyStore(MemoryStore())
    async with open_broker(store, options=Options(sweep_every_s=60)) as broker:
        await settle_down()
        for error in (StorageFailure("EIO"), DiskError("EIO")):
            store.fail("snapshot", error)
            await trio.sleep(61)
            assert not store.lit
            await send(broker)
        swept = []
        store.hooks["snapshot"] = lambda: swept.append(1)
        await trio.sleep(61)
        assert swept
    assert len(queue(store.inner)) == 2


async def test_a_failed_read_of_statistics_costs_its_caller() -> None:
    store = FaultyStore(MemoryStore())
    async with open_broker(store) as broker:
        store.fail("snapshot")
        with pytest.raises(DiskError):
            broker.statistics()
        await send(broker)


async def test_two_brokers_on_one_directory(tmp_path: Path) -> None:
    async with open_broker(tmp_path) as broker:
        with pytest.raises(StoreInUse):
            await run(tmp_path, send)
        await send(broker)
    async with open_broker(tmp_path) as broker:
        await send(broker)


async def test_a_session_that_reads_pages_when_the_store_fails(disk: Disk) -> None:
    store = disk.store()
    trays: list[Tray] = []

    async def body(broker: Broker) -> None:
        await send_all(broker, [f"{number}" + "x" * 20_000 for number in range(100)])
        tray = Tray(room=0)
        trays.append(tray)
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            store.fail("before")
            tray.room = 1_000
            session.resume()
            await send(broker)

    with pytest.raises(StorageFailure):
        await run(store, body, options=Options(session_buffer_bytes=256 * 1024))
    assert trays[0].closed == ["failure"]


async def test_frames_are_never_of_a_commit_that_failed(disk: Disk) -> None:
    for place in ("put", "before", "after"):
        store, tray = disk.store(), Tray()

        async def body(broker: Broker, store: FaultyStore = store, tray: Tray = tray, place: Any = place) -> None:
            async with broker.connect(app="demo", user="cy", sink=tray):
                receipt = await send(broker, "told", to="cy")
                store.fail(place)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send, broker, "not told", "cy")
                    edit = EditMessage(app="demo", id=receipt.id, by="alice", body=b"not told either")
                    nursery.start_soon(broker.submit, edit)

        with pytest.raises(StorageFailure):
            await run(store, body)
        assert tray.texts()[-1] == "told"
        assert "not told" not in tray.texts()


async def test_the_memory_store_can_be_opened_again_and_again() -> None:
    store = MemoryStore()
    for number in range(3):
        async with open_office(store) as (broker, _):
            await send(broker, f"{number}")
            async with broker.connect(app="demo", user="bob") as session:
                frames: list[Delivery] = await take(session, number + 1)
                assert len(frames) == number + 1
