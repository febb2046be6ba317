"""Accepting connections and looking after them: limits, heartbeats, and the end in good order."""

import errno
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from wsproto.events import RejectConnection
from wsproto.utilities import RemoteProtocolError

from postroom.core.errors import InvalidCommand, StorageFailure
from postroom.transports.logs import get_logger

from ..serving import Serving, WebSockets, problem
from ..shell import Shell
from ..types import HttpReply, HttpRequest, json_reply
from .connection import HttpConnection
from .gathering import Gathering
from .settings import BACKLOG, LeanSettings
from .stream import Gone, Stream
from .websocket import LeanSocket

_log = get_logger("postroom.http")

ACCEPT_AT_ONCE: Final = 64
"""Connections taken before others get a turn."""
PAUSE_S: Final = 0.1
"""When the system has no more open files to give."""
TICK_S: Final = 1.0
"""Heartbeats are looked after so often, or more often if they are shorter."""
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FULL_BODY: Final = b'{"code":"overloaded","message":"too many connections"}'
_TURNED_AWAY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\nRetry-After: 1\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class _Open:
    """A connection as its host sees it; entered while it serves a request or a WebSocket."""

    __slots__ = ("_serving", "busy", "ping_at", "socket", "stream")

    def __init__(self, stream: Stream, serving: Serving) -> None:
        self._serving = serving
        self.stream = stream
        self.busy = False
        self.socket: LeanSocket | None = None
        self.ping_at = 0.0

    def __enter__(self) -> None:
        self.busy = True
        self._serving.begin()

    def __exit__(self, *_: object) -> None:
        self.busy = False
        self._serving.end()


class LeanHost:
    """Serves the shell and the WebSockets on listening sockets. One `serve` at a time."""

    def __init__(self, shell: Shell, websockets: WebSockets, serving: Serving, settings: LeanSettings) -> None:
        self._shell = shell
        self._websockets = websockets
        self._serving = serving
        self._settings = settings
        self._accepting = trio.CancelScope()
        self._closing = False
        self._open: set[_Open] = set()
        self._by_address: Counter[str] = Counter()
        self._gathering = Gathering()
        self._connections: trio.Nursery

    async def serve(
        self, sockets: list[socket.socket], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept on bound sockets, which are listened on and then owned from here, until `stop_listening`.

        Returns when every connection has ended. Cancelled, it cuts all of them off.
        """
        for one in sockets:
            one.listen(BACKLOG)
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._beat)
                watching.start_soon(self._gathering.run)
                async with trio.open_nursery() as self._connections:
                    with self._accepting:
                        task_status.started()
                        async with trio.open_nursery() as accepting:
                            for one in sockets:
                                accepting.start_soon(self._accept, one)
                    for one in sockets:
                        one.close()  # now: while connections end, the system would take new ones for us
                watching.cancel_scope.cancel()
        finally:
            self.cut_off()
            for one in sockets:
                one.close()

    async def stop_listening(self) -> None:
        """Refuse new connections, end idle ones now and others after what they are at."""
        self._closing = True
        self._accepting.cancel()
        for connection in tuple(self._open):
            if not connection.busy:
                connection.stream.close()
        await trio.lowlevel.checkpoint()

    def cut_off(self) -> None:
        """Close every connection as it is, unanswered and unread."""
        for connection in tuple(self._open):
            connection.stream.close()

    # Accepting.

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(ACCEPT_AT_ONCE):
                try:
                    accepted, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _FULL:
                        _log.warning("no-open-files", error=str(error))
                        await trio.sleep(PAUSE_S)
                    break
                self._take(accepted, str(address[0]))

    def _take(self, accepted: socket.socket, address: str) -> None:
        accepted.setblocking(False)  # noqa: FBT003
        stream = Stream(accepted, address, self._settings.write_s)
        limits = self._settings
        if len(self._open) >= limits.connections or self._by_address[address] >= limits.connections_per_address:
            with suppress(Gone):
                stream.send_now(_TURNED_AWAY)
            stream.close()
            return
        connection = _Open(stream, self._serving)
        # Here and not in its task: many are accepted before any of their tasks runs.
        self._open.add(connection)
        self._by_address[address] += 1
        self._connections.start_soon(self._connection, connection, address)

    async def _connection(self, connection: _Open, address: str) -> None:
        """One connection to its end, whatever that is."""
        try:
            await HttpConnection(
                connection.stream,
                self._settings,
                self._shell,
                partial(self._upgrade, connection),
                lambda: self._closing,
                connection,
            ).run()
        except (Gone, StorageFailure):
            pass  # of the store's failure nothing may be said here; whoever owns the broker ends with it
        except Exception:  # noqa: BLE001  a fault of ours costs its connection, and nobody else anything
            _log.exception("connection-failed")
        finally:
            connection.stream.close()
            self._open.discard(connection)
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    # WebSockets.

    async def _upgrade(self, connection: _Open, request: HttpRequest, trailing: bytes) -> HttpReply | None:
        """Serve a WebSocket to its end; or the answer if it is none."""
        try:
            connection.socket = LeanSocket(connection.stream, request, trailing, self._start, self._gathering)
        except InvalidCommand as refusal:
            return problem(400, refusal.code, refusal.message)
        except RemoteProtocolError as error:
            return _no_websocket(error)
        connection.ping_at = trio.current_time()
        connection.stream.write_s = self._settings.quiet_s  # a session has its own patience, and a word for its end
        await self._websockets.serve(connection.socket, request.path)
        return None

    def _start(self, task: Callable[[], Awaitable[None]]) -> None:
        self._connections.start_soon(task)

    async def _beat(self) -> None:
        """Ping every open WebSocket once a heartbeat, and give up those that have been silent for too long."""
        heartbeat_s, quiet_s = self._settings.heartbeat_s, self._settings.quiet_s
        while True:
            await trio.sleep(min(TICK_S, heartbeat_s / 2))
            now = trio.current_time()
            for connection in tuple(self._open):
                if connection.socket is None:
                    continue
                if now - connection.socket.heard_at > quiet_s:
                    connection.socket.cut_off()
                elif now >= connection.ping_at and connection.socket.ping():
                    connection.ping_at = now + heartbeat_s


def _no_websocket(error: RemoteProtocolError) -> HttpReply:
    """What is answered to an opening request that is none; to one of another version, which is spoken (RFC 6455 4.4)."""
    hint = error.event_hint
    if isinstance(hint, RejectConnection) and hint.status_code == 426:
        told = {"code": "invalid", "message": "this version of WebSocket is not spoken here, 13 is"}
        return json_reply(426, told, ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
    return problem(400, "invalid", f"not a WebSocket that is spoken here: {error}")
