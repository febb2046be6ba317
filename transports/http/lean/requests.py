"""What a client sends on one connection, request by request: h11 says what a head is and a chunk, a length says the rest."""

from typing import Final

import h11
import trio

from ..types import HttpRequest, path_of_target
from .settings import LeanSettings
from .stream import Gone, Stream

CHUNKS_AT_ONCE_MAX: Final = 64
"""Then others get a turn: what is read at once holds ten thousand chunks of a byte."""
_CONTINUE: Final = b"HTTP/1.1 100 \r\n\r\n"


class Requests:
    """The requests of a connection: `head`, then `body`, and again. After an exception there is nothing more to read."""

    def __init__(self, stream: Stream, settings: LeanSettings) -> None:
        self._stream = stream
        self._settings = settings
        self._http: h11.Connection
        """For one request: it is never told of the answer, and could not go on to another."""
        self._length: int | None = 0
        """Of the body; None if it comes in chunks."""
        self.unread = b""
        """What has come and belongs to no request yet; while chunks are read, h11 has it."""
        self.method = b""
        """Of the last head, as far as one could be read."""
        self.http_1_1 = True
        """The version of the last head; it is 1.0 otherwise."""
        self.more = True
        """Whether the last head lets another request follow."""

    async def head(self) -> HttpRequest | None:
        """The next request without its body; None if there will be none.

        Raises TooSlowError if a head began and does not end, RemoteProtocolError, Gone.
        """
        http = self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._settings.header_bytes)
        # Under load the next request is often there, and neither the loop nor a timer has to be asked for it.
        data = self.unread or self._stream.receive_now()
        if data is None:
            data = await self._begin()
        http.receive_data(data)
        event = http.next_event()
        if event is h11.NEED_DATA:
            with trio.fail_after(self._settings.header_s):
                while event is h11.NEED_DATA:
                    part = await self._stream.receive()
                    data += part
                    http.receive_data(part)
                    event = http.next_event()
        if type(event) is not h11.Request:  # an ABC's isinstance is a call
            return None  # closed
        self.unread = http.trailing_data[0]
        return self._taken(event, data[: len(data) - len(self.unread)])

    async def _begin(self) -> bytes:
        """What comes next; b"" if that is nothing, or nothing for too long."""
        with trio.move_on_after(self._settings.idle_s):
            return await self._stream.receive()
        return b""

    def _taken(self, head: h11.Request, raw: bytes) -> HttpRequest:
        """A head, which came as `raw`, with what h11 lets pass of it. Raises RemoteProtocolError."""
        self.method = head.method
        if head.http_version not in (b"1.1", b"1.0"):
            raise h11.RemoteProtocolError("another version")
        if b"\n " in raw or b"\n\t" in raw:
            # h11 joins the lines. Who does not, in front of us, sees another header (RFC 9112 5.2).
            raise h11.RemoteProtocolError("a folded header")
        if len(raw) > self._settings.header_bytes:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        headers = head.headers.raw_items()
        self.http_1_1 = head.http_version == b"1.1"
        self._frame(headers)
        path, _, query = head.target.partition(b"?")
        return HttpRequest(
            method=head.method.decode("ascii"),
            path=path_of_target(path).decode("latin-1"),
            query_string=query,
            headers=headers,
            client=self._stream.client,
        )

    def _frame(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Where this request ends and whether it is the last one, by headers that h11 has checked."""
        length, chunked, close = None, False, not self.http_1_1
        for name, value in headers:
            name = name.lower()
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"connection":
                close = close or b"close" in map(bytes.strip, value.lower().split(b","))
        if chunked and (length is not None or not self.http_1_1):
            # One of two lengths is for somebody else in front of us, and 1.0 knows no chunks (RFC 9112 6.1).
            raise h11.RemoteProtocolError("Transfer-Encoding where it may not be")
        self._length = None if chunked else length or 0
        self.more = not close

    async def body(self) -> bytes | None:
        """The body of the last head; None if it is too large. Raises TooSlowError, RemoteProtocolError, Gone if the peer
        ended in the middle of it."""
        length, limit = self._length, self._settings.body_bytes
        if self._http.they_are_waiting_for_100_continue:
            if length is not None and length > limit:
                return None  # it need not be sent
            await self._stream.send_all(_CONTINUE)
        if length is None:
            return await self._chunks()
        if len(self.unread) < length:
            await self._read_to(min(length, limit + 1))
        if length > limit:
            return None
        body, self.unread = self.unread[:length], self.unread[length:]
        return body

    async def _read_to(self, size: int) -> None:
        """Read until so much has come."""
        data = bytearray(self.unread)
        with trio.fail_after(self._settings.body_s):
            while len(data) < size:
                data += await self._part()
        self.unread = bytes(data)

    async def _chunks(self) -> bytes | None:
        chunks = 0
        body = bytearray()  # no list of parts: a chunk of one byte would take fifty
        with trio.fail_after(self._settings.body_s):
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > self._settings.body_bytes:
                        return None
                    chunks += 1
                    if chunks % CHUNKS_AT_ONCE_MAX == 0:
                        await trio.lowlevel.checkpoint()
                elif isinstance(event, h11.EndOfMessage):
                    self.unread = self._http.trailing_data[0]
                    return bytes(body)
                else:
                    self._http.receive_data(await self._part())

    async def _part(self) -> bytes:
        data = await self._stream.receive()
        if not data:
            raise Gone
        return data

    def take_over(self) -> bytes:
        """What came after the last head, for whoever speaks another protocol from here. Raises RemoteProtocolError if that
        head has a body."""
        if self._length != 0:
            raise h11.RemoteProtocolError("a body where another protocol begins")
        del self._http  # a connection may live long, and needs neither any more
        rest, self.unread = self.unread, b""
        return rest

    async def gone(self) -> None:
        """Return when the client closed its connection. What it sends meanwhile is kept, within a bound."""
        while len(self.unread) <= self._settings.header_bytes:
            try:
                data = await self._stream.receive()
            except Gone:  # cut off from this side
                return
            if not data:
                return
            self.unread += data
        await trio.sleep_forever()
