"""The expiry clock never steps back, is never in a hurry, and expires nothing early."""

from hypothesis import given
from hypothesis import strategies as st

from postroom.core.expiry import CATCH_UP, DAY_MS, advance, expired, expires_s
from postroom.core.ids import EPOCH_MS, ExpiryMs, UnixMs

from ..support.desk import Desk

NOON = 1_790_000_000_000
HOUR_MS = 3_600_000

moments = st.integers(EPOCH_MS, EPOCH_MS + 60 * 365 * DAY_MS)
spells = st.integers(0, 400 * DAY_MS)


def run(clock_ms: int, wall_ms: int, elapsed_ms: int) -> int:
    return advance(ExpiryMs(clock_ms), UnixMs(wall_ms), elapsed_ms)


def test_in_step_with_the_wall_it_runs_with_it() -> None:
    assert run(NOON, NOON + 1_234, 1_234) == NOON + 1_234


def test_ahead_of_the_wall_it_runs_at_the_rate_of_time() -> None:
    assert run(NOON, NOON - DAY_MS, 1_000) == NOON + 1_000


def test_behind_the_wall_it_catches_up_sixty_times_as_fast() -> None:
    assert run(NOON, NOON + DAY_MS, 1_000) == NOON + 60_000


def test_it_does_not_run_past_the_wall_in_catching_up() -> None:
    assert run(NOON, NOON + 30_000, 1_000) == NOON + 30_000


def test_a_wall_that_jumps_while_no_time_passes_moves_nothing() -> None:
    assert run(NOON, NOON + 8 * DAY_MS, 0) == NOON
    assert run(NOON, NOON - 8 * DAY_MS, 0) == NOON


def test_a_week_of_downtime_is_caught_up_within_three_hours() -> None:
    assert run(NOON, NOON + 7 * DAY_MS + 3 * HOUR_MS, 3 * HOUR_MS) == NOON + 7 * DAY_MS + 3 * HOUR_MS


def test_a_jump_of_days_that_is_corrected_within_the_hour_expires_little() -> None:
    assert run(NOON, NOON + 8 * DAY_MS + HOUR_MS, HOUR_MS) <= NOON + 5 * DAY_MS // 2


@given(moments, moments, spells)
def test_between_the_rate_of_time_and_sixty_times_it(clock_ms: int, wall_ms: int, elapsed_ms: int) -> None:
    after_ms = run(clock_ms, wall_ms, elapsed_ms)
    assert clock_ms + elapsed_ms <= after_ms <= clock_ms + CATCH_UP * elapsed_ms
    assert after_ms <= max(wall_ms, clock_ms + elapsed_ms)


@given(moments, moments, st.lists(st.integers(0, HOUR_MS), max_size=20))
def test_how_often_it_is_read_makes_no_difference_in_the_end(clock_ms: int, ahead_ms: int, steps: list[int]) -> None:
    wall_ms = max(clock_ms, ahead_ms)  # behind or in step: what is left to catch up must not depend on the readings
    stepwise = clock_ms
    for step in steps:
        wall_ms += step
        stepwise = run(stepwise, wall_ms, step)
    assert stepwise <= run(clock_ms, wall_ms, sum(steps))


@given(moments, moments, spells)
def test_nothing_expires_early_nor_a_second_late(wall_ms: int, clock_ms: int, ttl_ms: int) -> None:
    until_s = expires_s(UnixMs(wall_ms), ExpiryMs(clock_ms), ttl_ms)
    end_ms = max(wall_ms, clock_ms) + ttl_ms
    assert not expired(until_s, ExpiryMs(end_ms - 1))
    assert expired(until_s, ExpiryMs(end_ms + 999))


def test_a_whole_second_is_not_rounded() -> None:
    assert expires_s(UnixMs(EPOCH_MS + 5_000), ExpiryMs(0), 1_000) == 6
    assert expires_s(UnixMs(EPOCH_MS + 5_000), ExpiryMs(0), 1_001) == 7


def test_it_counts_from_whichever_clock_is_ahead() -> None:
    ahead = expires_s(UnixMs(NOON), ExpiryMs(NOON - DAY_MS), 1_000)
    assert ahead == expires_s(UnixMs(NOON - DAY_MS), ExpiryMs(NOON), 1_000) == (NOON + 1_000 - EPOCH_MS) // 1_000


def test_seconds_fit_31_bits_for_68_years() -> None:
    assert expires_s(UnixMs(EPOCH_MS + 68 * 365 * DAY_MS), ExpiryMs(0), 7 * DAY_MS) < 1 << 31


def test_eight_days_ahead_two_restarts_and_back_expires_nothing() -> None:
    desk = Desk()
    desk.send()
    desk.clock.jump(8 * DAY_MS)
    for _ in range(2):
        desk.clock.run(60_000)
        desk.restart()
        desk.clock.expiry_ms = desk.read(lambda snapshot: snapshot.views.clock_ms)  # as a new process does
    desk.clock.jump(-8 * DAY_MS)
    desk.clock.run(60_000)
    assert (desk.login().queued, desk.login().missed) == (1, 0)


def test_what_is_sent_during_a_jump_ahead_outlives_its_correction() -> None:
    desk = Desk(queue_ttl_ms=DAY_MS)
    desk.clock.jump(8 * DAY_MS)
    desk.send("from the future")
    desk.clock.jump(-8 * DAY_MS)
    desk.send("after it")
    desk.clock.run(2 * DAY_MS)
    assert desk.login().queued == 2  # neither is before the one ahead of it
    desk.clock.run(7 * DAY_MS)
    assert desk.login().queued == 0
