"""One HTTP/1.1 connection: h11 says what the bytes mean, the shell what to answer; one write a response."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import h11
import trio

from postroom.core.errors import StorageFailure

from ..errors import RequestTimeout
from ..serving import problem
from ..shell import Shell
from ..types import HttpReply, HttpRequest, path_of_target
from .settings import LeanSettings
from .stream import Gone, Stream

Upgrade = Callable[[HttpRequest, bytes], Awaitable[HttpReply | None]]
"""Takes a connection over, given the request for it and what has come after that; or says what to answer instead."""

_FRAMING: Final = frozenset((b"transfer-encoding", b"content-length"))


class HttpConnection:
    """Serves one connection, request after request."""

    def __init__(
        self,
        stream: Stream,
        settings: LeanSettings,
        shell: Shell,
        upgrade: Upgrade,
        closing: Callable[[], bool],
        serving: AbstractContextManager[object],
    ) -> None:
        """`closing` tells whether the host wants connections to end; `serving` is entered for each request."""
        self._stream = stream
        self._settings = settings
        self._shell = shell
        self._upgrade = upgrade
        self._closing = closing
        self._serving = serving
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=settings.header_bytes)
        self._requests = 0
        self._head_only = False
        self._answered_last = False
        """What was sent says that nothing follows."""

    async def run(self) -> None:
        """To its end. Raises Gone when the peer is; nothing has to be said to it any more."""
        while await self._serve_one():
            if self._closing():
                return  # between two requests, where stopping found it at work
        if self._answered_last:
            await self._stream.close_gently()  # which is not serving any more: whoever stops need not wait for it

    async def _serve_one(self) -> bool:
        """One request and its answer; whether there may be another."""
        try:
            head = await self._head()
            if head is None:
                return False
            with self._serving:
                return await self._answer(head)
        except h11.RemoteProtocolError as error:
            await self._refuse_protocol(error)
            return False

    # Reading.

    async def _head(self) -> h11.Request | None:
        """The next request's head; None if there will be none."""
        settings, begun = self._settings, bool(self._http.trailing_data[0])
        self._head_only = self._answered_last = False
        with trio.move_on_after(settings.header_s if begun else settings.idle_s) as waiting:
            while True:
                raw = self._http.trailing_data[0]
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._head_only = event.method == b"HEAD"
                    self._check(event, raw[: len(raw) - len(self._http.trailing_data[0])])
                    return event
                if event is not h11.NEED_DATA:
                    return None  # closed, or a protocol that is not spoken here
                data = await self._stream.receive()
                if data and not begun:
                    begun = True
                    waiting.deadline = trio.current_time() + settings.header_s
                self._http.receive_data(data)
        if begun:
            await self._send(problem(408, RequestTimeout.code, RequestTimeout().message), last=True)
        return None

    def _check(self, head: h11.Request, raw: bytes) -> None:
        """What h11 lets pass of a head, which came as `raw`. Raises RemoteProtocolError."""
        if head.http_version not in (b"1.1", b"1.0"):
            raise h11.RemoteProtocolError("another version")
        if b"\n " in raw or b"\n\t" in raw:
            # h11 joins the lines. Who does not, in front of us, sees another header (RFC 9112 5.2).
            raise h11.RemoteProtocolError("a folded header")
        size = sum(len(name) + len(value) + 4 for name, value in head.headers) + len(head.target)
        if size > self._settings.header_bytes:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        framing = _FRAMING.intersection(name for name, _ in head.headers)
        if len(framing) == 2 or (head.http_version == b"1.0" and b"transfer-encoding" in framing):
            # One of two lengths is for somebody else in front of us, and 1.0 knows no chunks (RFC 9112 6.1).
            raise h11.RemoteProtocolError("Transfer-Encoding where it may not be")

    async def _body(self) -> bytes | None:
        """The body; None if it is too large. Raises TooSlowError, Gone if the peer ended in the middle of it."""
        if self._http.they_are_waiting_for_100_continue:
            await self._stream.send_all(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        body = bytearray()  # no list of parts: a chunk of one byte would take fifty
        with trio.fail_after(self._settings.body_s):
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > self._settings.body_bytes:
                        return None
                elif isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                elif event is h11.NEED_DATA:
                    data = await self._stream.receive()
                    if not data:
                        raise Gone
                    self._http.receive_data(data)
                else:
                    raise Gone

    # Answering.

    async def _answer(self, head: h11.Request) -> bool:
        self._requests += 1
        target = head.target
        path, _, query = target.partition(b"?")
        request = HttpRequest(
            method=head.method.decode("ascii"),
            path=path_of_target(path).decode("latin-1"),
            query_string=query,
            headers=list(head.headers),
            client=self._stream.client,
        )
        if head.http_version == b"1.1" and _wants_websocket(request):
            reply = await self._upgrade(request, self._http.trailing_data[0])
            if reply is not None:
                await self._send(reply, last=True)
            return False
        try:
            body = await self._body()
        except trio.TooSlowError:
            await self._send(self._shell.refuse(request, RequestTimeout()), last=True)
            return False
        request = HttpRequest(
            method=request.method,
            path=request.path,
            query_string=query,
            headers=request.headers,
            body=body or b"",
            oversized=body is None,
            client=request.client,
        )
        try:
            answer = await self._shell.handle(request, self._gone)
        except StorageFailure:
            # The outcome is unknown, and an answer of any kind would claim to know it.
            raise Gone from None
        if answer is None:
            raise Gone
        last = body is None or self._closing() or self._requests >= self._settings.requests
        await self._send(answer, last=last)
        if self._answered_last:
            return False
        self._http.start_next_cycle()
        await trio.lowlevel.checkpoint()  # who sends many requests at once lets others in between
        return True

    async def _gone(self) -> None:
        """Return when the client closed its connection. What it sends meanwhile is kept, within a bound."""
        kept = len(self._http.trailing_data[0])
        while kept <= self._settings.header_bytes:
            try:
                data = await self._stream.receive()
            except Gone:  # cut off from this side
                return
            if not data:
                return
            kept += len(data)
            self._http.receive_data(data)
        await trio.sleep_forever()

    async def _send(self, reply: HttpReply, *, last: bool = False) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
        if reply.status != 204:  # which has no body and may not have the header (RFC 9110 8.6)
            headers.append((b"Content-Length", b"%d" % len(reply.body)))
        headers.append((b"Date", _date(int(trio.current_time()))))
        if last:
            headers.append((b"Connection", b"close"))
        send = self._http.send
        response = h11.Response(status_code=reply.status, headers=headers, reason=_phrase(reply.status))
        data = send(response) or b""
        if reply.body and not self._head_only:
            data += send(h11.Data(data=reply.body)) or b""
        data += send(h11.EndOfMessage()) or b""
        self._answered_last = self._http.our_state is h11.MUST_CLOSE or self._http.their_state is not h11.DONE
        await self._stream.send_all(data)

    async def _refuse_protocol(self, error: h11.RemoteProtocolError) -> None:
        """What is not HTTP, or not in its bounds, is answered once, and nothing after it is believed."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            status = 431 if error.error_status_hint == 431 else 400
            message = "the head is too large" if status == 431 else "not a valid HTTP/1.1 request"
            await self._send(problem(status, "invalid", message), last=True)


def _wants_websocket(request: HttpRequest) -> bool:
    if request.method != "GET" or (request.header("upgrade") or b"").strip().lower() != b"websocket":
        return False
    return b"upgrade" in (token.strip() for token in (request.header("connection") or b"").lower().split(b","))


@lru_cache(maxsize=1)
def _date(_second: int) -> bytes:
    """The time of day, made anew each second."""
    return formatdate(usegmt=True).encode()


@lru_cache(maxsize=64)
def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
