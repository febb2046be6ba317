"""How much one connection may have under way: who sends and never reads is, after a while, not read from either."""

from typing import Final

import trio

from postroom.core.limits import MIB

UNDER_WAY_MAX: Final = 64
"""Commands of one connection without an outcome, and answers that it has not taken."""
UNDER_WAY_BYTES_MAX: Final = 1 * MIB
"""Bodies of these commands; a single one always fits."""


class Gate:
    """Counts commands from when they are read until their answer is sent. One task enters; any may release."""

    def __init__(self) -> None:
        self._count = 0
        self._bytes = 0
        self._changed = trio.lowlevel.ParkingLot()

    async def enter(self, size_bytes: int = 0) -> None:
        """Wait until there is room for a command with a body of this size, and take it."""
        while self._count >= UNDER_WAY_MAX or (self._bytes and self._bytes + size_bytes > UNDER_WAY_BYTES_MAX):
            await self._changed.park()
        self._count += 1
        self._bytes += size_bytes

    def settle(self, size_bytes: int) -> None:
        """A command has its outcome, so its body is gone; its answer still counts."""
        self._bytes -= size_bytes
        self._changed.unpark_all()

    def leave(self, count: int) -> None:
        """So many answers have been sent."""
        if count:
            self._count -= count
            assert self._count >= 0
            self._changed.unpark_all()

    async def wait_idle(self) -> None:
        """Wait until every command is answered."""
        while self._count:
            await self._changed.park()
