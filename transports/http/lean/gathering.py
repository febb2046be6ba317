"""What gathers for WebSockets within a turn of the loop goes out at its end: one write a socket, however many frames."""

from typing import Final, Protocol

import trio

FLUSHES_AT_ONCE_MAX: Final = 256
"""Then others get a turn: each is a call of the system."""


class Gatherer(Protocol):
    """Somebody with frames to send."""

    def flush(self) -> None:
        """Send what has gathered, without blocking. Nothing may have."""


class Gathering:
    """Who has something to send at the end of this turn."""

    def __init__(self) -> None:
        self._due: list[Gatherer] = []
        self._some = trio.Event()

    def add(self, gatherer: Gatherer) -> None:
        """Flush it at the end of the turn."""
        self._due.append(gatherer)
        self._some.set()

    async def run(self) -> None:
        """Flush turn after turn, until cancelled."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            due, self._due = self._due, []
            for number, gatherer in enumerate(due, 1):
                gatherer.flush()
                if number % FLUSHES_AT_ONCE_MAX == 0:
                    await trio.lowlevel.checkpoint()
