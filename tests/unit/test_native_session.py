"""A native connection from its opening request to its end, over a socket and a broker that do what they are told."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from postroom.core import Refusal, StorageFailure
from postroom.core.errors import (
    NoSpace,
    Overloaded,
    QueueFull,
    RateLimited,
    SessionEnded,
    ShuttingDown,
    TokenRevoked,
    TooManyRooms,
    TooManySessions,
    UnknownApp,
    UnknownConversation,
)
from postroom.core.limits import BODY_BYTES_MAX
from postroom.core.model import Conversation, group, peer
from postroom.transports.native.encode import encode_delivery
from postroom.transports.native.frames import TEXT_BYTES_MAX
from postroom.transports.native.gate import UNDER_WAY_BYTES_MAX, UNDER_WAY_MAX
from postroom.transports.native.handshake import STATUS, SUBPROTOCOL
from postroom.transports.native.outbox import CHUNK_BYTES, OUTBOX_BYTES_MAX
from postroom.transports.native.session import SETTLE_S, STUCK_HEARTBEATS, NativeService, serve_session
from postroom.transports.native.tokens import issue
from tests.support.native import (
    NOW,
    SECRET,
    WELCOME,
    FakeBroker,
    FakeLimiter,
    FakeSession,
    FakeSocket,
    message,
    service,
    token,
)

BEARER = {"authorization": f"Bearer {token()}"}
OFFER = {"sec-websocket-protocol": SUBPROTOCOL}


def send(ref: int, payload: object = "hi", **more: object) -> dict[str, object]:
    """A send frame."""
    return {"type": "send", "ref": ref, "to": {"kind": "peer", "id": "carol"}, "payload": payload, **more}


def read(ref: int | str | None = None, *, until: int = 5, **more: object) -> dict[str, object]:
    """A mark."""
    frame = {"type": "read", "conversation": {"kind": "group", "id": "g1", **more}, "until": until}
    return frame if ref is None else frame | {"ref": ref}


@asynccontextmanager
async def connected(
    broker: FakeBroker, socket: FakeSocket, limiter: FakeLimiter | None = None
) -> AsyncIterator[FakeSession]:
    """A connection that is open, its welcome read; closed by the client at the end if not before."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, socket, service(broker, limiter))
        await wait_all_tasks_blocked()
        assert socket.accepted == SUBPROTOCOL
        assert broker.session is not None
        if socket.reads:
            assert socket.frames() == [WELCOME]
        yield broker.session
        await socket.read()
        if socket.closed is None:
            await socket.say_raw(None)
    assert not broker.online


async def flood(socket: FakeSocket, frame: object) -> int:
    """Send a frame until the server has stopped reading; how many it were."""
    said = 0
    with suppress(trio.WouldBlock):
        while True:
            socket.say_nowait(frame)
            said += 1
            await wait_all_tasks_blocked()
    return said


async def rejected(socket: FakeSocket, broker: FakeBroker | None = None) -> tuple[int, dict[str, object]]:
    """Status and body of the answer to an opening request that is not let in."""
    await serve_session(socket, service(broker or FakeBroker()))
    assert socket.accepted is None
    assert socket.closed is None
    assert socket.rejected is not None
    return socket.rejected.status, json.loads(socket.rejected.body)


# The opening request.


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, {}),
        ({"authorization": "Basic Ym9iOnB3"}, {}),
        ({"authorization": "Bearer"}, {}),
        ({"authorization": "Bearer nonsense"}, {}),
        ({"authorization": "Bearer " + issue("x" * 32, "demo", "bob", 60, NOW)}, {}),
        ({"authorization": "Bearer " + issue(SECRET, "demo", "bob", 60, NOW - 60_000)}, {}),
        ({"authorization": "Bearer " + issue(SECRET, "other", "bob", 60, NOW)}, {}),
        ({}, {"token": "nonsense"}),
        ({"authorization": "Bearer nonsense"}, {"token": token()}),
    ],
)
async def test_without_a_good_token_nobody_gets_in(headers: dict[str, str], query: dict[str, str]) -> None:
    socket = FakeSocket(headers | OFFER, query)
    status, body = await rejected(socket)
    assert (status, body["code"]) == (401, "unauthorized")
    assert socket.rejected is not None
    assert ("WWW-Authenticate", "Bearer") in socket.rejected.headers


@pytest.mark.parametrize("offer", [{}, {"sec-websocket-protocol": "chat, postroom.v2.json"}])
async def test_the_subprotocol_must_be_offered(offer: dict[str, str]) -> None:
    status, body = await rejected(FakeSocket(BEARER | offer))
    assert (status, body["code"]) == (400, "invalid")
    assert SUBPROTOCOL in str(body["message"])


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (BEARER | {"sec-websocket-protocol": f"chat, {SUBPROTOCOL},x"}, {}),
        ({"authorization": f"bearer  {token()} "} | OFFER, {}),
        (OFFER, {"token": token()}),
        (BEARER | OFFER, {"token": "not looked at"}),
    ],
)
async def test_ways_in(headers: dict[str, str], query: dict[str, str]) -> None:
    async with connected(FakeBroker(), FakeSocket(headers, query)):
        pass


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (TooManySessions("no"), 429),
        (Overloaded("no", retry_after_ms=1_500), 503),
        (NoSpace("no"), 503),
        (ShuttingDown("no"), 503),
        (UnknownApp("no"), 401),
        (TokenRevoked("no"), 401),
    ],
)
async def test_a_refused_login_is_answered_before_the_upgrade(refusal: Refusal, status: int) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.login_error = refusal
    expected: dict[str, object] = {"code": refusal.code, "message": "no"}
    if refusal.retry_after_ms:
        expected["retry_after_ms"] = 1_500
    assert await rejected(socket, broker) == (status, expected)
    assert socket.rejected is not None
    assert (("Retry-After", "2") in socket.rejected.headers) == bool(refusal.retry_after_ms)
    assert (("WWW-Authenticate", "Bearer") in socket.rejected.headers) == (status == 401)


async def test_a_login_that_the_store_fails() -> None:
    broker = FakeBroker()
    broker.login_error = StorageFailure("disk on fire")
    status, body = await rejected(FakeSocket(), broker)
    assert status == 503
    assert "fire" not in str(body)


@pytest.mark.parametrize("refusal", [one for one in Refusal.__subclasses__() if one.__module__ == Refusal.__module__])
def test_every_refusal_of_the_core_has_a_status(refusal: type[Refusal]) -> None:
    assert refusal in STATUS


# Deliveries.


async def test_the_welcome_comes_first_and_what_gathered_comes_as_one_array() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.offered_at_login = [message(1), message(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, socket, service(broker))
        await wait_all_tasks_blocked()
        assert len(socket.texts) == 1
        first, *others = socket.frames()
        assert first == WELCOME
        assert [frame["id"] for frame in others] == ["1", "2"]
        await socket.say_raw(None)


async def test_a_single_frame_comes_alone() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        assert session.sink.offer(message(1))
        await wait_all_tasks_blocked()
        (text,) = socket.texts
        assert json.loads(text)["payload"] == "hi"


async def test_a_client_that_does_not_read_holds_one_outbox_and_is_resumed() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        socket.reads = False
        body = b"x" * 1_000
        taken = 0
        while session.sink.offer(message(taken + 1, body)):
            taken += 1
            await wait_all_tasks_blocked()
        frame_bytes = len(encode_delivery(message(10, body)))
        assert OUTBOX_BYTES_MAX - 2 * frame_bytes < taken * frame_bytes <= OUTBOX_BYTES_MAX
        assert session.resumed == 0
        await socket.read()
        await wait_all_tasks_blocked()
        assert session.resumed == 1
        assert all(len(text) <= CHUNK_BYTES + 1_000 for text in socket.texts)
        assert [frame["seq"] for frame in socket.frames()] == list(range(1, taken + 1))
        assert session.sink.offer(message(taken + 1, body))


async def test_a_frame_larger_than_the_outbox_goes_alone() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        assert session.sink.offer(message(1, b"x" * BODY_BYTES_MAX))
        assert not session.sink.offer(message(2))
        await wait_all_tasks_blocked()
        assert session.resumed == 1
        assert session.sink.offer(message(2))
        assert not session.sink.offer(message(3, b"x" * BODY_BYTES_MAX))


async def test_sessions_of_one_user_share_the_encoded_frame() -> None:
    shared = service(FakeBroker())
    frame = shared.memo.encode(message(1))
    delivery = message(1)
    sockets = [FakeSocket(), FakeSocket()]
    brokers = [FakeBroker(), FakeBroker()]
    async with trio.open_nursery() as nursery:
        for broker, socket in zip(brokers, sockets, strict=True):
            own = NativeService(
                broker=broker,  # type: ignore[arg-type]
                secrets=shared.secrets,
                limiter=shared.limiter,
                wall_ms=shared.wall_ms,
                memo=shared.memo,
            )
            nursery.start_soon(serve_session, socket, own)
        await wait_all_tasks_blocked()
        for broker in brokers:
            assert broker.session is not None
            assert broker.session.sink.offer(delivery)
        assert shared.memo.encode(delivery) is shared.memo.encode(delivery)
        await wait_all_tasks_blocked()
        assert [socket.frames()[1:] for socket in sockets] == 2 * [[json.loads(frame)]]
        for socket in sockets:
            await socket.say_raw(None)


# Sends.


async def test_a_send_is_answered_once_it_is_on_disk() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    limiter = FakeLimiter()
    broker.hold()
    async with connected(broker, socket, limiter):
        await socket.say(send(1, queue=True))
        await wait_all_tasks_blocked()
        assert socket.frames() == []
        broker.commit()
        await wait_all_tasks_blocked()
        assert socket.frames() == [{"type": "ok", "ref": 1, "id": "101", "timestamp": NOW}]
    ((command,),) = broker.batches
    assert (command.app, command.sender, command.to, command.via) == ("demo", "bob", peer("carol"), "native")
    assert command.queue
    assert limiter.taken == [("demo", "native.messages")]


async def test_refused_sends_leave_the_others_alone() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.outcomes[b"no"] = QueueFull("full")
    async with connected(broker, socket):
        await socket.say([send(1), send(2, "no"), send(3), send(4, [1], format="text")])
        await wait_all_tasks_blocked()
        answers = {frame["ref"]: frame for frame in socket.frames()}
    assert [answers[ref]["type"] for ref in (1, 2, 3, 4)] == ["ok", "error", "ok", "error"]
    assert answers[2] == {"type": "error", "ref": 2, "code": "queue_full", "message": "full"}
    assert answers[4]["code"] == "invalid"


async def test_sends_over_the_rate_are_not_submitted() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket, FakeLimiter(RateLimited("slow down", retry_after_ms=120))):
        await socket.say(send(1))
        await wait_all_tasks_blocked()
        assert socket.frames() == [
            {"type": "error", "ref": 1, "code": "rate_limited", "message": "slow down", "retry_after_ms": 120}
        ]
    assert broker.batches == []


async def test_sends_of_a_lane_keep_their_order_and_lanes_do_not_wait_for_each_other() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    async with connected(broker, socket):
        await socket.say(send(1, "a"))
        await wait_all_tasks_blocked()
        await socket.say(send(2, "b"), send(3, "c"), send(4, "d", lane="high"), send(5, "e"))
        await wait_all_tasks_blocked()
        assert [[command.body for command in batch] for batch in broker.batches] == [[b"a"], [b"d"]]
        broker.commit()
        await wait_all_tasks_blocked()
        assert [command.body for command in broker.batches[2]] == [b"b", b"c", b"e"]
        refs = [frame["ref"] for frame in socket.frames()]
        assert [ref for ref in refs if ref != 4] == [1, 2, 3, 5]


async def test_a_client_that_never_reads_is_at_some_point_not_read_from() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    socket.reads = False
    async with connected(broker, socket):
        said = await flood(socket, send(1))
        assert sum(map(len, broker.batches)) == UNDER_WAY_MAX
        await socket.read()
        await wait_all_tasks_blocked()
        assert len(socket.frames()) == 1 + said  # the welcome, and an answer to every send


async def test_large_bodies_are_bounded_in_bytes() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    payload = "x" * (BODY_BYTES_MAX - 1_000)
    async with connected(broker, socket):
        await flood(socket, send(1, payload))
        broker.commit()
        await wait_all_tasks_blocked()
        assert all(sum(len(command.body) for command in batch) <= UNDER_WAY_BYTES_MAX for batch in broker.batches)


# Acks.


async def test_an_ack_with_a_ref_is_answered_once_on_disk() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    async with connected(broker, socket) as session:
        await socket.say({"type": "ack", "id": "5", "ref": 1}, {"type": "ack", "id": "6", "seq": 7})
        await wait_all_tasks_blocked()
        assert sorted(session.acks) == [(5, None), (6, 7)]
        assert socket.frames() == []
        broker.commit()
        await wait_all_tasks_blocked()
        assert socket.frames() == [{"type": "ok", "ref": 1}]


async def test_an_ack_of_what_was_not_sent() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        await socket.say(
            {"type": "ack", "id": "100"},
            {"type": "ack", "id": "100", "ref": 1},
            {"type": "ack", "id": "nonsense", "ref": 2},
            {"type": "ack", "id": "nonsense"},
        )
        await wait_all_tasks_blocked()
        assert sorted((frame["ref"], frame["code"]) for frame in socket.frames()) == [
            (1, "unknown_id"),
            (2, "unknown_id"),
        ]
        assert session.acks == []


# Marks.


async def test_a_mark_with_a_ref_is_answered_once_on_disk() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    async with connected(broker, socket):
        await socket.say(read(1, until=5), read(until=7), read("two", line=3, until=6))
        await wait_all_tasks_blocked()
        marks = sorted(broker.marks, key=lambda mark: mark.until_ms)
        assert [(mark.app, mark.user, mark.until_ms) for mark in marks] == [("demo", "bob", n) for n in (5, 6, 7)]
        assert [mark.conversation for mark in marks] == [group("g1"), Conversation("group", "g1", 3), group("g1")]
        assert socket.frames() == []
        broker.commit()
        await wait_all_tasks_blocked()
        assert sorted(socket.frames(), key=str) == [{"type": "ok", "ref": "two"}, {"type": "ok", "ref": 1}]


async def test_a_mark_that_is_refused_is_told_with_and_without_a_ref() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.mark_error = UnknownConversation("nobody created it")
    async with connected(broker, socket):
        await socket.say(read(1), read())
        await wait_all_tasks_blocked()
        error = {"type": "error", "code": "unknown_conversation", "message": "nobody created it"}
        frames = socket.frames()
        assert len(frames) == 2
        assert error in frames
        assert error | {"ref": 1} in frames


async def test_marks_without_a_ref_hold_nobody_up() -> None:
    """More of them than may be under way: each gives its place back without an answer."""
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket):
        for number in range(2 * UNDER_WAY_MAX):
            await socket.say(read(until=number))
        await wait_all_tasks_blocked()
        assert len(broker.marks) == 2 * UNDER_WAY_MAX
        await socket.say(send(1))
        await wait_all_tasks_blocked()
        assert [frame["ref"] for frame in socket.frames()] == [1]


async def test_marks_are_bounded_as_sends_are() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    async with connected(broker, socket):
        await flood(socket, read())
        assert len(broker.marks) == UNDER_WAY_MAX
        broker.commit()


async def test_a_mark_whose_outcome_is_unknown_ends_the_connection() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket):
        broker.failure = StorageFailure("the disk is gone")
        await socket.say(read(1))
        await wait_all_tasks_blocked()
        assert socket.frames() == []
        assert socket.closed is not None
        assert socket.closed[0] == 1011


# Rooms.


def join(ref: int, room: str = "r1", **more: object) -> dict[str, object]:
    """A join frame."""
    return {"type": "join", "ref": ref, "room": room, **more}


def leave(ref: int, room: str = "r1") -> dict[str, object]:
    """A leave frame."""
    return {"type": "leave", "ref": ref, "room": room}


async def test_joins_and_leaves_are_answered_once_they_are_on_disk() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        broker.hold()
        await socket.say(join(1))
        await wait_all_tasks_blocked()
        assert socket.frames() == []
        broker.commit()
        await wait_all_tasks_blocked()
        assert socket.frames() == [{"type": "ok", "ref": 1}]
        await socket.say(leave(2))
        await wait_all_tasks_blocked()
        assert socket.frames() == [{"type": "ok", "ref": 2}]
        assert session.moves == [("join", "r1", None), ("leave", "r1", None)]


async def test_the_answer_to_a_join_with_since_comes_before_what_it_replays() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        session.missed = [message(5), message(6)]
        await socket.say(join(1, since="4"))
        await wait_all_tasks_blocked()
        ok, *replayed = socket.frames()
        assert ok == {"type": "ok", "ref": 1, "recovered": True}
        assert [frame["id"] for frame in replayed] == ["5", "6"]
        session.missed = []
        await socket.say(join(2, since="0"))
        await wait_all_tasks_blocked()
        assert socket.frames() == [{"type": "ok", "ref": 2, "recovered": False}]
        assert session.moves == [("join", "r1", 4), ("join", "r1", 0)]


async def test_joins_and_leaves_are_carried_out_one_after_the_other() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        broker.hold()
        await socket.say([join(1, "a"), join(2, "b"), leave(3, "a"), join(4, "a"), send(5)], leave(6, "b"))
        await wait_all_tasks_blocked()
        assert session.moves == [("join", "a", None)]
        assert len(broker.batches) == 1  # a send does not wait for them
        broker.commit()
        await wait_all_tasks_blocked()
        assert [move[:2] for move in session.moves] == [
            ("join", "a"),
            ("join", "b"),
            ("leave", "a"),
            ("join", "a"),
            ("leave", "b"),
        ]
        answers = socket.frames()
        assert {frame["type"] for frame in answers} == {"ok"}
        assert [frame["ref"] for frame in answers if frame["ref"] != 5] == [1, 2, 3, 4, 6]
        await socket.say(join(7))  # there is a task for it again
        await wait_all_tasks_blocked()
        assert socket.frames() == [{"type": "ok", "ref": 7}]


@pytest.mark.parametrize("refusal", [TooManyRooms("full"), SessionEnded("over"), Overloaded("x", retry_after_ms=5)])
async def test_a_refused_join_leaves_the_others_alone(refusal: Refusal) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        session.refuses["bad"] = refusal
        await socket.say(join(1, "bad"), join(2), leave(3, "bad"), join(4, since="x"), leave(5))
        await wait_all_tasks_blocked()
        assert [(frame["ref"], frame.get("code")) for frame in socket.frames()] == [
            (1, refusal.code),
            (2, None),
            (3, refusal.code),
            (4, "invalid"),
            (5, None),
        ]


async def test_joins_of_a_client_that_never_reads_are_bounded() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    socket.reads = False
    async with connected(broker, socket) as session:
        said = await flood(socket, join(1))
        assert len(session.moves) == UNDER_WAY_MAX
        await socket.read()
        await wait_all_tasks_blocked()
        assert len(socket.frames()) == 1 + said  # the welcome, and an answer to every join


async def test_a_store_that_fails_a_join_closes_with_1011() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket):
        broker.failure = StorageFailure("the disk is gone")
        await socket.say(join(1), join(2))
        await wait_all_tasks_blocked()
        assert socket.closed == (1011, "internal error")
        assert socket.frames() == []


# What is no good frame.


@pytest.mark.parametrize(
    ("frame", "ref"),
    [
        ({"type": "dance", "ref": 1}, 1),
        ({"type": "dance"}, None),
        ({"type": "send", "payload": "hi"}, None),
        ({"type": "join", "ref": 2}, 2),
        ({"type": "join", "ref": 2, "room": 5}, 2),
        ({"type": "join", "ref": 2, "room": "r1", "since": 5}, 2),
        ({"type": "join", "ref": 2, "room": "r1", "since": "x"}, 2),
        ({"type": "join", "ref": 2, "room": "r1", "since": ""}, 2),
        ({"type": "join", "room": "r1"}, None),
        ({"type": "leave", "ref": 3}, 3),
        ({"type": "leave", "room": "r1"}, None),
        ({"type": "read", "conversation": {"kind": "group", "id": "g1"}}, None),
        ({"type": "read", "ref": 4, "conversation": {"kind": "group", "id": "g1"}, "until": "5"}, 4),
        ({"type": "read", "ref": 4, "conversation": "g1", "until": 5}, 4),
    ],
)
async def test_a_frame_that_cannot_be_served_is_refused_and_the_connection_goes_on(
    frame: object, ref: int | None
) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket):
        await socket.say(frame, send(9))
        await wait_all_tasks_blocked()
        error, ok = socket.frames()
        assert (error["type"], error["code"], error.get("ref")) == ("error", "invalid", ref)
        assert ok["ref"] == 9
        assert broker.session is not None
        assert broker.session.moves == []


@pytest.mark.parametrize("text", [b"{}", "", "5", "[" * 100_000, '{"type":"ack"', '{"é":' + "é" * 200])
async def test_what_is_no_frame_ends_the_connection(text: str | bytes) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket):
        await socket.say(send(1))
        await socket.say_raw(text)
        await wait_all_tasks_blocked()
        assert [frame["ref"] for frame in socket.frames()] == [1]  # what came before it is carried out and answered
        assert socket.closed is not None
        code, reason = socket.closed
        assert code == 4400
        assert len(reason.encode()) <= 123
        assert not broker.online


async def test_a_text_too_large_ends_the_connection() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket):
        await socket.say_raw("x" * (TEXT_BYTES_MAX + 1))
        await wait_all_tasks_blocked()
        assert socket.closed is not None
        assert socket.closed[0] == 1009


JSONISH = st.text(alphabet='{}[]":,typeackidsndrf0159 \\u', max_size=60)
FRAMES = (
    st.sampled_from(["ack", "send", "join", "dance"])
    .flatmap(
        lambda type: st.fixed_dictionaries(
            {"type": st.just(type)},
            optional={
                "ref": st.integers() | st.text(max_size=4) | st.none(),
                "id": st.sampled_from(["5", "100", "x"]) | st.integers(),
                "to": st.just({"kind": "peer", "id": "carol"}),
                "payload": st.text(max_size=5) | st.lists(st.integers(), max_size=2),
                "lane": st.sampled_from(["high", "low", "express"]),
            },
        )
    )
    .map(json.dumps)
)


@given(st.lists(JSONISH | FRAMES | st.binary(max_size=5) | st.text(max_size=20), max_size=12))
def test_whatever_comes_is_answered_or_closes(texts: list[str | bytes]) -> None:
    async def run() -> None:
        broker, socket = FakeBroker(), FakeSocket()
        async with connected(broker, socket):
            for text in texts:
                with trio.move_on_after(0 if socket.closed else 10):
                    await socket.say_raw(text)
                    await wait_all_tasks_blocked()
            if socket.closed is None:
                socket.frames()
                await socket.say(send(0))
                await wait_all_tasks_blocked()
                assert [frame["type"] for frame in socket.frames()] == ["ok"]
            else:
                assert socket.closed[0] == 4400

    trio.run(run)


# The end.


async def test_shutdown_answers_what_was_taken_and_closes_with_1012() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    async with connected(broker, socket) as session:
        await socket.say(send(1))
        await wait_all_tasks_blocked()
        session.sink.close("shutdown")
        assert not session.sink.offer(message(1))
        await wait_all_tasks_blocked()
        assert socket.closed is None
        broker.commit()
        await wait_all_tasks_blocked()
        assert [frame["type"] for frame in socket.frames()] == ["ok"]
        assert socket.closed == (1012, "the server is shutting down")


@pytest.mark.parametrize(
    ("reason", "told"), [("", ""), ("spam", "spam"), ("x" * 122 + "é", "x" * 122), ("😀" * 64, "😀" * 30)]
)
async def test_a_kick_closes_with_4115_and_as_much_of_its_reason_as_fits(reason: str, told: str) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        session.kick_reason = reason
        session.sink.close("kicked")
        assert not session.sink.offer(message(1))
        await wait_all_tasks_blocked()
        assert socket.closed == (4115, told)


async def test_what_a_kicked_client_was_about_to_send_is_answered() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    async with connected(broker, socket) as session:
        await socket.say(send(1))
        await wait_all_tasks_blocked()
        session.sink.close("kicked")
        await wait_all_tasks_blocked()
        await socket.say(send(2))
        broker.commit()
        await wait_all_tasks_blocked()
        assert [(frame["type"], frame["ref"]) for frame in socket.frames()] == [("ok", 1)]
        assert socket.closed == (4115, "")


async def test_a_login_says_when_its_token_was_issued() -> None:
    broker = FakeBroker()
    async with connected(broker, FakeSocket()):
        assert broker.token_ms == NOW


async def test_shutdown_does_not_wait_for_long(autojump_clock: MockClock) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, socket, service(broker))
        await wait_all_tasks_blocked()
        await socket.say(send(1))
        await wait_all_tasks_blocked()
        assert broker.session is not None
        broker.session.sink.close("shutdown")
    assert trio.current_time() - start == SETTLE_S
    assert socket.closed is not None
    assert socket.closed[0] == 1012


async def test_a_failing_store_closes_with_1011_and_answers_nothing() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.failure = StorageFailure("disk on fire")
    async with connected(broker, socket):
        await socket.say(send(1))
        await socket.say({"type": "ack", "id": "5", "ref": 2})
        with trio.fail_after(10):
            while socket.closed is None:
                await trio.lowlevel.checkpoint()
        assert socket.frames() == []
        assert socket.closed == (1011, "internal error")


async def test_a_failing_broker_closes_with_1011() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with connected(broker, socket) as session:
        session.sink.close("failure")
        await wait_all_tasks_blocked()
        assert socket.closed == (1011, "internal error")


async def test_a_fault_of_ours_costs_the_session_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.failure = AssertionError("ours")
    async with connected(broker, socket):
        await socket.say(send(1))
        await wait_all_tasks_blocked()
        assert socket.closed == (1011, "internal error")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_client_that_leaves_is_logged_out_and_its_sends_are_carried_out() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    broker.hold()
    async with connected(broker, socket):
        await socket.say(send(1))
        await wait_all_tasks_blocked()
        await socket.say_raw(None)
        await wait_all_tasks_blocked()
        assert broker.online
        broker.commit()
        await wait_all_tasks_blocked()
        assert not broker.online


async def test_a_client_that_takes_nothing_is_logged_out_and_cut_off(autojump_clock: MockClock) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, socket, service(broker))
        await wait_all_tasks_blocked()
        await trio.sleep(1_000)
        assert socket.closed is None  # that nothing happens is no reason
        socket.reads = False
        start = trio.current_time()
        assert broker.session is not None
        assert broker.session.sink.offer(message(1))
    assert socket.closed == (4508, "too slow")
    assert not broker.online
    assert STUCK_HEARTBEATS * 25 <= trio.current_time() - start <= (STUCK_HEARTBEATS + 1) * 25


async def test_a_slow_client_that_takes_something_now_and_then_stays(autojump_clock: MockClock) -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, socket, service(broker))
        await wait_all_tasks_blocked()
        assert broker.session is not None
        for number in range(1, 10):
            socket.reads = False
            assert broker.session.sink.offer(message(number))
            await trio.sleep(2 * 25)
            await socket.read()
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert socket.closed is None
        await socket.say_raw(None)


async def test_cancelled_it_logs_out() -> None:
    broker, socket = FakeBroker(), FakeSocket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, socket, service(broker))
        await wait_all_tasks_blocked()
        assert broker.online
        nursery.cancel_scope.cancel()
    assert not broker.online
