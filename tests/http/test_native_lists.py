"""Who is banned or silenced, over the native protocol: they speak for themselves there, and are told why they may not."""

from collections.abc import AsyncIterator

import pytest

from postroom.core import SendMessage, group, room
from postroom.core.commands import BanUsers, CreateConversation, SilenceUsers, UnsilenceUsers
from postroom.core.model import Conversation
from tests.support.native_client import Client, session
from tests.support.serving import Served, serving
from tests.support.web import APP

pytestmark = pytest.mark.usefixtures("host")

G, R = group("g"), room("r")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server with a group and a room."""
    async with serving() as server:
        await server.broker.submit(CreateConversation(app=APP.name, conversation=G, members=("alice", "bob")))
        await server.broker.submit(CreateConversation(app=APP.name, conversation=R))
        yield server


async def refused(client: Client, to: Conversation) -> str:
    """The code of a send that does not pass."""
    answer = await client.send({"kind": to.kind, "id": to.id}, "hi", history=True)
    assert answer["type"] == "error", answer
    code: str = answer["code"]
    return code


@pytest.mark.parametrize("to", [G, R], ids=lambda conversation: conversation.kind)
async def test_who_is_silenced_listens_and_does_not_talk(served: Served, to: Conversation) -> None:
    async with session(served, "bob") as bob:
        if to.kind == "room":
            assert (await bob.ask(type="join", room=to.id))["type"] == "ok"
        await served.broker.submit(SilenceUsers(app=APP.name, conversation=to, users=("bob",)))
        assert await refused(bob, to) == "silenced"
        await served.broker.submit(SendMessage(app=APP.name, sender="alice", to=to, body=b"listen"))
        assert (await bob.next())["payload"] == "listen"
        # On somebody's behalf everything passes.
        await served.broker.submit(SendMessage(app=APP.name, sender="bob", to=to, body=b"for him"))
        await served.broker.submit(UnsilenceUsers(app=APP.name, conversation=to, users=("bob",), temporary=False))
        assert (await bob.send({"kind": to.kind, "id": to.id}, "hi"))["type"] == "ok"


async def test_who_is_silenced_for_a_while_is_told_for_how_long(served: Served) -> None:
    async with session(served, "bob") as bob:
        await served.broker.submit(SilenceUsers(app=APP.name, conversation=G, users=("bob",), ttl_ms=3_600_000))
        answer = await bob.send({"kind": "group", "id": "g"}, "hi")
        assert (answer["type"], answer["code"]) == ("error", "silenced")
        assert 3_500_000 < answer["retry_after_ms"] <= 3_600_000


async def test_who_is_banned_does_not_come_in(served: Served) -> None:
    async with session(served, "bob") as bob, session(served, "alice") as alice:
        for client in (bob, alice):
            assert (await client.ask(type="join", room="r"))["type"] == "ok"
        for conversation in (R, G):
            await served.broker.submit(BanUsers(app=APP.name, conversation=conversation, users=("bob",)))
            await served.broker.submit(SendMessage(app=APP.name, sender="carol", to=conversation, body=b"without bob"))
            assert (await alice.next())["payload"] == "without bob"
            assert await refused(bob, conversation) == "banned"
        answer = await bob.ask(type="join", room="r")
        assert (answer["type"], answer["code"]) == ("error", "banned")
        assert "retry_after_ms" not in answer
