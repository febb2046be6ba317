"""What a user has read, over the native protocol."""

from collections.abc import AsyncIterator

import pytest

from postroom.core import group
from postroom.core.commands import CreateConversation
from postroom.core.queries import CountUnread
from tests.support.native_client import ALICE, session
from tests.support.serving import Served, serving
from tests.support.web import APP

pytestmark = pytest.mark.usefixtures("host")

G = {"kind": "group", "id": "g"}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server with a group of alice and bob."""
    async with serving() as server:
        await server.broker.submit(CreateConversation(app=APP.name, conversation=group("g"), members=("alice", "bob")))
        yield server


async def unread(served: Served, user: str) -> int:
    """In all of their conversations."""
    return await served.broker.ask(CountUnread(app=APP.name, user=user))


async def test_who_has_read_has_less_unread(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        times = []
        for text in ("one", "two", "three"):
            await alice.send(G, text, queue=True, history=True)
            times.append((await bob.next())["timestamp"])
        assert (await unread(served, "alice"), await unread(served, "bob")) == (0, 3)
        # Messages of one millisecond are read together.
        assert await bob.ask(type="read", conversation=G, until=times[1]) == {"type": "ok"}
        assert await unread(served, "bob") == sum(time > times[1] for time in times)
        await bob.say({"type": "read", "conversation": G, "until": times[2]})
        assert (await bob.ask(type="read", conversation=G, until=times[0]))["type"] == "ok"
        assert await unread(served, "bob") == 0
    # It was no ack: everything is still queued.
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 3


async def test_what_cannot_be_marked(served: Served) -> None:
    async with session(served, "bob") as bob:
        for conversation in (ALICE, {"kind": "room", "id": "r"}, {"kind": "group", "id": "g", "line": 1}):
            answer = await bob.ask(type="read", conversation=conversation, until=5)
            assert (answer["type"], answer["code"]) == ("error", "invalid")
        for until in (-1, 1 << 63):
            assert (await bob.ask(type="read", conversation=G, until=until))["code"] == "invalid"
        answer = await bob.ask(type="read", conversation={"kind": "group", "id": "h"}, until=5)
        assert answer["code"] == "unknown_conversation"
        await bob.say({"type": "read", "conversation": ALICE, "until": 5})
        answer = await bob.next()
        assert (answer["type"], answer["code"], "ref" in answer) == ("error", "invalid", False)
    async with session(served, "carol") as carol:
        assert await carol.ask(type="read", conversation=G, until=5) == {"type": "ok"}
