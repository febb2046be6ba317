"""What a session has not handed out yet: queued frames in position order, the rest in lanes, all within a budget of bytes.

Queued frames go out in position order whatever their lane. The rest goes highest lane first, but never before an earlier frame
of its own conversation and lane; what finds no room is dropped, lowest lane first, and counted.
"""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from ..ids import MessageId, Position
from ..limits import FRAME_OVERHEAD_BYTES
from ..model import LANES, Conversation, Lane
from .delivery import Delivery

Waiting = tuple[Delivery, Position]
"""An unqueued frame, and the queued position that must have gone out before it."""


def frame_bytes(frame: Delivery) -> int:
    """What a frame counts in the budget."""
    return len(frame.body) + FRAME_OVERHEAD_BYTES


class FrameBuffer:
    """The frames between the log and one session's sink."""

    def __init__(self, budget_bytes: int, dropped: Callable[[], None]) -> None:
        """`dropped` is called for each frame that finds no room, whether or not its session lives to be told."""
        self._budget = budget_bytes
        self._count_dropped = dropped
        self._bytes = 0
        self._queued_bytes = 0
        self._queued: deque[Delivery] = deque()
        self._lanes: dict[Lane, deque[Waiting]] = {lane: deque() for lane in LANES}
        self._newest: dict[tuple[Conversation | None, Lane], Position] = {}
        self.reading = False
        """Queued frames are being read from disk: what is held of them is not all there is."""
        self.covered = Position(0)
        """While reading: queued frames up to here are held, out or gone."""
        self._acked: Delivery | None = None
        self._dropped = 0
        self._held_back: dict[Conversation, list[Delivery]] = {}
        self._changes: dict[Conversation, dict[MessageId, Delivery] | None] = {}
        """Of what is held back: changes to what is on its way."""

    @property
    def bytes(self) -> int:
        """What is held now."""
        return self._bytes

    @property
    def queued_bytes(self) -> int:
        """What queued frames take of it: while reading, only their going out makes the rest go."""
        return self._queued_bytes

    @property
    def idle(self) -> bool:
        """Nothing is held or on its way, so a frame need not pass through here."""
        return not (self._bytes or self.reading or self._dropped or self._held_back or self._acked is not None)

    def push_queued(self, frame: Delivery) -> bool:
        """Hold a queued frame; False (and it is not held) if the budget is spent. A single frame always fits."""
        if self._bytes and self._bytes + frame_bytes(frame) > self._budget:
            return False
        self.hold(frame)
        return True

    def hold(self, frame: Delivery) -> None:
        """Hold a queued frame that was read from disk. What is not queued makes room for it, lowest lane first."""
        size = frame_bytes(frame)
        self._make_room(size, LANES[::-1])
        self._queued.append(frame)
        self._newest[frame.conversation, frame.lane] = frame.position
        self._bytes += size
        self._queued_bytes += size

    def cover(self, through: Position) -> bool:
        """After the newest queued frame nothing queued comes up to a position; False if none is held."""
        if not self._queued:
            return False
        self._queued[-1] = msgspec.structs.replace(self._queued[-1], through=through)
        return True

    def push(self, frame: Delivery) -> None:
        """Hold an unqueued frame until earlier queued ones are out: those of its conversation and lane; while reading, all.

        If the budget is spent, frames of lower lanes make room; else this one is dropped.
        """
        size = frame_bytes(frame)
        self._make_room(size, LANES[: LANES.index(frame.lane) : -1])
        if self._bytes and self._bytes + size > self._budget:
            self._drop()
            return
        if frame.conversation in self._held_back:
            self._held_back[frame.conversation].append(frame)
            self._bytes += size
            return
        after = frame.position if self.reading else self._newest.get((frame.conversation, frame.lane), Position(0))
        self._lanes[frame.lane].append((frame, after))
        self._bytes += size

    def hold_back(self, conversation: Conversation) -> None:
        """Hold unqueued frames of this conversation until `release`: earlier ones are on their way."""
        self._held_back.setdefault(conversation, [])
        self._changes.setdefault(conversation, {})

    def fitting(self, conversation: Conversation, earlier: list[Delivery]) -> tuple[list[Delivery], bool]:
        """Of frames that were on their way, as they are by now, the newest that there is room for; whether that is all."""
        frames = list(earlier)
        changes = self._changes.get(conversation, {})
        if changes is None:
            return [], False
        for change in changes.values():
            frames = [new for frame in frames if (new := _revised(frame, change)) is not None]
        room = self._budget - self._bytes
        for index in range(len(frames) - 1, -1, -1):
            room -= frame_bytes(frames[index])
            if room < 0:
                return frames[index + 1 :], False
        return frames, True

    def release(self, conversation: Conversation, earlier: list[Delivery]) -> None:
        """These come first, then what was held back."""
        held = self._held_back.pop(conversation, [])
        changes = self._changes.pop(conversation, None) or {}
        self._bytes -= sum(map(frame_bytes, held)) + sum(map(frame_bytes, changes.values()))
        for frame in (*earlier, *held):
            self.push(frame)

    def tell_acked(self, frame: Delivery) -> None:
        """Another session acknowledged: forget what is held of that prefix, and say so; the newest word replaces others."""
        self._keep(lambda held: None if held.position <= frame.position else held)
        self._acked = frame

    def revise(self, change: Delivery) -> None:
        """A message changed: what is held of it shows its new state, or goes."""
        self._revise(lambda held: _revised(held, change))
        if change.conversation in self._changes:
            self._note_change(change.conversation, change)

    def forget(self, conversation: Conversation, position: Position) -> None:
        """The conversation was deleted at this position: nothing of it goes out, or arrives. Word of messages deleted before
        stays."""

        def left(held: Delivery) -> Delivery | None:
            gone = held.conversation == conversation and held.type != "deleted" and held.position < position
            return None if gone else held

        self._revise(left)
        if conversation in self._changes:
            self._bytes -= sum(map(frame_bytes, (self._changes[conversation] or {}).values()))
            self._changes[conversation] = None

    def _revise(self, revised: Callable[[Delivery], Delivery | None]) -> None:
        """Every frame that is held becomes what is left of it."""
        self._keep(revised)
        for conversation, frames in self._held_back.items():
            kept_back = [new for held in frames if (new := revised(held)) is not None]
            self._bytes += sum(map(frame_bytes, kept_back)) - sum(map(frame_bytes, frames))
            self._held_back[conversation] = kept_back
        for lane, waiting in self._lanes.items():
            kept = deque((new, after) for held, after in waiting if (new := revised(held)) is not None)
            self._bytes += sum(frame_bytes(frame) for frame, _ in kept) - sum(frame_bytes(held) for held, _ in waiting)
            self._lanes[lane] = kept

    def _note_change(self, conversation: Conversation, change: Delivery) -> None:
        """What is on its way will have to show the newest change. If there is no room for one, it must not arrive."""
        changes = self._changes[conversation]
        if changes is None:
            return
        earlier = changes.get(change.id)
        if earlier is not None and earlier.type in ("recalled", "deleted") and change.type == "edited":
            return
        self._bytes += frame_bytes(change) - (frame_bytes(earlier) if earlier else 0)
        changes[change.id] = change
        if self._bytes > self._budget:
            self._bytes -= sum(map(frame_bytes, changes.values()))
            self._changes[conversation] = None

    def peek(self) -> Delivery | None:
        """What goes out next; None if nothing may."""
        if self._dropped:
            return Delivery(type="dropped", count=self._dropped)
        if self._acked is not None:
            return self._acked
        found = self._next()
        return found[0] if found else None

    def pop(self) -> None:
        """What `peek` gave is out."""
        if self._dropped:
            self._dropped = 0
        elif self._acked is not None:
            self._acked = None
        else:
            found = self._next()
            assert found is not None
            frame, source = found
            source.popleft()
            self._bytes -= frame_bytes(frame)
            if source is self._queued:
                self._queued_bytes -= frame_bytes(frame)
                key = frame.conversation, frame.lane
                if self._newest.get(key) == frame.position:
                    del self._newest[key]

    def _next(self) -> tuple[Delivery, deque[Delivery] | deque[Waiting]] | None:
        head = self._queued[0] if self._queued else None
        for lane in LANES:
            waiting = self._lanes[lane]
            if waiting:
                frame, after = waiting[0]
                in_turn = head is None or (
                    head.position > after and (lane != head.lane or head.position > frame.position)
                )
                if in_turn and (self.covered >= after or not self.reading):
                    return frame, waiting
            if head is not None and lane == head.lane:
                return head, self._queued
        return None

    def _keep(self, revise: Callable[[Delivery], Delivery | None]) -> None:
        kept = deque(frame for held in self._queued if (frame := revise(held)) is not None)
        size = sum(map(frame_bytes, kept))
        self._bytes += size - self._queued_bytes
        self._queued, self._queued_bytes = kept, size
        self._newest = {(frame.conversation, frame.lane): frame.position for frame in kept}

    def _make_room(self, size: int, lanes: Iterable[Lane]) -> None:
        """Drop what waits in these lanes, one lane after the other, the oldest first, until so many bytes fit."""
        for lane in lanes:
            waiting = self._lanes[lane]
            while waiting and self._bytes + size > self._budget:
                frame, _ = waiting.popleft()
                self._bytes -= frame_bytes(frame)
                self._drop()

    def _drop(self) -> None:
        self._dropped += 1
        self._count_dropped()


def _revised(held: Delivery, change: Delivery) -> Delivery | None:
    """What is left of a frame after a change to some message."""
    if held.id != change.id or held.position >= change.position:
        return held
    if held.type == "deleted":
        return held  # that it was hidden from this receiver stays true, whatever the others are shown
    if held.type == "recalled" and change.type == "edited":
        return held  # older news: it was read from a commit not made known yet, and nobody edits what is recalled
    if change.type == "deleted":
        return None
    type = "recalled" if change.type == "recalled" else held.type
    return msgspec.structs.replace(
        held, type=type, body=change.body, format=change.format, by=change.by if type != "message" else ""
    )
