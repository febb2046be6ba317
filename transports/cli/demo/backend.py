"""alice's server: speaks anyRTC's API over HTTP, and shows each request as the curl line that does the same. The calls of
another API differ in what `Call` says of them."""

import base64
import json
import shlex
from typing import Any, Self

import h11
import msgspec

from postroom.transports.config.demo import DEMO_APP

from .claims import Broken
from .line import HOST, Line


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the API."""

    path: str
    """Below the app's own, the query included."""
    body: dict[str, Any] | None = None
    """Of a POST; None makes it a GET."""
    key: str | None = None
    """An Idempotency-Key."""

    @property
    def method(self) -> str:
        """Of the request."""
        return "GET" if self.body is None else "POST"

    @property
    def target(self) -> str:
        """Path and query, in full."""
        assert DEMO_APP.anyrtc is not None
        return f"/dev/v2/project/{DEMO_APP.anyrtc.app_id}/rtm/{self.path}"

    @property
    def text(self) -> str:
        """The body as JSON."""
        return "" if self.body is None else json.dumps(self.body)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Those besides Host and Content-Length."""
        return [("Authorization", f"Basic {_basic()}"), ("Content-Type", "application/json"), *self._own_headers]

    @property
    def _own_headers(self) -> list[tuple[str, str]]:
        return [("Idempotency-Key", self.key)] if self.key is not None else []

    def curl(self, port: int) -> list[str]:
        """The command line that makes this request, in parts for a line each."""
        url = shlex.quote(f"http://{HOST}:{port}{self.target}")
        headers = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in self._own_headers]
        body = [f"-d {shlex.quote(self.text)}"] * (self.body is not None)
        return [f"curl -u {_credentials()}", url, *headers, *body]


def to_user(
    sender: str, user: str, payload: str, *, offline: bool = False, wait: bool = False, key: str | None = None
) -> Call:
    """A message to one user."""
    path = f"users/{sender}/peer_messages" + ("?wait_for_ack=true" if wait else "")
    body = {"destination": user, "payload": payload}
    return Call(path=path, body=body | ({"enable_offline_messaging": True} if offline else {}), key=key)


def to_channel(sender: str, channel: str, payload: str) -> Call:
    """A message to a channel, kept for queries."""
    body = {"channel_name": channel, "payload": payload, "enable_historical_messaging": True}
    return Call(path=f"users/{sender}/channel_messages", body=body)


def events(of: str) -> Call:
    """Take what happened: of "user" or of "channel"."""
    return Call(path=f"vendor/{of}_events")


def query(destination: str, start_s: int, end_s: int) -> Call:
    """Ask for what was sent to a user or channel between two times, both included."""
    filter = {"destination": destination, "start_time": start_s, "end_time": end_s}
    return Call(path="message/history/query", body={"filter": filter})


def collect(location: str) -> Call:
    """Fetch what a query found, by the location that it was answered with."""
    return Call(path=location.removeprefix("~/rtm/"))


def count(destination: str, start_s: int, end_s: int) -> Call:
    """Ask how many there are."""
    return Call(path=f"message/history/count?destination={destination}&start_time={start_s}&end_time={end_s}")


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: dict[str, Any]
    """Empty if the answer is a list."""
    items: list[dict[str, Any]] = []
    """Of a list."""

    @property
    def code(self) -> tuple[int, object]:
        """The status and the dialect's word for what happened."""
        return self.status, self.body.get("code")

    def __str__(self) -> str:
        return f"HTTP {self.status}  {json.dumps(self.body or self.items)}"


class Backend:
    """One connection, kept open. Requests go one after the other."""

    def __init__(self, port: int) -> None:
        """Connects with the first request."""
        self._port = port
        self._line = Line(port)
        self._http = h11.Connection(h11.CLIENT)

    async def __aenter__(self) -> Self:
        """Does nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._line.close()

    async def call(self, call: Call) -> Answer:
        """Send and wait for the answer. Raises Broken."""
        await self.ask(call)
        return await self.answer()

    async def ask(self, call: Call) -> None:
        """Send. Raises Broken."""
        body = call.text.encode()
        request = h11.Request(
            method=call.method,
            target=call.target,
            headers=[
                ("Host", self._line.address),
                ("Content-Length", str(len(body))),
                *call.headers,
            ],
        )
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        await self._line.send(b"".join(self._http.send(event) or b"" for event in events))

    async def answer(self) -> Answer:
        """Wait for the answer to what was sent. Raises Broken."""
        status, content = 0, b""
        try:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    data = await self._line.receive()
                    if not data:
                        raise Broken("an answer", "the end of the connection")
                    self._http.receive_data(data)
                elif isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    content += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
        except h11.RemoteProtocolError as error:
            raise Broken("an answer", f"something else ({error})") from None
        await self._prepare()
        try:
            said = msgspec.json.decode(content, type=dict[str, Any] | list[dict[str, Any]])
        except msgspec.DecodeError:
            raise Broken("an answer in JSON", f"HTTP {status} with {content[:200]!r}") from None
        return Answer(status, {}, said) if isinstance(said, list) else Answer(status, said)

    async def _prepare(self) -> None:
        """For the next request: on the same connection, or on a new one if the server ends this."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return
        await self._line.close()
        self._line, self._http = Line(self._port), h11.Connection(h11.CLIENT)


def _credentials() -> str:
    assert DEMO_APP.anyrtc is not None
    return f"{DEMO_APP.anyrtc.api_key}:{DEMO_APP.anyrtc.api_secret}"


def _basic() -> str:
    return base64.b64encode(_credentials().encode()).decode()
