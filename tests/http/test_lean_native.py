"""Native sessions on the lean host: what the socket does not take at once, and clients that read slowly or never."""

import json
import struct
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from unittest import mock

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.core import Delivery, SendMessage, peer, room
from postroom.transports.http.lean.websocket import LeanSocket
from postroom.transports.http.websocket import Socket
from postroom.transports.native.outbox import CHUNK_BYTES, OUTBOX_BYTES_MAX, Outbox
from postroom.transports.native.session import serve_session
from tests.support.lean import (
    CLOSE,
    OFFER,
    PING,
    TEXT,
    Peer,
    deaf,
    dropped_for,
    frame,
    frames_of,
    hosting,
    opening,
    small_send_buffers,
)
from tests.support.native import WELCOME, FakeBroker, message, service
from tests.support.native import token as fake_token
from tests.support.native_client import token
from tests.support.serving import Served, config_of, serving
from tests.support.web import APP
from tests.support.websocket import websocket


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server on the lean host alone."""
    async with serving(hosts=("h11",)) as server:
        yield server


# The opening.


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/connect", OFFER, 401),
        ("/v1/connect?token=nonsense", OFFER, 401),
        (f"/v1/connect?token={token('bob', 'x' * 32)}", OFFER, 401),
        ("/v1/connect?token=%ff", OFFER, 400),
        (f"/v1/connect?token={token('bob')}", {}, 400),
        (f"/v1/connect?token={token('bob')}", {"Sec-WebSocket-Protocol": "postroom.v9"}, 400),
        (f"/v1/connect?token={token('bob')}", OFFER | {"Sec-WebSocket-Key": "x"}, 400),
        (f"/v1/connected?token={token('bob')}", OFFER, 404),
    ],
)
async def test_who_is_answered_before_the_upgrade(
    served: Served, path: str, headers: dict[str, str | None], status: int
) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        one = Peer(stream)
        await one.say(opening(path, headers))
        assert int((await one.head()).split()[1]) == status


async def test_what_comes_with_the_opening_is_answered(served: Served) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        one = Peer(stream)
        asked = frame(TEXT, b'{"type":"join","ref":1,"room":"r1"}')
        await one.open(f"/v1/connect?token={token('bob')}", OFFER, then=asked)
        heard = frames_of(await one.frame())
        while len(heard) < 2:
            heard += frames_of(await one.frame())
        assert [each["type"] for each in heard] == ["welcome", "ok"]


async def test_a_client_of_wsproto(served: Served) -> None:
    async with websocket(served.port, f"/v1/connect?token={token('bob')}") as bob:
        assert (await bob.frame())["type"] == "welcome"
        await bob.say({"type": "join", "ref": 1, "room": "r1"})
        assert (await bob.frame())["type"] == "ok"
        await bob.say({"type": "send", "ref": 2, "to": {"kind": "peer", "id": "bob"}, "payload": "é" * 70_000})
        heard = [await bob.frame(), await bob.frame()]
        assert {each["type"] for each in heard} == {"ok", "message"}
        await bob.say("no frame")
        assert await bob.frame() is None
        assert bob.close_code == 4400


# Slow clients.


async def test_frames_gather_into_arrays_and_what_has_no_room_stays_on_disk(served: Served) -> None:
    sent = SendMessage(app=APP.name, sender="alice", to=peer("bob"), body=b"x" * 2_000, queue=True)
    outboxes: list[Outbox] = []
    made = Outbox.__init__

    def noted(self: Outbox, *args: Any) -> None:
        outboxes.append(self)
        made(self, *args)

    with mock.patch.object(Outbox, "__init__", noted):
        async with deaf(served, "bob") as bob:
            count = 0
            (outbox,) = outboxes
            while not outbox._refused and count < 20_000:
                await served.broker.submit_many([sent] * 100)
                count += 100
                assert outbox._bytes <= OUTBOX_BYTES_MAX
            assert outbox._refused, "the kernel took it all"
            heard: list[dict[str, Any]] = []
            longest = 0
            while len(heard) < count:
                one = await bob.frame()
                heard += frames_of(one)
                longest = max(longest, len(frames_of(one)))
                assert len(one.payload if one else b"") <= CHUNK_BYTES + 100
    assert [each["seq"] for each in heard] == list(range(1, count + 1))
    assert longest > 5


async def test_a_room_drops_for_who_does_not_read_and_says_so() -> None:
    async with serving(hosts=("h11",)) as served, deaf(served, "bob") as bob:
        await bob.say(frame(TEXT, b'{"type":"join","ref":1,"room":"r1"}'))
        assert frames_of(await bob.frame())[0]["type"] == "ok"
        count = 0
        while not dropped_for(served) and count < 20_000:
            said = [
                SendMessage(app=APP.name, sender="alice", to=room("r1"), body=b"%d " % (count + n) + b"x" * 20_000)
                for n in range(20)
            ]
            await served.broker.submit_many(said)
            count += 20
        heard: list[str] = []
        dropped = 0
        while len(heard) + dropped < count:
            for each in frames_of(await bob.frame()):
                if each["type"] == "dropped":
                    dropped += each["count"]
                else:
                    heard.append(each["payload"].split()[0])
        assert dropped > 0
        assert heard == [str(number) for number in range(len(heard))]  # what finds no room is the newest


async def test_a_stuck_client_is_closed_with_4508() -> None:
    closing, closed = trio.Event(), LeanSocket.close

    async def close(self: LeanSocket, code: int, reason: str) -> None:
        closing.set()
        await closed(self, code, reason)

    sent = SendMessage(app=APP.name, sender="alice", to=peer("bob"), body=b"x" * 20_000, queue=True)
    with small_send_buffers(), mock.patch.object(LeanSocket, "close", close):
        async with serving(config_of(heartbeat_s=0.2), hosts=("h11",)) as served, deaf(served, "bob") as bob:
            await served.broker.submit_many([sent] * 20)
            with trio.fail_after(20):
                await closing.wait()
            # It reads what is left within the time that a close frame has.
            frames = [one for one in await bob.rest() if one.opcode != PING]
            assert served.broker.statistics().sessions[APP.name] == 0
    assert frames[-1].opcode == CLOSE
    assert frames[-1].payload == struct.pack("!H", 4508) + b"too slow"


# The order of everything.


async def slow_client_sees(ops: list[tuple[str, int]]) -> None:
    """Carry operations out on a session, read the rest, and compare with what was handed over."""
    broker = FakeBroker()
    handed: list[str] = []
    waiting: deque[Delivery] = deque()

    def pump() -> None:
        assert broker.session is not None
        while waiting and broker.session.sink.offer(waiting[0]):
            handed.append(str(waiting.popleft().id))

    async def serve(one: Socket) -> None:
        await serve_session(one, service(broker))

    def answered(outbox: Outbox, answer: bytes) -> None:
        handed.append(str(json.loads(answer)["ref"]))
        plain(outbox, answer)

    plain = Outbox.answer
    heard: list[str] = []
    headers = OFFER | {"Authorization": f"Bearer {fake_token()}"}
    with mock.patch.object(Outbox, "answer", answered):
        async with hosting(serve, send_buffer=2_048) as hosted, hosted.peer(receive_buffer=2_048) as client:
            await client.open("/", headers)
            assert frames_of(await client.frame()) == [WELCOME]
            assert broker.session is not None
            broker.session.resume = pump  # type: ignore[method-assign]

            async def hear() -> None:
                for each in frames_of(await client.frame()):
                    heard.append(str(each.get("ref") or each["id"]))

            for number, (what, size) in enumerate(ops, 1):
                if what == "offer":
                    waiting.append(message(number, b"x" * size))
                    pump()
                elif what == "ask":
                    await client.say(frame(TEXT, b'{"type":"join","ref":"%d","room":"r1"}' % number))
                elif what == "read" and len(heard) < len(handed):
                    await hear()
                else:
                    await trio.testing.wait_all_tasks_blocked(0.001)
            while len(heard) < len(ops) - sum(what not in ("offer", "ask") for what, _ in ops):
                await hear()
    assert heard == handed


OPS = st.one_of(
    st.tuples(st.just("offer"), st.one_of(st.integers(0, 300), st.integers(0, 70_000))),
    st.tuples(st.sampled_from(["ask", "read", "turn"]), st.just(0)),
)


@given(ops=st.lists(OPS, max_size=40))
@settings(max_examples=60)
def test_what_a_slow_client_reads_is_what_was_handed_over_in_that_order(ops: list[tuple[str, int]]) -> None:
    trio.run(partial(slow_client_sees, ops))
