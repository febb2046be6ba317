"""The other end of the native protocol: one session, as `postroom listen` and the demo's devices have it.

The WebSocket is trio-websocket's. What is done around it: the TLS handshake, and noticing who hangs up before the upgrade,
because the library takes both an untrusted certificate and a hang-up for silence; a bound on everything that waits for the
other side; and two exceptions in place of many.
"""

import os
import socket
import ssl
from collections import deque
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self, cast
from urllib.parse import urlsplit

import h11
import msgspec
import trio
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError

from postroom.transports.native.frames import TEXT_BYTES_MAX
from postroom.transports.native.handshake import SUBPROTOCOL

PATH: Final = "/v1/connect"
OPEN_S: Final = 10
"""For each of connecting and upgrading: a broker takes milliseconds, the commit of the login included."""
CLOSE_S: Final = 2
"""For the answer to our close frame: a broker waits up to a second for what is under way."""
_READ_BYTES: Final = 65_536
_LINE_BYTES: Final = 80
"""How much of an answer that was none is shown."""
_ABNORMAL: Final = 1006
_GARBLED: Final = (ConnectionClosed, ProtocolError, h11.ProtocolError)
"""What the library raises, besides timeouts and rejections, if the other side does not speak as it should."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class NoSession(Exception):
    """No session was opened; the text says why, and what to look at."""


class Rejected(NoSession):
    """The opening request was answered with another status than 101."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(": ".join(text for text in (f"HTTP {status} {code}".rstrip(), message) if text))
        self.status = status
        self.message = message
        """The broker's; empty if it was not a broker that answered."""


class Closed(Exception):
    """The session is over, and it was not we who ended it. `code` is None without a close frame."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip() if code is not None else reason)
        self.code = code


class Target(NamedTuple):
    """Where to connect to."""

    url: str
    host: str
    port: int
    authority: str
    """Host and port as the URL has them."""
    resource: str
    tls: bool

    @classmethod
    def of(cls, url: str) -> Self:
        """The target that a ws:// or wss:// URL names; without a path it is PATH. Raises ValueError."""
        if not (url.isascii() and url.isprintable() and " " not in url):
            raise ValueError("must be a URL, of ASCII characters and without blanks")
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss"):
            raise ValueError("must begin with ws:// or wss://")
        if not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"must be like {parts.scheme}://HOST:PORT{PATH}")
        tls = parts.scheme == "wss"
        port = parts.port if parts.port is not None else (443 if tls else 80)
        resource = (parts.path if parts.path not in ("", "/") else PATH) + (f"?{parts.query}" if parts.query else "")
        return cls(url, parts.hostname, port, parts.netloc, resource, tls)


class Head(msgspec.Struct, frozen=True):
    """What a client looks at in a frame. Of any type: in a frame of a later version it may be something else."""

    type: Any = None
    ref: Any = None
    id: Any = None
    seq: Any = None
    queued: Any = False
    app: Any = None
    user: Any = None
    code: Any = None
    message: Any = None


class Frame(NamedTuple):
    """A frame: what a client looks at, and all of it, as it came."""

    head: Head
    json: bytes


class Session:
    """An open session. One task reads, any may say something."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket
        self._frames: deque[Frame] = deque()

    async def frame(self) -> Frame:
        """The next frame; arrays are unrolled. Raises Closed, after the last frame that came."""
        while not self._frames:
            try:
                said = await self._websocket.get_message()
            except ConnectionClosed as closed:
                raise _closed(closed.reason) from None
            self._frames.extend(_unrolled(said))
        return self._frames.popleft()

    async def say(self, frame: object) -> None:
        """Send a frame. If the session is over nothing happens, and `frame` tells."""
        with suppress(ConnectionClosed):
            await self._websocket.send_message(msgspec.json.encode(frame).decode())

    async def close(self) -> None:
        """Say goodbye and wait a moment for the answer; also when cancelled."""
        with trio.move_on_after(CLOSE_S, shield=True):
            await self._websocket.aclose()


async def carry(target: Target, token: str, *, task_status: trio.TaskStatus[Session]) -> None:
    """Open a session, with which the task is started, and carry it until cancelled: then hang up without a word.

    Raises NoSession, before it is started. A session that ends is for its reader to notice.
    """
    stream = await _dial(target)
    opened = False
    try:
        async with trio.open_nursery() as readers:
            websocket = await _upgrade(readers, stream, target, token)
            opened = True
            task_status.started(Session(websocket))
            await trio.sleep_forever()
    except BaseExceptionGroup as group:
        error = group.exceptions[0]
        if len(group.exceptions) > 1 or not isinstance(error, (NoSession, ConnectionRejected, *_GARBLED)):
            raise
        if not opened:
            raise _no_session(error) from None
    finally:
        await trio.aclose_forcefully(stream)


async def _dial(target: Target) -> Stream:
    """A connection, with TLS if that is asked for. Raises NoSession."""
    try:
        with trio.fail_after(OPEN_S):
            plain = await trio.open_tcp_stream(target.host, target.port)
            return await _secured(plain, target.host) if target.tls else plain
    except trio.TooSlowError:
        raise NoSession(f"no answer within {OPEN_S} seconds") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: of a name that cannot be one, such as "a..b"
        raise NoSession(f"{_reason(error)}; is the broker running?") from None
    except trio.BrokenResourceError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted here: {error.__cause__.verify_message}"
            raise NoSession(f"{why}; SSL_CERT_FILE may name a file of certificates to trust") from None
        reason = getattr(error.__cause__, "reason", None) or "it hung up"
        raise NoSession(f"no TLS ({reason}); is it ws:// that is spoken there?") from None


async def _secured(plain: trio.SocketStream, host: str) -> Stream:
    """TLS on top, the other side checked against what the system trusts."""
    secure = trio.SSLStream(plain, ssl.create_default_context(), server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise
    return secure


class _Answer(trio.abc.ReceiveStream):
    """What comes from the other side. Its end is an error until the upgrade."""

    def __init__(self, stream: Stream) -> None:
        self.upgraded = False
        self._stream = stream
        self._start = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            if self.upgraded:
                raise
            data = b""
        if not data and not self.upgraded:
            line = self._start.partition(b"\r\n")[0].decode("latin-1")
            said = f"said {line!r} and " if line else ""
            raise NoSession(f"what listens there {said}hung up; is it wss:// that is spoken there?")
        self._start = self._start or bytes(data[:_LINE_BYTES])
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _upgrade(readers: trio.Nursery, stream: Stream, target: Target, token: str) -> WebSocketConnection:
    """The WebSocket on the connection. Raises NoSession; what the library's reader raises comes out of `readers`."""
    answer = _Answer(stream)
    try:
        with trio.fail_after(OPEN_S):
            websocket = await wrap_client_stream(
                readers,
                cast(trio.SocketStream, trio.StapledStream(stream, answer)),  # any stream will do, says its docstring
                target.authority,
                target.resource,
                subprotocols=[SUBPROTOCOL],
                extra_headers=[(b"Authorization", f"Bearer {token}".encode())],
                max_message_size=TEXT_BYTES_MAX,
                receive_buffer_size=_READ_BYTES,
            )
    except trio.TooSlowError:
        raise NoSession(f"no WebSocket within {OPEN_S} seconds; is it a broker that listens there?") from None
    answer.upgraded = True
    if websocket.subprotocol != SUBPROTOCOL:
        raise NoSession(f"what listens there does not speak {SUBPROTOCOL}")
    return websocket


def _no_session(error: BaseException) -> NoSession:
    """What kept a session from being opened."""
    if isinstance(error, NoSession):
        return error
    if not isinstance(error, ConnectionRejected):
        return NoSession("what answers is no WebSocket server; is it wss:// that is spoken there?")
    try:
        said = msgspec.json.decode(error.body or b"", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = {}
    return Rejected(error.status_code, str(said.get("code", "")), str(said.get("message", "")))


def _closed(reason: CloseReason | None) -> Closed:
    if reason is None or reason.code == _ABNORMAL:
        return Closed(None, "the connection broke, without a close frame")
    return Closed(reason.code, reason.reason or "")


def _unrolled(said: str | bytes) -> list[Frame]:
    """The frames in a message. Raises Closed: after what is none, nothing can be trusted."""
    try:
        text = said.encode() if isinstance(said, str) else b""
        each = msgspec.json.decode(text, type=list[msgspec.Raw]) if text.startswith(b"[") else [text]
        return [Frame(msgspec.json.decode(frame, type=Head), bytes(frame)) for frame in each]
    except msgspec.DecodeError:
        raise Closed(None, "what came is no frame of the native protocol") from None


def _reason(error: OSError | UnicodeError) -> str:
    """Why there is no connection: of several addresses tried, what the last one said."""
    cause: BaseException | None = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[-1]
    found = cause if isinstance(cause, OSError) else error
    if isinstance(found, OSError) and found.errno is not None and not isinstance(found, socket.gaierror):
        return os.strerror(found.errno)  # without the address, which has been said
    return getattr(found, "strerror", None) or str(found)
