"""A recipient's device: a session of the native protocol, and what the demo does with one."""

import json
import time
from contextlib import AsyncExitStack
from typing import Any, Final, Self

import trio

from postroom.core.ids import UnixMs
from postroom.transports.config.demo import DEMO_APP
from postroom.transports.native.handshake import SUBPROTOCOL
from postroom.transports.native.tokens import issue

from ..client import PATH, Closed, NoSession, Rejected, Session, Target, carry
from .claims import Broken
from .line import HOST

Frame = dict[str, Any]

_TOKEN_TTL_S: Final = 600


class Device:
    """One connection of one user; leaving it hangs up without a word, as devices do."""

    def __init__(self, user: str, port: int) -> None:
        """Connects when it is opened."""
        self.user = user
        self._address = f"{HOST}:{port}"
        self._tasks = AsyncExitStack()
        self._nursery: trio.Nursery
        self._session: Session
        self._ref = 0

    async def __aenter__(self) -> Self:
        """Does not connect yet."""
        self._nursery = await self._tasks.enter_async_context(trio.open_nursery())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        self._nursery.cancel_scope.cancel()
        # Closed so, the nursery is not told what ended the block, which it would wrap in a group.
        await self._tasks.aclose()

    async def open(self) -> Frame:
        """Connect and return the welcome. Raises Broken."""
        # A token is made with the wall time, as the command `postroom token` does.
        now_ms = UnixMs(time.time_ns() // 1_000_000)
        token = issue(DEMO_APP.session_secret, DEMO_APP.name, self.user, _TOKEN_TTL_S, now_ms)
        try:
            self._session = await self._nursery.start(carry, Target.of(f"ws://{self._address}{PATH}"), token)
        except Rejected as rejected:
            raise Broken("an open WebSocket", f"HTTP {rejected.status}") from None
        except NoSession as error:
            raise Broken(f"a connection to {self._address}", f"none that works ({error})") from None
        welcome = await self.frame()
        if welcome.get("type") != "welcome":
            raise Broken("a welcome", json.dumps(welcome))
        return welcome

    @property
    def typed(self) -> list[str]:
        """A command line that connects as this user, for whoever has such a client."""
        token = f"$(postroom token --app {DEMO_APP.name} --user {self.user})"
        return [f"wscat -s {SUBPROTOCOL}", f'-c "ws://{self._address}{PATH}?token={token}"']

    async def frame(self) -> Frame:
        """The next frame. Raises Broken."""
        try:
            frame: Frame = json.loads((await self._session.frame()).json)
        except Closed as closed:
            came = f"a close frame, {closed}" if closed.code is not None else f"the end: {closed}"
            raise Broken("the server's next frame", came) from None
        return frame

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
        """Acknowledge everything up to this message; as `ask`. It is on disk then."""
        return await self.ask({"type": "ack", "id": message["id"]})

    async def ask(self, frame: Frame) -> tuple[Frame, Frame, list[Frame]]:
        """Say something and wait for the answer.

        Returns what was said, the answer, and the frames that came before the answer. Raises Broken.
        """
        self._ref += 1
        said = {"type": frame["type"], "ref": self._ref, **frame}
        await self._session.say(said)
        before: list[Frame] = []
        while True:
            answer = await self.frame()
            if answer.get("ref") == self._ref:
                return said, answer, before
            before.append(answer)
