"""The sink of a session that is iterated."""

from typing import TYPE_CHECKING

import trio

from .delivery import Delivery

if TYPE_CHECKING:
    from .session import CloseReason, Session


class Handover:
    """The sink of an iterated session: takes a frame when somebody waits for one, so that sent means yielded."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._waiting = False
        self._wanted = False
        self._frame: Delivery | None = None
        self._ready = trio.Event()

    def offer(self, delivery: Delivery) -> bool:
        if not self._wanted:
            return False
        self._wanted = False
        self._frame = delivery
        self._ready.set()
        return True

    def close(self, reason: "CloseReason") -> None:
        self._ready.set()

    async def take(self) -> Delivery:
        """The next frame, or what ended the session. Raises BusyResourceError if another task waits for it."""
        await trio.lowlevel.checkpoint()
        if self._waiting:
            raise trio.BusyResourceError("another task iterates this session")
        if self._frame is None:
            self._session.raise_if_closed()
            self._waiting = self._wanted = True
            self._ready = trio.Event()
            self._session.resume()
            try:
                await self._ready.wait()
            finally:
                self._waiting = self._wanted = False
        frame, self._frame = self._frame, None
        if frame is None:
            self._session.raise_if_closed()
        assert frame is not None
        return frame
