"""What a session was sent, newest last, so that an ack can be told from a guess.

An ack names a frame and counts for everything sent up to it. Only the newest 4,096 frames can be named.
"""

from collections import deque
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
    """The newest queued position sent by then."""
    queued: bool
    awaited: bool


class SentWindow:
    """The frames of one session that an ack may name."""

    def __init__(self) -> None:
        self._frames: deque[Sent] = deque()
        self._unacked: deque[Sent] = deque()
        self._by_id: dict[MessageId, deque[Sent]] = {}
        self._sent = 0
        self._acked = 0
        self._through = Position(0)

    def note(self, frame: Delivery) -> None:
        """A frame was sent."""
        if frame.queued:
            self._through = frame.position
        self._sent += 1
        self._add(Sent(self._sent, frame.id, frame.seq, self._through, frame.queued, frame.awaited))

    def _add(self, frame: Sent) -> None:
        self._frames.append(frame)
        self._unacked.append(frame)
        self._by_id.setdefault(frame.id, deque()).append(frame)
        if len(self._frames) > SESSION_WINDOW_FRAMES:
            self._forget_oldest()

    def ack(self, id: MessageId, seq: int | None) -> tuple[Position, list[Sent]]:
        """The queue's acknowledged prefix, and the frames newly acknowledged. Raises UnknownId.

        With `seq` it names that frame, without it the oldest unacknowledged one of the id. Repeating an ack is harmless.
        """
        named = [frame for frame in self._by_id.get(id, ()) if seq is None or frame.seq == seq]
        if not named:
            raise UnknownId(f"message {id} was not among the last {SESSION_WINDOW_FRAMES} frames of this session")
        frame = next((frame for frame in named if frame.number > self._acked), named[-1])
        self._acked = max(self._acked, frame.number)
        handled = []
        while self._unacked and self._unacked[0].number <= self._acked:
            handled.append(self._unacked.popleft())
        return frame.through, handled

    def _forget_oldest(self) -> None:
        oldest = self._frames.popleft()
        if self._unacked[0] is oldest:
            self._unacked.popleft()
        same = self._by_id[oldest.id]
        same.popleft()
        if not same:
            del self._by_id[oldest.id]
