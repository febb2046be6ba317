"""The expiry clock and the seconds that queue entries are stamped with.

Wall clocks jump by days; what they would expire is gone for good. So queues, dedup and trimming read a clock of their own,
which is state: it resumes from the log, never from a wall time.
"""

from typing import Final

from .ids import EPOCH_MS, ExpiryMs, UnixMs

CATCH_UP: Final = 60
"""How many times as fast as time passes the clock may run while it is behind wall time. A jump of 8 days ahead that is
corrected within the hour has then moved the clock by 2.5 days at most; a week of downtime is caught up within three hours."""
DAY_MS: Final = 86_400_000


def advance(clock: ExpiryMs, wall: UnixMs, elapsed_ms: int) -> ExpiryMs:
    """The clock after `elapsed_ms` of monotonic time: never back, at most `CATCH_UP` times as fast as time towards `wall`."""
    assert elapsed_ms >= 0
    moved = clock + elapsed_ms
    if moved < wall:
        moved = min(int(wall), clock + CATCH_UP * elapsed_ms)
    return ExpiryMs(moved)


def expires_s(wall: UnixMs, clock: ExpiryMs, ttl_ms: int) -> int:
    """The expiry of something kept from now for `ttl_ms`, in whole seconds since 2020, rounded up (never early)."""
    return -(-(max(wall, clock) + ttl_ms - EPOCH_MS) // 1000)


def expired(entry_expires_s: int, clock: ExpiryMs) -> bool:
    """Whether what expires at `entry_expires_s` (seconds since 2020) is past by this clock."""
    return entry_expires_s * 1000 + EPOCH_MS <= clock
