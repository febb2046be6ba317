"""What a session holds: queued frames in position order, the rest in lanes, all within a budget."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.ids import MessageId, Position
from postroom.core.model import LANES, Conversation, Lane, group, peer, room
from postroom.core.runtime.buffer import FrameBuffer, frame_bytes
from postroom.core.runtime.delivery import Delivery

LARGE = 1 << 20
NOTHING = frame_bytes(Delivery(type="message"))


def frame(
    position: int, lane: Lane = "normal", of: str = "ann", *, queued: bool = False, body: bytes = b""
) -> Delivery:
    """A message that came at this position."""
    return Delivery(
        type="message",
        id=MessageId(position),
        conversation=peer(of),
        sender=of,
        body=body,
        lane=lane,
        queued=queued,
        seq=position if queued else None,
        position=Position(position),
    )


def change(type: Any, id: int, position: int, body: bytes = b"") -> Delivery:
    """What became of a message."""
    return Delivery(type=type, id=MessageId(id), body=body, by="ann", position=Position(position))


class Buffer(FrameBuffer):
    """Counts what it dropped, and empties itself."""

    def __init__(self, budget_bytes: int = LARGE) -> None:
        self.dropped = 0
        super().__init__(budget_bytes, self._count)

    def _count(self) -> None:
        self.dropped += 1

    def queued(self, *frames: Delivery) -> None:
        """Hold queued frames, all of which must find room."""
        for one in frames:
            assert self.push_queued(msgspec.structs.replace(one, queued=True, seq=one.position))

    def out(self) -> list[Delivery]:
        """Everything that may go out, in its order."""
        frames = []
        while (frame := self.peek()) is not None:
            frames.append(frame)
            self.pop()
        return frames

    def positions(self) -> list[int]:
        """The same, by position."""
        return [frame.position for frame in self.out()]


# Order.


def test_queued_frames_go_out_in_position_order_whatever_their_lane() -> None:
    buffer = Buffer()
    buffer.queued(frame(1, "low"), frame(2, "normal"), frame(3, "high"), frame(4, "low"), frame(5, "high"))
    assert buffer.positions() == [1, 2, 3, 4, 5]


def test_the_rest_goes_highest_lane_first() -> None:
    buffer = Buffer()
    for position, lane in enumerate(("low", "normal", "high", "low", "high"), 1):
        buffer.push(frame(position, lane))
    assert buffer.positions() == [3, 5, 2, 1, 4]


@pytest.mark.parametrize("lane", LANES)
def test_an_unqueued_frame_waits_for_an_earlier_queued_one_of_its_conversation_and_lane(lane: Lane) -> None:
    buffer = Buffer()
    buffer.queued(frame(1, "low", "cy"), frame(2, lane))
    buffer.push(frame(3, lane))
    assert buffer.positions() == [1, 2, 3]


def test_a_higher_lane_may_overtake_queued_frames() -> None:
    buffer = Buffer()
    buffer.queued(frame(1, "normal"))
    buffer.push(frame(2, "high"))
    assert buffer.positions() == [2, 1]


def test_a_lower_lane_never_overtakes() -> None:
    buffer = Buffer()
    buffer.queued(frame(1, "normal"), frame(2, "high", "cy"))
    buffer.push(frame(3, "low", "dan"))
    assert buffer.positions() == [1, 2, 3]


def test_an_unqueued_frame_of_another_conversation_keeps_its_place_in_the_lane() -> None:
    buffer = Buffer()
    buffer.queued(frame(1))
    buffer.push(frame(2, "normal", "cy"))
    buffer.queued(frame(3))
    assert buffer.positions() == [1, 2, 3]


def test_a_blocked_frame_blocks_those_behind_it_in_its_lane() -> None:
    """Order within lane and conversation is kept by keeping the lane's."""
    buffer = Buffer()
    buffer.queued(frame(1, "low", "dan"), frame(2, "high"))
    buffer.push(frame(3, "high"))
    buffer.push(frame(4, "high", "cy"))
    assert buffer.positions() == [1, 2, 3, 4]


# While the session reads from disk.


def reading(covered: int = 0) -> Buffer:
    """A session that reads on from behind this position."""
    buffer = Buffer()
    buffer.reading, buffer.covered = True, Position(covered)
    return buffer


def read(buffer: Buffer, *frames: Delivery, complete: bool = False) -> None:
    """A page came in."""
    for one in frames:
        buffer.hold(msgspec.structs.replace(one, queued=True))
    buffer.covered = frames[-1].position if frames else buffer.covered
    buffer.reading = not complete


def test_while_reading_an_unqueued_frame_waits_for_the_cursor() -> None:
    buffer = reading()
    buffer.push(frame(5, "high", "cy"))
    assert buffer.peek() is None
    read(buffer, frame(3))
    assert buffer.positions() == [3]
    read(buffer, frame(7))
    assert buffer.positions() == [5, 7]


def test_when_all_is_read_it_waits_no_longer() -> None:
    buffer = reading()
    buffer.push(frame(5))
    read(buffer, frame(3), complete=True)
    assert buffer.positions() == [3, 5]


def test_what_was_held_before_the_reading_began_goes_out() -> None:
    buffer = Buffer()
    buffer.queued(frame(1))
    buffer.push(frame(2))
    buffer.reading, buffer.covered = True, Position(1)
    assert buffer.positions() == [1, 2]


# The budget.


def test_the_lowest_lane_is_dropped_first_its_oldest_frame_first() -> None:
    buffer = Buffer(3 * NOTHING)
    for position, lane in enumerate(("low", "normal", "low"), 1):
        buffer.push(frame(position, lane))
    buffer.push(frame(4, "high"))
    assert (buffer.dropped, [one.position for one in buffer.out()[1:]]) == (1, [4, 2, 3])
    buffer.push(frame(5, "normal"))


def test_a_frame_makes_no_room_in_its_own_lane_or_above() -> None:
    buffer = Buffer(2 * NOTHING)
    buffer.push(frame(1, "high"))
    buffer.push(frame(2, "normal"))
    buffer.push(frame(3, "normal"))
    told, *rest = buffer.out()
    assert (told.type, told.count) == ("dropped", 1)
    assert [one.position for one in rest] == [1, 2]


def test_queued_frames_are_not_dropped_for_anything() -> None:
    buffer = Buffer(2 * NOTHING)
    buffer.queued(frame(1, "low"), frame(2, "low"))
    buffer.push(frame(3, "high"))
    assert [one.type for one in buffer.out()] == ["dropped", "message", "message"]


def test_a_queued_frame_without_room_is_not_held() -> None:
    buffer = Buffer(2 * NOTHING)
    buffer.queued(frame(1))
    buffer.push(frame(2, "low"))
    assert not buffer.push_queued(frame(3, queued=True))
    assert (buffer.dropped, buffer.bytes) == (0, 2 * NOTHING)


def test_a_frame_larger_than_the_budget_still_goes_alone() -> None:
    buffer = Buffer(10)
    buffer.queued(frame(1, body=b"x" * 100))
    assert buffer.positions() == [1]
    buffer.push(frame(2, body=b"x" * 100))
    assert buffer.positions() == [2]


def test_frames_read_from_disk_push_out_what_is_not_queued() -> None:
    """Otherwise those wait for the cursor, and the cursor for them."""
    buffer = Buffer(3 * NOTHING)
    buffer.reading = True
    for position, lane in ((10, "low"), (11, "normal"), (12, "high")):
        buffer.push(frame(position, lane))
    read(buffer, frame(1), frame(2))
    assert (buffer.dropped, buffer.bytes, buffer.queued_bytes) == (2, 3 * NOTHING, 2 * NOTHING)
    read(buffer, complete=True)
    assert [one.position for one in buffer.out()[1:]] == [12, 1, 2] or buffer.peek() is None


def test_drops_are_told_once_in_one_number() -> None:
    buffer = Buffer(NOTHING)
    for position in range(1, 5):
        buffer.push(frame(position))
    assert [(one.type, one.count) for one in buffer.out()] == [("dropped", 3), ("message", 0)]
    assert buffer.out() == []


# What changes while it is held.


def test_an_edit_shows_in_what_is_held_of_the_message() -> None:
    buffer = Buffer()
    buffer.queued(frame(1, body=b"old"), frame(2, body=b"other"))
    buffer.push(frame(3, body=b"old"))
    buffer.revise(change("edited", 1, 9, b"longer than before"))
    buffer.revise(change("edited", 3, 10, b"n"))
    assert buffer.bytes == 3 * NOTHING + len(b"longer than before" + b"other" + b"n")
    assert [(one.type, one.body, one.by) for one in buffer.out()] == [
        ("message", b"longer than before", ""),
        ("message", b"other", ""),
        ("message", b"n", ""),
    ]


def test_a_recall_shows_in_place() -> None:
    buffer = Buffer()
    buffer.queued(frame(1, body=b"old"))
    buffer.revise(change("recalled", 1, 9))
    assert [(one.type, one.body, one.by, one.seq) for one in buffer.out()] == [("recalled", b"", "ann", 1)]
    assert buffer.bytes == 0


def test_news_older_than_a_recall_does_not_bring_the_text_back() -> None:
    """A page may know of a commit that is not made known yet."""
    buffer = Buffer()
    buffer.queued(msgspec.structs.replace(frame(1), type="recalled", by="ann"))
    buffer.revise(change("edited", 1, 9, b"text"))
    assert [(one.type, one.body) for one in buffer.out()] == [("recalled", b"")]


def test_what_is_deleted_is_held_no_more() -> None:
    buffer = Buffer()
    buffer.queued(frame(1, body=b"old"), frame(2, body=b"old"))
    buffer.push(frame(3, body=b"old"))
    buffer.revise(change("deleted", 1, 9))
    buffer.revise(change("deleted", 3, 9))
    assert (buffer.bytes, buffer.queued_bytes) == (NOTHING + 3, NOTHING + 3)
    assert buffer.positions() == [2]


def test_a_change_leaves_itself_and_what_is_newer_alone() -> None:
    buffer = Buffer()
    buffer.queued(msgspec.structs.replace(frame(9, body=b"edit"), id=MessageId(1), type="edited"))
    buffer.revise(change("deleted", 1, 9))
    assert buffer.positions() == [9]


def test_acked_elsewhere_forgets_the_prefix_and_says_so_once() -> None:
    buffer = Buffer()
    buffer.queued(*(frame(position, body=b"x") for position in range(1, 5)))
    buffer.push(frame(5))
    for through in (1, 3):
        buffer.tell_acked(Delivery(type="acked", id=MessageId(through), seq=through, position=Position(through)))
    assert buffer.bytes == 2 * NOTHING + 1
    assert [(one.type, one.id) for one in buffer.out()] == [("acked", 3), ("message", 4), ("message", 5)]
    assert (buffer.bytes, buffer.queued_bytes) == (0, 0)


def test_what_waited_for_an_acked_frame_waits_no_longer() -> None:
    buffer = Buffer()
    buffer.queued(frame(1, "high"), frame(2, "low", "cy"))
    buffer.push(frame(3, "high"))
    buffer.tell_acked(Delivery(type="acked", position=Position(1)))
    assert buffer.positions() == [1, 3, 2]


# All of it, against a plain model.


class Held(NamedTuple):
    frame: Delivery
    after: int
    """Of an unqueued frame: every queued one up to here goes out first."""


class Model:
    """The same rules over plain lists, with no thought for speed."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.queued: list[Delivery] = []
        self.waiting: list[Held] = []
        self.dropped = 0
        self.untold = 0
        self.acked: Delivery | None = None
        self.reading = False
        self.covered = 0

    @property
    def bytes(self) -> int:
        return sum(map(frame_bytes, self.queued)) + sum(frame_bytes(held.frame) for held in self.waiting)

    def fits(self, one: Delivery) -> bool:
        return self.bytes + frame_bytes(one) <= self.budget

    def drop_below(self, one: Delivery, lanes: tuple[Lane, ...]) -> None:
        for lane in lanes:
            for held in [held for held in self.waiting if held.frame.lane == lane]:
                if not self.fits(one):
                    self.waiting.remove(held)
                    self.drop()

    def drop(self) -> None:
        self.dropped += 1
        self.untold += 1

    def push_queued(self, one: Delivery) -> bool:
        if self.bytes and not self.fits(one):
            return False
        self.queued.append(one)
        return True

    def hold(self, one: Delivery) -> None:
        self.drop_below(one, ("low", "normal", "high"))
        self.queued.append(one)

    def push(self, one: Delivery) -> None:
        below: dict[Lane, tuple[Lane, ...]] = {"high": ("low", "normal"), "normal": ("low",), "low": ()}
        self.drop_below(one, below[one.lane])
        if self.bytes and not self.fits(one):
            self.drop()
            return
        same = [q.position for q in self.queued if (q.conversation, q.lane) == (one.conversation, one.lane)]
        self.waiting.append(Held(one, one.position if self.reading else max(same, default=0)))

    def keep(self, change: Callable[[Delivery], Delivery | None], *, unqueued: bool) -> None:
        self.queued = [new for one in self.queued if (new := change(one)) is not None]
        if unqueued:
            self.waiting = [Held(new, after) for one, after in self.waiting if (new := change(one)) is not None]

    def next(self) -> Delivery | None:
        if self.untold:
            return Delivery(type="dropped", count=self.untold)
        if self.acked is not None:
            return self.acked
        candidates = self.queued[:1]
        for lane in LANES:
            first = next((held for held in self.waiting if held.frame.lane == lane), None)
            if first is None or (self.reading and self.covered < first.after):
                continue
            if not any(one.position <= first.after for one in self.queued):
                candidates.append(first.frame)
        return min(candidates, key=lambda one: (LANES.index(one.lane), one.position), default=None)

    def pop(self) -> None:
        gone = self.next()
        if self.untold:
            self.untold = 0
        elif self.acked is not None:
            self.acked = None
        else:
            self.queued = [one for one in self.queued if one is not gone]
            self.waiting = [held for held in self.waiting if held.frame is not gone]


class Pair:
    """A buffer and the model, told the same."""

    def __init__(self, budget: int) -> None:
        self.buffer, self.model = Buffer(budget), Model(budget)
        self.position = 0
        self.disk: list[Delivery] = []
        self.overtaken: list[Delivery] = []
        self.out: list[Delivery] = []
        self.gone: set[int] = set()

    def message(self, lane: Lane, of: str, size: int, *, queued: bool) -> None:
        self.position += 1
        one = frame(self.position, lane, of, queued=queued, body=b"x" * size)
        if not queued:
            self.buffer.push(one)
            self.model.push(one)
        elif self.model.reading:
            self.disk.append(one)
        else:
            held = self.buffer.push_queued(one)
            assert held == self.model.push_queued(one)
            if not held:
                self.fall_behind(one)

    def fall_behind(self, one: Delivery) -> None:
        self.disk = [one]
        for side in (self.buffer, self.model):
            side.reading, side.covered = True, Position(one.position - 1)

    def page(self, count: int) -> None:
        if not self.model.reading:
            return
        page, self.disk = self.disk[:count], self.disk[count:]
        for one in page:
            self.buffer.hold(one)
            self.model.hold(one)
        for side in (self.buffer, self.model):
            side.covered = Position(page[-1].position if page else side.covered)
            side.reading = bool(self.disk)

    def pop(self) -> None:
        one = self.model.next()
        assert self.buffer.peek() == one
        if one is not None:
            # Brute force, not by the model: nothing of its conversation and lane that is queued, and older, is left.
            if one.type == "message" and not one.queued:
                older = [q for q in self.model.queued + self.disk if q.position < one.position]
                assert not any((q.conversation, q.lane) == (one.conversation, one.lane) for q in older)
            self.out.append(one)
            self.buffer.pop()
            self.model.pop()

    def acked(self, share: int) -> None:
        through = self.position * share // 4
        told = Delivery(type="acked", id=MessageId(through), position=Position(through))
        self.buffer.tell_acked(told)
        self.model.keep(lambda one: None if one.position <= through else one, unqueued=False)
        self.model.acked = told
        self.disk = [one for one in self.disk if one.position > through]
        self.gone.update(range(through + 1))

    def change(self, type: Any, back: int) -> None:
        id = self.position - back
        self.position += 1
        news = change(type, id, self.position, b"new text" if type == "edited" else b"")

        def changed(one: Delivery) -> Delivery | None:
            if one.id != id or (one.type == "recalled" and type == "edited"):
                return one
            if type == "deleted":
                self.gone.add(one.position)
                return None
            by = "ann" if type == "recalled" else ""
            return msgspec.structs.replace(one, type="message" if type == "edited" else type, body=news.body, by=by)

        self.buffer.revise(news)
        self.model.keep(changed, unqueued=True)
        self.disk = [new for one in self.disk if (new := changed(one)) is not None]

    def check(self) -> None:
        assert self.buffer.bytes == self.model.bytes
        assert self.buffer.queued_bytes == sum(map(frame_bytes, self.model.queued))
        assert self.buffer.dropped == self.model.dropped
        assert self.buffer.peek() == self.model.next()


lanes, names = st.sampled_from(LANES), st.sampled_from(["ann", "cy"])
sizes = st.sampled_from([0, 1, 300, 900])
steps = st.one_of(
    st.tuples(st.just("queued"), lanes, names, sizes),
    st.tuples(st.just("unqueued"), lanes, names, sizes),
    st.tuples(st.just("pop")),
    st.tuples(st.just("page"), st.integers(0, 3)),
    st.tuples(st.just("acked"), st.integers(1, 4)),
    st.tuples(st.just("change"), st.sampled_from(["edited", "recalled", "deleted"]), st.integers(0, 4)),
)


@given(st.lists(steps, max_size=80), st.sampled_from([600, 1500, 5000]))
def test_it_does_what_the_plain_model_does(steps: list[tuple[Any, ...]], budget: int) -> None:
    pair = Pair(budget)
    for name, *rest in steps:
        match name:
            case "queued" | "unqueued":
                pair.message(*rest, queued=name == "queued")
            case "change":
                pair.change(*rest)
            case _:
                getattr(pair, name)(*rest)
        pair.check()
    while pair.model.reading:
        pair.page(2)
        pair.check()
    while pair.model.next() is not None:
        pair.pop()
    assert (pair.buffer.bytes, pair.model.queued, pair.model.waiting) == (0, [], [])
    queued = [one.position for one in pair.out if one.queued and one.type in ("message", "recalled")]
    assert queued == sorted(set(queued))
    for lane in LANES:
        of_lane = [one.position for one in pair.out if one.lane == lane and not one.queued and one.position and one.id]
        of_lane = [one.position for one in pair.out if one.conversation and one.lane == lane and not one.queued]
        assert of_lane == sorted(of_lane)


# A conversation that was deleted.


def of(conversation: Conversation, position: int, lane: Lane = "normal", body: bytes = b"xy") -> Delivery:
    """A frame of it."""
    return msgspec.structs.replace(frame(position, lane, body=body), conversation=conversation)


def test_frames_of_a_deleted_conversation_go() -> None:
    buffer, g = Buffer(), group("g")
    buffer.queued(of(g, 1), frame(2), of(g, 3))
    buffer.push(of(g, 4, "high"))
    buffer.push(frame(5))
    buffer.push(of(group("h"), 6))
    buffer.forget(g, Position(7))
    assert [one.position for one in buffer.out()] == [2, 5, 6]
    assert (buffer.bytes, buffer.queued_bytes, buffer.dropped) == (0, 0, 0)


def test_what_waits_behind_a_queued_frame_of_it_waits_no_more() -> None:
    buffer, g = Buffer(), group("g")
    buffer.reading = True
    buffer.hold(of(g, 1))
    buffer.push(frame(2))
    buffer.forget(g, Position(3))
    assert buffer.out() == []
    buffer.covered = Position(2)
    assert [one.position for one in buffer.out()] == [2]


def test_word_of_a_deletion_and_what_came_after_it_stay() -> None:
    buffer, g = Buffer(), group("g")
    buffer.queued(msgspec.structs.replace(of(g, 1), type="deleted"), of(g, 9))
    buffer.forget(g, Position(5))
    assert [(one.type, one.position) for one in buffer.out()] == [("deleted", 1), ("message", 9)]


def test_what_is_on_its_way_of_a_deleted_room_does_not_arrive() -> None:
    buffer, r = Buffer(), room("r")
    buffer.hold_back(r)
    buffer.hold_back(room("s"))
    buffer.push(of(r, 2))
    buffer.push(of(room("s"), 3))
    buffer.revise(msgspec.structs.replace(change("edited", 1, 4, b"new"), conversation=r))
    assert buffer.bytes > 2 * NOTHING
    buffer.forget(r, Position(5))
    assert buffer.fitting(r, [of(r, 1)]) == ([], False)
    buffer.release(r, [])
    assert buffer.fitting(room("s"), [of(room("s"), 1)])[1]
    buffer.release(room("s"), [of(room("s"), 1)])
    assert [one.position for one in buffer.out()] == [1, 3]
    assert buffer.bytes == 0
