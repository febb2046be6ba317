"""Several changes as one through a whole broker: what is refused is as if it never was, whatever it stands beside in its batch,
and costs the others no more than one further commit."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from postroom.core import Broker, Receipt, domain
from postroom.core.commands import (
    AddMembers,
    BanUsers,
    Command,
    CreateConversation,
    Operation,
    RemoveMembers,
    SendMessage,
    Transact,
    UpdateConversation,
)
from postroom.core.errors import Banned, Internal, Refusal
from postroom.core.events import MembersAdded, MembersRemoved
from postroom.core.model import Conversation, group, service
from postroom.core.queries import FindMembers, GetConversation
from postroom.core.runtime.settle import Settler
from postroom.storage.engine import LIVE
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from postroom.storage.verify import verify
from tests.support.office import APP, Commits, Tray, message, open_office, queue, run, send, settle_down
from tests.support.rows import engine_of, replayed, rows

G, S = group("g"), service("s")


def change(
    key: str = "a", *, adds: tuple[str, ...] = (), removes: tuple[str, ...] = (), of: Conversation = G
) -> Transact:
    """An attribute counts, some leave, others come."""
    return Transact(
        app=APP,
        conversation=of,
        steps=(
            UpdateConversation(app=APP, conversation=of, operations=(Operation(key, "increment", b"1"),)),
            RemoveMembers(app=APP, conversation=of, users=removes),
            AddMembers(app=APP, conversation=of, users=adds),
        ),
    )


def bad(key: str = "bad") -> Transact:
    """Refused when most of it is written."""
    return change(key, adds=("cy", "ban"), removes=("ann",))


async def begin(broker: Broker) -> None:
    """A group of ann and bob, from which one user is banned."""
    await broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob")))
    await broker.submit(BanUsers(app=APP, conversation=G, users=("ban",)))


async def batch(broker: Broker, commands: list[Command]) -> list[Receipt | Refusal]:
    """Carry all of them out, taken as one batch."""
    commits, outcomes = Commits(broker), list[Receipt | Refusal]()

    async def submit() -> None:
        outcomes.extend(await broker.submit_many(commands))

    commits.stop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, broker, "takes the writer", "nobody")
        await settle_down()
        nursery.start_soon(submit)
        await settle_down()
        commits.go()
    return outcomes


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands the writer takes up in each of its transactions."""
    begun: list[int] = []
    commit = Settler._commit

    def counted(self: Settler, batch: Any, room: Any) -> Any:
        begun.append(len(batch))
        return commit(self, batch, room)

    monkeypatch.setattr(Settler, "_commit", counted)
    return begun


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
async def test_a_refused_one_is_as_if_it_never_was(kind: str, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else LmdbStore(tmp_path)

    async def body(broker: Broker) -> None:
        def stored() -> Any:
            with store.snapshot() as snapshot:
                live, log = rows(engine_of(snapshot), LIVE), list(snapshot.log())
                assert replayed(snapshot) == live
            return live, log

        await begin(broker)
        before = stored()
        for _ in range(3):
            with pytest.raises(Banned):
                await broker.submit(bad())
        assert stored() == before
        receipt = await broker.submit(change(adds=("cy",), removes=("ann",)))
        log = stored()[1]
        assert [record.position - receipt.id for record in log[-3:]] == [-2, -1, 0]
        assert log[:-3] == before[1]
        info = await broker.ask(GetConversation(app=APP, conversation=G))
        assert info is not None
        assert (info.members, info.attributes, info.updated_ms) == (("bob", "cy"), b'{"a":1}', receipt.at_ms)
        await broker.submit_many([bad(), message("hi"), change("b"), bad(), change("b")])
        stored()
        assert broker.statistics().refusals == {(APP, "banned"): 5}

    await run(store, body)
    if kind == "lmdb":
        report = verify(tmp_path, progress=lambda _: None)
        assert report.problems == ()
        again = LmdbStore(tmp_path)
        with again.snapshot() as snapshot:
            row = snapshot.views.conversation(APP, G)
            assert row is not None
            assert (row.attributes, row.members) == (b'{"a":1,"b":2}', 2)
        again.close()


async def test_whoever_is_here_gets_what_is_sent_to_them_from_then_on() -> None:
    """The index of who is here follows every step, and no step that did not happen."""
    bob, cy = Tray(), Tray()
    async with open_office() as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=S))
        await broker.submit(BanUsers(app=APP, conversation=S, users=("ban",)))
        publish = SendMessage(app=APP, sender="s", to=S, body=b"hi", queue=True, history=True)
        async with (
            broker.connect(app=APP, user="bob", sink=bob),
            broker.connect(app=APP, user="cy", sink=cy),
        ):
            await broker.submit(change(adds=("bob",), of=S))
            await broker.submit(publish)
            with pytest.raises(Banned):
                await broker.submit(change(adds=("cy", "ban"), removes=("bob",), of=S))
            await broker.submit(publish)
            assert (len(bob.frames), len(cy.frames)) == (2, 0)
            await broker.submit(change(adds=("cy",), removes=("bob",), of=S))
            await broker.submit(publish)
            assert (len(bob.frames), len(cy.frames)) == (2, 1)


async def test_a_ban_among_the_steps_ends_a_stay() -> None:
    r = Conversation("room", "r")
    async with open_office() as (broker, _), broker.connect(app=APP, user="bob") as bob:
        await bob.join("r")
        ban = BanUsers(app=APP, conversation=r, users=("bob",))
        await broker.submit(Transact(app=APP, conversation=r, steps=(ban,)))
        assert broker.statistics().rooms == 0
        assert await broker.ask(FindMembers(app=APP, room="r")) == ()


async def test_beside_others_in_its_batch(transactions: list[int], caplog: pytest.LogCaptureFixture) -> None:
    """What came before it is carried out first, what comes after it next; all in their order, and nothing is logged."""
    async with open_office() as (broker, store):
        await begin(broker)
        transactions.clear()
        commands = [message("0"), change("b"), bad(), message("1"), change("b"), message("2")]
        outcomes = await batch(broker, commands)
        assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, Banned, Receipt, Receipt, Receipt]
        ids = [outcome.id for outcome in outcomes if isinstance(outcome, Receipt)]
        assert ids == sorted(set(ids))
        assert queue(store) == ["0", "1", "2"]
        info = await broker.ask(GetConversation(app=APP, conversation=G))
        assert info is not None
        assert (info.members, info.attributes) == (("ann", "bob"), b'{"b":2}')
        assert transactions == [1, 6, 2, 3]
        assert broker.statistics().refusals == {(APP, "banned"): 1}
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_refused_before_anything_was_written_it_costs_nothing(transactions: list[int]) -> None:
    async with open_office() as (broker, store):
        await begin(broker)
        transactions.clear()
        nobody = RemoveMembers(app=APP, conversation=G, users=("nobody",))
        ban = AddMembers(app=APP, conversation=G, users=("ban",))
        first = Transact(app=APP, conversation=G, steps=(nobody, ban))
        outcomes = await batch(broker, [message("0"), first, message("1")])
        assert [type(outcome) for outcome in outcomes] == [Receipt, Banned, Receipt]
        assert transactions == [1, 3]
        assert queue(store) == ["0", "1"]


@pytest.mark.parametrize("refused", [1, 3, 4, 50])
async def test_however_many_are_refused_nothing_is_tried_often(refused: int, transactions: list[int]) -> None:
    """Nor does the rest go one by one, as it would after as many faults."""
    async with open_office() as (broker, store):
        await begin(broker)
        transactions.clear()
        commands: list[Command] = []
        for number in range(refused):
            commands += [message(f"{number}.{part}") for part in range(3)] + [bad()]
        commands += [message(f"rest {number}") for number in range(40)]
        outcomes = await batch(broker, commands)
        assert sum(isinstance(outcome, Banned) for outcome in outcomes) == refused
        assert queue(store)[-40:] == [f"rest {number}" for number in range(40)]
        assert len(transactions) == 2 * refused + 2
        assert transactions[2::2] == [3] * refused
        assert transactions[-1] == 40


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make additions of one user fail by a fault of ours."""

    def breaker(user: str) -> None:
        decide = domain._DECIDE[AddMembers]

        def failing(command: AddMembers, *rest: Any) -> Any:
            if user in command.users:
                raise ZeroDivisionError("a fault of ours")
            return decide(command, *rest)

        monkeypatch.setitem(domain._DECIDE, AddMembers, failing)

    return breaker


async def test_a_fault_in_a_step_costs_the_whole_of_it(
    broken: Callable[[str], None], transactions: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    broken("fault")
    async with open_office() as (broker, store):
        await begin(broker)
        transactions.clear()
        fault = change("c", adds=("fault",), removes=("bob",))
        outcomes = await batch(broker, [message("0"), fault, bad(), fault, message("1"), change("b")])
        kinds = [Receipt, Internal, Banned, Internal, Receipt, Receipt]
        assert [type(outcome) for outcome in outcomes] == kinds
        assert queue(store) == ["0", "1"]
        info = await broker.ask(GetConversation(app=APP, conversation=G))
        assert info is not None
        assert (info.members, info.attributes) == (("ann", "bob"), b'{"b":1}')
        assert caplog.text.count("a Transact failed and was left out of its batch") == 2
        with store.snapshot() as snapshot:
            events = [type(record.event) for record in snapshot.log()]
        assert MembersAdded not in events
        assert MembersRemoved not in events


async def test_after_so_many_faults_that_each_goes_by_itself(broken: Callable[[str], None]) -> None:
    broken("fault")
    async with open_office() as (broker, store):
        await begin(broker)
        fault = change("c", adds=("fault",))
        outcomes = await batch(broker, [fault, fault, fault, message("0"), bad(), message("1"), change("b"), fault])
        kinds = [Internal, Internal, Internal, Receipt, Banned, Receipt, Receipt, Internal]
        assert [type(outcome) for outcome in outcomes] == kinds
        assert queue(store) == ["0", "1"]
