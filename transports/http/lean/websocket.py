"""A WebSocket of the lean host: wsproto says what the bytes mean; frames go out in the loop's next turn, together."""

import binascii
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import trio
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    Request,
    TextMessage,
)
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from ..types import HttpReply, HttpRequest
from .answer import answer
from .gathering import Gathering
from .settings import CLOSE_S, MESSAGE_BYTES, RECEIVE_BYTES
from .stream import Gone, Stream

INTERNAL_ERROR: Final = 1011
TOO_LARGE: Final = 1009
OUT_FRAMES_MAX: Final = 256
"""Frames that wait for a client which does not read: beyond, its pings are not answered, and it is not pinged."""
GATHERED_BYTES_MAX: Final = 16 * 1024
"""What gathers within a turn goes out early beyond this size. If a slow client takes little of it, the rest is its own copy,
while a larger frame, which goes alone, is shared with whoever else is sent it."""
EVENTS_AT_ONCE_MAX: Final = 64
"""Then others get a turn: what is read at once holds ten thousand frames."""
READ_ON_BYTES: Final = 4 * MESSAGE_BYTES
"""And thrown away, after our close frame: the rest of a message that was too large must not be met with a reset."""
KEY_BYTES: Final = 16
"""Of `Sec-WebSocket-Key`, decoded (RFC 6455 4.1)."""

assert 4 * RECEIVE_BYTES <= MESSAGE_BYTES  # a character has up to four bytes


class LeanSocket:
    """Implements `websocket.Socket`."""

    def __init__(
        self,
        stream: Stream,
        request: HttpRequest,
        trailing: bytes,
        start: Callable[[Callable[[], Any]], None],
        gathering: Gathering,
    ) -> None:
        """`trailing`: what came after the opening request. Raises InvalidCommand if the query is not UTF-8,
        RemoteProtocolError if the request asks for no WebSocket that is spoken here."""
        self.client = request.client
        self.query = request.query()
        self.headers: dict[str, str] = {}
        for name, value in request.headers:
            self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        _check_key(self.headers.get("sec-websocket-key", ""))
        self._stream = stream
        self._trailing = trailing
        self._start = start
        self._gathering = gathering
        self._handshake: H11Handshake | None = H11Handshake(ConnectionType.SERVER)
        try:
            # The path is not looked at there, and what is a target of HTTP need not be one of wsproto's.
            self._handshake.initiate_upgrade_connection(list(request.headers), "/")
            opening = next(iter(self._handshake.events()))
        except UnicodeError:  # of a host or a name that should have been ASCII
            raise RemoteProtocolError("a header is not ASCII") from None
        assert isinstance(opening, Request)
        # It may be there several times, and then counts as one list (RFC 6455 11.3.4).
        self.headers["sec-websocket-protocol"] = ", ".join(opening.subprotocols)
        self._protocol: Connection | None = None
        self._open = False
        self._rejected = False
        self._ended = False
        self._receiving = trio.CancelScope()
        self._events = 0
        self._message = bytearray()
        """What came of a message so far, text as UTF-8."""
        self._gathered: list[bytes] = []
        """Frames for the next turn. As long as there are any, nothing is kept in `_out`."""
        self._gathered_bytes = 0
        self._out: list[memoryview] = []
        """What the system did not take yet, in order. It is short, and an idle connection's empty deque is not."""
        self._drained = trio.Event()
        self.heard_at = trio.current_time()
        """When the client last sent anything."""

    # The opening.

    async def accept(self, subprotocol: str | None) -> None:
        """Upgrade. No extension is agreed on: none may allocate what was not sent."""
        assert self._handshake is not None
        data = self._handshake.send(AcceptConnection(subprotocol=subprotocol))
        self._protocol = self._handshake.connection
        assert self._protocol is not None
        self._handshake = None  # several KiB that an open connection has no use for
        try:
            await self._stream.send_all(data)
        except Gone:
            self._end()
            return
        self._open = True
        if self._trailing:
            self._protocol.receive_data(self._trailing)
            self._trailing = b""

    async def reject(self, reply: HttpReply) -> None:
        """Answer with this instead of an upgrade."""
        self._rejected = True
        with suppress(Gone):
            await self._stream.send_all(answer(reply, last=True, head_only=False))
        await self._stream.close_gently()

    # Receiving.

    async def receive(self) -> str | bytes | None:
        """The next message, or None at the end."""
        if not self._open:
            return None
        with trio.CancelScope() as self._receiving:
            try:
                return await self._next_message()
            except Gone:
                self._end()
        return None

    async def _next_message(self) -> str | bytes | None:
        assert self._protocol is not None
        while True:
            event = next(self._protocol.events(), None)
            if event is None:
                if not await self._read():
                    return None
                continue
            if isinstance(event, Message):
                message = self._collect(event)
                if message is not None:
                    return message
                if len(self._message) > MESSAGE_BYTES:
                    await self._fail(TOO_LARGE)
                    return None
            elif not await self._control(event):
                return None
            self._events += 1
            if self._events % EVENTS_AT_ONCE_MAX == 0:
                await trio.lowlevel.checkpoint()
                if not self._open:
                    return None

    async def _read(self) -> bool:
        """Hand the protocol what has come; whether the connection goes on."""
        assert self._protocol is not None
        data = await self._stream.receive()
        if not data:
            self._end()
            return False
        self.heard_at = trio.current_time()
        self._protocol.receive_data(data)
        if not self._open and self._answered():  # closed from this side just now, and that was read here
            self._end()
        return self._open

    def _collect(self, event: "Message[Any]") -> str | bytes | None:
        """A message's next part; the message if it is whole. Parts come as they are read, so a size is known in time."""
        data: str | bytes = event.data
        if event.message_finished and not self._message and len(data) <= RECEIVE_BYTES:  # far below the limit
            return data if isinstance(data, str) else bytes(data)
        self._message += data.encode() if isinstance(data, str) else data
        if len(self._message) > MESSAGE_BYTES or not event.message_finished:
            return None
        whole, self._message = self._message, bytearray()
        return whole.decode() if isinstance(event, TextMessage) else bytes(whole)

    async def _control(self, event: Event) -> bool:
        """A frame that is no message; whether the connection goes on."""
        assert self._protocol is not None
        if isinstance(event, Ping):
            if len(self._out) < OUT_FRAMES_MAX:  # who asks and does not read gets no further answer
                self._write(self._protocol.send(event.response()))
        elif isinstance(event, CloseConnection):
            if self._protocol.state is ConnectionState.OPEN:  # nobody closed: this is what should be said to what came
                await self._fail(event.code)
                return False
            self._open = False  # nothing may follow our close frame
            self._write(self._protocol.send(event.response()))
            with trio.move_on_after(CLOSE_S):
                await self._drain()
            self._end()
            return False
        return True

    async def _fail(self, code: int) -> None:
        """The client broke the protocol: say so, and end."""
        if not self._open:
            return
        self._open = False
        self._message.clear()
        assert self._protocol is not None
        with trio.move_on_after(CLOSE_S), suppress(Gone):
            self._write(self._protocol.send(CloseConnection(code=code)))
            await self._drain()
            if code == TOO_LARGE:  # it may still be writing the rest, and must not be reset before it reads why
                await self._closed_by_peer()
            else:  # what follows has no meaning
                await self._stream.close_gently()
        self._end()

    # Sending.

    async def send(self, text: str) -> None:
        """Send a text message; waits while the connection is full."""
        if self._open:
            self._write(text_frame(text.encode()))
            del text  # the wait may be long, and its frame is enough to keep
            await self._drain()

    def hand_over(self, payload: bytes) -> bool:
        """Hand a text message over, unless earlier ones still wait for the client; whoever else has the same bytes to send
        shares them. It is sent in the loop's next turn, with whatever else was handed over by then."""
        if not self._open or self._out:
            return False
        frame = _shared_frame(payload)
        if self._gathered_bytes + len(frame) > GATHERED_BYTES_MAX:
            self.flush()
            if self._out:
                return False
        if not self._gathered:
            self._gathering.add(self)
        self._gathered.append(frame)
        self._gathered_bytes += len(frame)
        return True

    def flush(self) -> None:
        """Send what has gathered; what the system does not take is kept, and a task sends it."""
        frames = self._gathered
        if not frames:
            return
        self._gathered, self._gathered_bytes = [], 0
        self._send(frames[0] if len(frames) == 1 else b"".join(frames))

    def ping(self) -> bool:
        """Ask for a sign of life; whether the connection was open for that."""
        if not self._open or self._protocol is None:
            return False
        if len(self._out) < OUT_FRAMES_MAX:
            self._write(self._protocol.send(Ping()))
        return True

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame; a `receive` that is waiting ends. A client that reads nothing is cut off."""
        if not self._open:
            return
        self._open = False
        self._receiving.cancel()
        assert self._protocol is not None
        with trio.move_on_after(CLOSE_S), suppress(Gone):
            self._write(self._protocol.send(CloseConnection(code=code, reason=reason)))
            await self._drain()
            await self._closed_by_peer()
        self._end()

    async def _closed_by_peer(self) -> None:
        """Until the client answered: what it still sends has to be read, or its answer is not seen."""
        assert self._protocol is not None
        left = READ_ON_BYTES
        while left > 0 and not self._answered():
            data = await self._stream.receive()
            if not data:
                return
            left -= len(data)
            self._protocol.receive_data(data)

    def _answered(self) -> bool:
        """Whether a close frame is among what has come, or nothing that could be one any more."""
        assert self._protocol is not None
        return any(isinstance(event, CloseConnection) for event in self._protocol.events())

    async def finish(self) -> None:
        """The session is over: end what it left open."""
        if self._protocol is None and not self._rejected and not self._ended:
            await self.reject(HttpReply(500))
        await self.close(INTERNAL_ERROR, "")

    def cut_off(self) -> None:
        """End it as it is."""
        self._end()

    def _end(self) -> None:
        self._open = False
        self._gathered.clear()
        self._ended = True
        self._drained.set()
        self._stream.close()

    # What the system did not take.

    def _write(self, data: bytes) -> None:
        """Send behind all that was handed over; what is not taken at once is kept."""
        self.flush()
        if self._out:
            self._out.append(memoryview(data))
        else:
            self._send(data)

    def _send(self, data: bytes) -> None:
        """Nothing is kept, so it may go out."""
        try:
            taken = self._stream.send_now(data)
        except Gone:
            return  # whoever reads notices
        if taken < len(data):
            self._keep(memoryview(data)[taken:])

    def _keep(self, rest: memoryview) -> None:
        self._out.append(rest)
        self._drained = trio.Event()
        self._start(self._flush_kept)

    async def _flush_kept(self) -> None:
        """The one task that sends what is kept, until nothing is."""
        try:
            while self._out:
                await self._stream.send_rest(self._out[0])
                del self._out[0]
        except Gone:
            self._end()
        self._drained.set()

    async def _drain(self) -> None:
        """Wait until nothing is kept, or never will be sent."""
        while self._out and not self._ended:
            await self._drained.wait()


def text_frame(payload: bytes) -> bytes:
    """A whole text message as a server sends it: one frame, not masked (RFC 6455 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


@lru_cache(maxsize=1)
def _shared_frame(payload: bytes) -> bytes:
    """The same frame for everyone who is sent the same bytes one after the other: many may be left with the rest of it."""
    return text_frame(payload)


def _check_key(key: str) -> None:
    """Raises RemoteProtocolError if the request's key is none."""
    try:
        good = len(binascii.a2b_base64(key.strip(), strict_mode=True)) == KEY_BYTES
    except ValueError:
        good = False
    if not good:
        raise RemoteProtocolError("Sec-WebSocket-Key is not 16 bytes in base64")
