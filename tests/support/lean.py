"""The lean host with a WebSocket server of the test's own, and a client that says whatever bytes it is told to."""

import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import trio

from postroom.transports.http.errors import RequestTimeout
from postroom.transports.http.lean.host import LeanHost
from postroom.transports.http.lean.settings import LeanSettings
from postroom.transports.http.lean.websocket import LeanSocket
from postroom.transports.http.serving import Serving, WebSockets, problem
from postroom.transports.http.sockets import bind
from postroom.transports.http.types import HttpReply, HttpRequest
from postroom.transports.http.websocket import Serve, Socket
from postroom.transports.native.handshake import SUBPROTOCOL
from tests.support.native_client import token
from tests.support.serving import Served
from tests.support.web import APP

KEY = "MTIzNDU2Nzg5MDEyMzQ1Ng=="
OPENING = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}
CONTINUE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PATIENCE_S = 20
OFFER: dict[str, str | None] = {"Sec-WebSocket-Protocol": SUBPROTOCOL}


class Frame(NamedTuple):
    """What a server sends."""

    opcode: int
    payload: bytes
    fin: bool = True


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x01\x80\xff\x37",
    announced: int | None = None,
) -> bytes:
    """A client's frame, right or wrong; `announced` is the length that it claims to have."""
    size = len(payload) if announced is None else announced
    masked = 0x80 if mask is not None else 0
    head = bytes((fin << 7 | reserved << 4 | opcode,))
    if size < 126:
        head += bytes((masked | size,))
    elif size < 1 << 16:
        head += bytes((masked | 126,)) + struct.pack("!H", size)
    else:
        head += bytes((masked | 127,)) + struct.pack("!Q", size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def opening(path: str = "/", headers: dict[str, str | None] | None = None, method: str = "GET") -> bytes:
    """An opening request; a header that is None is left out."""
    given = {name: value for name, value in (OPENING | (headers or {})).items() if value is not None}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Peer:
    """A client's end of a connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.sees_pings = False
        """Whether `frame` returns heartbeats."""
        self._data = bytearray()

    async def say(self, *data: bytes) -> None:
        """Send it in one segment."""
        await self.stream.send_all(b"".join(data))

    async def open(self, path: str = "/", headers: dict[str, str | None] | None = None, then: bytes = b"") -> str:
        """Upgrade; returns the head of the answer."""
        await self.say(opening(path, headers), then)
        head = await self.head()
        assert head.startswith("HTTP/1.1 101 "), head
        return head

    async def head(self) -> str:
        """Of an HTTP answer."""
        while b"\r\n\r\n" not in self._data:
            assert await self._more(), bytes(self._data)
        head, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        self._data = bytearray(rest)
        return head.decode("ascii")

    async def frame(self) -> Frame | None:
        """The next frame; None if the server has closed."""
        while True:
            found = self._whole()
            if found is None:
                if not await self._more():
                    assert not self._data, bytes(self._data)
                    return None
            elif self.sees_pings or found != Frame(PING, b""):
                return found

    async def rest(self) -> list[Frame]:
        """All frames until the server closes, which it must."""
        frames: list[Frame] = []
        while (one := await self.frame()) is not None:
            frames.append(one)
        return frames

    async def close_code(self) -> int | None:
        """Of the close frame, which must be the only thing that comes; None if it has none."""
        (one,) = await self.rest()
        assert one.opcode == CLOSE
        return int.from_bytes(one.payload[:2]) if one.payload else None

    async def _more(self) -> bool:
        with trio.fail_after(PATIENCE_S):
            try:
                data = await self.stream.receive_some(65_536)
            except trio.BrokenResourceError:
                return False
        self._data += data
        return bool(data)

    def _whole(self) -> Frame | None:
        data = self._data
        if len(data) < 2:
            return None
        assert not data[1] & 0x80, "a server does not mask"
        assert not data[0] & 0x70, "no extension was agreed on"
        length, at = data[1] & 0x7F, 2
        if length > 125:
            at += 2 if length == 126 else 8
            length = int.from_bytes(data[2:at])
        if len(data) < at + length:
            return None
        found = Frame(data[0] & 0x0F, bytes(data[at : at + length]), bool(data[0] & 0x80))
        del data[: at + length]
        return found


class Hosted(msgspec.Struct, frozen=True):
    """A running host."""

    port: int
    host: LeanHost
    serving: Serving
    sockets: list[LeanSocket] = msgspec.field(default_factory=list)
    """All that were served, the newest last."""

    @asynccontextmanager
    async def peer(self, receive_buffer: int | None = None) -> AsyncIterator[Peer]:
        """A connected client."""
        raw = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await raw.connect(("127.0.0.1", self.port))
        async with trio.SocketStream(raw) as stream:
            yield Peer(stream)


class NoShell:
    """Answers plain requests with 404."""

    async def handle(self, request: HttpRequest, gone: object) -> HttpReply:
        """Any request."""
        return problem(404, "not_found", "no route")

    def refuse(self, request: HttpRequest, error: RequestTimeout) -> HttpReply:
        """A request whose body does not come."""
        return problem(408, error.code, error.message)


@asynccontextmanager
async def hosting(serve: Serve, *, send_buffer: int | None = None, **settings: Any) -> AsyncIterator[Hosted]:
    """Serve WebSockets at `/` for as long as the block runs; then cut off what is left."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listener.bind(("127.0.0.1", 0))
    listener.setblocking(False)
    counted = Serving()

    async def noted(one: Socket) -> None:
        assert isinstance(one, LeanSocket)
        hosted.sockets.append(one)
        await serve(one)

    host = LeanHost(NoShell(), WebSockets({"/": noted}), counted, LeanSettings(**settings))  # type: ignore[arg-type]
    hosted = Hosted(listener.getsockname()[1], host, counted)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve, [listener])
        yield hosted
        host.cut_off()
        nursery.cancel_scope.cancel()


async def echo(one: Socket) -> None:
    """Accept, and say everything back; bytes as hexadecimal digits."""
    await one.accept(None)
    with suppress(trio.BrokenResourceError):
        while (message := await one.receive()) is not None:
            await one.send(message if isinstance(message, str) else message.hex())


def frames_of(one: Frame | None) -> list[dict[str, Any]]:
    """A message's frames, arrays taken apart."""
    assert one is not None
    assert one.opcode == TEXT, one
    value = json.loads(one.payload)
    return value if isinstance(value, list) else [value]


@asynccontextmanager
async def deaf(served: Served, user: str) -> AsyncIterator[Peer]:
    """A client with the smallest of receive buffers, its welcome read."""
    raw = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await raw.connect(("127.0.0.1", served.port))
    async with trio.SocketStream(raw) as stream:
        one = Peer(stream)
        await one.open(f"/v1/connect?token={token(user)}", OFFER)
        (welcome,) = frames_of(await one.frame())
        assert welcome["type"] == "welcome"
        yield one


@contextmanager
def small_send_buffers() -> Iterator[None]:
    """The servers that are started meanwhile have the smallest of send buffers: the system grows others to 4 MB."""

    def small(host: str, port: int) -> list[socket.socket]:
        sockets = bind(host, port)
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return sockets

    with mock.patch("tests.support.serving.bind", small):
        yield


def dropped_for(served: Served) -> int:
    """Frames that found no room, in all sessions."""
    return served.broker.statistics().session_dropped.get(APP.name, 0)
