"""Token buckets as values: `take` returns the next bucket and how long to wait; who calls it owns clock and storage."""

from typing import Literal

import msgspec

from .ids import MonotonicMs

Refill = Literal["smooth", "interval"]


class Rate(msgspec.Struct, frozen=True):
    """`tokens` per `per_ms`; also the burst."""

    tokens: int
    per_ms: int
    refill: Refill = "smooth"
    """"smooth" gives tokens back bit by bit; "interval" opens a window with the first call after the last one ended and gives
    all tokens at once when it ends."""
    penalty_ms: int = 0
    """With "interval": the first call over the limit starts a time of this length in which all are refused."""


class Bucket(msgspec.Struct, frozen=True):
    """The state of one limiter."""

    level: int
    """Token-milliseconds: tokens times `per_ms`, so that a smooth refill is exact."""
    at: MonotonicMs
    """Smooth: when it was last refilled. Interval: when the window opened."""
    blocked_until: MonotonicMs = MonotonicMs(0)


def full(rate: Rate, now: MonotonicMs) -> Bucket:
    """A bucket that nobody took from yet."""
    return Bucket(rate.tokens * rate.per_ms, MonotonicMs(now - rate.per_ms))


def take(bucket: Bucket, rate: Rate, cost: int, now: MonotonicMs) -> tuple[Bucket, int]:
    """The next bucket and the wait in ms (rounded up); the tokens are taken only if it is 0."""
    assert 0 < cost <= rate.tokens  # a larger cost could never be paid
    assert now >= bucket.at
    price = cost * rate.per_ms
    if rate.refill == "smooth":
        level = min(rate.tokens * rate.per_ms, bucket.level + (now - bucket.at) * rate.tokens)
        wait_ms = max(0, -(-(price - level) // rate.tokens))
        return Bucket(level if wait_ms else level - price, now), wait_ms
    if now < bucket.blocked_until:
        return bucket, bucket.blocked_until - now
    if now >= bucket.at + rate.per_ms:
        bucket = Bucket(rate.tokens * rate.per_ms, now)
    if price <= bucket.level:
        return msgspec.structs.replace(bucket, level=bucket.level - price), 0
    if rate.penalty_ms:
        # Not before the window ends either: the first call after a shorter penalty would start the next one.
        until = max(now + rate.penalty_ms, bucket.at + rate.per_ms)
        return msgspec.structs.replace(bucket, blocked_until=MonotonicMs(until)), until - now
    return bucket, bucket.at + rate.per_ms - now


def give_back(bucket: Bucket, rate: Rate, cost: int, taken: MonotonicMs) -> Bucket:
    """The bucket with what was taken at `taken` back in it; what an interval gave is worth nothing after its end."""
    if rate.refill == "interval" and taken < bucket.at:
        return bucket
    level = min(rate.tokens * rate.per_ms, bucket.level + cost * rate.per_ms)
    return msgspec.structs.replace(bucket, level=level)
