"""Unread counts through a whole broker: what is on disk is what is told, also by the next process."""

from pathlib import Path

import pytest

from postroom.core import Broker, SendMessage, group, open_broker
from postroom.core.commands import AddMembers, CreateConversation, MarkRead
from postroom.core.errors import InvalidCommand, UnknownConversation
from postroom.core.model import Receipt, peer
from postroom.core.queries import CountUnread
from postroom.storage.lmdb import LmdbStore
from postroom.storage.verify import verify
from tests.support.office import APP, open_office

G = group("g")


async def say(broker: Broker, sender: str = "ann") -> Receipt:
    return await broker.submit(SendMessage(app=APP, sender=sender, to=G, body=b"hi", queue=True, history=True))


async def unread(broker: Broker, *users: str) -> list[int]:
    return [await broker.ask(CountUnread(app=APP, user=user)) for user in users]


async def test_a_mark_and_what_is_left() -> None:
    async with open_office() as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob")))
        receipt = await say(broker)
        mark = MarkRead(app=APP, user="bob", conversation=G, until_ms=receipt.at_ms)
        assert await unread(broker, "ann", "bob", "cy") == [0, 1, 0]
        marked = await broker.submit(mark)
        assert (marked.conversation, marked.duplicate) == (G, False)
        assert (await broker.submit(mark)).duplicate
        assert await unread(broker, "ann", "bob") == [0, 0]


async def test_marks_and_messages_of_one_batch() -> None:
    """A mark sees what the commands before it did."""
    async with open_office() as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob")))
        first = await say(broker)
        send = SendMessage(app=APP, sender="ann", to=G, body=b"hi", history=True)
        mark = MarkRead(app=APP, user="bob", conversation=G, until_ms=first.at_ms)
        later = MarkRead(app=APP, user="bob", conversation=G, until_ms=(1 << 63) - 1)  # type: ignore[arg-type]
        outcomes = await broker.submit_many([send, mark, later, send])
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        assert await unread(broker, "bob") == [1]


async def test_what_is_refused() -> None:
    async with open_office() as (broker, _):
        with pytest.raises(UnknownConversation):
            await broker.ask(CountUnread(app=APP, user="bob", conversation=G))
        with pytest.raises(UnknownConversation):
            await broker.submit(MarkRead(app=APP, user="bob", conversation=G, until_ms=5))  # type: ignore[arg-type]
        with pytest.raises(InvalidCommand):
            await broker.ask(CountUnread(app=APP, user="bob", conversation=peer("ann")))
        with pytest.raises(InvalidCommand):
            await broker.submit(MarkRead(app=APP, user="bob", conversation=peer("ann"), until_ms=5))  # type: ignore[arg-type]


async def test_the_next_process_knows_the_same(tmp_path: Path) -> None:
    async with open_broker(tmp_path / "data") as broker:
        await broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob")))
        for sender in ("ann", "bob", "ann"):
            await say(broker, sender)
        await broker.submit(AddMembers(app=APP, conversation=G, users=("cy",)))
        await say(broker)
        assert await unread(broker, "ann", "bob", "cy") == [1, 3, 1]
    store = LmdbStore(tmp_path / "data")
    async with open_broker(store) as broker:
        assert await unread(broker, "ann", "bob", "cy") == [1, 3, 1]
        await broker.submit(MarkRead(app=APP, user="bob", conversation=G, until_ms=(1 << 62)))  # type: ignore[arg-type]
        assert await unread(broker, "ann", "bob", "cy") == [1, 0, 1]
    store.close()
    report = verify(tmp_path / "data", scratch=tmp_path, progress=lambda _: None)
    assert report.sound, report.problems
