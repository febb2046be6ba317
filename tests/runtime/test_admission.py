"""A batch on a disk with little room: what goes now, what later, what is refused, and in which order."""

from typing import Any

import pytest
import trio

from postroom.core import (
    Broker,
    DeleteMessage,
    RecallMessage,
    Receipt,
    SendMessage,
    Session,
    open_broker,
    peer,
    service,
)
from postroom.core.commands import AddMembers, CreateConversation
from postroom.core.errors import NoSpace
from postroom.core.events import Acked, LoggedOut, RoomLeft
from postroom.core.limits import MIB
from postroom.core.model import Rules
from postroom.core.space import BATCH_BYTES, LEAVE_BYTES, LOGOUT_BYTES, estimate
from postroom.storage.memory import MemoryStore
from tests.support.faulty import FaultyStore
from tests.support.office import (
    APP,
    Commits,
    Tray,
    assert_sound,
    events,
    message,
    queue,
    send,
    send_all,
    settle_down,
)

RESERVE = 16 * MIB
ONE = estimate(message(), Rules())[1]
"""What a small message is taken to cost."""
AT_ONCE = (RESERVE // 4 - LOGOUT_BYTES) // LEAVE_BYTES
"""Rooms that a logout leaves in one commit where room is scarce."""


class Disk(FaultyStore):
    """So much room before the reserve; asking does not get more."""

    reserve_bytes = RESERVE

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.above = 1 << 40

    def room(self, wanted_bytes: int) -> int:
        return RESERVE + self.above

    def free_bytes(self) -> int:
        return 0


async def together(broker: Broker, calls: list[Any]) -> list[Any]:
    """Carry out calls that are in the inbox at the same time; their outcomes in order."""
    outcomes: dict[int, Any] = {}

    async def call(number: int, submit: Any) -> None:
        try:
            outcomes[number] = await submit()
        except NoSpace as refusal:
            outcomes[number] = refusal

    commits = Commits(broker)
    await settle_down()
    commits.stop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broker.submit_many, [message("takes the writer", "nobody", queue=False)])
        await settle_down()
        for number, submit in enumerate(calls):
            nursery.start_soon(call, number, submit)
            await settle_down()
        commits.go()
    return [outcomes[number] for number in range(len(calls))]


async def test_what_does_not_fit_together_goes_one_after_the_other() -> None:
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        store.above = BATCH_BYTES + 3 * ONE
        outcomes = await together(broker, [lambda n=n: send(broker, f"{n}") for n in range(10)])
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        assert queue(store) == [str(number) for number in range(10)]


@pytest.mark.parametrize("lane", ["high", "normal", "low"])
async def test_order_holds_even_if_a_later_message_would_fit_first(lane: Any) -> None:
    """A large one that waits for a transaction of its own is not overtaken in its conversation and lane."""
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        store.above = BATCH_BYTES + 5 * ONE // 2
        calls: list[Any] = []
        for number in range(6):
            size = 100_000 if number % 2 else 10
            calls.append(lambda n=number, size=size: send(broker, f"{n}" + "x" * size, lane=lane))
        outcomes = await together(broker, calls)
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        assert [text[0] for text in queue(store)] == ["0", "1", "2", "3", "4", "5"]
        ids = [outcome.id for outcome in outcomes]
        assert ids == sorted(ids)


async def test_what_would_not_fit_alone_is_refused_and_the_others_are_not() -> None:
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        store.above = BATCH_BYTES + 3 * ONE
        outcomes = await together(
            broker,
            [
                lambda: send(broker, "0"),
                lambda: send(broker, "x" * 200_000),
                lambda: send(broker, "1"),
            ],
        )
        assert [type(outcome) for outcome in outcomes] == [Receipt, NoSpace, Receipt]
        assert queue(store) == ["0", "1"]


async def test_acks_recalls_deletes_and_logouts_go_on_in_one_batch_with_refused_messages() -> None:
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        receipts = await send_all(broker, [f"{number}" for number in range(5)])
        tray, leave = Tray(), trio.Event()
        async with trio.open_nursery() as nursery:

            async def visit() -> None:
                async with broker.connect(app="demo", user="bob"):
                    await leave.wait()

            nursery.start_soon(visit)
            async with broker.connect(app="demo", user="bob", sink=tray) as session:
                await settle_down()
                store.above = 0
                outcomes = await together(
                    broker,
                    [
                        lambda: send(broker, "refused"),
                        lambda: session.ack(tray.frames[1]),
                        lambda: broker.submit(RecallMessage(app="demo", id=receipts[2].id, by="alice")),
                        lambda: send(broker, "refused", to="cy"),
                        lambda: broker.submit(DeleteMessage(app="demo", id=receipts[3].id, by="alice")),
                        lambda: left(leave),
                    ],
                )
                assert isinstance(outcomes[0], NoSpace)
                assert isinstance(outcomes[3], NoSpace)
                assert outcomes[1] is None
                assert isinstance(outcomes[2], Receipt)
                assert isinstance(outcomes[4], Receipt)
                await settle_down()
                assert sum(isinstance(event, LoggedOut) for event in events(store)) == 1
                assert [text for text in queue(store) if text != "-"] == ["4"]
        store.above = 1 << 40
    assert_sound(store.inner)


async def left(leave: trio.Event) -> None:
    leave.set()
    await settle_down()


async def test_an_ack_larger_than_the_reserve_allows_is_carried_out_in_steps() -> None:
    """Answered once, when all of it is on disk; nobody else's login comes in between."""
    rules = {"demo": Rules(queue_messages=5_000)}
    store = Disk()
    async with open_broker(store, rules=rules) as broker:
        await settle_down()
        await send_all(broker, [f"{number}" for number in range(3_000)])
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await settle_down()
            assert len(tray.frames) == 3_000
            store.above = 0
            await session.ack(tray.frames[2_899])
            assert len(queue(store)) == 100
            acks = [event for event in events(store) if isinstance(event, Acked)]
            assert len(acks) > 1
            assert sum(event.count for event in acks) == 2_900
            session.ack_soon(tray.frames[2_999])
        async with broker.connect(app="demo", user="bob") as again:
            assert again.welcome.queued == 0
        store.above = 1 << 40
    assert_sound(store.inner)


async def in_rooms(session: Session, count: int) -> None:
    """Enter so many."""
    for number in range(count):
        await session.join(f"room {number}")


def rooms_of(store: Disk, user: str = "bob") -> int:
    """How many rooms a user is in."""
    with store.snapshot() as snapshot:
        return len(snapshot.views.open_stays("demo", user))


async def test_a_logout_from_more_rooms_than_the_reserve_allows_is_carried_out_in_steps() -> None:
    """Answered once, when all of it is on disk; the session is open until its user is in no room any more."""
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        steps = []

        def look() -> None:
            with store.snapshot() as snapshot:
                steps.append((rooms_of(store), len(snapshot.views.sessions("demo", "bob"))))

        async with broker.connect(app="demo", user="bob") as session:
            await in_rooms(session, 200)
            store.above = 0
            store.hooks["after"] = look
        store.hooks.clear()
        assert steps[0] == (200 - AT_ONCE, 1)
        assert steps == [(left, 1) for left in range(200 - AT_ONCE, 0, -AT_ONCE)] + [(0, 0)]
        told = [event for event in events(store) if isinstance(event, RoomLeft | LoggedOut)]
        assert [type(event) for event in told] == [RoomLeft] * 200 + [LoggedOut]
        assert len({event.room for event in told[:-1]}) == 200  # type: ignore[union-attr]
        store.above = 1 << 40
        async with broker.connect(app="demo", user="bob") as again:
            await in_rooms(again, 3)
    assert_sound(store.inner)


@pytest.mark.parametrize("rooms", [0, 1, AT_ONCE - 1, AT_ONCE])
async def test_a_logout_from_as_many_rooms_as_fit_is_one_commit(rooms: int) -> None:
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        commits = []
        async with broker.connect(app="demo", user="bob") as session:
            await in_rooms(session, rooms)
            store.above = 0
            store.hooks["after"] = lambda: commits.append(rooms_of(store))
        store.hooks.clear()
        assert commits == [0]
        store.above = 1 << 40
    assert_sound(store.inner)


async def test_a_logout_that_leaves_another_session_open_leaves_no_room() -> None:
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        async with broker.connect(app="demo", user="bob"):
            async with broker.connect(app="demo", user="bob") as session:
                await in_rooms(session, 200)
                store.above = 0
            assert rooms_of(store) == 200
            store.above = 1 << 40
        assert rooms_of(store) == 0
    assert_sound(store.inner)


async def test_a_logout_whose_next_step_does_not_fit_waits_for_space_and_goes_on() -> None:
    store = Disk()
    async with open_broker(store) as broker, trio.open_nursery() as nursery:
        await settle_down()
        done = []

        async def visit() -> None:
            async with broker.connect(app="demo", user="bob") as session:
                await in_rooms(session, 200)
                store.above = 0
                store.hooks["after"] = no_more
            done.append(True)

        def no_more() -> None:
            store.above = -RESERVE

        nursery.start_soon(visit)
        with trio.fail_after(5):
            while store.above != -RESERVE:
                await trio.lowlevel.checkpoint()
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        assert done == []
        assert rooms_of(store) == 200 - AT_ONCE
        store.hooks.clear()
        store.above = 0
        with trio.fail_after(5):
            while not done:
                await trio.lowlevel.checkpoint()
        assert rooms_of(store) == 0
        store.above = 1 << 40
    assert_sound(store.inner)


async def test_joins_are_refused_where_messages_are_and_leaving_goes_on() -> None:
    store = Disk()
    async with open_broker(store) as broker:
        await settle_down()
        async with broker.connect(app="demo", user="bob") as session:
            await in_rooms(session, 2)
            store.above = 0
            with pytest.raises(NoSpace):
                await session.join("room 2")
            await session.leave("room 0")
            assert rooms_of(store) == 1
            store.above = 1 << 40
            await session.join("room 2")
    assert_sound(store.inner)


async def test_when_not_even_an_ack_fits_it_waits_for_space() -> None:
    store = Disk()
    async with open_broker(store) as broker, trio.open_nursery() as nursery:
        await settle_down()
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await send_all(broker, ["0", "1"])
            store.above = -RESERVE
            done = []

            async def ack() -> None:
                await session.ack(tray.frames[0])
                done.append(True)

            nursery.start_soon(ack)
            for _ in range(50):
                await trio.lowlevel.checkpoint()
            assert done == []
            store.above = 1 << 40
            with trio.fail_after(5):
                while not done:
                    await trio.lowlevel.checkpoint()
        assert queue(store) == ["1"]


async def test_an_ack_that_waited_for_room_comes_before_the_next_one_of_its_session() -> None:
    """It may account for what was in a stream, and the next one is told that this was done."""
    store = Disk()
    async with open_broker(store) as broker:
        await broker.submit(CreateConversation(app=APP, conversation=service("news")))
        await broker.submit(AddMembers(app=APP, conversation=service("news"), users=("bob",)))
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            letter: Any = {"app": APP, "sender": "press", "queue": True, "history": True}
            await broker.submit(SendMessage(**letter, to=service("news"), body=b"streamed"))
            await broker.submit(SendMessage(**letter, to=peer("bob"), body=b"queued"))
            store.above = 100 - RESERVE
            session.ack_soon(tray.frames[0])
            await settle_down()
            session.ack_soon(tray.frames[1])
            store.above = 1 << 40
        counted = broker.statistics().totals[APP]
        assert (counted.accepted, counted.acked, counted.queued) == (2, 2, 0)
