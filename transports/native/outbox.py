"""What is on its way to one client: the session's sink on one side, the task that writes to the socket on the other."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import trio

from postroom.core import Delivery
from postroom.core.limits import KIB

from .encode import Memo

OUTBOX_BYTES_MAX: Final = 64 * KIB
"""Deliveries handed over and not yet taken by the socket. Beyond it they stay with the broker, most of them on disk."""
CHUNK_BYTES: Final = 32 * KIB
"""Frames that wait go out as one array up to this size. Half an outbox: one half fills while the other is sent."""

assert 2 * CHUNK_BYTES <= OUTBOX_BYTES_MAX


class _Item(NamedTuple):
    frame: bytes
    is_answer: bool


class Chunk(NamedTuple):
    """What goes out in one WebSocket message."""

    frames: list[bytes]
    delivery_bytes: int
    answers: int

    @property
    def text(self) -> str:
        """One frame as it is, several as an array."""
        return self.frames[0].decode() if len(self.frames) == 1 else (b"[" + b",".join(self.frames) + b"]").decode()


class Outbox:
    """A sink that is bounded in bytes. Deliveries and answers leave in the order in which they came.

    Answers are not bounded here: the gate bounds the commands that they answer.
    """

    def __init__(self, memo: Memo, on_close: Callable[[str], None], hand_over: Callable[[bytes], bool]) -> None:
        """`on_close` is told, at once, when and why the broker ends the session. `hand_over` is offered a delivery before
        anything else, if nothing waits."""
        self._memo = memo
        self._items: deque[_Item] = deque()
        self._bytes = 0
        self._refused = False
        self._filled = trio.Event()
        self._on_close = on_close
        self._hand_over = hand_over
        self._sending = False
        self._closed = False

    def offer(self, delivery: Delivery) -> bool:
        """Take a delivery; False if there is no room, and then `sent` tells when there is again."""
        # A body never gets shorter on the wire, so what cannot fit need not be encoded to find out.
        if self._closed or not self._fits(len(delivery.body)):
            self._refused = True
            return False
        frame = self._memo.encode(delivery)
        if not (self._items or self._sending) and self._hand_over(frame):
            return True
        if not self._fits(len(frame)):
            self._refused = True
            return False
        self._bytes += len(frame)
        self._put(_Item(frame, is_answer=False))
        return True

    def close(self, reason: str) -> None:
        """The broker ends the session."""
        self.shut()
        self._on_close(reason)

    def shut(self) -> None:
        """Take no further delivery: the connection ends. What is here, and answers, may still go out."""
        self._closed = True

    def answer(self, frame: bytes) -> None:
        """Add the answer to a command that entered the gate."""
        self._put(_Item(frame, is_answer=True))

    def welcome(self, frame: bytes) -> None:
        """Put the welcome in front of whatever was offered since the login."""
        self._items.appendleft(_Item(frame, is_answer=False))
        self._bytes += len(frame)
        self._filled.set()

    async def take(self) -> Chunk:
        """Wait for something to send and take it, up to a chunk; a frame larger than that goes alone."""
        while not self._items:
            self._filled = trio.Event()
            await self._filled.wait()
        frames: list[bytes] = []
        size = delivery_bytes = answers = 0
        while self._items and (not frames or size + len(self._items[0].frame) <= CHUNK_BYTES):
            frame, is_answer = self._items.popleft()
            frames.append(frame)
            size += len(frame)
            if is_answer:
                answers += 1
            else:
                delivery_bytes += len(frame)
        self._sending = True
        return Chunk(frames, delivery_bytes, answers)

    def sent(self, chunk: Chunk) -> bool:
        """The socket took a chunk. True if a delivery was refused before and there is room again."""
        self._sending = False
        self._bytes -= chunk.delivery_bytes
        if self._refused and not self._closed and self._bytes <= OUTBOX_BYTES_MAX - CHUNK_BYTES:
            self._refused = False
            return True
        return False

    def _fits(self, size: int) -> bool:
        return self._bytes == 0 or self._bytes + size <= OUTBOX_BYTES_MAX

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self._filled.set()
