"""The frames that a session was sent, and what an ack of one of them covers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import UnknownId
from postroom.core.ids import MessageId, Position
from postroom.core.limits import SESSION_WINDOW_FRAMES
from postroom.core.runtime.delivery import Delivery
from postroom.core.runtime.window import SentWindow

# (id, seq or None if it is not queued); a queued frame's position is 100 times its seq.
Frame = tuple[int, int | None]


def sent(*frames: Frame) -> SentWindow:
    """A window over these frames."""
    window = SentWindow()
    for id, seq in frames:
        note(window, id, seq)
    return window


def note(window: SentWindow, id: int, seq: int | None) -> None:
    position = Position(100 * seq) if seq is not None else Position(0)
    window.note(Delivery(type="message", id=MessageId(id), queued=seq is not None, seq=seq, position=position))


def ack(window: SentWindow, id: int, seq: int | None = None) -> tuple[int, list[int]]:
    through, frames = window.ack(MessageId(id), seq)
    return int(through), [int(frame.id) for frame in frames]


def test_an_ack_covers_what_was_sent_up_to_its_frame() -> None:
    window = sent((1, 1), (2, 2), (3, 3))
    assert ack(window, 2) == (200, [1, 2])
    assert ack(window, 3) == (300, [3])


def test_of_an_unqueued_frame_it_covers_the_queued_ones_sent_before() -> None:
    window = sent((1, 1), (2, None), (3, 2))
    assert ack(window, 2) == (100, [1, 2])


def test_before_the_first_queued_frame_there_is_nothing_of_the_queue_to_cover() -> None:
    assert ack(sent((2, None)), 2) == (0, [2])


def test_a_repeat_covers_the_same_and_nothing_new() -> None:
    window = sent((1, 1), (2, 2), (3, 3))
    assert ack(window, 2) == (200, [1, 2])
    assert ack(window, 2) == (200, [])
    assert ack(window, 1) == (100, [])
    assert ack(window, 3) == (300, [3])


def test_an_id_sent_twice_names_its_oldest_unacknowledged_frame() -> None:
    window = sent((1, 1), (2, 2), (1, 3), (4, 4))
    assert ack(window, 1) == (100, [1])
    assert ack(window, 1) == (300, [2, 1])
    assert ack(window, 1) == (300, [])


def test_seq_names_exactly_that_frame() -> None:
    window = sent((1, 1), (2, 2), (1, 3), (4, 4))
    assert ack(window, 1, 3) == (300, [1, 2, 1])
    assert ack(window, 1, 1) == (100, [])


def test_a_frame_itself_names_exactly_that_frame() -> None:
    """What a stream has of a message and of its change differs in the position alone."""
    window, positions = SentWindow(), (100, 200, 300)
    frames = [
        Delivery(type="message", id=MessageId(1), queued=True, stream=1, position=Position(at)) for at in positions
    ]
    for frame in frames:
        window.note(frame)
    assert [len(part) if isinstance(part, list) else part for part in window.ack_frame(frames[1])] == [200, 2]
    assert [len(part) if isinstance(part, list) else part for part in window.ack_frame(frames[2])] == [300, 1]
    assert window.ack_frame(frames[0]) == (100, [])


def test_so_does_one_that_is_not_queued() -> None:
    window = SentWindow()
    text = Delivery(type="message", id=MessageId(1), position=Position(10))
    queued = Delivery(type="message", id=MessageId(2), queued=True, seq=1, position=Position(100))
    edit = Delivery(type="edited", id=MessageId(1), position=Position(110))
    for frame in (text, queued, edit):
        window.note(frame)
    through, frames = window.ack_frame(edit)
    assert (through, [frame.id for frame in frames]) == (100, [1, 2, 1])


def test_a_frame_of_another_session_is_unknown() -> None:
    window = sent((1, 1))
    with pytest.raises(UnknownId):
        window.ack_frame(Delivery(type="message", id=MessageId(1), queued=True, seq=2, position=Position(200)))
    assert ack(window, 1) == (100, [1])


def test_an_acknowledged_frame_before_the_one_named_by_id_is_passed_over() -> None:
    window = sent((1, 1), (2, 2), (1, 3))
    ack(window, 2)
    assert ack(window, 1) == (300, [1])


@pytest.mark.parametrize(("id", "seq"), [(9, None), (9, 1), (1, 2), (2, 7), (0, None)])
def test_what_was_not_sent_is_unknown_and_changes_nothing(id: int, seq: int | None) -> None:
    window = sent((1, 1), (2, None), (3, 3))
    with pytest.raises(UnknownId):
        ack(window, id, seq)
    assert ack(window, 3) == (300, [1, 2, 3])


def test_the_window_holds_the_newest_4096_frames() -> None:
    assert SESSION_WINDOW_FRAMES == 4096
    window = sent(*((number, number) for number in range(1, 4098)))
    with pytest.raises(UnknownId):
        ack(window, 1)
    through, ids = ack(window, 2)
    assert (through, ids) == (200, [2])
    assert ack(window, 4097) == (409_700, list(range(3, 4098)))


def test_of_an_id_sent_often_only_the_frames_outside_are_forgotten() -> None:
    window = sent((1, 1), *((2, number) for number in range(2, 4097)), (1, 4097))
    with pytest.raises(UnknownId):
        ack(window, 1, 1)
    assert ack(window, 1)[0] == 409_700


def test_nothing_is_kept_of_what_left_the_window() -> None:
    window = sent(*((number, number) for number in range(1, 10_001)))
    assert len(window._ids) == len(window._details) == 4096


def test_of_an_unqueued_frame_nothing_but_id_and_position_is_kept() -> None:
    window = sent(*((number, None) for number in range(1, 10_001)))
    assert len(window._ids) == len(window._positions) == 4096
    assert not window._details


class Plain:
    """The rules over a list of everything ever sent."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.acked = 0

    def ack(self, id: int, seq: int | None) -> tuple[int, list[int]] | None:
        first = max(0, len(self.frames) - SESSION_WINDOW_FRAMES)
        named = [
            number
            for number, (of, at) in enumerate(self.frames, 1)
            if number > first and of == id and (seq is None or at == seq)
        ]
        if not named:
            return None
        number = next((number for number in named if number > self.acked), named[-1])
        queued = [at for _, at in self.frames[:number] if at is not None]
        new = [of for of, _ in self.frames[max(self.acked, first) : number]]
        self.acked = max(self.acked, number)
        return 100 * max(queued, default=0), new


@given(
    st.lists(
        st.tuples(st.just("queued") | st.just("unqueued") | st.just("ack"), st.integers(1, 4), st.integers(0, 12)),
        max_size=60,
    )
)
def test_it_does_what_the_plain_rules_say(steps: list[tuple[str, int, int]]) -> None:
    window, plain, seq = SentWindow(), Plain(), 0
    for step, id, named in steps:
        if step == "ack":
            expected = plain.ack(id, named or None)
            if expected is None:
                with pytest.raises(UnknownId):
                    ack(window, id, named or None)
            else:
                assert ack(window, id, named or None) == expected
            continue
        seq += step == "queued"
        frame = (id, seq if step == "queued" else None)
        plain.frames.append(frame)
        note(window, *frame)
