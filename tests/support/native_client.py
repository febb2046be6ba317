"""A native client for tests over a real socket: the `websockets` library, which is none of ours."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from postroom.core.runtime.clock import SystemClock
from postroom.transports.native.handshake import SUBPROTOCOL
from postroom.transports.native.tokens import issue
from tests.support.serving import Served
from tests.support.web import APP

PATIENCE_S = 30
ALICE, BOB = {"kind": "peer", "id": "alice"}, {"kind": "peer", "id": "bob"}


def token(user: str, secret: str = APP.session_secret) -> str:
    """A token that is good for an hour: a module may make one long before its tests run."""
    return issue(secret, APP.name, user, 3_600, SystemClock().wall_ms())


class Client:
    """One session over the `websockets` library, which runs in threads; takes arrays apart and remembers the welcome."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.welcome: dict[str, Any] = {}
        self._waiting: list[dict[str, Any]] = []
        self._refs = itertools.count(1)

    async def say(self, frame: object) -> None:
        """Send a frame, or several as an array."""
        await self.say_raw(json.dumps(frame))

    async def say_raw(self, message: str | bytes) -> None:
        """Send a message as it is."""
        await trio.to_thread.run_sync(self.connection.send, message)

    async def next(self) -> dict[str, Any]:
        """The next frame. Raises ConnectionClosed."""
        while not self._waiting:
            value = json.loads(await trio.to_thread.run_sync(self.connection.recv, PATIENCE_S))
            self._waiting += value if isinstance(value, list) else [value]
        return self._waiting.pop(0)

    async def take(self, count: int) -> list[dict[str, Any]]:
        """The next frames."""
        return [await self.next() for _ in range(count)]

    async def ask(self, **frame: Any) -> dict[str, Any]:
        """Send a frame with a `ref` and wait for its answer, which must be the next frame."""
        ref = next(self._refs)
        await self.say({"ref": ref, **frame})
        answer = await self.next()
        assert answer.pop("ref") == ref
        return answer

    async def send(self, to: dict[str, str], payload: object, **more: Any) -> dict[str, Any]:
        """A send with its answer."""
        return await self.ask(type="send", to=to, payload=payload, **more)

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the server's close frame, which must come next."""
        with pytest.raises(ConnectionClosed) as caught:
            await self.next()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


@asynccontextmanager
async def session(served: Served, user: str, query: str = "", **options: Any) -> AsyncIterator[Client]:
    """A session of the user, its welcome read. Raises InvalidStatus."""
    options = {
        "subprotocols": [SUBPROTOCOL],
        "additional_headers": {"Authorization": f"Bearer {token(user)}"},
        "max_size": None,
        "open_timeout": PATIENCE_S,
    } | options

    def enter() -> ClientConnection:
        url = f"ws://127.0.0.1:{served.port}/v1/connect{query}"
        return stack.enter_context(connect(url, **options))

    stack = ExitStack()
    client = Client(await trio.to_thread.run_sync(enter))
    try:
        client.welcome = await client.next()
        yield client
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(stack.close)
