"""What the broker counts: its process's own numbers, and the totals that its store keeps."""

from bisect import bisect_left
from collections import Counter
from typing import Final

import msgspec

from ..model import Lane, StoreStatistics
from ..rows import Totals

BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Commands of a batch."""
COMMIT_MS_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Histogram(msgspec.Struct, frozen=True):
    """Counted values; `buckets` holds (upper bound, how many were at most that)."""

    buckets: tuple[tuple[int, int], ...]
    count: int
    sum: float


class Tally:
    """A histogram being filled."""

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def histogram(self) -> Histogram:
        """As it is now."""
        total, buckets = 0, []
        for bound, count in zip(self._bounds, self._counts, strict=False):
            total += count
            buckets.append((bound, total))
        return Histogram(tuple(buckets), total + self._counts[-1], self._sum)


class Counters:
    """What one process counts from its start."""

    def __init__(self) -> None:
        self.delivered: Counter[str] = Counter()
        self.shed: Counter[tuple[str, Lane]] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.session_dropped: Counter[str] = Counter()
        self.sessions: Counter[str] = Counter()
        self.batch_commands = Tally(BATCH_BOUNDS)
        self.commit_ms = Tally(COMMIT_MS_BOUNDS)


class BrokerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A broker's numbers at one moment."""

    totals: dict[str, Totals]
    """By app, over the life of the store."""
    delivered: dict[str, int]
    """Messages handed to sinks, by app; like all below, since this process began."""
    shed: dict[tuple[str, Lane], int]
    """Commands refused at the inbox, by app and lane."""
    refusals: dict[tuple[str, str], int]
    """By app and code."""
    session_dropped: dict[str, int]
    """Unqueued frames that sessions were too slow for, by app."""
    sessions: dict[str, int]
    """Open now, by app."""
    batch_commands: Histogram
    commit_ms: Histogram
    inbox_commands: int
    waiters: int
    """Senders waiting for an ack."""
    rooms: int
    """With somebody in them."""
    full: bool
    """Messages are refused because the disk is full."""
    store: StoreStatistics
