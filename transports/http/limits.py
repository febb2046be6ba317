"""Rates of operations: a token bucket for each app and operation, or several, on the monotonic clock."""

from collections.abc import Callable, Mapping

from postroom.core.buckets import Bucket, Rate, full, give_back, take
from postroom.core.errors import RateLimited
from postroom.core.ids import MonotonicMs

Rates = Mapping[tuple[str, str], Rate]
"""By app and operation; an operation without an entry is not limited."""


class Limiter:
    """Takes tokens as calls come. The buckets do not outlive the process."""

    def __init__(self, rates: Rates, now: Callable[[], MonotonicMs]) -> None:
        self._rates = rates
        self._now = now
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def take(self, app: str, operation: str, bucket: str = "") -> MonotonicMs:
        """Count one call, in a bucket of its own if that is named; when that was. Raises RateLimited, with the wait; a
        refused call costs nothing."""
        key = app, bucket or operation
        rate = self._rates.get((app, operation))
        now = self._now()
        if rate is None:
            return now
        self._buckets[key], wait_ms = take(self._buckets.get(key) or full(rate, now), rate, 1, now)
        if wait_ms:
            raise RateLimited("rate limit exceeded", retry_after_ms=wait_ms)
        return now

    def give_back(self, app: str, operation: str, bucket: str, taken: MonotonicMs) -> None:
        """Do not count the call that `take` counted at `taken`."""
        key = app, bucket or operation
        rate = self._rates.get((app, operation))
        if rate is not None:
            self._buckets[key] = give_back(self._buckets[key], rate, 1, taken)
