"""One HTTP/1.1 connection: requests come in, the shell says what to answer; one write a response."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import h11
import msgspec
import trio

from postroom.core.errors import StorageFailure

from ..errors import RequestTimeout
from ..serving import problem
from ..shell import Shell
from ..types import HttpReply, HttpRequest
from .answer import answer
from .requests import Requests
from .settings import LeanSettings
from .stream import Gone, Stream

Upgrade = Callable[[HttpRequest, bytes], Awaitable[HttpReply | None]]
"""Takes a connection over, given the request for it and what has come after that; or says what to answer instead."""


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
        self._requests = Requests(stream, settings)
        self._requests_left = settings.requests
        self._shell = shell
        self._upgrade = upgrade
        self._closing = closing
        self._serving = serving
        self._answered_last = False
        """What was sent says that nothing follows."""

    async def run(self) -> None:
        """To its end. Raises Gone when the peer is; nothing has to be said to it any more."""
        while await self._serve_one():
            if self._closing():
                break  # between two requests, where stopping found it at work
        if self._answered_last or self._closing():
            await self._stream.close_gently()  # which is not serving any more: whoever stops need not wait for it

    async def _serve_one(self) -> bool:
        """One request and its answer; whether there may be another."""
        self._requests.method = b""
        try:
            request = await self._head()
            if request is None:
                return False
            with self._serving:
                return await self._answer(request)
        except h11.RemoteProtocolError as error:
            await self._refuse_protocol(error)
            return False

    async def _head(self) -> HttpRequest | None:
        try:
            return await self._requests.head()
        except trio.TooSlowError:
            await self._send(problem(408, RequestTimeout.code, RequestTimeout().message), last=True)
            return None

    async def _answer(self, request: HttpRequest) -> bool:
        if self._requests.http_1_1 and _wants_websocket(request):
            reply = await self._upgrade(request, self._requests.take_over())
            if reply is not None:
                await self._send(reply, last=True)
            return False
        try:
            body = await self._requests.body()
        except trio.TooSlowError:
            await self._send(self._shell.refuse(request, RequestTimeout()), last=True)
            return False
        request = msgspec.structs.replace(request, body=body or b"", oversized=body is None)
        try:
            reply = await self._shell.handle(request, self._requests.gone)
        except StorageFailure:
            # The outcome is unknown, and an answer of any kind would claim to know it.
            raise Gone from None
        if reply is None:
            raise Gone
        self._requests_left -= 1
        last = body is None or not self._requests.more or self._requests_left <= 0 or self._closing()
        await self._send(reply, last=last)
        if not last:
            await trio.lowlevel.checkpoint()  # who sends many requests at once lets others in between
        return not last

    async def _send(self, reply: HttpReply, *, last: bool) -> None:
        data = answer(reply, last=last, head_only=self._requests.method == b"HEAD")
        self._answered_last = last
        await self._stream.send_all(data)

    async def _refuse_protocol(self, error: h11.RemoteProtocolError) -> None:
        """What is not HTTP, or not in its bounds, is answered once, and nothing after it is believed."""
        status = 431 if error.error_status_hint == 431 else 400
        message = "the head is too large" if status == 431 else "not a valid HTTP/1.1 request"
        await self._send(problem(status, "invalid", message), last=True)


def _wants_websocket(request: HttpRequest) -> bool:
    if request.method != "GET" or (request.header("upgrade") or b"").strip().lower() != b"websocket":
        return False
    return b"upgrade" in (token.strip() for token in (request.header("connection") or b"").lower().split(b","))
