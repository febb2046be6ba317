"""A recipient's device: a WebSocket that speaks the native protocol, as small as such a client can be."""

import json
import time
from collections import deque
from typing import Any, Final, Self

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Event, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import ProtocolError

from postroom.core.ids import UnixMs
from postroom.transports.config.demo import DEMO_APP
from postroom.transports.native.handshake import SUBPROTOCOL
from postroom.transports.native.tokens import issue

from .claims import Broken
from .line import Line

Frame = dict[str, Any]

_TOKEN_TTL_S: Final = 600


class Device:
    """One connection of one user; leaving it hangs up without a word, as devices do."""

    def __init__(self, user: str, port: int) -> None:
        """Connects when it is opened."""
        self.user = user
        self.port = port
        self._line = Line(port)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._frames: deque[Frame] = deque()
        self._text = ""
        self._ref = 0

    async def __aenter__(self) -> Self:
        """Does nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self._line.close()

    async def open(self) -> Frame:
        """Connect and return the welcome. Raises Broken."""
        # A token is made with the wall time, as the command `postroom token` does.
        now_ms = UnixMs(time.time_ns() // 1_000_000)
        token = issue(DEMO_APP.session_secret, DEMO_APP.name, self.user, _TOKEN_TTL_S, now_ms)
        target = f"/v1/connect?token={token}"
        await self._send(Request(host=self._line.address, target=target, subprotocols=[SUBPROTOCOL]))
        welcome = await self.frame()
        if welcome.get("type") != "welcome":
            raise Broken("a welcome", json.dumps(welcome))
        return welcome

    @property
    def typed(self) -> list[str]:
        """A command line that connects as this user, for whoever has such a client."""
        token = f"$(postroom token --app {DEMO_APP.name} --user {self.user})"
        return [f"wscat -s {SUBPROTOCOL}", f'-c "ws://{self._line.address}/v1/connect?token={token}"']

    async def frame(self) -> Frame:
        """The next frame. Raises Broken."""
        while not self._frames:
            await self._read()
        return self._frames.popleft()

    async def message(self) -> Frame:
        """The next frame, which must be a message. Raises Broken."""
        frame = await self.frame()
        if frame.get("type") != "message":
            raise Broken("a message", json.dumps(frame))
        return frame

    async def messages(self, count: int, seconds: float) -> list[Frame]:
        """The next messages, as many as asked for; those that came if not all come in time. Raises Broken."""
        got: list[Frame] = []
        with trio.move_on_after(seconds):
            while len(got) < count:
                got.append(await self.message())
        return got

    async def ack(self, message: Frame) -> tuple[Frame, Frame, list[Frame]]:
        """Acknowledge everything up to this message and wait for the answer: it is on disk.

        Returns what was said, the answer, and the frames that came before the answer. Raises Broken.
        """
        self._ref += 1
        said = {"type": "ack", "ref": self._ref, "id": message["id"]}
        await self._send(TextMessage(json.dumps(said)))
        before: list[Frame] = []
        while True:
            frame = await self.frame()
            if frame.get("ref") == self._ref:
                return said, frame, before
            before.append(frame)

    async def _send(self, event: Event) -> None:
        await self._line.send(self._ws.send(event))

    async def _read(self) -> None:
        data = await self._line.receive()
        try:
            self._ws.receive_data(data or None)
            events = list(self._ws.events())
        except ProtocolError as error:
            raise Broken("the server's next frame", f"something else ({error})") from None
        if not data and not events:
            raise Broken("the server's next frame", "the end of the connection")
        for event in events:
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._text += event.data
                if event.message_finished:
                    # The server puts several frames into one array when they wait for a slow line.
                    said, self._text = json.loads(self._text), ""
                    self._frames += said if isinstance(said, list) else [said]
            case Ping():
                await self._send(event.response())
            case RejectConnection():
                raise Broken("an open WebSocket", f"HTTP {event.status_code}")
            case CloseConnection():
                raise Broken("the server's next frame", f"a close frame, {event.code} {event.reason or ''}".rstrip())
            case _:
                pass
