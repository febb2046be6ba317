"""Broadcasts over the native protocol: queued, without a running number, acknowledged as anything else."""

from collections.abc import AsyncIterator

import pytest

from postroom.core import service
from postroom.core.commands import CreateConversation, EditBroadcast, SendBroadcast
from tests.support.native_client import session
from tests.support.serving import Served, serving
from tests.support.web import APP

pytestmark = pytest.mark.usefixtures("host")

NEWS = service("news")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server with a service."""
    async with serving() as server:
        await server.broker.submit(CreateConversation(app=APP.name, conversation=NEWS))
        yield server


async def test_it_comes_until_it_is_acknowledged_as_it_is_by_then(served: Served) -> None:
    send = SendBroadcast(app=APP.name, sender="desk", conversation=NEWS, body=b"Closed")
    async with session(served, "bob") as bob:
        receipt = await served.broker.submit(send)
        frame = await bob.next()
        assert frame == {
            "type": "message",
            "id": str(receipt.id),
            "conversation": {"kind": "service", "id": "news"},
            "sender": "desk",
            "payload": "Closed",
            "format": "text",
            "timestamp": receipt.at_ms,
            "lane": "normal",
            "queued": True,
            "via": "embedded",
        }
    await served.broker.submit(EditBroadcast(app=APP.name, id=receipt.id, by="desk", body=b"Open"))
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 1
        frame = await bob.next()
        assert (frame["type"], frame["payload"], "seq" in frame) == ("message", "Open", False)
        assert (await bob.ask(type="ack", id=frame["id"]))["type"] == "ok"
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 0
