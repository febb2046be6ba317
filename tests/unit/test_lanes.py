"""Lanes: nothing is lost, order holds within a lane and app, and the longest wait is the named one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.lanes import LOW_WAIT_PICKS_MAX, NORMAL_WAIT_PICKS_MAX, Lanes, preference
from postroom.core.model import LANES, Lane

BOUNDS = {"normal": NORMAL_WAIT_PICKS_MAX, "low": LOW_WAIT_PICKS_MAX}
pushes = st.lists(st.tuples(st.sampled_from(LANES), st.sampled_from("ab")) | st.none(), max_size=200)
"""A push to a lane and app, or (None) a pop."""


def test_high_goes_first() -> None:
    lanes: Lanes[str] = Lanes()
    for lane in ("low", "normal", "high"):
        lanes.push(lane, "app", lane)
    assert [lanes.pop() for _ in range(3)] == ["high", "normal", "low"]


def test_apps_take_turns_however_much_one_has_waiting() -> None:
    lanes: Lanes[str] = Lanes()
    for number in range(4):
        lanes.push("high", "a", f"a{number}")
    lanes.push("high", "b", "b0")
    assert [lanes.pop() for _ in range(5)] == ["a0", "b0", "a1", "a2", "a3"]


def test_an_app_that_comes_back_waits_for_its_turn() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.push("high", "a", "a0")
    lanes.push("high", "b", "b0")
    lanes.push("high", "c", "c0")
    assert lanes.pop() == "a0"
    lanes.push("high", "a", "a1")
    assert [lanes.pop() for _ in range(3)] == ["b0", "c0", "a1"]


def test_an_empty_one_says_so() -> None:
    lanes: Lanes[str] = Lanes()
    with pytest.raises(IndexError):
        lanes.pop()
    assert lanes.count == 0


@pytest.mark.parametrize("busy", [("high", "normal", "low"), ("high", "normal"), ("high", "low"), ("normal", "low")])
def test_the_longest_wait_is_the_named_one(busy: tuple[Lane, ...]) -> None:
    """Lanes that are never empty: from any pick on, each is served within its bound."""
    lanes: Lanes[Lane] = Lanes()
    for lane in busy:
        lanes.push(lane, "app", lane)
    served = []
    for _ in range(8 * LOW_WAIT_PICKS_MAX):
        served.append(lanes.pop())
        lanes.push(served[-1], "app", served[-1])
    for lane in set(busy) & set(BOUNDS):
        turns = [-1, *(pick for pick, got in enumerate(served) if got == lane)]
        assert max(later - earlier for earlier, later in pairwise(turns)) <= BOUNDS[lane]


def test_every_lane_is_asked_at_every_pick() -> None:
    assert all(sorted(preference(pick)) == sorted(LANES) for pick in range(2 * LOW_WAIT_PICKS_MAX))


@given(pushes)
def test_nothing_is_lost_and_order_holds_within_lane_and_app(steps: list[tuple[Lane, str] | None]) -> None:
    lanes: Lanes[tuple[Lane, str, int]] = Lanes()
    came, left = [], []
    for number, step in enumerate(steps):
        if step is not None:
            came.append((*step, number))
            lanes.push(*step, came[-1])
        elif lanes.count:
            left.append(lanes.pop())
        assert lanes.count == len(came) - len(left)
    left += [lanes.pop() for _ in range(lanes.count)]
    assert sorted(left) == sorted(came)
    for lane in LANES:
        for app in "ab":
            numbers = [number for *of, number in left if of == [lane, app]]
            assert numbers == sorted(numbers)


@given(pushes)
def test_high_waits_for_nothing_but_the_floors(steps: list[tuple[Lane, str] | None]) -> None:
    """Of any eight picks in a row with something high waiting, at most the floors' share goes elsewhere."""
    lanes: Lanes[Lane] = Lanes()
    high = elsewhere = run = 0
    for step in steps:
        if step is not None:
            lanes.push(*step, step[0])
            high += step[0] == "high"
        elif lanes.count:
            got = lanes.pop()
            if got == "high":
                high -= 1
            elif high:
                elsewhere += 1
            run += 1
    assert elsewhere <= run // NORMAL_WAIT_PICKS_MAX + run // LOW_WAIT_PICKS_MAX + 2
