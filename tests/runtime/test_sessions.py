"""Several sessions of a user, acks, sinks that misbehave, and logging out."""

from typing import Any

import pytest
import trio

from postroom.core import (
    Broker,
    Delivery,
    InvalidCommand,
    Options,
    Session,
    StorageFailure,
    UnknownId,
    open_broker,
)
from postroom.core.errors import Corruption, TooManySessions, UnknownApp
from postroom.core.events import Acked, LoggedIn, LoggedOut
from postroom.core.ids import MessageId
from postroom.core.limits import NAME_BYTES_MAX, PAGE_BYTES, SESSIONS_PER_USER_MAX
from postroom.core.model import Rules
from postroom.storage.memory import MemoryStore
from tests.support.faulty import FaultyStore
from tests.support.office import (
    Tray,
    assert_sound,
    events,
    open_office,
    queue,
    send,
    send_all,
    settle_down,
    take,
    texts,
)
from tests.support.rows import engine_of


def connect(broker: Broker, tray: Tray | None = None, user: str = "bob") -> Any:
    """A session of bob's."""
    return broker.connect(app="demo", user=user, sink=tray)


def told(tray: Tray) -> list[tuple[str, int | None]]:
    """Type and seq of what came."""
    return [(frame.type, frame.seq) for frame in tray.frames]


# Several sessions.


async def test_every_session_of_a_user_gets_everything() -> None:
    async with open_office() as (broker, _):
        trays = Tray(), Tray()
        await send(broker, "before")
        async with connect(broker, trays[0]):
            await send(broker, "between")
            async with connect(broker, trays[1]):
                await send(broker, "after")
                await send(broker, "typing", queue=False)
                for tray in trays:
                    await settle_down()
                    assert tray.texts() == ["before", "between", "after", "typing"]


async def test_others_get_nothing() -> None:
    async with open_office() as (broker, _):
        trays = [Tray(), Tray(), Tray()]
        async with (
            broker.connect(app="demo", user="cy", sink=trays[0]),
            broker.connect(app="other", user="bob", sink=trays[1]),
            broker.connect(app="demo", user="alice", sink=trays[2]),
        ):
            await send(broker, "hi")
            await send(broker, "typing", queue=False)
            assert [tray.frames for tray in trays] == [[], [], []]


async def test_an_ack_is_told_to_the_others_and_takes_what_they_hold() -> None:
    async with open_office() as (broker, store):
        first, second, slow, stranger = Tray(), Tray(), Tray(room=1), Tray()
        async with (
            connect(broker, first) as session,
            connect(broker, second),
            connect(broker, slow) as late,
            connect(broker, stranger, "cy"),
        ):
            await send_all(broker, ["0", "1", "2", "3"])
            assert slow.texts() == ["0"]
            await session.ack(first.frames[2])
            assert queue(store) == ["3"]
            assert told(first)[4:] == []
            assert told(second)[4:] == [("acked", 3)]
            assert second.frames[4].id == first.frames[2].id
            slow.room = 10
            late.resume()
            assert told(slow) == [("message", 1), ("acked", 3), ("message", 4)]
            assert stranger.frames == []


async def test_of_several_acks_a_slow_session_is_told_the_newest() -> None:
    async with open_office() as (broker, _):
        first, slow = Tray(), Tray(room=0)
        async with connect(broker, first) as session, connect(broker, slow) as late:
            await send_all(broker, ["0", "1", "2"])
            await session.ack(first.frames[0])
            await session.ack(first.frames[1])
            slow.room = 10
            late.resume()
            assert told(slow) == [("acked", 2), ("message", 3)]


async def test_an_ack_that_takes_nothing_is_told_nobody() -> None:
    async with open_office() as (broker, _):
        first, second = Tray(), Tray()
        async with connect(broker, first) as session, connect(broker, second) as other:
            await send(broker, "0")
            await session.ack(first.frames[0])
            await other.ack(second.frames[0])
            await session.ack(first.frames[0])
            assert told(first) == [("message", 1)]
            assert told(second) == [("message", 1), ("acked", 1)]


async def test_acked_while_pages_are_read_what_is_gone_does_not_come() -> None:
    async with open_office(options=Options(session_buffer_bytes=PAGE_BYTES)) as (broker, store):
        await send_all(broker, [str(number) for number in range(200)])
        first, slow = Tray(), Tray(room=1)
        async with connect(broker, first) as session, connect(broker, slow) as late:
            await settle_down()
            await session.ack(first.frames[149])
            slow.room = 1000
            late.resume()
            await settle_down()
            assert told(slow) == [("message", 1), ("acked", 150), *(("message", seq) for seq in range(151, 201))]
        assert len(queue(store)) == 50


# What an ack counts for.


async def test_an_ack_is_on_disk_when_it_returns() -> None:
    async with open_office() as (broker, store), connect(broker) as session:
        await send_all(broker, ["0", "1", "2"])
        frames = await take(session, 3)
        await session.ack(frames[1])
        assert queue(store) == ["2"]
        assert broker.statistics().totals["demo"].acked == 2


async def test_it_counts_for_what_this_session_was_sent_and_for_nothing_else() -> None:
    async with open_office() as (broker, store), connect(broker) as session:
        await send_all(broker, ["0", "1", "2"])
        frame = await anext(session)  # the others are in its buffer, not sent
        await session.ack(frame)
        assert queue(store) == ["1", "2"]
        assert texts(await take(session, 2)) == ["1", "2"]


async def test_acks_of_several_sessions_add_up() -> None:
    async with open_office() as (broker, store), connect(broker) as one, connect(broker) as two:
        await send_all(broker, ["0", "1", "2", "3"])
        first, second = await take(one, 2), await take(two, 4)
        async with trio.open_nursery() as nursery:  # in one batch
            nursery.start_soon(one.ack, first[1])
            nursery.start_soon(two.ack, second[2])
            nursery.start_soon(one.ack, first[0])
        assert queue(store) == ["3"]
        assert broker.statistics().totals["demo"].acked == 3


async def test_the_slot_keeps_the_greatest_of_many_acks_and_answers_each() -> None:
    async with open_office() as (broker, store), connect(broker) as session:
        await send_all(broker, [str(number) for number in range(50)])
        frames = await take(session, 50)
        await settle_down()
        batches = broker.statistics().batch_commands
        done = []

        async def ack(frame: Delivery) -> None:
            await session.ack(frame)
            done.append(frame.seq)

        async with trio.open_nursery() as nursery:
            for frame in [*frames[::-1], *frames]:
                nursery.start_soon(ack, frame)
        assert sorted(done) == sorted([*range(1, 51), *range(1, 51)])
        assert queue(store) == []
        after = broker.statistics().batch_commands
        assert after.sum - batches.sum == after.count - batches.count <= 2  # one Ack a batch, however many calls
        assert sum(isinstance(event, Acked) for event in events(store)) == 1


async def test_an_id_it_was_not_sent_is_unknown_and_changes_nothing() -> None:
    async with open_office() as (broker, store), connect(broker) as session, connect(broker) as other:
        receipts = await send_all(broker, ["0", "1"])
        await take(session, 1)
        seen = await take(other, 2)
        for id, seq in ((receipts[1].id, None), (MessageId(1), None), (receipts[0].id, 2)):
            with pytest.raises(UnknownId):
                await session.ack_id(id, seq)
        with pytest.raises(UnknownId):
            session.ack_soon(seen[1])
        await settle_down()
        assert queue(store) == ["0", "1"]


async def test_ack_by_id_and_ack_soon() -> None:
    async with open_office() as (broker, store), connect(broker) as session:
        receipts = await send_all(broker, ["0", "1", "2"])
        frames = await take(session, 3)
        session.ack_soon(frames[0])
        await settle_down()
        assert queue(store) == ["1", "2"]
        await session.ack_id(receipts[1].id)
        session.ack_id_soon(receipts[2].id, 3)
        await settle_down()
        assert queue(store) == []


async def test_ack_logout_login_loses_nothing_and_brings_nothing_back() -> None:
    async with open_office() as (broker, store):
        await send_all(broker, [str(number) for number in range(20)])
        for number in range(0, 20, 2):
            async with connect(broker) as session:
                assert session.welcome.queued == 20 - number
                frames = await take(session, 2)
                assert texts(frames) == [str(number), str(number + 1)]
                session.ack_soon(frames[1])  # not on disk yet when it leaves
        assert queue(store) == []


async def test_the_next_login_waits_for_the_slot() -> None:
    """Even if the session that acknowledged stays."""
    async with open_office() as (broker, _), connect(broker) as session:
        await send_all(broker, ["0", "1"])
        frames = await take(session, 2)
        session.ack_soon(frames[0])
        async with connect(broker) as other:
            assert other.welcome.queued == 1
            assert texts(await take(other, 1)) == ["1"]


async def test_an_unacknowledged_copy_comes_again() -> None:
    async with open_office() as (broker, _):
        await send_all(broker, ["0", "1"])
        for _ in range(2):
            async with connect(broker) as session:
                frames = await take(session, 2)
                assert [frame.seq for frame in frames] == [1, 2]


async def test_a_cancelled_ack_may_still_be_carried_out() -> None:
    async with open_office() as (broker, store), connect(broker) as session:
        await send(broker, "0")
        frame = await anext(session)
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.ack(frame)
        assert scope.cancelled_caught
        await settle_down()
        assert queue(store) == []


async def test_missed_is_repeated_until_an_ack() -> None:
    async with open_office(rules={"demo": Rules(queue_messages=2)}) as (broker, _):
        await send_all(broker, ["0", "1", "2"])
        for _ in range(2):
            async with connect(broker) as session:
                assert (session.welcome.queued, session.welcome.missed) == (2, 1)
        async with connect(broker) as session:
            await session.ack(await anext(session))
        async with connect(broker) as session:
            assert (session.welcome.queued, session.welcome.missed) == (1, 0)


# Logging in and out.


async def test_sessions_are_events_and_the_last_logout_says_so() -> None:
    async with open_office() as (broker, store):
        async with connect(broker) as one:
            async with connect(broker) as two:
                assert broker.statistics().sessions == {"demo": 2}
            assert broker.statistics().sessions == {"demo": 1}
        logins = [event for event in events(store) if isinstance(event, LoggedIn)]
        logouts = [event for event in events(store) if isinstance(event, LoggedOut)]
        assert [(event.session, event.first) for event in logins] == [(one.id, True), (two.id, False)]
        assert [(event.session, event.last) for event in logouts] == [(two.id, False), (one.id, True)]
        assert sum(broker.statistics().sessions.values()) == 0


async def test_a_user_has_so_many_sessions_and_no_more() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:

        async def hold() -> None:
            async with connect(broker):
                await trio.sleep_forever()

        for _ in range(SESSIONS_PER_USER_MAX):
            nursery.start_soon(hold)
        await settle_down()
        with pytest.raises(TooManySessions):
            async with connect(broker):
                pass
        async with connect(broker, user="cy"):
            pass
        assert broker.statistics().sessions["demo"] == SESSIONS_PER_USER_MAX
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("app", "user", "error"),
    [
        ("demo", "", InvalidCommand),
        ("demo", "x" * (NAME_BYTES_MAX + 1), InvalidCommand),
        ("demo", "\ud800", InvalidCommand),
        ("other", "bob", UnknownApp),
        ("", "bob", UnknownApp),
    ],
)
async def test_names_are_checked(app: str, user: str, error: type[Exception]) -> None:
    async with open_office(rules={"demo": Rules()}) as (broker, store):
        with pytest.raises(error):
            async with broker.connect(app=app, user=user):
                pass
        assert not any(isinstance(event, LoggedIn) for event in events(store))


async def test_a_login_that_was_taken_is_logged_out_even_if_its_task_is_cancelled() -> None:
    async with open_office() as (broker, store):
        async with trio.open_nursery() as nursery:

            async def hold() -> None:
                async with connect(broker):
                    await trio.sleep_forever()

            nursery.start_soon(hold)
            nursery.cancel_scope.cancel()
        logins = sum(isinstance(event, LoggedIn) for event in events(store))
        logouts = sum(isinstance(event, LoggedOut) for event in events(store))
        assert logins == logouts
        assert broker._fanout.sessions() == []


async def test_an_error_in_the_block_comes_out_as_it_is_and_logs_out() -> None:
    async with open_office() as (broker, store):
        with pytest.raises(ZeroDivisionError):
            async with connect(broker):
                raise ZeroDivisionError
        assert isinstance(events(store)[-1], LoggedOut)


async def test_a_session_that_left_gets_nothing_and_can_still_acknowledge() -> None:
    async with open_office() as (broker, store):
        tray = Tray()
        async with connect(broker, tray) as session:
            await send(broker, "0")
        await send(broker, "1")
        session.resume()
        assert tray.texts() == ["0"]
        assert tray.closed == []  # its owner knows
        await session.ack(tray.frames[0])
        assert queue(store) == ["1"]


# Sinks.


class Broken(Tray):
    """Raises in `offer`, and in `close` if it is very broken."""

    def __init__(self, *, in_close: bool) -> None:
        super().__init__()
        self._in_close = in_close

    def offer(self, delivery: Delivery) -> bool:
        raise RuntimeError("broken")

    def close(self, reason: str) -> None:
        super().close(reason)
        if self._in_close:
            raise RuntimeError("very broken")


@pytest.mark.parametrize("in_close", [False, True])
@pytest.mark.parametrize("when", ["page", "message", "acked"])
async def test_a_sink_that_raises_costs_its_session_only(
    when: str, in_close: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_office() as (broker, store):
        broken, sound = Broken(in_close=in_close), Tray()
        if when != "message":
            await send(broker, "before")
        async with connect(broker, broken), connect(broker, sound) as session:
            await settle_down()
            if when == "acked":
                broken.closed.clear()
                await session.ack(sound.frames[0])
            await send(broker, "0")
            await send(broker, "1")
            await settle_down()
            assert sound.texts()[-2:] == ["0", "1"]
            if when != "acked":
                assert broken.closed == ["failure"]
            assert "broken" in caplog.text
            await session.ack(sound.frames[-1])
        assert queue(store) == []


@pytest.mark.parametrize("ending", ["shutdown", "failure"])
async def test_a_sink_that_cannot_be_closed_does_not_keep_the_broker_open(ending: str) -> None:
    store = FaultyStore(MemoryStore())
    others: list[str] = []
    try:
        async with open_broker(store) as broker, connect(broker, Broken(in_close=True)), connect(broker) as other:
            if ending == "shutdown":
                broker.close_sessions()
                async for _ in other:
                    pass
                others.append("shutdown")
            else:
                store.fail("before")
                await send(broker)
    except StorageFailure:
        others.append("failure")
    assert others == [ending]
    assert store.closed


async def test_a_sink_may_resume_and_acknowledge_from_within() -> None:
    """Nothing comes twice or out of order."""

    class Eager(Tray):
        def offer(self, delivery: Delivery) -> bool:
            taken = super().offer(delivery)
            assert self.session is not None
            if len(self.frames) > 1:
                self.session.ack_soon(self.frames[-2])
            return taken

    async with open_office() as (broker, store):
        tray = Eager()
        async with connect(broker, tray) as session:
            tray.session = session
            await send_all(broker, [str(number) for number in range(10)])
            await settle_down()
            assert tray.texts() == [str(number) for number in range(10)]
            assert queue(store) == ["9"]


async def test_a_sink_without_room_is_asked_again_when_it_says_so() -> None:
    async with open_office() as (broker, _):
        tray = Tray(room=2)
        async with connect(broker, tray) as session:
            await send_all(broker, ["0", "1", "2", "3"])
            assert tray.texts() == ["0", "1"]
            tray.room = 1
            session.resume()
            assert tray.texts() == ["0", "1", "2"]
            session.resume()
            assert tray.texts() == ["0", "1", "2"]


async def test_a_session_with_a_sink_is_told_of_shutdown_once() -> None:
    tray = Tray()
    async with open_office() as (broker, _), connect(broker, tray):
        broker.close_sessions()
        broker.close_sessions()
        await send(broker, "hi")
        assert (tray.closed, tray.frames) == (["shutdown"], [])


# Reading that fails.


async def lose_a_body(store: MemoryStore, broker: Broker, session: Session | None = None) -> None:
    """One body of bob's queue is not what was written."""
    receipts = await send_all(broker, ["0", "1", "2"])
    key = int(receipts[1].id).to_bytes(8)
    with store.transaction() as transaction:
        engine = engine_of(transaction)
        value = engine.get("bodies", key)
        assert value is not None
        engine.put("bodies", key, value[:-1] + b"?")


async def test_a_corrupt_body_costs_the_session_that_meets_it(caplog: pytest.LogCaptureFixture) -> None:
    async with open_office() as (broker, store):
        await lose_a_body(store, broker)
        async with connect(broker) as session:
            with pytest.raises(Corruption, match=r"body .*: CRC mismatch"):
                await take(session, 3)
        assert "CRC mismatch" in caplog.text
        async with connect(broker, user="cy") as other:
            await send(broker, "still here", to="cy")
            assert texts(await take(other, 1)) == ["still here"]
        assert len(events(store)) == 3 + 1 + 4 + 1


async def test_a_disk_that_cannot_be_read_costs_the_session_that_reads() -> None:
    store = FaultyStore(MemoryStore())
    async with open_broker(store) as broker:
        await send(broker, "0")
        await settle_down()
        for error in (StorageFailure("EIO"), None):
            store.fail("snapshot", error)
            tray = Tray()
            async with connect(broker, tray):
                await settle_down()
                assert (tray.closed, tray.frames) == (["failure"], [])
        async with connect(broker) as session:
            assert texts(await take(session, 1)) == ["0"]
    assert_sound(store.inner)
