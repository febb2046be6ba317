"""Numbers out of many measured ones: percentiles, rates, and ratios round by round."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

import msgspec

BUCKETS: Final = 1_000
"""For each factor of e: times are told apart to a thousandth."""
LEAST_MS: Final = 1e-6
"""No clock sees less."""


class Slice(msgspec.Struct, frozen=True):
    """What one side did in one stretch of time."""

    ops: int
    seconds: float
    latencies_ms: Sequence[float]
    """Of each call; a call may carry many operations."""
    last_ms: Sequence[float] = ()
    """Of each call that many wait for, where `latencies_ms` is that of each of them: until the last one was served."""


class Latency(msgspec.Struct, frozen=True):
    """How long calls took, in milliseconds."""

    p50: float
    p99: float
    p99_9: float
    max: float


class Fsync(msgspec.Struct, frozen=True):
    """How long a fsync of one written page took, in milliseconds."""

    p50: float
    p99: float


class Ratio(msgspec.Struct, frozen=True):
    """How the rounds' ratios spread: a noisy machine shows here."""

    min: float
    median: float
    max: float


class Times:
    """Times counted in buckets, so that a long run needs no more memory than a short one; the greatest is kept as it is."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._max = 0.0

    def add(self, values_ms: Iterable[float]) -> None:
        """Count some more."""
        for value in values_ms:
            self._counts[math.ceil(math.log(max(value, LEAST_MS)) * BUCKETS)] += 1
            self._max = max(self._max, value)

    def percentiles(self, *shares: float) -> list[float]:
        """For each share, which rise: the least time that so many of at least one do not exceed, by its bucket's end."""
        total, passed, found = self._counts.total(), 0, []
        buckets = iter(sorted(self._counts.items()))
        bucket = 0
        for share in shares:
            while passed < math.ceil(share * total):
                bucket, count = next(buckets)
                passed += count
            found.append(round(min(math.exp(bucket / BUCKETS), self._max), 3))
        return found

    def latency(self) -> Latency:
        """Of calls."""
        p50, p99, p99_9 = self.percentiles(0.5, 0.99, 0.999)
        return Latency(p50, p99, p99_9, round(self._max, 3))

    def fsync(self) -> Fsync:
        """Of fsyncs."""
        p50, p99 = self.percentiles(0.5, 0.99)
        return Fsync(p50, p99)


class Series:
    """What one side did, slice by slice."""

    def __init__(self) -> None:
        self.ops = 0
        self.seconds = 0.0
        self.rates: list[float] = []
        """Operations a second of each slice."""
        self.times = Times()
        self.last = Times()

    def add(self, done: Slice) -> None:
        """One slice more."""
        self.ops += done.ops
        self.seconds += done.seconds
        self.rates.append(done.ops / done.seconds)
        self.times.add(done.latencies_ms)
        self.last.add(done.last_ms)

    @property
    def ops_per_s(self) -> float:
        """Over all slices together."""
        return self.ops / self.seconds


def ratio(ours: Series, theirs: Series) -> Ratio:
    """Of the slices of each round."""
    ratios = [a / b for a, b in zip(ours.rates, theirs.rates, strict=True)]
    return Ratio(*(round(value, 3) for value in (min(ratios), median(ratios), max(ratios))))
