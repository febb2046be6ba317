"""`open_broker`: what comes out of its block, and what is there when it is opened again."""

import gc
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from postroom.core import Broker, DeleteMessage, Options, RecallMessage, Receipt, Refusal, StorageFailure, open_broker
from postroom.core.errors import NoSpace, StoreInUse
from postroom.core.events import EpochStarted
from postroom.core.limits import PAGE_BYTES
from postroom.core.runtime.sweeper import Sweeper
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from tests.support.faulty import FaultyStore
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
)


class Custom(BaseException):
    """No Exception."""


async def idle(_: Broker) -> None:
    """A block with nothing to do."""
    await trio.sleep_forever()


async def opens_at_once(path: Path) -> None:
    """Nobody holds the directory any more, and it is sound."""
    store = LmdbStore(path)
    assert_sound(store)
    store.close()
    async with open_broker(path) as broker:
        await send(broker)


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), Custom(), GeneratorExit()])
async def test_an_exception_of_the_block_comes_out_as_it_is(tmp_path: Path, error: BaseException) -> None:
    async def body(broker: Broker) -> None:
        await send(broker)
        raise error

    with pytest.raises(type(error)) as caught:
        await run(tmp_path, body)
    assert caught.value is error
    await opens_at_once(tmp_path)


async def test_a_group_of_the_block_comes_out_as_it_is() -> None:
    group = ExceptionGroup("of the caller", [ValueError(), KeyError()])

    async def body(_: Broker) -> None:
        raise group

    with pytest.raises(ExceptionGroup) as caught:
        await run(MemoryStore(), body)
    assert caught.value is group


async def test_a_refusal_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(Refusal, match="sender"):
        await run(MemoryStore(), lambda broker: send(broker, sender=""))


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(None, id="in good order"),
        pytest.param(ValueError("x"), id="exception"),
        pytest.param(KeyboardInterrupt(), id="interrupt"),
        pytest.param("cancelled", id="cancelled"),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
async def test_whoever_is_still_waiting_outside_gets_an_answer(
    tmp_path: Path, on_disk: bool, leave: BaseException | str | None
) -> None:
    """What was taken is carried out, however the block ends."""
    store: Any = tmp_path if on_disk else MemoryStore()
    outcomes: list[Any] = []

    async def caller(broker: Broker) -> None:
        outcomes.append(await send(broker))

    async def body(broker: Broker, nursery: trio.Nursery) -> None:
        for _ in range(30):
            nursery.start_soon(caller, broker)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        if isinstance(leave, BaseException):
            raise leave
        if leave is not None:
            scope.cancel()
            await trio.sleep_forever()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            with scope, suppress(ValueError, KeyboardInterrupt):
                await run(store, lambda broker: body(broker, nursery))
            assert scope.cancelled_caught == (leave == "cancelled")
    assert len(outcomes) == 30
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    if on_disk:
        await opens_at_once(tmp_path)
    else:
        assert len(queue(store)) == 30
        assert_sound(store)


async def test_a_cancelled_block_leaves_its_store_closed_and_drained(tmp_path: Path) -> None:
    outcomes: list[Any] = []

    async def caller(broker: Broker) -> None:
        outcomes.append(await send(broker, "taken"))

    async def body(broker: Broker) -> None:
        async with broker.connect(app="demo", user="bob"), trio.open_nursery() as nursery:
            await send(broker)
            nursery.start_soon(caller, broker)
            await trio.lowlevel.checkpoint()
            scope.cancel()

    with trio.CancelScope() as scope:
        await run(tmp_path, body)
    assert scope.cancelled_caught
    await opens_at_once(tmp_path)


async def test_a_deadline_of_the_caller_is_the_callers() -> None:
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.01):
        await run(MemoryStore(), idle)


async def test_cancelled_while_it_opens(tmp_path: Path) -> None:
    for steps in range(6):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, tmp_path, idle)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await opens_at_once(tmp_path)


def test_control_c(tmp_path: Path) -> None:
    """The signal, not only the exception."""

    async def body(broker: Broker) -> None:
        await send(broker)
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(run, tmp_path, body)
    trio.run(opens_at_once, tmp_path)


async def test_a_second_one_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    async with open_broker(tmp_path):
        with pytest.raises(StoreInUse):
            await run(tmp_path, send)
    await opens_at_once(tmp_path)


async def test_each_process_has_an_epoch_of_its_own() -> None:
    store = MemoryStore()
    for _ in range(3):
        async with open_office(store):
            pass
    assert [event.epoch for event in events(store) if isinstance(event, EpochStarted)] == [1, 2, 3]


async def test_options_that_cannot_be_are_refused_as_such() -> None:
    store = FaultyStore(MemoryStore())
    with pytest.raises(AssertionError):
        await run(store, send, options=Options(session_buffer_bytes=PAGE_BYTES - 1))
    assert store.closed


async def test_a_disk_without_room_for_the_first_event() -> None:
    """It cannot even start: that is the machine's, and says why."""

    class Full(FaultyStore):
        reserve_bytes = 1 << 20

        def room(self, wanted_bytes: int) -> int:
            return 0

        def free_bytes(self) -> int:
            return 0

    store = Full(MemoryStore())
    with pytest.raises(StorageFailure, match="full"):
        await run(store, send)
    assert store.closed


async def test_a_full_disk_refuses_messages_and_serves_the_rest() -> None:
    class Filling(FaultyStore):
        reserve_bytes = 16 << 20
        full = False

        def room(self, wanted_bytes: int) -> int:
            return self.reserve_bytes if self.full else 1 << 40

        def free_bytes(self) -> int:
            return 0

    store = Filling(MemoryStore())
    async with open_broker(store) as broker:
        await settle_down()  # the first sweep is through
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            outcomes = await send_all(broker, ["0", "1", "2"])
            store.full = True
            for _ in range(2):
                with pytest.raises(NoSpace) as caught:
                    await send(broker, "refused")
                assert caught.value.retry_after_ms
            assert broker.statistics().full
            assert broker.statistics().refusals == {("demo", "no_space"): 2}
            await session.ack(tray.frames[0])
            await broker.submit(RecallMessage(app="demo", id=outcomes[1].id, by="alice"))
            await broker.submit(DeleteMessage(app="demo", id=outcomes[2].id, by="alice"))
            many = await broker.submit_many([message("refused"), RecallMessage(app="demo", id=outcomes[1].id, by="a")])
            assert isinstance(many[0], NoSpace)
            assert isinstance(many[1], Receipt)
            async with broker.connect(app="demo", user="cy"):
                pass
            store.full = False
            await send(broker, "3")
            assert not broker.statistics().full
    assert [text for text in queue(store.inner) if text != "-"] == ["3"]
    assert_sound(store.inner)


async def test_no_task_of_the_broker_may_end_it_with_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the sweeper has a fault of ours after all, the broker goes on or ends, but not in a group of exceptions."""

    async def broken(_: Sweeper) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Sweeper, "_round", broken)
    async with open_office() as (broker, _):
        await settle_down()
        await send(broker)


async def test_a_block_that_is_never_left_in_order_still_lets_go(tmp_path: Path) -> None:
    """The generator is closed by whoever finds it."""
    opened = open_broker(tmp_path)
    broker = await opened.__aenter__()
    await send(broker)
    await opened.__aexit__(None, None, None)
    del opened
    gc.collect()
    await opens_at_once(tmp_path)


async def test_leaving_waits_for_the_drain_even_if_the_caller_is_cancelled_meanwhile() -> None:
    store = MemoryStore()
    outcomes: list[Any] = []

    async def caller(broker: Broker) -> None:
        outcomes.append(await send(broker, f"{len(outcomes)}"))

    async with trio.open_nursery() as outside:
        scope = trio.CancelScope()

        async def user() -> None:
            with scope:
                async with open_broker(store) as broker:
                    await settle_down()
                    commits = Commits(broker)
                    commits.stop()
                    for _ in range(5):
                        outside.start_soon(caller, broker)
                        await settle_down()
                    gates.append(commits)
            left.append(scope.cancelled_caught)

        gates: list[Commits] = []
        left: list[bool] = []
        outside.start_soon(user)
        while not gates:
            await settle_down()
        await settle_down()
        scope.cancel()
        await settle_down()
        assert left == []
        gates[0].go()
    assert len(outcomes) == 5
    assert_sound(store)
