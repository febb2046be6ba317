"""Where commands wait for the writer: three lanes with marks, and in front of them whoever waits for a place."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal

import trio

from ..errors import Overloaded, Refusal
from ..lanes import Lanes
from ..limits import (
    BATCH_BYTES_MAX,
    BATCH_ROWS_MAX,
    INBOX_BYTES_MAX,
    INBOX_COMMANDS_MAX,
    INBOX_CONTROL_PERCENT,
    INBOX_MARK_PERCENT,
    INBOX_WAITING_MAX,
    OVERLOADED_RETRY_MS,
)
from ..model import LANES, Lane
from .pending import Pending
from .statistics import Counters

_Door = Lane | Literal["control"]
"""Where one waits: what gives room back does not stand behind messages of its lane that may not enter yet."""

_DOORS: Final[tuple[_Door, ...]] = ("control", *LANES)


class _Turn:
    """Somebody waiting for a place."""

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.entered = False
        self.ended = trio.Event()


class Inbox:
    """The commands taken in and not yet taken on."""

    def __init__(self, deadline_s: float, counters: Counters) -> None:
        self._deadline_s = deadline_s
        self._counters = counters
        self._lanes: Lanes[Pending] = Lanes()
        self._returned: deque[Pending] = deque()
        self._bytes = 0
        self._waiting: dict[_Door, deque[_Turn]] = {door: deque() for door in _DOORS}
        self._closed: Callable[[], Exception] | None = None
        self.arrived = trio.Event()
        """Set when there is something to take."""

    def __len__(self) -> int:
        return self._lanes.count + len(self._returned)

    def enter_at_once(self, pending: Pending) -> bool:
        """Take a command in, if it need not wait for its place."""
        if self._closed is not None or self._waiting[_door(pending)] or not self._fits(pending):
            return False
        self.put(pending)
        return True

    async def enter(self, pending: Pending) -> None:
        """Wait for a place in the command's lane. Raises Overloaded, or why the broker takes nothing.

        Without a wait it does not yield: commands of one caller enter in the order of its calls.
        """
        if self.enter_at_once(pending):
            return
        if self._closed is not None:
            raise self._closed()
        if sum(map(len, self._waiting.values())) >= INBOX_WAITING_MAX:
            raise self._overloaded(pending)
        turn = _Turn(pending)
        waiting = self._waiting[_door(pending)]
        waiting.append(turn)
        try:
            with trio.move_on_after(self._deadline_s):
                await turn.ended.wait()
        except trio.Cancelled:
            pending.withdrawn = True  # its turn may have come in this very moment
            raise
        finally:
            if not turn.ended.is_set():
                waiting.remove(turn)
        if not turn.entered:
            raise self._closed() if self._closed is not None else self._overloaded(pending)

    def put(self, pending: Pending) -> None:
        """Take in regardless of marks: for what must never be refused and cannot be many (logouts, sweeping)."""
        self._lanes.push(pending.lane, pending.command.app, pending)
        self._bytes += pending.size
        self.arrived.set()

    def take(self) -> list[Pending]:
        """The next batch: in lane order, up to its bounds of rows and bytes."""
        batch: list[Pending] = []
        rows = size = 0
        for _ in range(len(self)):
            if rows >= BATCH_ROWS_MAX or size >= BATCH_BYTES_MAX:
                break
            if self._returned:
                pending = self._returned.popleft()
            else:
                pending = self._lanes.pop()
                self._bytes -= pending.size
            if pending.withdrawn:
                continue
            batch.append(pending)
            rows += pending.rows
            size += pending.size
        self._admit()
        return batch

    def put_back(self, batch: list[Pending]) -> None:
        """What a batch had no room for comes first again."""
        self._returned.extendleft(reversed(batch))
        if batch:
            self.arrived.set()

    @property
    def returned(self) -> Sequence[Pending]:
        """What was put back and comes first again."""
        return self._returned

    def close(self, why: Callable[[], Exception]) -> None:
        """Take nothing in any more; whoever waits for a place, and whoever comes, is told why."""
        self._closed = why
        for waiting in self._waiting.values():
            for turn in waiting:
                turn.ended.set()
            waiting.clear()

    def empty(self) -> list[Pending]:
        """Everything in it, when nothing will be taken on any more."""
        left = list(self._returned)
        self._returned.clear()
        while self._lanes.count:
            left.append(self._lanes.pop())
        return left

    def _fits(self, pending: Pending) -> bool:
        percent = INBOX_CONTROL_PERCENT if pending.control else INBOX_MARK_PERCENT[pending.lane]
        return (
            len(self) * 100 < INBOX_COMMANDS_MAX * percent
            and (self._bytes + pending.size) * 100 <= INBOX_BYTES_MAX * percent
        )

    def _admit(self) -> None:
        for waiting in self._waiting.values():
            while waiting and self._fits(waiting[0].pending):
                turn = waiting.popleft()
                turn.entered = True
                turn.ended.set()
                self.put(turn.pending)

    def _overloaded(self, pending: Pending) -> Refusal:
        self._counters.shed[pending.command.app, pending.lane] += 1
        return Overloaded(f"the {pending.lane} lane is full", retry_after_ms=OVERLOADED_RETRY_MS)


def _door(pending: Pending) -> _Door:
    return "control" if pending.control else pending.lane
