"""Host one: hypercorn's connections (HTTP/1.1, HTTP/2, WebSocket, TLS) behind an accept loop of our own.

`hypercorn.trio.serve` will not do. An exception in one of its connections ends them all, and a single header with a
byte beyond ASCII makes one (`Sec-WebSocket-Protocol: \\xff` in an opening request). It shields its writing from
cancellation, so a client that does not read keeps it from ever stopping. And it can neither be told to close one
connection unanswered nor to stop listening while connections go on. All that is decided here, around each connection.
"""

import logging
import socket
from functools import partial
from typing import Any, Final, cast

import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol.ws_stream import FrameTooLargeError, WebsocketBuffer, WSStream
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from wsproto.events import Message

from postroom.transports.logs import get_logger

from .asgi import AsgiApp
from .asgi_wire import ABORT, Abort, Scope, Send
from .body import Receive

_log = get_logger("postroom.http")

BACKLOG: Final = 1024
"""Connections that the system may hold before we accept them; it has a limit of its own, often 4,096."""
KEEP_ALIVE_S: Final = 75
"""How long a connection may idle between requests, and how long its next head may take; longer than the minute after
which proxies give theirs up, so that they do not meet ours closing."""
QUIET_S: Final = 90
"""How long a client may send nothing while it is being answered: more than the longest wait for an ack and its submit."""
QUIET_HEARTBEATS: Final = 3
"""Or, if that is longer, so many heartbeats: each is a ping, and its pong is something sent."""
MESSAGE_BYTES_MAX: Final = 2 * 1024 * 1024
"""Of a WebSocket message: 256 KiB of body, six times as long in JSON escapes, and the rest of its frame."""
MESSAGE_DISCARD_BYTES_MAX: Final = 16 * 1024 * 1024
"""What is read and thrown away beyond that: a client that still writes may not see the close frame."""
REQUESTS_MAX: Final = 1_000_000_000
"""On one connection: a client that keeps its connection open is welcome to it."""


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says about listening."""

    heartbeat_s: float
    tls_certificate: str = ""
    """A PEM file; empty for plain HTTP."""
    tls_key: str = ""


class HypercornHost:
    """Serves an ASGI application on listening sockets. One `serve` at a time."""

    def __init__(self, app: AsgiApp, settings: HostSettings) -> None:
        """Reads the TLS files. Raises OSError, ssl.SSLError."""
        self._app = ASGIWrapper(cast(Any, partial(_tamed, app)))
        self._config = _config(settings)
        self._tls = self._config.create_ssl_context()
        self._context = WorkerContext(None)
        self._accepting = trio.CancelScope()
        self._aborts: set[Abort] = set()

    async def serve(
        self, sockets: list[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept on bound sockets, which are listened on and then owned from here, until `stop_listening`.

        Returns when every connection has ended. Cancelled, it cuts all of them off. A connection's exceptions end it.
        """
        listeners = [self._listener(one) for one in sockets]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_off_when_cancelled)
            async with trio.open_nursery() as connections:
                with self._accepting:
                    task_status.started()  # bound and listened on: the system takes connections from here
                    await trio.serve_listeners(self._connection, listeners, handler_nursery=connections)
            nursery.cancel_scope.cancel()

    async def stop_listening(self) -> None:
        """Refuse new connections, end idle ones now and others after what they are at."""
        await self._context.terminated.set()
        self._accepting.cancel()

    def cut_off(self) -> None:
        """Close every connection as it is, unanswered and unread."""
        for abort in tuple(self._aborts):
            abort()

    async def _cut_off_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cut_off()

    def _listener(self, bound: socket.socket) -> trio.SocketListener | trio.SSLListener[trio.SocketStream]:
        bound.listen(BACKLOG)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        return trio.SSLListener(listener, self._tls, https_compatible=True) if self._tls else listener

    async def _connection(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        """One connection to its end, whatever that is."""
        raw = stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
        with trio.CancelScope() as scope:

            def close() -> None:
                scope.cancel()
                raw.socket.close()  # writing is shielded from the cancellation, but not from this

            abort = Abort(close)
            self._aborts.add(abort)
            try:
                state = ConnectionState({ABORT: abort})
                await TCPServer(cast(Any, self._app), self._config, self._context, cast(Any, state), cast(Any, stream))
            except Exception as error:  # noqa: BLE001  what a client sends may cost it its connection and nobody else's
                _log.warning("connection-failed", error=_described(error))
            finally:
                self._aborts.discard(abort)


async def _tamed(app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
    stream = getattr(send, "__self__", None)
    if isinstance(stream, WSStream):
        # Compression costs up to 300 KiB a connection, and 300 KB of it can be 300 MB of message.
        stream.handshake.extensions = None
        stream.buffer = BoundedBuffer(stream.buffer.max_length)
    await app(scope, receive, send)


class BoundedBuffer(WebsocketBuffer):
    """Hypercorn's keeps what is too large and reads on. This one forgets it, and ends who does not stop sending."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length)
        self._excess = 0

    def extend(self, event: "Message[Any]") -> None:
        """Raises FrameTooLargeError once, which closes with 1009; ConnectionError when the client goes on and on."""
        if not self._excess:
            try:
                super().extend(event)
            except FrameTooLargeError:
                self._excess = self.length
                self.clear()
                raise
            return
        self._excess += len(event.data)
        if self._excess > MESSAGE_DISCARD_BYTES_MAX:
            raise ConnectionError("a message too large, and more")


def _described(error: BaseException) -> str:
    """What happened, without what it happened to (`repr` shows the bytes that could not be decoded)."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _config(settings: HostSettings) -> Config:
    """Ours in hypercorn's words."""
    config = Config()
    config.accesslog = None  # it would print queries, tokens and all
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = REQUESTS_MAX
    config.read_timeout = int(max(QUIET_S, QUIET_HEARTBEATS * settings.heartbeat_s))
    config.websocket_ping_interval = settings.heartbeat_s
    config.websocket_max_message_size = MESSAGE_BYTES_MAX
    if settings.tls_certificate:
        config.certfile = settings.tls_certificate
        config.keyfile = settings.tls_key
    return config
