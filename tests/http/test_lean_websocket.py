"""The WebSockets of the lean host, byte by byte: what RFC 6455 asks of a server, and what no client may make it hold."""

import logging
import struct
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from postroom.transports.http.lean.gathering import FLUSHES_AT_ONCE_MAX, Gathering
from postroom.transports.http.lean.settings import MESSAGE_BYTES
from postroom.transports.http.lean.stream import Stream
from postroom.transports.http.lean.websocket import GATHERED_BYTES_MAX, OUT_FRAMES_MAX, LeanSocket
from postroom.transports.http.websocket import Socket
from tests.support.lean import (
    BINARY,
    CLOSE,
    CONTINUE,
    PING,
    PONG,
    TEXT,
    Frame,
    Hosted,
    Peer,
    echo,
    frame,
    hosting,
    opening,
)

KIB = 1024


@pytest.fixture
async def hosted() -> AsyncIterator[Hosted]:
    """A host that says everything back."""
    async with hosting(echo) as host:
        yield host


@pytest.fixture
async def peer(hosted: Hosted) -> AsyncIterator[Peer]:
    """An open connection to it."""
    async with hosted.peer() as one:
        await one.open()
        yield one


def text(payload: str) -> Frame:
    """A server's whole text message."""
    return Frame(TEXT, payload.encode())


# The opening.


async def test_an_opening_as_the_rfc_has_it(hosted: Hosted) -> None:
    async with hosted.peer() as peer:
        head = await peer.open(headers={"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert "sec-websocket-protocol" not in head.lower()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"Sec-WebSocket-Version": None}, 400),
        ("/", {"Sec-WebSocket-Version": "8"}, 426),
        ("/", {"Sec-WebSocket-Key": None}, 400),
        ("/", {"Sec-WebSocket-Key": ""}, 400),
        ("/", {"Sec-WebSocket-Key": "short"}, 400),
        ("/", {"Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1"}, 400),
        ("/", {"Host": "\xff\xfe"}, 400),
        ("/", {"Sec-WebSocket-Protocol": "caf\xe9"}, 400),
        ("/", {"Host": None}, 400),
        ("/nowhere", {}, 404),
        ("/?x=%ff", {}, 400),
        ("/", {"Upgrade": "h2c"}, 404),
        ("/", {"Connection": "keep-alive"}, 404),
    ],
)
async def test_openings_that_are_answered_instead(
    hosted: Hosted,
    path: str,
    headers: dict[str, str | None],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hosted.peer() as peer:
        await peer.say(opening(path, headers))
        head = await peer.head()
        assert int(head.split()[1]) == status
        for line in ("Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: close, Upgrade"):
            assert (line in head) == (status == 426)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
async def test_other_methods_are_plain_requests(hosted: Hosted, method: str) -> None:
    async with hosted.peer() as peer:
        await peer.say(opening(method=method))
        assert " 404 " in (await peer.head()).split("\r\n")[0]


@pytest.mark.parametrize(
    "offer",
    [
        "Sec-WebSocket-Protocol: b\r\n",
        "Sec-WebSocket-Protocol: a, b,c\r\n",
        "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n",
    ],
)
async def test_subprotocols_are_one_list(offer: str) -> None:
    async def serve(one: Socket) -> None:
        assert "b" in one.headers["sec-websocket-protocol"].split(", ")
        await one.accept("b")
        await one.receive()

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.say(opening()[:-2] + offer.encode() + b"\r\n")
        head = (await peer.head()).lower()
        assert head.startswith("http/1.1 101 ")
        assert "\r\nsec-websocket-protocol: b" in head


async def test_compression_is_offered_and_not_accepted(hosted: Hosted) -> None:
    async with hosted.peer() as peer:
        head = await peer.open(headers={"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-y"})
        assert "extensions" not in head.lower()
        await peer.say(frame(TEXT, b"\x00", reserved=4))
        assert await peer.close_code() == 1002


async def test_what_comes_with_the_opening_is_not_lost(hosted: Hosted) -> None:
    async with hosted.peer() as peer:
        await peer.open(then=frame(TEXT, b"one") + frame(TEXT, b"two") + frame(TEXT, b"thr")[:5])
        await peer.say(frame(TEXT, b"thr")[5:])
        assert [await peer.frame() for _ in range(3)] == [text("one"), text("two"), text("thr")]


async def test_a_session_that_decides_nothing_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(one: Socket) -> None:
        raise ZeroDivisionError

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.say(opening())
        assert " 500 " in (await peer.head()).split("\r\n")[0]
        assert await peer.frame() is None
    assert "incident" in caplog.text


async def test_a_session_that_fails_or_just_ends_closes_with_1011() -> None:
    async def serve(one: Socket) -> None:
        await one.accept(None)

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.open()
        assert await peer.frame() == Frame(CLOSE, b"\x03\xf3")
        await peer.say(frame(CLOSE, b"\x03\xf3"))
        assert await peer.rest() == []


# Messages.


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
async def test_any_size_there_and_back(hosted: Hosted, size: int) -> None:
    said = ("é☃😀x" * size)[:size]

    def talk() -> tuple[str | bytes, str | bytes]:
        with connect(f"ws://127.0.0.1:{hosted.port}/", max_size=None, compression="deflate") as client:
            assert client.protocol.extensions == []
            client.send(said)
            first = client.recv(20)
            client.send(said.encode())
            return first, client.recv(20)

    assert await trio.to_thread.run_sync(talk) == (said, said.encode().hex())


async def test_fragments_with_control_frames_in_between(peer: Peer) -> None:
    await peer.say(
        frame(TEXT, b"", fin=False),
        frame(CONTINUE, "é".encode()[:1], fin=False),
        frame(PING, b"still there?"),
        frame(PONG, b"nobody asked"),
        frame(CONTINUE, "é".encode()[1:] + b"t", fin=False),
        frame(CONTINUE, b"", fin=False),
        frame(PING),
        frame(CONTINUE, "é".encode()),
        frame(BINARY, b"\x00", fin=False),
        frame(CONTINUE, b"\xff"),
    )
    got = [await peer.frame() for _ in range(4)]
    assert got == [Frame(PONG, b"still there?"), Frame(PONG, b""), text("été"), text("00ff")]


async def test_every_split_of_a_conversation(hosted: Hosted) -> None:
    said = (
        frame(TEXT, "né☃".encode(), fin=False)
        + frame(PING, b"p")
        + frame(CONTINUE, b"x" * 130)
        + frame(CLOSE, b"\x03\xe8bye")
    )
    heard = [Frame(PONG, b"p"), text("né☃" + "x" * 130), Frame(CLOSE, b"\x03\xe8bye")]
    for at in range(1, len(said)):
        async with hosted.peer() as peer:
            peer.stream.setsockopt(6, 1, 1)  # TCP_NODELAY: each part is a segment
            await peer.open()
            await peer.say(said[:at])
            await trio.lowlevel.checkpoint()
            await peer.say(said[at:])
            assert await peer.rest() == heard


async def test_one_byte_at_a_time(peer: Peer) -> None:
    for byte in frame(TEXT, b"slow", fin=False) + frame(PING, b"?") + frame(CONTINUE, b"ly" * 100):
        await peer.say(bytes((byte,)))
    assert [await peer.frame(), await peer.frame()] == [Frame(PONG, b"?"), text("slow" + "ly" * 100)]


@given(
    parts=st.lists(st.tuples(st.binary(max_size=300), st.booleans()), min_size=1, max_size=8),
    mask=st.binary(min_size=4, max_size=4),
)
@settings(max_examples=30)
def test_a_binary_message_in_any_parts(parts: list[tuple[bytes, bool]], mask: bytes) -> None:
    async def main() -> None:
        async with hosting(echo) as hosted, hosted.peer() as peer:
            await peer.open()
            pings = 0
            for index, (part, ping) in enumerate(parts):
                await peer.say(frame(CONTINUE if index else BINARY, part, fin=index == len(parts) - 1, mask=mask))
                if ping and index < len(parts) - 1:
                    pings += 1
                    await peer.say(frame(PING, part[:125], mask=mask))
            heard = [await peer.frame() for _ in range(pings + 1)]
            assert heard[-1] == text(b"".join(part for part, _ in parts).hex())
            assert {one.opcode for one in heard[:-1] if one} <= {PONG}

    trio.run(main)


# What breaks the protocol.

BROKEN = {
    "unmasked": frame(TEXT, b"hi", mask=None),
    "an unmasked ping": frame(PING, b"hi", mask=None),
    "reserved bit 1": frame(TEXT, b"hi", reserved=4),
    "reserved bit 2": frame(TEXT, b"hi", reserved=2),
    "reserved bit 3": frame(BINARY, b"hi", reserved=1),
    "reserved in a control frame": frame(PING, b"hi", reserved=4),
    "opcode 3": frame(3, b"hi"),
    "opcode 7": frame(7),
    "opcode 11": frame(11),
    "opcode 15": frame(15, b"hi"),
    "a ping too long": frame(PING, b"x" * 126),
    "a close too long": frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "a fragmented ping": frame(PING, b"x", fin=False),
    "a continuation of nothing": frame(CONTINUE, b"hi"),
    "a message within a message": frame(TEXT, b"hi", fin=False) + frame(TEXT, b"ho"),
    "a length in too many bytes": b"\x81\xfe\x00\x05abcdhello",
    "a length in far too many bytes": b"\x81\xff" + struct.pack("!Q", 5) + b"abcdhello",
    "a length of 2**63": b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"abcd",
    "a close of one byte": frame(CLOSE, b"\x03"),
    "HTTP": opening(),
}


@pytest.mark.parametrize("broken", list(BROKEN))
@pytest.mark.parametrize("after", [b"", frame(TEXT, b"unheard") * 1_000])
async def test_what_breaks_the_protocol_is_told_1002(peer: Peer, broken: str, after: bytes) -> None:
    await peer.say(frame(TEXT, b"fine"), BROKEN[broken], after)
    assert await peer.frame() == text("fine")
    assert await peer.close_code() == 1002


@pytest.mark.parametrize(
    "said",
    [
        frame(TEXT, b"\xff"),
        frame(TEXT, b"a\xc0\xaf"),  # longer than need be
        frame(TEXT, b"\xed\xa0\x80"),  # half of a surrogate pair
        frame(TEXT, b"\xf4\x90\x80\x80"),  # past the last code point
        frame(TEXT, "é".encode()[:1]),
        frame(TEXT, "☃".encode()[:2], fin=False) + frame(CONTINUE, b"x"),
        frame(TEXT, "☃".encode()[:2], fin=False) + frame(PING) + frame(CONTINUE, b""),
        frame(TEXT, b"ok", fin=False) + frame(CONTINUE, b"\xf0\x9f", fin=False) + frame(CONTINUE, b"\x98\x00"),
        frame(CLOSE, b"\x03\xe8\xff"),
    ],
)
async def test_text_that_is_not_utf_8_is_told_1007(peer: Peer, said: bytes) -> None:
    await peer.say(said)
    frames = [one for one in await peer.rest() if one.opcode != PONG]
    assert frames == [Frame(CLOSE, struct.pack("!H", 1007))]


# The end.


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999]
)
async def test_a_close_is_answered_in_kind(peer: Peer, code: int) -> None:
    said = struct.pack("!H", code) + "fini é".encode()
    await peer.say(frame(CLOSE, said), frame(TEXT, b"unheard"))
    assert await peer.rest() == [Frame(CLOSE, said)]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
async def test_a_code_that_nobody_may_send_is_told_1002(peer: Peer, code: int) -> None:
    await peer.say(frame(CLOSE, struct.pack("!H", code)))
    assert await peer.close_code() == 1002


async def test_a_close_without_a_code(peer: Peer) -> None:
    await peer.say(frame(CLOSE))
    assert await peer.close_code() is None


async def test_closing_from_this_side_waits_for_the_answer_and_hears_nothing_more() -> None:
    heard: list[object] = []

    async def serve(one: Socket) -> None:
        await one.accept(None)
        heard.append(await one.receive())
        await one.close(4321, "enough " * 30)
        heard.append(await one.receive())
        await one.send("too late")
        assert not one.hand_over(b"too late")
        await one.close(1000, "")

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.open()
        await peer.say(frame(TEXT, b"first"))
        closing = await peer.frame()
        assert closing is not None
        assert (closing.opcode, closing.payload[:2], len(closing.payload)) == (CLOSE, struct.pack("!H", 4321), 125)
        await peer.say(frame(TEXT, b"unheard"), frame(PING, b"x"), frame(CLOSE, closing.payload[:2]))
        assert await peer.rest() == []
    assert heard == ["first", None]


async def test_closing_while_somebody_receives_ends_that() -> None:
    heard: list[object] = []

    async def serve(one: Socket) -> None:
        async def receive() -> None:
            heard.append(await one.receive())

        await one.accept(None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await one.close(1000, "")

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.open()
        assert await peer.frame() == Frame(CLOSE, b"\x03\xe8")
        await peer.say(frame(CLOSE, b"\x03\xe8"))
        assert await peer.rest() == []
    assert heard == [None]


async def test_both_close_at_once() -> None:
    async def serve(one: Socket) -> None:
        await one.accept(None)
        await one.close(1000, "")

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.open(then=frame(CLOSE, b"\x03\xe9"))
        assert await peer.rest() == [Frame(CLOSE, b"\x03\xe8")]


async def test_who_does_not_answer_a_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.transports.http.lean.websocket.CLOSE_S", 0.05)

    async def serve(one: Socket) -> None:
        await one.accept(None)
        await one.close(1000, "")

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.open()
        assert await peer.rest() == [Frame(CLOSE, b"\x03\xe8")]


async def test_nothing_follows_a_close_that_waits_for_a_slow_client() -> None:
    begun, chunk = trio.Event(), "x" * 200_000

    async def serve(one: Socket) -> None:
        await one.accept(None)
        assert one.hand_over(chunk.encode())
        begun.set()
        assert await one.receive() is None
        await one.send("too late")

    async with hosting(serve, send_buffer=4_096) as hosted, hosted.peer(receive_buffer=4_096) as peer:
        await peer.open(then=frame(CLOSE, b"\x03\xe8"))
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        (one,) = hosted.sockets
        assert not one.hand_over(b"too late")
        one.ping()
        await one.send("too late")
        assert await peer.rest() == [text(chunk), Frame(CLOSE, b"\x03\xe8")]


async def test_a_client_that_only_stops_sending_has_left(peer: Peer, hosted: Hosted) -> None:
    await peer.say(frame(TEXT, b"last"))
    assert await peer.frame() == text("last")
    await peer.stream.send_eof()
    assert await peer.rest() == []
    with trio.fail_after(5):
        await hosted.serving.wait_idle()


@pytest.mark.parametrize("said", [b"", frame(TEXT, b"x" * 100, fin=False), frame(TEXT, b"half")[:7]])
async def test_a_reset_ends_the_session(hosted: Hosted, said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with hosted.peer() as peer:
        await peer.open()
        await peer.say(said)
        peer.stream.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: closing resets
    with trio.fail_after(5):
        await hosted.serving.wait_idle()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# What a client may make the server hold.


@pytest.mark.parametrize("part", [1_000, 7, 1])
@pytest.mark.parametrize("letter", ["x", "é", "☃"])
async def test_a_message_of_exactly_the_limit_and_one_byte_more(
    monkeypatch: pytest.MonkeyPatch, hosted: Hosted, part: int, letter: str
) -> None:
    monkeypatch.setattr("postroom.transports.http.lean.websocket.MESSAGE_BYTES", 999)
    monkeypatch.setattr("postroom.transports.http.lean.websocket.RECEIVE_BYTES", 99)
    whole = (letter * 999).encode()[:999] if letter != "é" else ("é" * 499 + "x").encode()
    for more in (b"", b"x"):
        data = whole + more
        parts = [data[at : at + part] for at in range(0, len(data), part)]
        frames = [
            frame(CONTINUE if index else TEXT, one, fin=index == len(parts) - 1) for index, one in enumerate(parts)
        ]
        async with hosted.peer() as peer:
            await peer.open()
            await peer.say(*frames)
            answer = await peer.frame()
            assert answer == (Frame(CLOSE, struct.pack("!H", 1009)) if more else text(data.decode()))


async def test_the_real_limit(hosted: Hosted) -> None:
    async with hosted.peer() as peer:
        await peer.open()
        await peer.say(frame(TEXT, b"x" * MESSAGE_BYTES, mask=bytes(4)))
        answer = await peer.frame()
        assert answer is not None
        assert len(answer.payload) == MESSAGE_BYTES
        await peer.say(frame(TEXT, b"x" * (MESSAGE_BYTES + 1), mask=bytes(4)))
        assert await peer.frame() == Frame(CLOSE, struct.pack("!H", 1009))
        await peer.say(frame(CLOSE, struct.pack("!H", 1009)))
        assert await peer.rest() == []


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_frame_of_2_to_62_bytes_allocates_nothing_and_ends_at_the_limit(peer: Peer, opcode: int) -> None:
    await peer.say(frame(opcode, b"", mask=bytes(4), announced=1 << 62))
    tracemalloc.start()
    try:
        await trio.testing.wait_all_tasks_blocked(0.01)
        tracemalloc.reset_peak()
        part = b"x" * 64 * KIB
        for _ in range(2 * MESSAGE_BYTES // len(part)):
            await peer.say(part)
        assert await peer.frame() == Frame(CLOSE, struct.pack("!H", 1009))
        # What was collected, which grows by an eighth too much and moves as it grows, and what is read at a time.
        assert tracemalloc.get_traced_memory()[1] < 3 * MESSAGE_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("part", [b"", b"x", b"xy"])
async def test_a_message_in_ever_so_small_parts_holds_no_more_than_its_bytes(peer: Peer, part: bytes) -> None:
    await peer.say(frame(TEXT, b"", fin=False))
    frames = frame(CONTINUE, part, fin=False) * 1_000
    await peer.say(frames)
    await peer.say(frame(PING))
    assert await peer.frame() == Frame(PONG, b"")
    tracemalloc.start()
    try:
        for _ in range(5):
            await peer.say(frames)
        await peer.say(frame(PING))
        assert await peer.frame() == Frame(PONG, b"")
        assert tracemalloc.get_traced_memory()[0] < 128 * KIB
    finally:
        tracemalloc.stop()


async def test_what_comes_after_a_broken_frame_is_not_kept(peer: Peer) -> None:
    tracemalloc.start()
    try:
        await peer.say(frame(3))
        with trio.move_on_after(5):
            try:
                for _ in range(1_000):
                    await peer.say(b"x" * 64 * KIB)
            except trio.BrokenResourceError:
                pass
        assert tracemalloc.get_traced_memory()[1] < MESSAGE_BYTES
    finally:
        tracemalloc.stop()


async def test_a_flood_of_pings_that_reads_no_pongs_stays_bounded() -> None:
    async with hosting(echo, send_buffer=4_096) as hosted, hosted.peer(receive_buffer=4_096) as peer:
        await peer.open()
        pings = frame(PING, b"p" * 125) * 100
        for _ in range(100):
            await peer.say(pings)
        await trio.testing.wait_all_tasks_blocked(0.05)
        (one,) = hosted.sockets
        assert 0 < len(one._out) <= OUT_FRAMES_MAX
        for _ in range(10):
            one.ping()
        assert len(one._out) <= OUT_FRAMES_MAX
        async with hosted.peer() as other:
            await other.open()
            await other.say(frame(TEXT, b"hi"))
            assert await other.frame() == text("hi")


async def test_who_sends_without_pause_lets_others_in_between(hosted: Hosted) -> None:
    """A read holds ten thousand frames of a few bytes; another's turn comes before they are all handled."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with hosted.peer() as peer:
        await peer.open()
        (one,) = hosted.sockets
        assert one._protocol is not None
        one._protocol.receive_data(frame(PONG) * 10_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await peer.say(frame(TEXT, b"done"))
            assert await peer.frame() == text("done")
            nursery.cancel_scope.cancel()
    assert turns > 100


# Heartbeats.


async def test_pings_come_and_a_pong_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.transports.http.lean.settings.QUIET_S", 0.5)
    async with hosting(echo, heartbeat_s=0.05) as hosted, hosted.peer() as silent, hosted.peer() as alive:
        await silent.open()
        await alive.open()
        silent.sees_pings = alive.sees_pings = True
        begun = trio.current_time()
        while trio.current_time() - begun < 1.5:
            assert await alive.frame() == Frame(PING, b"")
            await alive.say(frame(PONG))
        frames = await silent.rest()
        assert len(frames) >= 2
        assert set(frames) == {Frame(PING, b"")}
        await alive.say(frame(TEXT, b"still here"))
        while (heard := await alive.frame()) == Frame(PING, b""):
            pass
        assert heard == text("still here")


# What the system does not take.


async def test_direct_and_waiting_frames_keep_their_order() -> None:
    """A direct frame is refused while anything waits, whatever waits."""
    said: list[str] = []

    async def serve(one: Socket) -> None:
        await one.accept(None)
        for number in range(2_000):
            message = f"{number} " + "x" * (number * 37 % 3_000)
            said.append(message)
            if not one.hand_over(message.encode()):
                await one.send(message)
        await one.close(1000, "")

    async with hosting(serve, send_buffer=4_096) as hosted, hosted.peer(receive_buffer=4_096) as peer:
        await peer.open()
        for number in range(2_000):
            heard = await peer.frame()
            assert heard is not None
            assert heard.payload.startswith(b"%d " % number)
            assert heard.payload.decode() == said[number]
        assert await peer.frame() == Frame(CLOSE, b"\x03\xe8")


async def test_a_frame_of_which_a_part_was_taken_is_finished_first_and_shared() -> None:
    opened, done = trio.Event(), trio.Event()

    async def serve(one: Socket) -> None:
        await one.accept(None)
        opened.set()
        await done.wait()

    payload = b"y" * 300_000
    async with hosting(serve, send_buffer=4_096) as hosted, hosted.peer(receive_buffer=4_096) as first:
        await first.open()
        async with hosted.peer(receive_buffer=4_096) as second:
            await second.open()
            await opened.wait()
            one, other = hosted.sockets
            assert one.hand_over(payload)
            assert other.hand_over(payload)
            assert not one.hand_over(b"next")
            await trio.testing.wait_all_tasks_blocked()
            assert one._out[0].obj is other._out[0].obj  # one copy, however many sessions are left with it
            one.ping()
            first.sees_pings = True
            assert await first.frame() == Frame(TEXT, payload)
            assert await first.frame() == Frame(PING, b"")
            assert one.hand_over(b"next")
            assert await first.frame() == text("next")
            done.set()


# What gathers within a turn.


@contextmanager
def writes_counted() -> Iterator[list[bytes]]:
    """What the hosts' streams are given to write at once."""
    written: list[bytes] = []
    plain = Stream.send_now

    def send_now(self: Stream, data: bytes) -> int:
        written.append(bytes(data))
        return plain(self, data)

    with mock.patch.object(Stream, "send_now", send_now):
        yield written


async def test_frames_of_a_turn_leave_in_one_write_each_socket() -> None:
    opened, done = trio.Event(), trio.Event()

    async def serve(one: Socket) -> None:
        await one.accept(None)
        opened.set()
        await done.wait()

    async with hosting(serve) as hosted, hosted.peer() as first, hosted.peer() as second:
        await first.open()
        await second.open()
        await trio.testing.wait_all_tasks_blocked(0.01)
        with writes_counted() as written:
            for payload in (b"1", b"2", b"3"):
                for one in hosted.sockets:
                    assert one.hand_over(payload)
            assert written == []  # not before the turn is over
            for peer in (first, second):
                assert [await peer.frame() for _ in range(3)] == [text("1"), text("2"), text("3")]
            together = b"".join(frame(TEXT, payload, mask=None) for payload in (b"1", b"2", b"3"))
            assert written == [together] * 2
        done.set()


async def test_what_gathered_goes_before_whatever_follows_it() -> None:
    done = trio.Event()

    async def serve(one: Socket) -> None:
        await one.accept(None)
        assert one.hand_over(b"1")
        assert isinstance(one, LeanSocket)
        one.ping()
        assert one.hand_over(b"2")
        await one.send("3")
        assert one.hand_over(b"4")
        await one.close(1000, "")
        done.set()

    async with hosting(serve) as hosted, hosted.peer() as peer:
        await peer.open()
        peer.sees_pings = True
        heard = [await peer.frame() for _ in range(6)]
        assert heard == [text("1"), Frame(PING, b""), text("2"), text("3"), text("4"), Frame(CLOSE, b"\x03\xe8")]


async def test_much_of_a_turn_goes_out_early_and_a_slow_client_is_kept_little() -> None:
    taken = 0
    done = trio.Event()

    async def serve(one: Socket) -> None:
        nonlocal taken
        await one.accept(None)
        while one.hand_over(b"%06d" % taken + b"x" * 994):
            taken += 1
        assert isinstance(one, LeanSocket)
        assert sum(map(len, one._out)) <= GATHERED_BYTES_MAX
        done.set()
        assert await one.receive() is None

    async with hosting(serve, send_buffer=4_096) as hosted, hosted.peer(receive_buffer=4_096) as peer:
        await peer.open()
        await done.wait()
        for number in range(taken):
            heard = await peer.frame()
            assert heard is not None
            assert heard.payload.startswith(b"%06d" % number)


async def test_a_flush_that_fails_costs_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async with hosting(echo) as hosted, hosted.peer() as first, hosted.peer() as second:
        for peer in (first, second):
            await peer.open()
            await peer.say(frame(TEXT, b"here"))
            assert await peer.frame() == text("here")
        one, other = hosted.sockets
        with mock.patch.object(one, "flush", side_effect=MemoryError):
            assert one.hand_over(b"1")
            assert other.hand_over(b"2")
            assert await first.rest() == []
        assert await second.frame() == text("2")
    assert "flush-failed" in caplog.text


async def test_a_turn_with_many_sockets_lets_others_in_between() -> None:
    gathering = Gathering()
    flushed: list[object] = []
    seen: list[int] = []

    class One:
        def flush(self) -> None:
            flushed.append(self)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(gathering.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2 * FLUSHES_AT_ONCE_MAX + 1):
            gathering.add(One())
        while len(flushed) <= 2 * FLUSHES_AT_ONCE_MAX:
            await trio.lowlevel.checkpoint()
            seen.append(len(flushed))
        assert {FLUSHES_AT_ONCE_MAX, 2 * FLUSHES_AT_ONCE_MAX} & set(seen)
        nursery.cancel_scope.cancel()
