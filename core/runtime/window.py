"""What a session was sent, newest last, so that an ack can be told from a guess.

An ack names a frame and counts for everything sent up to it. Only the newest 4,096 frames can be named.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import NamedTuple

from ..errors import UnknownId
from ..ids import MessageId, Position
from ..limits import SESSION_WINDOW_FRAMES
from .delivery import Delivery


class Sent(NamedTuple):
    """One frame that was handed to the transport."""

    number: int
    id: MessageId
    seq: int | None
    through: Position
    """The newest queued position sent by then, and what was passed over after it."""
    queued: bool
    awaited: bool
    notice: bool = False
    """It only tells that the message was deleted: to have it is not to have had the text."""


class SentWindow:
    """The frames of one session that an ack may name.

    Of a frame that is not queued only id and position are kept: a session in a busy room is sent thousands and acknowledges
    none.
    """

    def __init__(self) -> None:
        self._ids: deque[MessageId] = deque()
        self._positions: deque[Position] = deque()
        self._first = 1
        """The number of the oldest of them."""
        self._details: dict[int, Sent] = {}
        """By number, in order: frames that are queued or awaited, and notices."""
        self._through = Position(0)
        self._gone = Position(0)
        """The newest queued position among the frames that are forgotten."""
        self._acked = 0

    def note(self, frame: Delivery) -> None:
        """A frame was sent."""
        number = self._first + len(self._ids)
        self._ids.append(frame.id)
        self._positions.append(frame.position)
        notice = frame.type == "deleted"
        if frame.queued:
            self._through = max(frame.position, frame.through)
        if frame.queued or frame.awaited or notice:
            self._details[number] = Sent(
                number, frame.id, frame.seq, self._through, frame.queued, frame.awaited, notice
            )
        if len(self._ids) > SESSION_WINDOW_FRAMES:
            self._forget_oldest()

    def cover(self, through: Position) -> None:
        """After the newest queued frame nothing queued comes up to a position."""
        newest = next((sent for sent in reversed(self._details.values()) if sent.queued), None)
        if newest is not None:
            self._details[newest.number] = newest._replace(through=max(newest.through, through))
            self._through = max(self._through, through)

    def ack(self, id: MessageId, seq: int | None) -> tuple[Position, list[Sent]]:
        """The queue's acknowledged prefix, and the frames newly acknowledged. Raises UnknownId.

        With `seq` it names that frame, and repeating it is harmless; without it the oldest unacknowledged one of the id.
        """
        return self._ack(self._named(id, seq))

    def ack_frame(self, frame: Delivery) -> tuple[Position, list[Sent]]:
        """The same of exactly this frame: what became of a message has its id, and only a queue has numbers."""
        return self._ack(self._named(frame.id, None, frame.position))

    def _ack(self, number: int) -> tuple[Position, list[Sent]]:
        handled = list(self._frames(max(self._acked + 1, self._first), number))
        self._acked = max(self._acked, number)
        return self._through_at(number), handled

    def _named(self, id: MessageId, seq: int | None, position: Position | None = None) -> int:
        unacked = max(self._acked + 1 - self._first, 0)
        numbers = partial(self._numbers, id, seq, position)
        number = next(numbers(unacked), 0) or max(numbers(0), default=0)
        if not number:
            raise UnknownId(f"message {id} was not among the last {SESSION_WINDOW_FRAMES} frames of this session")
        return number

    def _numbers(self, id: MessageId, seq: int | None, position: Position | None, index: int) -> Iterator[int]:
        """Of the frames from an index on that are named so."""
        with suppress(ValueError):  # there is no further one
            while True:
                index = self._ids.index(id, index) + 1
                number = self._first + index - 1
                if seq is not None and (number not in self._details or self._details[number].seq != seq):
                    continue
                if position is None or self._positions[index - 1] == position:
                    yield number

    def _frames(self, first: int, last: int) -> Iterator[Sent]:
        through = self._through_at(first - 1)
        ids = islice(self._ids, first - self._first, max(last + 1, first) - self._first)
        for number, id in enumerate(ids, first):
            frame = self._details.get(number) or Sent(number, id, None, through, queued=False, awaited=False)
            through = frame.through
            yield frame

    def _through_at(self, number: int) -> Position:
        """The newest queued position sent by then."""
        return next((frame.through for frame in reversed(self._details.values()) if frame.number <= number), self._gone)

    def _forget_oldest(self) -> None:
        self._ids.popleft()
        self._positions.popleft()
        oldest = self._details.pop(self._first, None)
        if oldest is not None:
            self._gone = oldest.through
        self._first += 1
