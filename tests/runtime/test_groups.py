"""Groups through a whole broker: who is told, in which frame, after which commit, and how batches are cut."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from postroom.core import Broker, BrokerThread, DeleteMessage, EditMessage, RecallMessage, Receipt, group, room
from postroom.core.commands import AddMembers, Command, CreateConversation, SendMessage
from postroom.core.errors import UnknownConversation
from postroom.core.ids import MessageId
from postroom.core.limits import BATCH_ROWS_MAX, GROUP_COPIES_MAX, MEMBERS_MAX
from postroom.core.model import Rules
from postroom.core.queries import CountMessages
from postroom.core.runtime.pending import Group, Pending
from postroom.core.runtime.spreading import cut
from postroom.storage.memory import MemoryStore
from tests.support.machine import Machine
from tests.support.office import APP, Tray, message, open_office, send, settle_down

G = group("g")


def say(text: str = "hi", **fields: Any) -> SendMessage:
    """Queued and kept unless said otherwise."""
    fields = {"to": G, "queue": True, "history": True, **fields}
    return SendMessage(app=APP, body=text.encode(), **{"sender": "ann", **fields})


@asynccontextmanager
async def club(*online: str) -> AsyncIterator[tuple[Broker, Any, list[Tray]]]:
    """The group of ann, bob and cy; a session for each name that is given."""
    async with open_office() as (broker, store), AsyncExitStack() as sessions:
        await broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob", "cy")))
        trays = [Tray() for _ in online]
        for user, tray in zip(online, trays, strict=True):
            tray.session = await sessions.enter_async_context(broker.connect(app=APP, user=user, sink=tray))
        yield broker, store, trays


def seqs(tray: Tray) -> list[int | None]:
    return [frame.seq for frame in tray.frames]


async def test_each_copy_has_its_own_number() -> None:
    async with club("bob", "bob", "cy", "ann") as (broker, _, (bob, bob_too, cy, ann)):
        await send(broker, "before", "cy")
        await broker.submit(say("hi"))
        assert (bob.texts(), cy.texts(), ann.texts()) == (["hi"], ["before", "hi"], [])
        assert (seqs(bob), seqs(cy)) == ([1], [1, 2])
        assert bob.frames[0] is bob_too.frames[0]
        assert (bob.frames[0].conversation, bob.frames[0].sender) == (G, "ann")
        assert ann.session is not None
        assert bob.session is not None
        await bob.session.ack(bob.frames[0])
        assert [frame.type for frame in bob_too.frames] == ["message", "acked"]


async def test_where_nothing_differs_there_is_one_frame() -> None:
    async with club("bob", "cy", "ann", "eve") as (broker, _, (bob, cy, ann, eve)):
        await broker.submit(say("hi", queue=False, sender_copy="online"))
        assert [tray.texts() for tray in (bob, cy, ann, eve)] == [["hi"], ["hi"], ["hi"], []]
        assert bob.frames[0] is cy.frames[0] is ann.frames[0]
        assert bob.frames[0].queued is False


async def test_the_sender_s_own_sessions_get_it_unqueued() -> None:
    async with club("ann", "bob") as (broker, _, (ann, bob)):
        await broker.submit(say("hi", sender_copy="online"))
        assert (seqs(ann), seqs(bob)) == ([None], [1])


async def test_who_comes_later_finds_what_was_queued() -> None:
    async with club() as (broker, _, _):
        await broker.submit(say("gone", queue=False, history=False))
        await broker.submit(say("hi"))
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray):
            await settle_down()
        assert tray.texts() == ["hi"]
        assert await broker.ask(CountMessages(app=APP, conversations=(G,))) == 1


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("what", ["edited", "recalled", "deleted"])
async def test_changes_are_told(queue: bool, what: str) -> None:
    async with club("bob", "ann", "eve") as (broker, _, (bob, ann, eve)):
        id = (await broker.submit(say("hi", queue=queue, sender_copy="online"))).id
        await broker.submit(changed(what, id))
        assert [frame.type for frame in bob.frames] == [frame.type for frame in ann.frames] == ["message", what]
        assert seqs(bob) == ([1, 2] if queue else [None, None])
        assert seqs(ann) == [None, None]
        assert eve.frames == []


def changed(what: str, id: MessageId) -> Command:
    match what:
        case "edited":
            return EditMessage(app=APP, id=id, by="ann", body=b"new")
        case "recalled":
            return RecallMessage(app=APP, id=id, by="ann")
        case _:
            return DeleteMessage(app=APP, id=id, by="ann")


@pytest.mark.parametrize("to", ["group", "peer", "room"])
@pytest.mark.parametrize("queue", [True, False])
async def test_a_silent_deletion_is_told_nobody(to: str, queue: bool) -> None:
    async with club("bob", "ann") as (broker, _, (bob, ann)):
        assert bob.session is not None
        await bob.session.join("r")
        commands = {
            "group": say(queue=queue),
            "peer": message(to="bob", queue=queue, history=True),
            "room": say(to=room("r"), queue=False),
        }
        command = commands[to]
        id = (await broker.submit(command)).id
        await broker.submit(DeleteMessage(app=APP, id=id, by="ann", silent=True))
        assert [frame.type for frame in bob.frames] == ["message"]
        assert ann.frames == []
        assert await broker.ask(CountMessages(app=APP, sender="alice")) == 0
        assert await broker.ask(CountMessages(app=APP, sender="ann")) == 0


async def test_refusals_and_who_joins_in_the_same_batch() -> None:
    async with club() as (broker, store, _):
        with pytest.raises(UnknownConversation):
            await broker.submit(say(to=group("h")))
        outcomes = await broker.submit_many(
            [
                CreateConversation(app=APP, conversation=group("h")),
                AddMembers(app=APP, conversation=group("h"), users=("bob",)),
                say("early", to=group("h")),
            ]
        )
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        with store.snapshot() as snapshot:
            assert len(list(snapshot.views.entries(APP, "bob"))) == 1


def test_the_thread_knows_groups(tmp_path: Any) -> None:
    with BrokerThread(tmp_path / "data") as broker:
        created = broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob"))).result()
        assert created.conversation == G
        broker.submit(say("hi")).result()
        with broker.connect(app=APP, user="bob") as session:
            frame = next(session)
            assert (frame.body, frame.conversation, frame.seq) == (b"hi", G, 1)
            session.ack(frame).result()


# Batches.


def batch_of(*commands: Command) -> list[Pending]:
    return [Pending(command, Rules(), Group()) for command in commands]


def store_with(**sizes: int) -> Any:
    machine = Machine(MemoryStore())
    for name, size in sizes.items():
        users = tuple(f"u{number}" for number in range(size))
        machine.run(CreateConversation(app=APP, conversation=group(name), members=users))
    return machine


def test_sends_to_small_groups_are_one_batch_and_to_large_ones_are_not() -> None:
    store = store_with(small=3, large=GROUP_COPIES_MAX, huge=MEMBERS_MAX).store
    few = batch_of(*[say(to=group("small"))] * 200)
    assert cut(few, store) == (few, [])
    streamed = batch_of(*[say(to=group("huge"))] * 200)
    assert cut(streamed, store) == (streamed, [])
    many = batch_of(*[say(to=group("large"))] * 40)
    now, later = cut(many, store)
    assert list(now) + later == many
    assert sum(pending.rows for pending in now[:-1]) < BATCH_ROWS_MAX <= sum(pending.rows for pending in now)
    assert later


def test_changes_count_their_recipients_and_peers_are_not_looked_at() -> None:
    machine = store_with(large=GROUP_COPIES_MAX)
    receipt = machine.run(say(to=group("large"))).result
    assert isinstance(receipt, Receipt)
    edits = batch_of(*[EditMessage(app=APP, id=receipt.id, by="ann", body=b"x")] * 40)
    assert cut(edits, machine.store)[1]
    unknown = batch_of(RecallMessage(app=APP, id=MessageId(0), by="ann"), say(to=group("none")))
    assert cut(unknown, machine.store) == (unknown, [])
    peers = batch_of(message())
    assert not peers[0].spreads
    assert cut(peers, None) == (peers, [])  # type: ignore[arg-type]


async def test_a_batch_that_was_cut_is_carried_out_in_order() -> None:
    async with open_office() as (broker, store):
        users = tuple(f"u{number}" for number in range(GROUP_COPIES_MAX))
        await broker.submit(CreateConversation(app=APP, conversation=G, members=users))
        outcomes = await broker.submit_many([say(str(number)) for number in range(150)])
        ids = [outcome.id for outcome in outcomes if isinstance(outcome, Receipt)]
        assert len(ids) == 150
        assert ids == sorted(ids)
        with store.snapshot() as snapshot:
            assert [entry.position for entry in snapshot.views.entries(APP, "u7")] == ids
        assert broker.statistics().batch_commands.count > 5
