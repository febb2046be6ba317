"""What every answer of anyRTC's API has, sessions that hear what it sends, and its history and events in short words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import trio

from postroom.core import Delivery
from tests.support.serving import Served

CHANNEL: Final = {"channel_name": "channelA", "payload": "Hello"}
HISTORY: Final = "/rtm/message/history"
LOCATION: Final = "~/rtm/message/history/query/"
DEAD: Final = 200, "resource not exist"

BAD: Final = 400, "invalid_parameter"
SENT: Final = 200, "message_sent"
UNAUTHORIZED: Final = 401, "unauthorized"


def check(reply: httpx.Response) -> None:
    """Fails if a reply has not what every reply has (anyRTC 2, 10)."""
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["access-control-allow-origin"] == "*"
    said = reply.json()
    assert said["request_id"].isdecimal()
    good = reply.status_code == 200 and said.get("code") != "resource not exist"
    assert said["result"] == ("success" if good else "failed")
    if reply.status_code != 200:
        assert set(said) == {"result", "code", "message", "reason", "request_id"}
        assert said["message"]
        assert said["reason"] == said["message"]


def code(reply: httpx.Response) -> tuple[int, str]:
    """Status and code of a reply, checked."""
    check(reply)
    return reply.status_code, reply.json()["code"]


async def collect(served: Served, user: str, count: int) -> list[Delivery]:
    """What waits for a user, acknowledged; fails if it is another number of messages."""
    got: list[Delivery] = []
    async with served.broker.connect(app="shop", user=user) as session:
        assert session.welcome.queued == count
        while len(got) < count:
            got.append(await anext(session))
        if got:
            await session.ack(got[-1])
    return got


class Deliveries(list[Delivery]):
    """What a session got."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = trio.Event()


@asynccontextmanager
async def receiving(served: Served, user: str, *, acking: bool) -> AsyncIterator[Deliveries]:
    """A session of the user while the block runs."""
    got = Deliveries()

    async def receive(task_status: trio.TaskStatus[None]) -> None:
        async with served.broker.connect(app="shop", user=user) as session:
            task_status.started()
            async for delivery in session:
                got.append(delivery)
                got.arrived.set()
                if acking:
                    session.ack_soon(delivery)

    async with trio.open_nursery() as nursery:
        await nursery.start(receive)
        yield got
        nursery.cancel_scope.cancel()


# Calls.


async def say(served: Served, wire: object = CHANNEL, *, user: str = "userA", **more: Any) -> httpx.Response:
    """E2: one channel message."""
    return await served.call("POST", f"/rtm/users/{user}/channel_messages", wire, **more)


async def events(served: Served, of: str, **more: Any) -> list[dict[str, Any]]:
    """E3 or E4: the events of users or of channels, which are gone then."""
    reply = await served.call("GET", f"/rtm/vendor/{of}_events", **more)
    check(reply)
    assert reply.status_code == 200
    said = reply.json()
    assert set(said) == {"result", "request_id", "events"}
    found: list[dict[str, Any]] = said["events"]
    return found


async def query(served: Served, filter: object, **more: object) -> httpx.Response:
    """E5."""
    return await served.call("POST", f"{HISTORY}/query", {"filter": filter, **more})


async def location(served: Served, filter: object, **more: object) -> str:
    """E5: where the result waits."""
    reply = await query(served, filter, **more)
    check(reply)
    assert reply.status_code == 200, reply.text
    found: str = reply.json()["location"]
    assert found.startswith(LOCATION)
    return found


async def fetch(served: Served, location: str, base: str | None = None) -> httpx.Response:
    """E6: the result, which is gone then; the `~` of a location is the base URL."""
    if base is None:
        return await served.call("GET", location.removeprefix("~"))
    return await served.client.get(location.replace("~", base))


async def find(served: Served, filter: object, **more: object) -> list[dict[str, Any]]:
    """E5 and E6: the messages."""
    reply = await fetch(served, await location(served, filter, **more))
    assert code(reply) == (200, "ok")
    found: list[dict[str, Any]] = reply.json()["messages"]
    return found


async def count(served: Served, query: str) -> int:
    """E7."""
    reply = await served.call("GET", f"{HISTORY}/count?{query}")
    assert code(reply) == (200, "ok"), reply.text
    assert set(reply.json()) == {"result", "code", "count", "request_id"}
    found: int = reply.json()["count"]
    return found


def payloads(messages: list[dict[str, Any]]) -> list[str]:
    """Their texts."""
    return [message["payload"] for message in messages]
