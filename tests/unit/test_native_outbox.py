"""The outbox and the direct way past it: which is taken when, and that nothing overtakes anything."""

import json
from collections import deque

import trio
from hypothesis import given
from hypothesis import strategies as st

from postroom.core import Delivery
from postroom.transports.native.encode import Memo, encode_delivery
from postroom.transports.native.outbox import CHUNK_BYTES, OUTBOX_BYTES_MAX, Chunk, Outbox
from tests.support.native import message


class Wire:
    """A socket that takes as many frames at once as it is told."""

    def __init__(self, takes: int = 0) -> None:
        self.takes = takes
        self.tried = 0
        self.sent: list[bytes] = []

    def hand_over(self, frame: bytes) -> bool:
        """Take a frame, or not."""
        self.tried += 1
        if self.takes == 0:
            return False
        self.takes -= 1
        self.sent.append(frame)
        return True


def outbox(wire: Wire) -> Outbox:
    """An empty one."""
    return Outbox(Memo(), lambda reason: None, wire.hand_over)


def ids(frames: list[bytes]) -> list[int]:
    """Of message frames."""
    return [int(json.loads(frame)["id"]) for frame in frames]


async def test_a_delivery_goes_straight_to_the_socket_if_nothing_waits() -> None:
    wire = Wire(2)
    box = outbox(wire)
    assert box.offer(message(1))
    assert box.offer(message(2))
    assert wire.sent == [encode_delivery(message(1)), encode_delivery(message(2))]
    assert box._bytes == 0
    assert not box._items


async def test_what_the_socket_refuses_waits_and_what_follows_is_not_even_tried() -> None:
    wire = Wire(1)
    box = outbox(wire)
    for number in (1, 2):
        assert box.offer(message(number))
    wire.takes = 9
    assert box.offer(message(3))
    assert (wire.tried, ids(wire.sent)) == (2, [1])
    assert ids((await box.take()).frames) == [2, 3]


async def test_nothing_overtakes_a_chunk_that_is_being_sent() -> None:
    wire = Wire()
    box = outbox(wire)
    assert box.offer(message(1))
    chunk = await box.take()
    wire.takes = 9
    assert box.offer(message(2))
    assert wire.sent == []
    assert not box.sent(chunk)
    assert box.offer(message(3))  # 2 still waits
    assert wire.sent == []
    chunk = await box.take()
    assert ids(chunk.frames) == [2, 3]
    box.sent(chunk)
    assert box.offer(message(4))
    assert ids(wire.sent) == [4]


async def test_answers_and_the_welcome_are_not_overtaken_either() -> None:
    wire = Wire(9)
    box = outbox(wire)
    box.welcome(b"welcome")
    assert box.offer(message(1))
    box.answer(b"answer")
    assert box.offer(message(2))
    chunk = await box.take()
    assert (chunk.frames[0], chunk.frames[2]) == (b"welcome", b"answer")
    assert ids([chunk.frames[1], chunk.frames[3]]) == [1, 2]
    assert wire.tried == 0


async def test_once_shut_nothing_goes_out_directly() -> None:
    wire = Wire(9)
    box = outbox(wire)
    box.shut()
    assert not box.offer(message(1))
    assert wire.tried == 0


async def test_what_is_sent_directly_takes_no_room() -> None:
    wire = Wire(1_000)
    box = outbox(wire)
    for number in range(1, 1_001):
        assert box.offer(message(number, b"x" * 1_000))
    assert box._bytes == 0
    taken = 0
    while box.offer(message(2_000 + taken, b"x" * 1_000)):
        taken += 1
    assert box._bytes <= OUTBOX_BYTES_MAX < box._bytes + 2_000
    wire.takes = 1
    assert not box.offer(message(5_000, b"x" * 1_000))
    assert wire.takes == 1


class Life:
    """An outbox between a session that keeps what is refused and a socket that is slow."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.box = outbox(self.wire)
        self.came: list[bytes] = []
        """Frames in the order in which the outbox took them."""
        self.waiting: deque[Delivery] = deque()
        self.chunk: Chunk | None = None

    def pump(self) -> None:
        """Offer what waits, until something is refused."""
        while self.waiting and self.box.offer(self.waiting[0]):
            self.came.append(encode_delivery(self.waiting.popleft()))

    def answer(self, number: int) -> None:
        """A command got its answer."""
        frame = b'{"answer":%d}' % number
        self.came.append(frame)
        self.box.answer(frame)

    async def take(self) -> None:
        """The connection's task begins to send."""
        if self.chunk is None and self.box._items:
            self.chunk = await self.box.take()
            assert self.chunk.delivery_bytes <= max(CHUNK_BYTES, *map(len, self.chunk.frames))

    def sent(self) -> None:
        """It has sent."""
        if self.chunk is not None:
            self.wire.sent += self.chunk.frames
            chunk, self.chunk = self.chunk, None
            if self.box.sent(chunk):
                self.pump()

    async def step(self, number: int, what: str, size: int) -> None:
        """Something happens."""
        match what:
            case "offer":
                self.waiting.append(message(number, b"x" * size))
                self.pump()
            case "answer":
                self.answer(number)
            case "take":
                await self.take()
            case "sent":
                self.sent()
            case _:
                self.wire.takes = size


STEPS = st.one_of(
    st.tuples(st.just("offer"), st.integers(0, 2 * CHUNK_BYTES)),
    st.tuples(st.just("socket"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["answer", "take", "sent"]), st.just(0)),
)


@given(steps=st.lists(STEPS, max_size=60))
def test_frames_leave_in_the_order_in_which_they_came(steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        life = Life()
        for number, (what, size) in enumerate(steps, 1):
            await life.step(number, what, size)
            assert life.box._bytes <= OUTBOX_BYTES_MAX + 2 * CHUNK_BYTES + 300  # one frame may be larger than all of it
        life.wire.takes = 0
        while life.box._items or life.chunk or life.waiting:
            await life.take()
            life.sent()
            life.pump()
        assert life.wire.sent == life.came

    trio.run(main)
