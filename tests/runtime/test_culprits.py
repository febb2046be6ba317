"""A command that fails by a fault of ours costs itself alone, whatever it stands beside in its batch."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from postroom.core import Broker, EditMessage, RecallMessage, Receipt, domain, open_broker
from postroom.core.commands import Ack, Login, Logout, SendMessage
from postroom.core.commands import EditMessage as Edit
from postroom.core.domain import messages, queues, sessions
from postroom.core.errors import Internal, Refusal
from postroom.core.events import MessageSent
from postroom.core.ids import MessageId
from postroom.core.model import Rules
from postroom.core.runtime import settle
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from tests.support.office import (
    Commits,
    Tray,
    assert_sound,
    events,
    message,
    open_office,
    queue,
    send,
    send_all,
    settle_down,
)

BAD = b"bad"
"""The body, sender or name of what must fail."""


@pytest.fixture(params=["decide", "apply", "late"])
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A send of this body fails: before anything is written, in the middle of it, or after all of it."""
    where: str = request.param
    decide_send, apply_queued = messages.decide_send, messages.apply_queued

    def decide(command: SendMessage, *rest: Any) -> Any:
        decision = decide_send(command, *rest)
        if where == "decide" and command.body == BAD:
            raise ZeroDivisionError("a fault of ours")
        return decision

    def apply(views: Any, app: str, position: Any, copies: Any) -> Any:
        if where == "apply" and any(copy.user.startswith("bad") for copy in copies):
            raise AssertionError("a fault of ours")
        return apply_queued(views, app, position, copies)

    carry_out = settle._carry_out_one

    def carried(transaction: Any, command: Any, rules: Any, now: Any) -> Any:
        settled = carry_out(transaction, command, rules, now)
        if where == "late" and getattr(command, "body", None) == BAD:
            raise KeyError("a fault of ours")
        return settled

    monkeypatch.setitem(domain._DECIDE, SendMessage, decide)
    monkeypatch.setattr(messages, "apply_queued", apply)
    monkeypatch.setattr(settle, "_carry_out_one", carried)
    return where


def bad(number: int = 0, **fields: Any) -> SendMessage:
    """It fails."""
    return message(BAD.decode(), f"bad{number}", **fields)


async def batch(broker: Broker, commands: list[Any]) -> list[Any]:
    """Carry all of them out in one batch; how many batches it was is checked."""
    outcomes: dict[int, Any] = {}

    async def submit(number: int, command: Any) -> None:
        try:
            outcomes[number] = await broker.submit(command)
        except Refusal as refusal:
            outcomes[number] = refusal

    await settle_down()
    commits = Commits(broker)
    commits.stop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, broker, "takes the writer", "nobody")
        await settle_down()
        for number, command in enumerate(commands):
            nursery.start_soon(submit, number, command)
            await settle_down()
        before = broker.statistics().batch_commands.count
        commits.go()
    assert broker.statistics().batch_commands.count == before + 2
    return [outcomes[number] for number in range(len(commands))]


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("place", [0, 2, 4])
async def test_the_others_of_its_batch_are_carried_out(place: int, caplog: pytest.LogCaptureFixture) -> None:
    async with open_office() as (broker, store):
        commands = [message(f"{number}") for number in range(4)]
        commands.insert(place, bad())
        outcomes = await batch(broker, commands)
        culprit = outcomes.pop(place)
        assert isinstance(culprit, Internal)
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        assert [outcome.id for outcome in outcomes] == sorted(outcome.id for outcome in outcomes)
        assert queue(store) == ["0", "1", "2", "3"]
        assert queue(store, "bad0") == []
        assert broker.statistics().refusals == {("demo", "internal"): 1}
        # The incident is in the log, with its cause; the message's text is not.
        logged = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(logged) == 1
        assert culprit.incident in logged[0].getMessage()
        assert culprit.incident in str(culprit)
        assert "a fault of ours" in caplog.text
        assert "SendMessage" in logged[0].getMessage()


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("culprits", [1, 2, 3, 4, 5, 9])
async def test_several_of_them_in_one_batch(culprits: int, caplog: pytest.LogCaptureFixture) -> None:
    async with open_office() as (broker, store):
        commands: list[Any] = []
        for number in range(10):
            commands.append(message(f"{number}"))
            if number < culprits:
                commands.append(bad(number))
        outcomes = await batch(broker, commands)
        failed = [outcome for outcome in outcomes if isinstance(outcome, Internal)]
        assert len(failed) == len({refusal.incident for refusal in failed}) == culprits
        assert queue(store) == [str(number) for number in range(10)]
        assert caplog.text.count("left out of its batch") == culprits
        ids = [outcome.id for outcome in outcomes if isinstance(outcome, Receipt)]
        assert ids == sorted(set(ids))


@pytest.mark.usefixtures("fault")
@pytest.mark.parametrize("culprits", [1, 4])
async def test_apps_and_users_first_named_in_that_batch(culprits: int) -> None:
    """What was begun for a culprit is gone with it; what the others are given in its place is theirs."""
    async with open_office() as (broker, store):
        commands: list[Any] = [bad(0, app="named by a culprit")]
        commands += [message("0", "new", app="new")]
        commands += [bad(number, app="new") for number in range(1, culprits)]
        commands += [message("1", "new", app="new"), message("2", "newer", app="newer", dedup="k", history=True)]
        outcomes = await batch(broker, commands)
        assert sum(isinstance(outcome, Receipt) for outcome in outcomes) == 3
        assert_sound(store)
        assert (queue(store, "new", "new"), queue(store, "newer", "newer")) == (["0", "1"], ["2"])
        assert "named by a culprit" not in broker.statistics().totals
        # Named again, they mean the same.
        await send(broker, "3", "new", app="new")
        assert queue(store, "new", "new") == ["0", "1", "3"]
    async with open_office(store) as (broker, _):
        assert queue(store, "new", "new") == ["0", "1", "3"]


@pytest.mark.usefixtures("fault")
async def test_it_left_nothing_behind_and_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_office() as (broker, store):
        command = bad(dedup="k", history=True)
        for _ in range(2):
            with pytest.raises(Internal):
                await broker.submit(command)
        assert sum(isinstance(event, MessageSent) for event in events(store)) == 0
        monkeypatch.undo()
        receipt = await broker.submit(command)
        assert not receipt.duplicate
        assert queue(store, "bad0") == ["bad"]


@pytest.mark.usefixtures("fault")
async def test_many_at_once_hear_of_it_as_a_value() -> None:
    async with open_office() as (broker, store):
        outcomes = await broker.submit_many([message("0"), bad(), message("1")])
        assert [type(outcome) for outcome in outcomes] == [Receipt, Internal, Receipt]
        assert queue(store) == ["0", "1"]


@pytest.mark.usefixtures("fault")
async def test_a_wait_for_its_ack_ends_with_it() -> None:
    async with open_office() as (broker, _), broker.connect(app="demo", user="bad0"):
        with pytest.raises(Internal):
            await broker.submit(bad(wait_ack_ms=60_000))
        assert broker.statistics().waiters == 0


@pytest.mark.usefixtures("fault")
async def test_on_a_disk(tmp_path: Path) -> None:
    async with open_broker(tmp_path) as broker:
        for _ in range(3):
            commands = [message("0"), *(bad(number) for number in range(5)), message("1")]
            outcomes = await broker.submit_many(commands)
            assert [type(outcome) for outcome in outcomes] == [Receipt, *[Internal] * 5, Receipt]
    store = LmdbStore(tmp_path)
    assert_sound(store)
    assert queue(store) == ["0", "1"] * 3
    store.close()


@pytest.fixture
def break_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type, str], None]]:
    """Make one kind of command fail for one user, once."""

    def breaker(kind: type, user: str) -> None:
        decide = domain._DECIDE[kind]

        def broken(command: Any, *rest: Any) -> Any:
            if getattr(command, "user", getattr(command, "by", None)) == user:
                monkeypatch.setitem(domain._DECIDE, kind, decide)
                raise RuntimeError("a fault of ours")
            return decide(command, *rest)

        monkeypatch.setitem(domain._DECIDE, kind, broken)

    return breaker


async def test_a_login_that_fails(break_command: Callable[[type, str], None]) -> None:
    break_command(Login, "bob")
    async with open_office() as (broker, _):
        with pytest.raises(Internal):
            async with broker.connect(app="demo", user="bob"):
                pass
        assert broker._fanout.sessions() == []
        async with broker.connect(app="demo", user="bob"):
            pass


async def test_a_logout_that_fails(break_command: Callable[[type, str], None]) -> None:
    """The session's owner leaves all the same; its row goes at the next start."""
    break_command(Logout, "bob")
    async with open_office() as (broker, store), broker.connect(app="demo", user="bob"):
        pass
    async with open_office(store) as (broker, _):
        await settle_down()
        with broker.snapshot() as snapshot:
            assert snapshot.views.sessions("demo", "bob") == []


async def test_an_ack_that_fails(break_command: Callable[[type, str], None]) -> None:
    break_command(Ack, "bob")
    async with open_office() as (broker, store):
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await send_all(broker, ["0", "1"])
            with pytest.raises(Internal):
                await session.ack(tray.frames[0])
            assert queue(store) == ["0", "1"]
            await session.ack(tray.frames[0])
            assert queue(store) == ["1"]


async def test_an_edit_and_a_recall_that_fail(break_command: Callable[[type, str], None]) -> None:
    async with open_office() as (broker, store):
        id = (await send(broker, "old")).id
        break_command(Edit, "alice")
        with pytest.raises(Internal):
            await broker.submit(EditMessage(app="demo", id=id, by="alice", body=b"new"))
        break_command(RecallMessage, "alice")
        with pytest.raises(Internal):
            await broker.submit(RecallMessage(app="demo", id=id, by="alice"))
        assert queue(store) == ["old"]


async def test_a_sweep_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, autojump_clock: Any) -> None:
    calls = []
    sweep = sessions.decide_expire_dedup

    def broken(command: Any, *rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a fault of ours")
        return sweep(command, *rest)

    from postroom.core.commands import ExpireDedup

    monkeypatch.setitem(domain._DECIDE, ExpireDedup, broken)
    async with open_office() as (broker, _):
        await trio.sleep(130)
        assert len(calls) == 3
        await send(broker)


async def test_a_corrupt_header_costs_the_command_that_reads_it() -> None:
    async with open_office() as (broker, store):
        ids = [outcome.id for outcome in await send_all(broker, ["0", "1"])]
        with store.transaction() as transaction:
            engine = transaction._engine
            key = int(ids[0]).to_bytes(8)
            engine.put("bodies", key, engine.get("bodies", key)[:-1] + b"?")
        with pytest.raises(Internal):
            await broker.submit(RecallMessage(app="demo", id=ids[0], by="alice"))
        await broker.submit(RecallMessage(app="demo", id=ids[1], by="alice"))
        assert len(await broker.submit_many([message("2")])) == 1


async def test_numbers_that_no_key_could_hold_are_refused_not_faults(caplog: pytest.LogCaptureFixture) -> None:
    async with open_office() as (broker, _):
        for id in (0, -1, 1 << 53, 1 << 64, 1 << 70):
            with pytest.raises(Refusal) as caught:
                await broker.submit(RecallMessage(app="demo", id=MessageId(id), by="alice"))
            assert caught.value.code == "unknown_message"
        assert caplog.text == ""


async def test_a_machine_fault_in_a_batch_with_culprits_is_the_machines(fault: str) -> None:
    from tests.support.faulty import FaultyStore

    store = FaultyStore(MemoryStore())

    async def body(broker: Broker) -> None:
        store.fail("before")
        await broker.submit_many([message("0"), bad(), message("1")])

    from postroom.core import StorageFailure
    from tests.support.office import run

    with pytest.raises(StorageFailure):
        await run(store, body)
    assert queue(store.inner) == []
    assert_sound(store.inner)


def test_the_rules_here_break_what_they_say() -> None:
    """`apply_queued` is looked up where it is broken above."""
    assert messages.apply_queued is queues.apply_queued
    assert Rules().queue_messages == 200
