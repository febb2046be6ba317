"""The ASGI application: what a host on trio carries, taken to the shell and to the WebSocket sessions."""

from functools import partial

import trio

from postroom.core.errors import InvalidCommand, StorageFailure

from .asgi_socket import AsgiSocket
from .asgi_wire import Scope, Send, abort_of, lifespan, request_of, send_reply
from .body import BodyTooSlow, ClientGone, Receive, discard, read_body
from .errors import RequestTimeout
from .serving import Serving, WebSockets, problem
from .shell import Shell
from .types import HttpReply


class AsgiApp:
    """Requests go to the shell, WebSockets to whoever serves their path. Any number of tasks may call it."""

    def __init__(self, shell: Shell, websockets: WebSockets, serving: Serving) -> None:
        self._shell = shell
        self._websockets = websockets
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3. Returns when the request or the WebSocket has been served."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self._serving.begin()
        try:
            if scope["type"] == "http":
                await self._http(scope, receive, send)
            else:
                await self._websocket(scope, receive, send)
        except StorageFailure:
            # The outcome is unknown, and an answer of any kind would claim to know it.
            abort_of(scope)()
            await trio.sleep_forever()  # until whoever owns the broker is cancelled with it
        finally:
            self._serving.end()

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive)
        except ClientGone:
            return
        except BodyTooSlow:
            await _send_early(self._shell.refuse(request_of(scope, None), RequestTimeout()), receive, send)
            return
        reply = await self._shell.handle(request_of(scope, body), partial(discard, receive))
        if reply is None:
            return
        if body is None:
            await _send_early(reply, receive, send)
        else:
            await send_reply(send, reply)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            socket = AsgiSocket(scope, receive, send)
        except InvalidCommand as refusal:
            await send_reply(send, problem(400, refusal.code, refusal.message), "websocket.http.response")
            return
        await self._websockets.serve(socket, request_of(scope).path)


async def _send_early(reply: HttpReply, receive: Receive, send: Send) -> None:
    """Answer while the client is still writing: somebody has to read on, or the host never gets to send."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discard, receive)
        await send_reply(send, reply)
        nursery.cancel_scope.cancel()
