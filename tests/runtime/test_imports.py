"""Imports beside a broker that runs: nobody notices, and who asks finds them. On a store in memory and on LMDB."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from postroom.core import Broker, Receipt, Refusal, SendMessage, group, open_broker, room
from postroom.core.commands import DeleteMessage, EditMessage, ImportConversation, ImportMessage
from postroom.core.errors import InvalidCommand
from postroom.core.ids import Place, UnixMs
from postroom.core.queries import CountMessages, FindAlias, FindMessages, GetConversation
from postroom.storage.lmdb import LmdbStore
from tests.support.machine import START_MS
from tests.support.office import APP, open_office

G = group("g")
OLD_MS = UnixMs(START_MS - 1_000_000)


@asynccontextmanager
async def on_disk(path: Path, **how: Any) -> AsyncIterator[Broker]:
    """A broker on LMDB."""
    async with open_broker(LmdbStore(path), **how) as broker:
        yield broker


@asynccontextmanager
async def in_memory(path: Path, **how: Any) -> AsyncIterator[Broker]:
    """A broker on a memory store."""
    async with open_office(**how) as (broker, _):
        yield broker


class Standing:
    """A clock that stands still."""

    def monotonic_ms(self) -> Any:
        return 0

    def wall_ms(self) -> Any:
        return START_MS


@pytest.fixture(params=[in_memory, on_disk])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[Broker]:
    """A broker on each kind of store."""
    opening: AbstractAsyncContextManager[Broker] = request.param(tmp_path, clock=Standing())
    return opening


def message(alias: str, **fields: Any) -> ImportMessage:
    """Of the group, some time ago."""
    given = {"conversation": G, "sender": "alice", "body": alias.encode(), "at_ms": OLD_MS, **fields}
    return ImportMessage(app=APP, alias=alias, **given)


def conversation(members: tuple[str, ...] = ("alice", "bob")) -> ImportConversation:
    """The group."""
    return ImportConversation(app=APP, conversation=G, created_ms=OLD_MS, updated_ms=OLD_MS, members=members)


async def test_nobody_is_told(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker, broker.connect(app=APP, user="bob") as bob:
        await bob.join("den")
        await broker.submit(conversation())
        outcomes = await broker.submit_many(
            [message("one"), message("two", conversation=room("den")), message("three", body=b"\xff", format="binary")]
        )
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)
        await broker.submit(SendMessage(app=APP, sender="alice", to=G, body=b"live", queue=True, history=True))
        delivery = await anext(bob)
        assert (delivery.body, delivery.seq) == (b"live", 1)
        found = await broker.ask(FindMessages(app=APP, conversations=(G,)))
        assert [(each.body, each.format, each.alias) for each in found] == [
            (b"one", "text", "one"),
            (b"\xff", "binary", "three"),
            (b"live", "text", None),
        ]
        info = await broker.ask(GetConversation(app=APP, conversation=G))
        assert info is not None
        assert (info.members, info.created_ms) == (("alice", "bob"), OLD_MS)


async def test_changes_reach_who_is_a_member(opened: AbstractAsyncContextManager[Broker]) -> None:
    """As those of any message that was not queued."""
    async with opened as broker, broker.connect(app=APP, user="bob") as bob:
        await broker.submit(conversation())
        id = (await broker.submit(message("one"))).id
        await broker.submit(EditMessage(app=APP, id=id, by="alice", body=b"new"))
        delivery = await anext(bob)
        assert (delivery.type, delivery.body, delivery.queued) == ("edited", b"new", False)
        await broker.submit(DeleteMessage(app=APP, id=id, by="alice"))
        assert (await anext(bob)).type == "deleted"


async def test_names(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        await broker.submit(conversation())
        receipt = await broker.submit(message("one"))
        assert await broker.ask(FindAlias(app=APP, alias="one")) == Place(OLD_MS, receipt.id)
        assert await broker.ask(FindAlias(app=APP, alias="two")) is None
        assert await broker.ask(FindAlias(app="other", alias="one")) is None
        for alias in ("", "x" * 257, "\ud800"):
            with pytest.raises(InvalidCommand):
                await broker.ask(FindAlias(app=APP, alias=alias))


async def test_refusals_leave_the_others_alone(opened: AbstractAsyncContextManager[Broker]) -> None:
    async with opened as broker:
        commands = [
            message("early"),
            conversation(),
            message("one"),
            message("one"),
            message("far", at_ms=UnixMs(START_MS + 86_400_001)),
            message("", body=b""),
        ]
        outcomes = [
            outcome.code if isinstance(outcome, Refusal) else outcome.duplicate
            for command in commands
            for outcome in await broker.submit_many([command])
        ]
        assert outcomes == ["unknown_conversation", False, False, True, "in_the_future", "invalid"]
        assert await broker.ask(CountMessages(app=APP, conversations=(G,))) == 1


async def test_a_room_replays_none(opened: AbstractAsyncContextManager[Broker]) -> None:
    den = room("den")
    async with opened as broker, broker.connect(app=APP, user="bob") as bob:
        say = SendMessage(app=APP, sender="alice", to=den, body=b"said", history=True)
        first = await broker.submit(say)
        await broker.submit(message("ahead", conversation=den, at_ms=UnixMs(START_MS + 10)))
        await broker.submit(say)
        joined = await bob.join("den", since=first.id)
        assert joined.recovered
        assert [(await anext(bob)).body] == [b"said"]
        with trio.move_on_after(0.05):
            raise AssertionError(await anext(bob))
