"""Requests, calls and a broker for tests of the HTTP side, none of which needs a socket."""

import base64
import json
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import trio

from postroom.core import Receipt, SendMessage
from postroom.core.commands import Command
from postroom.core.ids import MessageId, UnixMs
from postroom.core.model import Confirmation
from postroom.core.queries import Query
from postroom.transports.config import AnyrtcConfig, AppConfig
from postroom.transports.http.asgi_wire import ABORT, Abort
from postroom.transports.http.dialect import Call, Caller
from postroom.transports.http.types import HttpReply, HttpRequest

A = TypeVar("A")

APP_ID = "970CA35de60c44645bbae8a215061b33"
RTC = AnyrtcConfig(app_id=APP_ID, api_key="k1", api_secret="s1", app_certificate="5CFd2fd1755d40ecb72977518be15d3b")
APP = AppConfig(name="shop", session_secret="s" * 32, anyrtc=RTC)
PEER_PATH = f"/dev/v2/project/{APP_ID}/rtm/users/userA/peer_messages"
PEER = {"destination": "userB", "payload": "Hello"}
NOW_MS = UnixMs(1_790_000_000_000)
RECEIPT = Receipt(id=MessageId(4096), at_ms=NOW_MS)
NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: one of their own would load the system's certificates, which takes longer than most tests."""


def basic(user: str = "k1", password: str = "s1") -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request(
    path: str = PEER_PATH,
    body: object = PEER,
    *,
    method: str = "POST",
    query: str = "",
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    **more: Any,
) -> HttpRequest:
    """A request with a JSON body (bytes go as they are), authenticated unless `headers` says otherwise."""
    given = {"Authorization": basic()} if headers is None else headers
    return HttpRequest(
        method=method,
        path=path,
        query_string=query.encode(),
        headers=[(name.encode(), value.encode()) for name, value in given.items()],
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        params=params or {},
        **more,
    )


def call(request_: HttpRequest, user: str | None = None) -> Call:
    """An authenticated call."""
    return Call(request_, "4711", Caller("shop", user))


def told(reply: HttpReply | None) -> Any:
    """A reply's JSON body."""
    assert reply is not None
    return json.loads(reply.body)


def header(reply: HttpReply | None, name: str) -> str | None:
    """A reply's header."""
    assert reply is not None
    return dict(reply.headers).get(name)


class FakeBroker:
    """Remembers what was submitted and asked; answers with a receipt or `answer`, or raises what it was told to."""

    def __init__(self, raises: BaseException | None = None, confirmation: Confirmation | None = None) -> None:
        self.commands: list[Command] = []
        self.queries: list[Query[Any]] = []
        self.answer: Any = ()
        self.withdrawn = 0
        self.raises = raises
        self.confirmation = confirmation
        self.hold: trio.Event | None = None
        """If there is one, nothing is answered before it is set."""

    async def submit(self, command: Command) -> Receipt:
        """As `Broker.submit`."""
        self.commands.append(command)
        await trio.lowlevel.checkpoint()
        if self.hold is not None:
            try:
                await self.hold.wait()
            except trio.Cancelled:
                self.withdrawn += 1
                raise
        if self.raises is not None:
            raise self.raises
        return Receipt(id=RECEIPT.id, at_ms=RECEIPT.at_ms, confirmation=self.confirmation)

    async def ask(self, query: Query[A]) -> A:
        """As `Broker.ask`."""
        self.queries.append(query)
        await trio.lowlevel.checkpoint()
        if self.raises is not None:
            raise self.raises
        answer: A = self.answer
        return answer

    @property
    def sent(self) -> SendMessage:
        """The one command that was submitted."""
        (command,) = self.commands
        assert isinstance(command, SendMessage)
        return command


class Wire:
    """Both ends of one ASGI conversation: what the client does, and what it is sent."""

    def __init__(self, messages: Iterable[Mapping[str, Any]] = ()) -> None:
        self._in, self._out = trio.open_memory_channel[Mapping[str, Any]](100)
        for message in messages:
            self._in.send_nowait(message)
        self.sent: list[Mapping[str, Any]] = []
        self.aborted = False
        self.scope: trio.CancelScope | None = None
        self.on_send: Callable[[Mapping[str, Any]], None] = lambda message: None

    def say(self, message: Mapping[str, Any]) -> None:
        """The client does something."""
        self._in.send_nowait(message)

    async def receive(self) -> Mapping[str, Any]:
        """For the application."""
        return await self._out.receive()

    async def send(self, message: Mapping[str, Any]) -> None:
        """For the application."""
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        self.on_send(message)

    def abort(self) -> None:
        """As a host's: the connection is gone, and whoever serves it is cancelled."""
        self.aborted = True
        if self.scope is not None:
            self.scope.cancel()

    @property
    def status(self) -> int:
        """Of the reply."""
        return int(next(each["status"] for each in self.sent if each["type"].endswith("response.start")))

    @property
    def json(self) -> Any:
        """The reply's body."""
        return json.loads(next(each["body"] for each in self.sent if each["type"].endswith("response.body")))


def http_scope(wire: Wire, path: str = PEER_PATH, method: str = "POST", query: bytes = b"") -> dict[str, Any]:
    """The scope of a request, authenticated."""
    return {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"authorization", basic().encode())],
        "client": ("127.0.0.1", 50000),
        "state": {ABORT: Abort(wire.abort)},
    }


def websocket_scope(
    wire: Wire, path: str = "/v1/connect", query: bytes = b"", subprotocols: Sequence[str] = ()
) -> dict[str, Any]:
    """The scope of a WebSocket."""
    return {
        "type": "websocket",
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"x-twice", b"one"), (b"X-Twice", b"two")],
        "client": ("127.0.0.1", 50000),
        "subprotocols": list(subprotocols),
        "state": {ABORT: Abort(wire.abort)},
    }
