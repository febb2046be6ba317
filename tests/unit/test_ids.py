"""Positions rise whatever the wall clock does, and fit a JavaScript number."""

from hypothesis import given
from hypothesis import strategies as st

from postroom.core.ids import EPOCH_MS, POSITION_MAX, Position, UnixMs, message_at, next_position, position_of

NOON = UnixMs(1_790_000_000_000)
YEAR_MS = 31_556_952_000


def test_a_position_begins_with_the_milliseconds_since_2020() -> None:
    assert next_position(Position(0), NOON) == (NOON - EPOCH_MS) * 4096


def test_within_a_millisecond_the_counter_runs() -> None:
    first = next_position(Position(0), NOON)
    assert next_position(first, NOON) == first + 1


def test_a_full_counter_runs_into_the_next_millisecond() -> None:
    last = Position(next_position(Position(0), NOON) + 4095)
    following = next_position(last, NOON)
    assert following == next_position(Position(0), UnixMs(NOON + 1))
    assert next_position(following, UnixMs(NOON + 1)) == following + 1


def test_a_wall_clock_that_steps_back_counts_on() -> None:
    last = next_position(Position(0), NOON)
    assert next_position(last, UnixMs(NOON - 8 * 86_400_000)) == last + 1


def test_a_wall_clock_before_2020_counts_on() -> None:
    assert next_position(Position(0), UnixMs(0)) == 1


@given(st.lists(st.integers(0, EPOCH_MS + 60 * YEAR_MS), min_size=1))
def test_positions_rise_strictly(walls: list[int]) -> None:
    last = Position(0)
    for wall_ms in walls:
        following = next_position(last, UnixMs(wall_ms))
        assert following > last
        last = following


def test_53_bits_last_until_2089() -> None:
    assert next_position(Position(0), UnixMs(EPOCH_MS + 69 * YEAR_MS)) <= POSITION_MAX == 2**53 - 1
    assert next_position(Position(0), UnixMs(EPOCH_MS + 70 * YEAR_MS)) > POSITION_MAX


def test_a_message_is_named_by_its_position() -> None:
    position = next_position(Position(0), NOON)
    assert position_of(message_at(position)) == position
