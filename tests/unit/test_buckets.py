"""Buckets never give more than their rate, and the wait they name is exactly enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.buckets import Bucket, Rate, full, give_back, take
from postroom.core.ids import MonotonicMs

SMOOTH = Rate(tokens=10, per_ms=1_000)
WINDOW = Rate(tokens=3, per_ms=1_000, refill="interval")
PENALTY = Rate(tokens=2, per_ms=60_000, refill="interval", penalty_ms=60_000)

smooth_rates = st.builds(Rate, tokens=st.integers(1, 50), per_ms=st.integers(1, 5_000))
interval_rates = st.builds(
    Rate,
    tokens=st.integers(1, 20),
    per_ms=st.integers(1, 2_000),
    refill=st.just("interval"),
    penalty_ms=st.just(0) | st.integers(1, 5_000),
)
calls = st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 50)), min_size=1, max_size=60)
"""Time since the call before, and cost."""


class Tap:
    """A bucket with its rate."""

    def __init__(self, rate: Rate, now: int = 0) -> None:
        self.rate = rate
        self.bucket = full(rate, MonotonicMs(now))

    def take(self, now: int, cost: int = 1) -> int:
        self.bucket, wait_ms = take(self.bucket, self.rate, cost, MonotonicMs(now))
        return wait_ms


def test_a_full_bucket_gives_its_burst_at_once_and_then_the_rate() -> None:
    tap = Tap(SMOOTH)
    assert [tap.take(0) for _ in range(11)] == [0] * 10 + [100]
    assert tap.take(99) == 1
    assert tap.take(100) == 0
    assert tap.take(100) == 100


def test_a_refusal_takes_nothing() -> None:
    tap = Tap(SMOOTH)
    tap.take(0, 8)
    assert [tap.take(0, 5) for _ in range(3)] == [300] * 3
    assert tap.take(0, 2) == 0


def test_idle_time_saves_no_more_than_the_burst() -> None:
    tap = Tap(SMOOTH)
    assert [tap.take(1_000_000) for _ in range(11)] == [0] * 10 + [100]


def test_odd_rates_lose_nothing_to_rounding() -> None:
    """7 tokens in 3 ms: three thirds of a token are one."""
    tap = Tap(Rate(tokens=7, per_ms=3))
    tap.take(0, 7)
    assert [tap.take(now) for now in (1, 1, 1)] == [0, 0, 1]
    given_tokens = 2 + sum(tap.take(now) == 0 for now in range(2, 3_001) for _ in range(5))
    assert given_tokens == 7 * 1_000


def test_a_window_opens_with_the_first_call_and_gives_all_tokens_when_it_ends() -> None:
    tap = Tap(WINDOW)
    assert [tap.take(now) for now in (400, 900, 1_000, 1_399)] == [0, 0, 0, 1]
    assert [tap.take(1_400) for _ in range(4)] == [0, 0, 0, 1_000]


def test_a_window_opens_late_if_nobody_calls() -> None:
    tap = Tap(WINDOW)
    tap.take(0)
    assert [tap.take(now) for now in (2_700, 2_800, 3_600, 3_650)] == [0, 0, 0, 50]


def test_the_first_call_over_the_limit_starts_the_penalty() -> None:
    tap = Tap(PENALTY)
    assert [tap.take(now) for now in (0, 1_000, 50_000)] == [0, 0, 60_000]
    assert tap.take(60_000) == 50_000  # the window would be over, the penalty is not
    assert tap.take(109_999) == 1  # and calls within it do not lengthen it
    assert [tap.take(110_000) for _ in range(3)] == [0, 0, 60_000]


def test_what_is_given_back_can_be_taken_again() -> None:
    for rate in (SMOOTH, WINDOW, PENALTY):
        tap = Tap(rate)
        tap.take(0, rate.tokens)
        tap.bucket = give_back(tap.bucket, rate, 1, MonotonicMs(0))
        assert tap.take(0) == 0
        assert tap.take(0) > 0


def test_no_more_is_given_back_than_there_is_room_for() -> None:
    tap = Tap(SMOOTH)
    tap.take(0)
    tap.bucket = give_back(tap.bucket, SMOOTH, 5, MonotonicMs(0))
    assert [tap.take(0) for _ in range(11)] == [0] * 10 + [100]


def test_what_another_window_gave_is_not_given_back() -> None:
    tap = Tap(WINDOW)
    tap.take(0)
    assert [tap.take(1_500) for _ in range(3)] == [0, 0, 0]
    tap.bucket = give_back(tap.bucket, WINDOW, 1, MonotonicMs(0))
    assert tap.take(1_500) == 1_000


def test_giving_back_does_not_end_a_penalty() -> None:
    tap = Tap(PENALTY)
    assert [tap.take(now) for now in (0, 0, 0)] == [0, 0, 60_000]
    tap.bucket = give_back(tap.bucket, PENALTY, 1, MonotonicMs(0))
    assert tap.take(1) == 59_999


def test_a_cost_beyond_the_burst_is_ours_to_prevent() -> None:
    with pytest.raises(AssertionError):
        take(full(SMOOTH, MonotonicMs(0)), SMOOTH, 11, MonotonicMs(0))


def test_a_clock_that_steps_back_is_ours_to_prevent() -> None:
    with pytest.raises(AssertionError):
        take(Bucket(0, MonotonicMs(5)), SMOOTH, 1, MonotonicMs(4))


@given(smooth_rates, calls)
def test_smooth_never_gives_more_than_burst_and_rate(rate: Rate, steps: list[tuple[int, int]]) -> None:
    tap, now, given_at = Tap(rate), 0, []
    for after_ms, cost in steps:
        now += after_ms
        cost = min(cost, rate.tokens)
        if tap.take(now, cost) == 0:
            given_at.append((now, cost))
    for index, (start, _) in enumerate(given_at):
        total = 0
        for at, cost in given_at[index:]:
            total += cost
            assert total * rate.per_ms <= rate.tokens * rate.per_ms + (at - start) * rate.tokens


@given(interval_rates, calls)
def test_interval_never_gives_more_than_its_tokens_a_window(rate: Rate, steps: list[tuple[int, int]]) -> None:
    tap, now, opened, total = Tap(rate), 0, None, 0
    for after_ms, cost in steps:
        now += after_ms
        cost = min(cost, rate.tokens)
        if tap.take(now, cost) == 0:
            if opened is None or now >= opened + rate.per_ms:
                opened, total = now, 0
            total += cost
            assert total <= rate.tokens


@given(smooth_rates | interval_rates, calls)
def test_the_wait_is_exactly_enough(rate: Rate, steps: list[tuple[int, int]]) -> None:
    tap, now = Tap(rate), 0
    for after_ms, cost in steps:
        now += after_ms
        cost = min(cost, rate.tokens)
        wait_ms = tap.take(now, cost)
        if wait_ms:
            assert take(tap.bucket, rate, cost, MonotonicMs(now + wait_ms))[1] == 0
            assert take(tap.bucket, rate, cost, MonotonicMs(now + wait_ms - 1))[1] > 0


@given(smooth_rates | interval_rates, st.integers(0, 10_000))
def test_full_is_full_at_any_time(rate: Rate, now: int) -> None:
    assert take(full(rate, MonotonicMs(now)), rate, rate.tokens, MonotonicMs(now))[1] == 0
