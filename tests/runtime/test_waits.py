"""Senders that wait for their recipient's ack."""

from pathlib import Path

import pytest
import trio
import trio.testing

from postroom.core import Broker, Delivery, InvalidCommand, Receipt, StorageFailure, open_broker
from postroom.core.commands import DeleteMessage, SendMessage
from postroom.core.errors import Overloaded
from postroom.core.events import LoggedIn, LoggedOut, MessageConfirmed, MessageSent
from postroom.core.model import Confirmation, Rules
from postroom.core.queries import FindMessages
from postroom.core.runtime import waits
from postroom.storage.memory import MemoryStore
from tests.support.faulty import FaultyStore
from tests.support.office import Commits, Tray, events, message, open_office, queue, run, send, settle_down


class Sender:
    """Somebody who waits, in a task of their own."""

    def __init__(self, broker: Broker, nursery: trio.Nursery) -> None:
        self._broker = broker
        self._nursery = nursery
        self.answers: dict[str, tuple[Confirmation | None, bool]] = {}
        self.receipts: dict[str, Receipt] = {}

    def send(self, text: str = "hi", *, as_: str | None = None, wait_ack_ms: int = 60_000, **fields: object) -> None:
        """Submit; the answer appears under `as_`, or the text."""
        command = message(text, wait_ack_ms=wait_ack_ms, **fields)
        self._nursery.start_soon(self._send, command, as_ or text)

    async def _send(self, command: SendMessage, name: str) -> None:
        receipt = await self._broker.submit(command)
        self.receipts[name] = receipt
        self.answers[name] = receipt.confirmation, receipt.duplicate

    def answer(self, name: str = "hi") -> Confirmation | None:
        """How that wait ended."""
        return self.answers[name][0]


def confirmed(store: object) -> int:
    """How many waits the log says ended with an ack."""
    return sum(isinstance(event, MessageConfirmed) for event in events(store))


# Delivered.


@pytest.mark.parametrize("dedup", [None, "k"])
@pytest.mark.parametrize("queued", [True, False])
async def test_an_ack_answers_the_sender(queued: bool, dedup: str | None) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(queue=queued, dedup=dedup)
            await settle_down()
            assert (sender.answers, broker.statistics().waiters) == ({}, 1)
            await session.ack(tray.frames[0])
            await settle_down()
            assert sender.answers == {"hi": ("delivered", False)}
            assert broker.statistics().waiters == 0
            assert confirmed(store) == (dedup is not None)


async def test_to_have_heard_that_it_was_deleted_is_not_to_have_had_it() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray(room=0)
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(history=True)
            await settle_down()
            (found,) = await broker.ask(FindMessages(app="demo", everything=True))
            await broker.submit(DeleteMessage(app="demo", id=found.id, by="alice"))
            tray.room = 9
            session.resume()
            assert [frame.type for frame in tray.frames] == ["deleted"]
            await session.ack(tray.frames[0])
            await settle_down()
            assert sender.answers == {}
        await settle_down()
        assert sender.answer() == "offline"


async def test_without_a_wait_nobody_waits() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob"):
        assert (await send(broker)).confirmation is None


@pytest.mark.parametrize("queued", [True, False])
async def test_an_ack_of_a_later_frame_counts(queued: bool) -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(queue=queued)
            await settle_down()
            await send(broker, "later")
            await session.ack(tray.frames[1])
            await settle_down()
            assert sender.answer() == "delivered"


@pytest.mark.parametrize("queued", [True, False])
async def test_an_ack_of_an_earlier_frame_does_not(queued: bool) -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await send(broker, "earlier")
            sender.send(queue=queued)
            await settle_down()
            await session.ack(tray.frames[0])
            await settle_down()
            assert sender.answers == {}
            nursery.cancel_scope.cancel()


async def test_any_session_may_be_the_one_even_one_opened_later() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender = Sender(broker, nursery)
        async with broker.connect(app="demo", user="bob"):
            sender.send()
            await settle_down()
            async with broker.connect(app="demo", user="bob") as later:
                await later.ack(await anext(later))
                await settle_down()
                assert sender.answer() == "delivered"


async def test_acks_of_others_do_not_count() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, cy = Sender(broker, nursery), Tray()
        async with (
            broker.connect(app="demo", user="bob"),
            broker.connect(app="demo", user="cy", sink=cy) as session,
            broker.connect(app="other", user="bob", sink=cy) as elsewhere,
        ):
            sender.send()
            sender.send("unqueued", queue=False)
            await settle_down()
            await send(broker, "to cy", to="cy")
            await session.ack(cy.frames[0])
            await send(broker, "elsewhere", app="other")
            await elsewhere.ack(cy.frames[1])
            await settle_down()
            assert sender.answers == {}
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("dedup", [None, "k"])
async def test_what_was_pushed_out_of_the_queue_is_not_acknowledged_by_what_comes_after_it(
    autojump_clock: trio.testing.MockClock, dedup: str | None
) -> None:
    """Nobody knows whether the session saw it: it may read from disk."""
    rules = {"demo": Rules(queue_messages=1)}
    async with open_office(rules=rules) as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(dedup=dedup)
            await settle_down()
            await send(broker, "pushes it out")
            await session.ack(tray.frames[1])
            await trio.sleep(61)
            assert sender.answer() == "timeout"


async def test_the_ack_may_come_from_within_the_sink() -> None:
    """As soon as the next frame comes: the wait is there before any session is offered the message."""

    class Eager(Tray):
        def offer(self, delivery: Delivery) -> bool:
            taken = super().offer(delivery)
            assert self.session is not None
            if len(self.frames) > 1:
                self.session.ack_soon(self.frames[-2])
            return taken

    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Eager()
        async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
            for text in ("one", "two"):
                sender.send(text, queue=False)
                await settle_down()
            assert sender.answers == {"one": ("delivered", False)}
            nursery.cancel_scope.cancel()


async def test_the_ack_is_on_disk_before_the_sender_hears_of_it(tmp_path: Path) -> None:
    """Queued: after that ack's commit."""

    async def acknowledge() -> None:
        session.ack_soon(await anext(session))

    async with (
        open_broker(tmp_path) as broker,
        broker.connect(app="demo", user="bob") as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(acknowledge)
        receipt = await broker.submit(message(wait_ack_ms=60_000))
        assert receipt.confirmation == "delivered"
        with broker.snapshot() as snapshot:
            assert list(snapshot.views.entries("demo", "bob")) == []


# Offline.


@pytest.mark.parametrize("queued", [True, False])
async def test_offline_is_known_at_once(queued: bool) -> None:
    async with open_office() as (broker, store):
        receipt = await send(broker, wait_ack_ms=60_000, queue=queued)
        assert receipt.confirmation == "offline"
        assert queue(store) == (["hi"] if queued else [])
        assert broker.statistics().waiters == 0


async def test_offline_is_when_the_last_session_logs_out() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender = Sender(broker, nursery)
        async with broker.connect(app="demo", user="bob"):
            async with broker.connect(app="demo", user="bob"):
                sender.send()
                sender.send("unqueued", queue=False, dedup="k")
                await settle_down()
            await settle_down()
            assert sender.answers == {}
        await settle_down()
        assert {sender.answer(), sender.answer("unqueued")} == {"offline"}
        assert broker.statistics().waiters == 0


async def test_offline_even_if_the_user_returns_in_the_same_commit() -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        sender, tray, release = Sender(broker, nursery), Tray(), trio.Event()

        async def visit(until: trio.Event) -> None:
            async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
                await until.wait()

        nursery.start_soon(visit, release)
        await settle_down()
        sender.send()
        await settle_down()
        commits = Commits(broker)
        commits.stop()
        nursery.start_soon(send, broker, "takes the writer")
        await settle_down()
        release.set()
        await settle_down()
        nursery.start_soon(visit, trio.Event())
        await settle_down()
        batches = broker.statistics().batch_commands.count
        commits.go()
        await settle_down()
        assert broker.statistics().batch_commands.count == batches + 2
        order = [type(event) for event in events(store) if isinstance(event, LoggedIn | LoggedOut)]
        assert order == [LoggedIn, LoggedOut, LoggedIn]
        assert tray.session is not None
        await tray.session.ack(tray.frames[-1])
        await settle_down()
        assert sender.answer() == "offline"
        nursery.cancel_scope.cancel()


async def test_a_recipient_of_an_earlier_process_is_offline() -> None:
    store = FaultyStore(MemoryStore())

    async def die(broker: Broker) -> None:
        async with broker.connect(app="demo", user="bob"):
            store.fail("before")
            await send(broker, "lost")

    with pytest.raises(StorageFailure):
        await run(store, die)
    async with open_office(store.inner) as (broker, _):
        assert (await send(broker, wait_ack_ms=60_000)).confirmation == "offline"


# The deadline.


@pytest.mark.parametrize("queued", [True, False])
async def test_a_wait_ends_at_its_deadline(autojump_clock: trio.testing.MockClock, queued: bool) -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob", sink=Tray()):
        began = trio.current_time()
        receipt = await send(broker, wait_ack_ms=5_000, queue=queued)
        assert receipt.confirmation == "timeout"
        assert 4.99 < trio.current_time() - began < 5.1
        assert broker.statistics().waiters == 0


async def test_an_ack_just_in_time_counts(mock_clock: trio.testing.MockClock) -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(wait_ack_ms=5_000)
            await settle_down()
            mock_clock.jump(4.999)
            await session.ack(tray.frames[0])
            await settle_down()
            assert sender.answer() == "delivered"


async def test_an_ack_after_the_deadline_does_not(mock_clock: trio.testing.MockClock) -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(wait_ack_ms=5_000)
            await settle_down()
            mock_clock.jump(5.001)
            await settle_down()
            await session.ack(tray.frames[0])
            assert sender.answer() == "timeout"


@pytest.mark.parametrize("wait_ack_ms", [0, -1, 60_001])
async def test_the_wait_is_bounded(wait_ack_ms: int) -> None:
    async with open_office() as (broker, _):
        with pytest.raises(InvalidCommand):
            await send(broker, wait_ack_ms=wait_ack_ms)
        assert broker.statistics().waiters == 0


# Retries.


@pytest.mark.parametrize("queued", [True, False])
async def test_a_retry_finds_that_it_was_delivered(queued: bool) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(queue=queued, dedup="k")
            await settle_down()
            await session.ack(tray.frames[0])
            sender.send(as_="retry", queue=queued, dedup="k")
            await settle_down()
            assert sender.answers["retry"] == ("delivered", True)
        sender.send(as_="offline by now", queue=queued, dedup="k")
        await settle_down()
        assert sender.answers["offline by now"] == ("delivered", True)
        assert sender.receipts["hi"].id == sender.receipts["retry"].id
        assert sum(isinstance(event, MessageSent) for event in events(store)) == confirmed(store) == 1


@pytest.mark.parametrize("queued", [True, False])
async def test_that_it_was_delivered_is_kept_for_the_next_process(queued: bool) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(queue=queued, dedup="k")
            await settle_down()
            await session.ack(tray.frames[0])
    async with open_office(store) as (broker, _):
        receipt = await send(broker, queue=queued, dedup="k", wait_ack_ms=60_000)
        assert (receipt.confirmation, receipt.duplicate) == ("delivered", True)


@pytest.mark.parametrize("queued", [True, False])
async def test_a_retry_joins_the_wait_that_is_still_running(queued: bool) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(queue=queued, dedup="k")
            await settle_down()
            sender.send(as_="retry", queue=queued, dedup="k")
            await settle_down()
            assert broker.statistics().waiters == 2
            assert len(tray.frames) == 1
            await session.ack(tray.frames[0])
            await settle_down()
            assert sender.answers == {"hi": ("delivered", False), "retry": ("delivered", True)}
            assert confirmed(store) == 1


@pytest.mark.parametrize("queued", [True, False])
async def test_a_retry_after_a_timeout_waits_anew(mock_clock: trio.testing.MockClock, queued: bool) -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(queue=queued, dedup="k", wait_ack_ms=1_000)
            await settle_down()
            mock_clock.jump(2)
            await settle_down()
            assert sender.answers == {"hi": ("timeout", False)}
            sender.send(as_="retry", queue=queued, dedup="k", wait_ack_ms=1_000)
            await settle_down()
            await session.ack(tray.frames[0])
            await settle_down()
            assert sender.answers["retry"] == ("delivered", True)


@pytest.mark.parametrize("queued", [True, False])
async def test_a_retry_finds_an_ack_that_came_when_nobody_waited(
    mock_clock: trio.testing.MockClock, queued: bool
) -> None:
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            sender.send(queue=queued, dedup="k", wait_ack_ms=1_000)
            await settle_down()
            mock_clock.jump(2)
            await settle_down()
            assert sender.answers == {"hi": ("timeout", False)}
            await session.ack(tray.frames[0])
            sender.send(as_="retry", queue=queued, dedup="k", wait_ack_ms=1_000)
            await settle_down()
            assert sender.answers["retry"] == ("delivered", True)
        sender.send(as_="offline by now", queue=queued, dedup="k", wait_ack_ms=1_000)
        await settle_down()
        assert sender.answers["offline by now"] == ("delivered", True)
        assert confirmed(store) == 1


async def test_a_retry_finds_the_ack_of_who_was_offline_at_first() -> None:
    async with open_office() as (broker, store):
        assert (await send(broker, dedup="k", wait_ack_ms=1_000)).confirmation == "offline"
        async with broker.connect(app="demo", user="bob") as session:
            await session.ack(await anext(session))
        receipt = await send(broker, dedup="k", wait_ack_ms=1_000)
        assert (receipt.confirmation, receipt.duplicate) == ("delivered", True)
        assert confirmed(store) == 1


async def test_a_retry_that_finds_nobody_is_told_so() -> None:
    async with open_office() as (broker, _):
        await send(broker, dedup="k", wait_ack_ms=1_000)
        receipt = await send(broker, dedup="k", wait_ack_ms=1_000)
        assert (receipt.confirmation, receipt.duplicate) == ("offline", True)


async def test_a_retry_without_a_wait_does_not_wait() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob"):
        await send(broker, dedup="k")
        receipt = await send(broker, dedup="k")
        assert (receipt.confirmation, receipt.duplicate) == (None, True)


async def test_the_first_send_need_not_have_waited() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await send(broker, dedup="k")
            sender.send(as_="retry", dedup="k")
            await settle_down()
            await session.ack(tray.frames[0])
            await settle_down()
            assert sender.answers["retry"] == ("delivered", True)


# Bounds, and who gives up.


async def test_waiters_are_bounded_and_beyond_that_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "ACK_WAITERS_MAX", 2)
    async with open_office() as (broker, store), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            for text in ("1", "2"):
                sender.send(text)
                await settle_down()
            before = len(events(store))
            with pytest.raises(Overloaded) as caught:
                await send(broker, "3", wait_ack_ms=1_000)
            assert caught.value.retry_after_ms
            assert broker.statistics().refusals["demo", "overloaded"] == 1
            assert len(events(store)) == before
            await send(broker, "not waiting")
            await session.ack(tray.frames[0])
            await settle_down()
            sender.send("4")
            await settle_down()
            assert tray.texts() == ["1", "2", "not waiting", "4"]
            nursery.cancel_scope.cancel()
        assert broker.statistics().waiters == 0


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob", sink=Tray()):
        for steps in range(12):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    Sender(broker, nursery).send(dedup=f"{steps}" if steps % 2 else None)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            await settle_down()
            assert broker.statistics().waiters == 0
            assert not broker._waits._by_user
            assert not broker._waits._by_message


async def test_a_refused_send_leaves_nothing_behind() -> None:
    rules = {"demo": Rules(queue_messages=1, overflow="refuse")}
    async with open_office(rules=rules) as (broker, _), broker.connect(app="demo", user="bob"):
        await send(broker)
        for fields in ({}, {"sender": ""}, {"app": "unknown"}):
            with pytest.raises(Exception, match=r"full|sender|configured"):
                await send(broker, wait_ack_ms=1_000, **fields)
        assert broker.statistics().waiters == 0


async def test_waits_end_when_the_broker_closes() -> None:
    async with (
        open_office() as (broker, _),
        trio.open_nursery() as nursery,
        broker.connect(app="demo", user="bob", sink=Tray()),
    ):
        sender = Sender(broker, nursery)
        sender.send("waiting")
        await settle_down()
        broker.stop_waits()
        await settle_down()
        assert sender.answers == {"waiting": ("timeout", False)}
        # Taken while closing: no wait begins any more.
        sender.send("late")
        await settle_down()
        assert sender.answer("late") == "timeout"


async def test_many_waiters_one_ack() -> None:
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        sender, tray = Sender(broker, nursery), Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            for number in range(200):
                sender.send(f"{number}", queue=number % 2 == 0, dedup=f"{number}" if number % 3 == 0 else None)
            await settle_down()
            assert broker.statistics().waiters == 200
            await session.ack(tray.frames[-1])
            await settle_down()
            assert [answer for answer, _ in sender.answers.values()] == ["delivered"] * 200
            assert not broker._waits._by_user
