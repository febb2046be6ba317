"""LeanCloud's API in short words: the demo app, its two keys, and what every answer has."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
import trio

from postroom.core import Session
from postroom.core.ports import Store
from postroom.core.runtime.clock import Clock
from postroom.transports.config import AppConfig, LeancloudConfig, Limits
from tests.support.serving import Served, config_of, serving
from tests.support.web import RTC

LEANCLOUD: Final = LeancloudConfig(app_id="demo-app", app_key="demo-app-key", master_key="demo-master-key")
APP: Final = AppConfig(name="shop", session_secret="s" * 32, leancloud=LEANCLOUD, anyrtc=RTC)
A: Final = {"X-LC-Id": "demo-app", "X-LC-Key": "demo-app-key"}
M: Final = {"X-LC-Id": "demo-app", "X-LC-Key": "demo-master-key,master"}
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
NOBODY: Final = "0" * 24
RECORD: Final = {"timestamp", "conv-id", "data", "from", "msg-id", "is-conv", "is-room", "to", "bin", "from-ip"}
"""The keys that every element of a history has."""


def check(reply: httpx.Response) -> None:
    """Fails if a reply has not what every reply has (LeanCloud 3)."""
    assert reply.headers["content-type"].replace(" ", "") == "application/json;charset=utf-8"
    assert reply.headers["access-control-allow-origin"] == "*"
    said = reply.json()
    if reply.status_code >= 400:
        assert set(said) == {"code", "error"}
        assert type(said["code"]) is int
        assert type(said["error"]) is str
        assert said["error"]
    else:
        assert not isinstance(said, dict) or "error" not in said


def refused(reply: httpx.Response) -> tuple[int, int]:
    """Status and code of a refusal, checked."""
    check(reply)
    assert reply.status_code >= 400, reply.text
    return reply.status_code, reply.json()["code"]


def good(reply: httpx.Response) -> Any:
    """What a call was answered with, checked."""
    check(reply)
    assert reply.status_code in (200, 201), reply.text
    return reply.json()


async def next_of(session: Session, number: int) -> list[tuple[str, str]]:
    """Type and text of what a session gets next."""
    with trio.fail_after(20):
        got = [await anext(session) for _ in range(number)]
    return [(each.type, each.body.decode()) for each in got]


class Lean:
    """Callers of a served app. Paths are below `/1.2/rtm` unless they begin with `/1.1`."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.broker = served.broker

    async def call(
        self, method: str, path: str, wire: object = None, *, by: Mapping[str, str] = M, **more: Any
    ) -> httpx.Response:
        """Any call; `wire` is the JSON body, or the bytes of one, None for none."""
        content = wire if wire is None or isinstance(wire, bytes) else msgspec.json.encode(wire)
        label = {"Content-Type": "application/json"} if content is not None else {}
        headers = {**label, **by, **more.pop("headers", {})}
        url = path if path.startswith("/1.1") else f"/1.2/rtm{path}"
        return await self.served.client.request(method, url, content=content, headers=headers, **more)

    async def ok(self, method: str, path: str, wire: object = None, **more: Any) -> Any:
        """What a call is answered with, which must be good."""
        return good(await self.call(method, path, wire, **more))

    async def bad(self, method: str, path: str, wire: object = None, **more: Any) -> tuple[int, int]:
        """Status and code of a call that must be refused."""
        return refused(await self.call(method, path, wire, **more))

    async def conversation(self, *members: str, **more: Any) -> str:
        """A new one's id."""
        made = await self.ok("POST", "/conversations", {"m": members, **more}, by=A)
        id: str = made["objectId"]
        return id

    async def chatroom(self, **more: Any) -> str:
        """A new one's id."""
        made = await self.ok("POST", "/chatrooms", {"name": "room", **more}, by=A)
        id: str = made["objectId"]
        return id

    async def service(self, *subscribers: str, **more: Any) -> str:
        """A new one's id."""
        made = await self.ok("POST", "/service-conversations", {"name": "news", **more}, by=A)
        id: str = made["objectId"]
        for user in subscribers:
            assert await self.ok("POST", f"/service-conversations/{id}/subscribers", {"client_id": user}) == {}
        return id

    async def publish(self, service: str, text: object, sender: str = "news", **more: Any) -> tuple[str, int]:
        """Id and time of a message to subscribers."""
        return await self._sent(f"/service-conversations/{service}/broadcasts", text, sender, more)

    async def broadcast(self, service: str, text: object, sender: str = "news", **more: Any) -> tuple[str, int]:
        """Id and time of a message to everyone."""
        return await self._sent("/broadcasts", text, sender, {"conv_id": service, **more})

    async def send(self, to: str, text: object, sender: str = "alice", **more: Any) -> tuple[str, int]:
        """Id and time of a message; `to` is the path of a conversation or a chatroom."""
        return await self._sent(f"{to}/messages", text, sender, more)

    async def _sent(self, path: str, text: object, sender: str, more: Mapping[str, object]) -> tuple[str, int]:
        said = await self.ok("POST", path, {"from_client": sender, "message": text, **more})
        assert said["result"] == {"msg-id": said["msg-id"], "timestamp": said["timestamp"]}
        return said["msg-id"], said["timestamp"]

    async def waiting(self, user: str) -> list[str]:
        """The texts that wait for a user, who acknowledges nothing."""
        async with self.broker.connect(app="shop", user=user) as session:
            return [text for _, text in await next_of(session, session.welcome.queued)]

    async def texts(self, path: str, **query: object) -> list[str]:
        """The texts of a history."""
        records = await self.ok("GET", path, params=query)
        assert all(set(each) >= RECORD for each in records)
        return [each["data"] for each in records]


@asynccontextmanager
async def leancloud(*apps: AppConfig, clock: Clock | None = None, store: Store | None = None) -> AsyncIterator[Lean]:
    """A server with the demo app, or others, and no rate unless they say so."""
    unlimited = msgspec.structs.replace(APP, limits=Limits(leancloud_normal=None))
    async with serving(config_of(*(apps or (unlimited,))), headers={}, clock=clock, store=store) as served:
        yield Lean(served)
