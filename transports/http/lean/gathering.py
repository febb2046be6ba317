"""What gathers for WebSockets within a turn of the loop goes out in the next: one write a socket, however many frames."""

from typing import Final, Protocol

import trio

from postroom.transports.logs import get_logger

_log = get_logger("postroom.http")

FLUSHES_AT_ONCE_MAX: Final = 256
"""Then others get a turn: each is a call of the system."""


class Gatherer(Protocol):
    """Somebody with frames to send."""

    def flush(self) -> None:
        """Send what has gathered, if anything has, without blocking."""

    def cut_off(self) -> None:
        """End it: it failed."""


class Gathering:
    """Who has something to send in the next turn."""

    def __init__(self) -> None:
        self._due: list[Gatherer] = []
        self._some = trio.Event()

    def add(self, gatherer: Gatherer) -> None:
        """Flush it in the next turn."""
        self._due.append(gatherer)
        self._some.set()

    async def run(self) -> None:
        """Flush turn after turn, until cancelled."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            due, self._due = self._due, []
            for number, gatherer in enumerate(due, 1):
                try:
                    gatherer.flush()
                except Exception:  # noqa: BLE001  a fault of ours costs its connection, and nobody else anything
                    _log.exception("flush-failed")
                    gatherer.cut_off()
                if number % FLUSHES_AT_ONCE_MAX == 0:
                    await trio.lowlevel.checkpoint()
