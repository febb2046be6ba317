"""The clocks of this process, in one place so that tests can bring their own."""

import time
from typing import Protocol

from ..expiry import advance
from ..ids import ExpiryMs, MonotonicMs, UnixMs


class Clock(Protocol):
    """What the runtime asks of the machine's clocks. Any thread."""

    def wall_ms(self) -> UnixMs:
        """Milliseconds since 1970; may step."""

    def monotonic_ms(self) -> MonotonicMs:
        """Milliseconds since some start; never steps."""


class SystemClock:
    """The machine's."""

    def wall_ms(self) -> UnixMs:
        return UnixMs(time.time_ns() // 1_000_000)

    def monotonic_ms(self) -> MonotonicMs:
        return MonotonicMs(time.monotonic_ns() // 1_000_000)


class ExpiryClock:
    """The expiry clock running on from where the store left it. The writer moves it; anyone may read it."""

    def __init__(self, clock: Clock, resume_from: ExpiryMs) -> None:
        """A store without a past (0) begins at wall time."""
        self._clock = clock
        self._anchor = (resume_from or ExpiryMs(clock.wall_ms()), clock.monotonic_ms())

    def now(self) -> ExpiryMs:
        """Its value now."""
        return self._reading()[0]

    def move(self) -> ExpiryMs:
        """Its value now, to go on from. For the writer alone: the catching up is counted from here."""
        self._anchor = self._reading()
        return self._anchor[0]

    def _reading(self) -> tuple[ExpiryMs, MonotonicMs]:
        value, at = self._anchor  # before the time is read: the writer may move it meanwhile
        now = self._clock.monotonic_ms()
        return advance(value, self._clock.wall_ms(), now - at), now
