"""Rates of operations."""

import pytest

from postroom.core.buckets import Rate
from postroom.core.errors import RateLimited
from postroom.core.ids import MonotonicMs
from postroom.transports.http.limits import Limiter


class Clock:
    now = 1_000

    def __call__(self) -> MonotonicMs:
        return MonotonicMs(self.now)


def test_the_burst_is_the_rate_and_tokens_come_back() -> None:
    clock = Clock()
    limiter = Limiter({("shop", "op"): Rate(10, 1_000)}, clock)
    for _ in range(10):
        limiter.take("shop", "op")
    with pytest.raises(RateLimited) as caught:
        limiter.take("shop", "op")
    assert caught.value.retry_after_ms == 100
    clock.now += 99
    with pytest.raises(RateLimited):
        limiter.take("shop", "op")
    clock.now += 1
    limiter.take("shop", "op")


def test_apps_and_operations_have_buckets_of_their_own() -> None:
    limiter = Limiter({("a", "x"): Rate(1, 1_000), ("a", "y"): Rate(1, 1_000), ("b", "x"): Rate(1, 1_000)}, Clock())
    for app, operation in (("a", "x"), ("a", "y"), ("b", "x")):
        limiter.take(app, operation)
        with pytest.raises(RateLimited):
            limiter.take(app, operation)


def test_routes_of_one_limit_may_have_a_bucket_each() -> None:
    clock = Clock()
    limiter = Limiter({("shop", "op"): Rate(2, 1_000)}, clock)
    for bucket in ("", "op.a", "op.b"):
        limiter.take("shop", "op", bucket)
        limiter.take("shop", "op", bucket)
        with pytest.raises(RateLimited):
            limiter.take("shop", "op", bucket)
    clock.now += 500
    limiter.take("shop", "op", "op.a")
    with pytest.raises(RateLimited):
        limiter.take("shop", "op", "op.a")
    for _ in range(100):
        limiter.take("other", "op", "op.a")


def test_what_has_no_rate_is_not_limited() -> None:
    limiter = Limiter({}, Clock())
    for _ in range(10_000):
        limiter.take("shop", "op")


def test_a_call_that_failed_gives_back_what_it_took() -> None:
    limiter = Limiter({("shop", "op"): Rate(1, 1_000)}, Clock())
    for bucket in ("", "op.a"):
        for _ in range(5):
            limiter.give_back("shop", "op", bucket, limiter.take("shop", "op", bucket))
        limiter.take("shop", "op", bucket)
        with pytest.raises(RateLimited):
            limiter.take("shop", "op", bucket)


def test_what_has_no_rate_has_nothing_to_give_back() -> None:
    limiter = Limiter({}, Clock())
    limiter.give_back("shop", "op", "", limiter.take("shop", "op"))


def test_windows_with_a_penalty() -> None:
    clock = Clock()
    limiter = Limiter({("shop", "op"): Rate(2, 60_000, "interval", 60_000)}, clock)
    limiter.take("shop", "op")
    limiter.take("shop", "op")
    clock.now += 59_000
    with pytest.raises(RateLimited) as caught:
        limiter.take("shop", "op")
    assert caught.value.retry_after_ms == 60_000
    clock.now += 59_999
    with pytest.raises(RateLimited):
        limiter.take("shop", "op")
    clock.now += 1
    limiter.take("shop", "op")
