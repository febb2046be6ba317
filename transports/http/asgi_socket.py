"""A WebSocket of an ASGI host, as sessions see it."""

from typing import Final, Literal

import trio

from .asgi_wire import Scope, Send, abort_of, request_of, send_reply
from .body import Receive
from .types import HttpReply

CLOSE_DEADLINE_S: Final = 2
"""How long a client may take to read our close frame and to answer it; then the connection goes without."""
INTERNAL_ERROR: Final = 1011

State = Literal["opening", "open", "closed"]


class AsgiSocket:
    """Implements `websocket.Socket`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises InvalidCommand if the query is not UTF-8."""
        request = request_of(scope)
        self._abort = abort_of(scope)
        self._receive = receive
        self._send = send
        self._state: State = "opening"
        self._receiving = trio.CancelScope()
        self._sending = 0
        self.client = request.client
        self.query = request.query()
        self.headers: dict[str, str] = {}
        for name, value in request.headers:
            self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        # What the host read of it: that is what it lets us choose from.
        self.headers["sec-websocket-protocol"] = ", ".join(scope.get("subprotocols", ()))

    async def accept(self, subprotocol: str | None) -> None:
        """Upgrade."""
        assert self._state == "opening"
        self._state = "open"
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})

    async def reject(self, reply: HttpReply) -> None:
        """Answer with this instead of an upgrade."""
        assert self._state == "opening"
        self._state = "closed"
        await send_reply(self._send, reply, "websocket.http.response")

    async def receive(self) -> str | bytes | None:
        """The next message, or None at the end."""
        if self._state != "open":
            return None
        with trio.CancelScope() as self._receiving:
            message = await self._receive()
            if message["type"] == "websocket.receive":
                text: str | None = message.get("text")
                data: bytes = message.get("bytes") or b""
                return data if text is None else text
            self._state = "closed"
            if self._sending:  # a host may shield its sending from cancellation, and nobody reads it any more
                self._abort()
        return None

    async def send(self, text: str) -> None:
        """Send a text message."""
        if self._state == "open":
            self._sending += 1
            try:
                await self._send({"type": "websocket.send", "text": text})
            finally:
                self._sending -= 1

    def hand_over(self, payload: bytes) -> bool:
        """An ASGI host has no way to."""
        return False

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame; a `receive` that is waiting ends. A client that reads nothing is cut off."""
        if self._state != "open":
            return
        self._state = "closed"
        self._receiving.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_off_later, nursery.cancel_scope)
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
            # Until the client answered: what it still sends has to be read, or its host cannot see the answer.
            while (await self._receive())["type"] != "websocket.disconnect":
                pass
            nursery.cancel_scope.cancel()

    async def finish(self) -> None:
        """The session is over: end what it left open."""
        if self._state == "opening":
            await self.reject(HttpReply(500))
        await self.close(INTERNAL_ERROR, "")

    async def _cut_off_later(self, waiting: trio.CancelScope) -> None:
        with trio.move_on_after(CLOSE_DEADLINE_S):
            await self._abort.done.wait()
        self._abort()  # a host may shield its sending from cancellation, so that alone would not end it
        waiting.cancel()
