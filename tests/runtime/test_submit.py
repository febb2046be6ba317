"""Commands on their way in: order, withdrawal, back-pressure, many at once, and the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from postroom.core import (
    Broker,
    DeleteMessage,
    EditMessage,
    InvalidCommand,
    Options,
    RecallMessage,
    Receipt,
    open_broker,
)
from postroom.core.commands import Command
from postroom.core.errors import (
    MessageIsRecalled,
    Overloaded,
    QueueFull,
    Refusal,
    ShuttingDown,
    StorageFailure,
    UnknownApp,
    UnknownMessage,
)
from postroom.core.events import LoggedIn, LoggedOut, MessageSent
from postroom.core.limits import BODY_BYTES_MAX, NAME_BYTES_MAX
from postroom.core.model import LANES, Lane, Rules
from postroom.core.runtime import inbox
from tests.support.office import (
    Commits,
    Tray,
    events,
    message,
    open_office,
    queue,
    send,
    send_all,
    settle_down,
)


@asynccontextmanager
async def stalled(broker: Broker) -> AsyncIterator[Commits]:
    """The writer is at work on a commit for as long as the block runs, or until the test lets it go."""
    commits = Commits(broker)
    await settle_down()  # the sweeper has done its first round
    commits.stop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, broker, "takes the writer", "nobody")
        await settle_down()
        try:
            yield commits
        finally:
            if commits.gate is not None:
                commits.go()
        await settle_down()


@pytest.fixture
def small_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 commands, or 100,000 bytes."""
    monkeypatch.setattr(inbox, "INBOX_COMMANDS_MAX", 20)
    monkeypatch.setattr(inbox, "INBOX_BYTES_MAX", 100_000)


def sent(store: Any) -> int:
    """How many messages the log tells of."""
    return sum(isinstance(event, MessageSent) for event in events(store))


class Callers:
    """Callers in tasks of their own, and what became of each."""

    def __init__(self, broker: Broker, nursery: trio.Nursery) -> None:
        self._broker = broker
        self._nursery = nursery
        self.outcomes: dict[object, Any] = {}
        self.times: dict[object, float] = {}

    async def submit(self, command: Command, name: object = None) -> None:
        """Submit, and go on when it entered, or waits."""
        self._nursery.start_soon(self._submit, command, name)
        await settle_down()

    async def _submit(self, command: Command, name: object) -> None:
        try:
            self.outcomes[name] = await self._broker.submit(command)
        except (Refusal, StorageFailure) as error:
            self.outcomes[name] = error
        self.times[name] = trio.current_time()


async def fill(callers: Callers, count: int, lane: Lane = "high") -> None:
    """So many commands wait for the writer."""
    for _ in range(count):
        await callers.submit(message("fills", "nobody", lane=lane))


# Order.


@pytest.mark.parametrize("lane", LANES)
async def test_commands_of_a_lane_are_carried_out_in_the_order_of_their_calls(lane: Lane) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            for number in range(30):
                await callers.submit(message(f"{number}", lane=lane), number)
        assert queue(store) == [str(number) for number in range(30)]
        ids = [callers.outcomes[number].id for number in range(30)]
        assert ids == sorted(set(ids))


async def test_a_higher_lane_goes_first_but_a_lower_one_is_not_starved() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            for lane in ("low", "normal", "high"):
                for number in range(40):
                    await callers.submit(message(f"{lane}{number}", lane=lane))
        order = queue(store)
        assert order[0] == "high0"
        assert order.index("normal0") < 8
        assert order.index("low0") < 32
        for lane in LANES:
            of_lane = [text for text in order if text.startswith(lane)]
            assert of_lane == [f"{lane}{number}" for number in range(40)]


async def test_apps_take_turns() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            for number in range(10):
                await callers.submit(message(f"{number}", app="loud"))
            await callers.submit(message("here", app="quiet"))
        apps = [event.app for event in events(store) if isinstance(event, MessageSent)][1:]
        assert apps.index("quiet") <= 1


async def test_whatever_arrives_during_one_commit_is_the_next_batch() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker) as commits:
            for number in range(100):
                await callers.submit(message(f"{number}"))
            before = broker.statistics()
            assert before.inbox_commands == 100
            commits.go()
            await settle_down()
            after = broker.statistics()
            assert after.batch_commands.count - before.batch_commands.count == 2
            assert after.inbox_commands == 0


# Withdrawing.


async def test_cancelled_before_it_is_taken_it_is_withdrawn() -> None:
    async with open_office() as (broker, store), stalled(broker):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, broker, "withdrawn")
                await settle_down()
                scope.cancel()
        await send_later(broker, "carried out")
    assert queue(store) == ["carried out"]


async def send_later(broker: Broker, text: str) -> None:
    """Into the inbox, without waiting for the outcome."""
    broker._nursery.start_soon(send, broker, text)
    await settle_down()


async def test_cancelled_after_that_it_is_carried_out() -> None:
    async with open_office() as (broker, store):
        commits = Commits(broker)
        commits.stop()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, broker, "carried out")
                await settle_down()
                scope.cancel()
        assert scope.cancelled_caught
        commits.go()
        await settle_down()
        assert queue(store) == ["carried out"]


@pytest.mark.parametrize("steps", range(8))
async def test_cancelled_at_any_moment_it_happened_or_it_did_not(steps: int) -> None:
    async with open_office() as (broker, store):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, broker, "maybe")
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await send(broker, "certainly")
        assert queue(store) in (["certainly"], ["maybe", "certainly"])
        if not scope.cancelled_caught and steps > 5:
            assert queue(store) == ["maybe", "certainly"]


@pytest.mark.usefixtures("small_inbox")
async def test_cancelled_while_it_waits_for_its_place_it_never_enters() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        async with stalled(broker):
            await fill(Callers(broker, nursery), 20)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(partial(send, broker, "withdrawn", lane="high"))
                    await settle_down()
                    scope.cancel()
            assert not any(broker._inbox._waiting.values())
        assert queue(store) == []


@pytest.mark.usefixtures("small_inbox")
async def test_cancelled_as_it_is_given_its_place_it_is_withdrawn() -> None:
    """The cancellation is on its way to the task, which has not run yet, when places come free."""
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        async with stalled(broker) as commits:
            await fill(Callers(broker, nursery), 20)
            scope = trio.CancelScope()

            async def wait() -> None:
                with scope:
                    await send(broker, "withdrawn", lane="high")

            nursery.start_soon(wait)
            await settle_down()
            scope.cancel()
            taken = broker._inbox.take()
            assert len(taken) == 20
            broker._inbox.put_back(taken)
            await settle_down()
            commits.go()
        assert queue(store) == []


# Back-pressure.


MARKS: list[tuple[Lane, int]] = [("low", 10), ("normal", 18), ("high", 20)]


@pytest.mark.usefixtures("small_inbox")
@pytest.mark.parametrize(("lane", "mark"), MARKS)
async def test_a_lane_is_full_at_its_mark(autojump_clock: trio.testing.MockClock, lane: Lane, mark: int) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            for number in range(mark):
                await callers.submit(message(f"{number}", lane=lane), number)
            assert broker.statistics().inbox_commands == mark
            began = trio.current_time()
            await callers._submit(message("one too many", lane=lane), "one too many")
            refusal = callers.outcomes["one too many"]
            assert isinstance(refusal, Overloaded)
            assert refusal.retry_after_ms
            assert trio.current_time() - began == pytest.approx(5)
            assert broker.statistics().shed == {("demo", lane): 1}
            assert broker.statistics().refusals == {("demo", "overloaded"): 1}
        assert all(isinstance(callers.outcomes[number], Receipt) for number in range(mark))
        assert len(queue(store)) == mark


@pytest.mark.usefixtures("small_inbox")
async def test_a_full_lane_leaves_higher_ones_alone() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            for count, lane in ((10, "low"), (8, "normal"), (2, "high")):
                await fill(callers, count + 1 if lane == "low" else count, lane)
                assert sum(map(len, broker._inbox._waiting.values())) == 1
            assert broker.statistics().inbox_commands == 20


@pytest.mark.usefixtures("small_inbox")
async def test_a_place_that_comes_free_goes_to_who_waits_longest() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            await fill(callers, 20)
            for number in range(30):
                await callers.submit(message(f"{number}", lane="high"), number)
        assert queue(store) == [str(number) for number in range(30)]


@pytest.mark.usefixtures("small_inbox")
async def test_nobody_overtakes_who_waits_in_the_same_lane() -> None:
    """Not even what is small enough to enter where the one ahead is not."""
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            await callers.submit(message("x" * 60_000, "nobody", lane="high"))
            await callers.submit(message("1" + "x" * 60_000, lane="high"))
            await callers.submit(message("2", lane="high"))
            assert broker.statistics().inbox_commands == 1
        assert [text[:1] for text in queue(store)] == ["1", "2"]


@pytest.mark.usefixtures("small_inbox")
async def test_bytes_are_bounded_as_well() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            for lane, count in (("low", 1), ("normal", 1), ("high", 1)):
                for _ in range(count + 1):
                    await callers.submit(message("x" * 30_000, lane=lane))
            assert broker.statistics().inbox_commands == 3
            await settle_down()


async def test_a_message_of_the_largest_size_enters_an_empty_inbox_in_every_lane() -> None:
    async with open_office() as (broker, store):
        for lane in LANES:
            await send(broker, "x" * BODY_BYTES_MAX, lane=lane)
        assert len(queue(store)) == 3


@pytest.mark.usefixtures("small_inbox")
@pytest.mark.parametrize("what", ["login", "recall", "delete"])
async def test_what_gives_room_back_has_a_further_tenth(what: str) -> None:
    """Even while messages wait for a place in front of it."""
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        id = (await send(broker)).id
        async with stalled(broker) as commits:
            await fill(callers, 21)
            assert broker.statistics().inbox_commands == 20
            if what == "login":
                nursery.start_soon(visit, broker)
                await settle_down()
            else:
                kind = {"recall": RecallMessage, "delete": DeleteMessage}[what]
                await callers.submit(kind(app="demo", id=id, by="alice"))
            assert broker.statistics().inbox_commands == 21
            await fill(callers, 1)
            assert broker.statistics().inbox_commands == 21
            commits.go()


async def visit(broker: Broker) -> None:
    async with broker.connect(app="demo", user="bob"):
        pass


@pytest.mark.usefixtures("small_inbox")
async def test_that_tenth_ends_as_well(autojump_clock: trio.testing.MockClock) -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        id = (await send(broker)).id
        async with stalled(broker):
            await fill(callers, 20)
            for _ in range(2):
                await callers.submit(RecallMessage(app="demo", id=id, by="alice"))
            assert broker.statistics().inbox_commands == 22
            with pytest.raises(Overloaded):
                await broker.submit(RecallMessage(app="demo", id=id, by="alice"))
            with pytest.raises(Overloaded):
                await visit(broker)
            assert broker.statistics().shed == {("demo", "high"): 2}


@pytest.mark.usefixtures("small_inbox")
async def test_a_logout_is_never_refused() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers, leave = Callers(broker, nursery), trio.Event()

        async def hold() -> None:
            async with broker.connect(app="demo", user="bob"):
                await leave.wait()

        for _ in range(5):
            nursery.start_soon(hold)
        await settle_down()
        async with stalled(broker):
            await fill(callers, 25)
            leave.set()
            await settle_down()
            assert broker.statistics().inbox_commands == 25
        assert sum(isinstance(event, LoggedOut) for event in events(store)) == 5


@pytest.mark.usefixtures("small_inbox")
async def test_those_who_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "INBOX_WAITING_MAX", 5)
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker):
            await fill(callers, 20)
            for lane in ("high", "normal", "low", "low", "high"):
                await callers.submit(message(lane=lane), "waits")
            assert callers.outcomes == {}
            for lane in LANES:
                await callers.submit(message(lane=lane), lane)
                assert isinstance(callers.outcomes[lane], Overloaded)
            assert broker.statistics().shed == {("demo", lane): 1 for lane in LANES}


@pytest.mark.usefixtures("small_inbox")
async def test_the_deadline_is_an_option(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        open_office(options=Options(submit_deadline_s=0.5)) as (broker, _),
        trio.open_nursery() as nursery,
        stalled(broker),
    ):
        await fill(Callers(broker, nursery), 18, "normal")
        began = trio.current_time()
        with pytest.raises(Overloaded):
            await send(broker, lane="low")
        assert trio.current_time() - began == pytest.approx(0.5)


# Many at once.


async def test_many_are_answered_in_order() -> None:
    async with open_office() as (broker, store):
        outcomes = await send_all(broker, [str(number) for number in range(200)])
        assert [outcome.id for outcome in outcomes] == sorted({outcome.id for outcome in outcomes})
        assert queue(store) == [str(number) for number in range(200)]


async def test_none_at_all() -> None:
    async with open_office() as (broker, _):
        assert await broker.submit_many([]) == []


async def test_one_refusal_leaves_the_others_alone() -> None:
    rules = {"demo": Rules(queue_messages=2, overflow="refuse"), "other": Rules()}
    async with open_office(rules=rules) as (broker, store):
        recalled = (await send(broker, to="cy")).id
        await broker.submit(RecallMessage(app="demo", id=recalled, by="alice"))
        outcomes = await broker.submit_many(
            [
                message("0"),
                message("1", sender=""),
                message("2", app="unknown"),
                EditMessage(app="demo", id=recalled, by="alice", body=b"no"),
                DeleteMessage(app="other", id=recalled, by="alice"),
                message("3"),
                message("4"),
                message("5", to="dan"),
            ]
        )
        expected = [Receipt, InvalidCommand, UnknownApp, MessageIsRecalled, UnknownMessage, Receipt, QueueFull, Receipt]
        assert [type(outcome) for outcome in outcomes] == expected
        assert (queue(store), queue(store, "dan")) == (["0", "3"], ["5"])
        assert broker.statistics().refusals == {
            ("demo", "invalid"): 1,
            ("unknown", "unknown_app"): 1,
            ("demo", "recalled"): 1,
            ("other", "unknown_message"): 1,
            ("demo", "queue_full"): 1,
        }


async def test_a_later_command_sees_what_an_earlier_one_did() -> None:
    async with open_office() as (broker, store):
        outcomes = await broker.submit_many([message("once", dedup="k"), message("once", dedup="k")])
        assert [outcome.duplicate for outcome in outcomes] == [False, True]
        assert outcomes[0].id == outcomes[1].id
        assert queue(store) == ["once"]


async def test_order_holds_within_each_lane() -> None:
    async with open_office() as (broker, store):
        commands = [message(f"{lane}{number}", lane=lane) for number in range(50) for lane in LANES]
        await broker.submit_many(commands)
        order = queue(store)
        for lane in LANES:
            assert [text for text in order if text.startswith(lane)] == [f"{lane}{number}" for number in range(50)]


@pytest.mark.usefixtures("small_inbox")
async def test_more_than_fit_are_fed_as_places_free() -> None:
    async with open_office() as (broker, store):
        commands = [message(f"{number}", lane=LANES[number % 3]) for number in range(150)]
        outcomes = await broker.submit_many(commands)
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        assert broker.statistics().shed == {}
        for lane in range(3):
            of_lane = [int(text) for text in queue(store) if int(text) % 3 == lane]
            assert of_lane == list(range(lane, 150, 3))


@pytest.mark.usefixtures("small_inbox")
async def test_each_deadline_counts_from_its_turn(autojump_clock: trio.testing.MockClock) -> None:
    """The last of many waits longer than a deadline for its place, and gets it."""
    async with open_office() as (broker, store):
        commits = Commits(broker)

        async def slowly(work: Any) -> Any:
            await trio.sleep(3)
            return work()

        commits._in_thread = slowly
        began = trio.current_time()
        outcomes = await send_all(broker, [str(number) for number in range(100)], lane="high")
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        assert trio.current_time() - began >= 15
        assert queue(store) == [str(number) for number in range(100)]


@pytest.mark.usefixtures("small_inbox")
async def test_what_was_shed_among_many_is_a_value(autojump_clock: trio.testing.MockClock) -> None:
    async with open_office() as (broker, store), stalled(broker) as commits:
        outcomes: list[Any] = []

        async def submit() -> None:
            outcomes.extend(await send_all(broker, [str(number) for number in range(22)], lane="high"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            await trio.sleep(11)
            commits.go()
        assert [type(outcome) for outcome in outcomes] == [Receipt] * 20 + [Overloaded] * 2
        assert broker.statistics().shed == {("demo", "high"): 2}
    assert len(queue(store)) == 20


async def test_waiting_for_acks_is_not_for_many() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob", sink=Tray()):
        outcomes = await broker.submit_many([message(wait_ack_ms=60_000)])
        assert outcomes[0].confirmation is None
        assert broker.statistics().waiters == 0


@pytest.mark.usefixtures("small_inbox")
async def test_many_cancelled_are_withdrawn() -> None:
    async with open_office() as (broker, store):
        async with stalled(broker):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_all, broker, [str(number) for number in range(50)])
                    await settle_down()
                    scope.cancel()
            assert broker.statistics().inbox_commands == 18
        await send(broker, "after")
        assert queue(store) == ["after"]


# Which apps.


async def test_without_rules_any_app_is_served() -> None:
    async with open_office() as (broker, _):
        await send(broker, app="whatever")
        for app in ("", "x" * (NAME_BYTES_MAX + 1), "\ud800"):
            with pytest.raises(InvalidCommand):
                await send(broker, app=app)


async def test_with_rules_only_those_named() -> None:
    async with open_office(rules={"demo": Rules()}) as (broker, store):
        await send(broker)
        for app in ("other", "", "Demo"):
            with pytest.raises(UnknownApp):
                await send(broker, app=app)
        assert sent(store) == 1


async def test_an_app_has_its_own_rules() -> None:
    rules = {"small": Rules(queue_messages=1), "refusing": Rules(queue_messages=1, overflow="refuse")}
    async with open_office(rules=rules) as (broker, store):
        await send_all(broker, ["0", "1"], app="small")
        assert queue(store, app="small") == ["1"]
        outcomes = await send_all(broker, ["0", "1"], app="refusing")
        assert queue(store, app="refusing") == ["0"]
        assert isinstance(outcomes[1], QueueFull)


# The end.


async def test_after_draining_nothing_new_is_taken() -> None:
    async with open_office() as (broker, store):
        await broker.drain()
        for call in (
            partial(send, broker),
            partial(broker.submit, DeleteMessage(app="demo", id=(1), by="alice")),
            partial(visit, broker),
        ):
            with pytest.raises(ShuttingDown):
                await call()
        outcomes = await send_all(broker, ["0", "1"])
        assert [type(outcome) for outcome in outcomes] == [ShuttingDown] * 2
        assert sent(store) == 0


@pytest.mark.usefixtures("small_inbox")
async def test_draining_answers_what_was_taken_and_refuses_who_waits() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        callers = Callers(broker, nursery)
        async with stalled(broker) as commits:
            for number in range(25):
                await callers.submit(message(f"{number}", lane="high"), number)
            nursery.start_soon(broker.drain)
            await settle_down()
            assert {type(outcome) for outcome in callers.outcomes.values()} == {ShuttingDown}
            assert sorted(callers.outcomes) == list(range(20, 25))
            commits.go()
        await settle_down()
        assert all(isinstance(callers.outcomes[number], Receipt) for number in range(20))
        assert len(queue(store)) == 20


async def test_draining_carries_out_acks() -> None:
    async with open_office() as (broker, store):
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await send(broker)
            session.ack_soon(tray.frames[0])
            await broker.drain()
            assert queue(store) == []


@pytest.mark.parametrize("on_disk", [False, True])
async def test_what_was_taken_when_the_block_ends_is_answered(tmp_path: Path, on_disk: bool) -> None:
    outcomes: list[Any] = []

    async def submit(broker: Broker, entered: Callable[[], None]) -> None:
        pending = broker.submit(message())
        entered()
        outcomes.append(await pending)

    async with trio.open_nursery() as nursery, open_office() if not on_disk else open_broker(tmp_path) as opened:
        broker = opened if on_disk else opened[0]
        for _ in range(50):
            nursery.start_soon(submit, broker, lambda: None)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
    assert len(outcomes) == 50
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)


async def test_a_writer_that_never_ends_is_left_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits then is told that nobody knows."""
    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        async with open_office(options=Options(drain_deadline_s=3)) as (broker, _):
            await settle_down()
            commits = Commits(broker)
            commits.stop()
            callers = Callers(broker, nursery)
            for name in ("taken", "waits"):
                await callers.submit(message(name), name)
    assert trio.current_time() - began == pytest.approx(3)
    assert {name: type(outcome) for name, outcome in callers.outcomes.items()} == {
        "taken": StorageFailure,
        "waits": StorageFailure,
    }


async def test_after_the_block_everything_is_refused() -> None:
    async with open_office() as (broker, _):
        pass
    for call in (partial(send, broker), partial(visit, broker)):
        with pytest.raises(ShuttingDown):
            await call()
    assert [type(outcome) for outcome in await send_all(broker, ["0", "1"])] == [ShuttingDown] * 2


async def test_a_session_that_outlives_the_broker_does_not_hang() -> None:
    left = []

    async def linger(broker: Broker) -> None:
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await send(broker)
            logged_in.set()
            await closed.wait()
            with pytest.raises(StorageFailure):
                await session.ack(tray.frames[0])
            session.ack_soon(tray.frames[0])
            assert tray.closed == ["shutdown"]
        left.append(True)

    closed, logged_in = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        async with open_office() as (broker, store):
            nursery.start_soon(linger, broker)
            await logged_in.wait()
        closed.set()
    assert left == [True]
    async with open_office(store) as (broker, _), broker.connect(app="demo", user="bob") as session:
        assert session.welcome.queued == 1
        first = [event for event in events(store) if isinstance(event, LoggedIn)][-1]
        assert first.first
