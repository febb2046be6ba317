"""A WebSocket client that closes what it opened, whatever the server does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Request, TextMessage


class WebSocketClient:
    """One connection; `frame` and `say` speak JSON."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self._text = ""
        self.close_code: int | None = None
        """From the server's close frame."""

    async def open(self, target: str, subprotocol: str) -> None:
        """The handshake; the server must accept."""
        await self._send(Request(host="localhost", target=target, subprotocols=[subprotocol]))
        assert isinstance(await self._event(), AcceptConnection)

    async def frame(self) -> Any:
        """The next frame; None once the server closed."""
        while True:
            match await self._event():
                case TextMessage(data=data, message_finished=finished):
                    self._text += data
                    if finished:
                        text, self._text = self._text, ""
                        return json.loads(text)
                case CloseConnection(code=code) as close:
                    self.close_code = int(code)
                    with suppress(trio.BrokenResourceError):
                        await self._send(close.response())
                    return None
                case Ping() as ping:
                    await self._send(ping.response())
                case None:
                    return None

    async def say(self, frame: object) -> None:
        """Send a frame."""
        await self._send(TextMessage(data=json.dumps(frame)))

    async def _event(self) -> Event | None:
        while not self._events:
            data = await self._stream.receive_some()
            if not data:
                return None
            self._connection.receive_data(data)
            self._events.extend(self._connection.events())
        return self._events.pop(0)

    async def _send(self, event: Event) -> None:
        await self._stream.send_all(self._connection.send(event))


@asynccontextmanager
async def websocket(port: int, target: str, subprotocol: str = "postroom.v1.json") -> AsyncIterator[WebSocketClient]:
    """A connection to this machine for as long as the block runs; it ends without a close frame."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = WebSocketClient(stream)
        await client.open(target, subprotocol)
        yield client
