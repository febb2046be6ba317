"""alice's server: sends through anyRTC's API over HTTP, and shows each request as the curl line that does the same."""

import base64
import json
import shlex
from typing import Any, Self

import h11
import msgspec

from postroom.transports.config.demo import DEMO_APP

from .claims import Broken
from .line import HOST, Line


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """A request to send one message."""

    sender: str
    to: str
    payload: str
    offline: bool = False
    wait: bool = False
    key: str | None = None
    """An Idempotency-Key."""

    @property
    def target(self) -> str:
        """Path and query."""
        assert DEMO_APP.anyrtc is not None
        path = f"/dev/v2/project/{DEMO_APP.anyrtc.app_id}/rtm/users/{self.sender}/peer_messages"
        return f"{path}?wait_for_ack=true" if self.wait else path

    @property
    def body(self) -> str:
        """The JSON text."""
        offline = {"enable_offline_messaging": True} if self.offline else {}
        return json.dumps({"destination": self.to, "payload": self.payload} | offline)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Those besides Host and Content-Length, Authorization left out."""
        return [("Idempotency-Key", self.key)] if self.key is not None else []

    def curl(self, port: int) -> list[str]:
        """The command line that makes this request, in parts for a line each."""
        url = shlex.quote(f"http://{HOST}:{port}{self.target}")
        headers = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in self.headers]
        return [f"curl -u {_credentials()}", url, *headers, f"-d {shlex.quote(self.body)}"]


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: dict[str, Any]

    @property
    def code(self) -> tuple[int, object]:
        """The status and the dialect's word for what happened."""
        return self.status, self.body.get("code")

    def __str__(self) -> str:
        return f"HTTP {self.status}  {json.dumps(self.body)}"


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

    async def call(self, post: Post) -> Answer:
        """Send and wait for the answer. Raises Broken."""
        await self.ask(post)
        return await self.answer()

    async def ask(self, post: Post) -> None:
        """Send. Raises Broken."""
        body = post.body.encode()
        request = h11.Request(
            method="POST",
            target=post.target,
            headers=[
                ("Host", self._line.address),
                ("Authorization", f"Basic {_basic()}"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                *post.headers,
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
            return Answer(status, msgspec.json.decode(content, type=dict[str, Any]))
        except msgspec.DecodeError:
            raise Broken("an answer in JSON", f"HTTP {status} with {content[:200]!r}") from None

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
