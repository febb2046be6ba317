"""The native protocol over a real socket: the whole server on one side, the `websockets` client on the other."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import jwt
import msgspec
import pytest
import trio
from websockets.exceptions import InvalidStatus

from postroom.core import DeleteMessage, EditMessage, RecallMessage, SendMessage, group, peer
from postroom.core.buckets import Rate
from postroom.core.commands import CreateConversation, Kick
from postroom.core.ids import MessageId
from postroom.core.limits import BODY_BYTES_MAX, SESSIONS_PER_USER_MAX
from postroom.transports.config import Limits
from postroom.transports.native.frames import TEXT_BYTES_MAX
from postroom.transports.native.handshake import SUBPROTOCOL
from tests.support.native_client import ALICE, BOB, session, token
from tests.support.serving import Served, config_of, serving
from tests.support.web import APP

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server."""
    async with serving() as server:
        yield server


# The opening request.


@pytest.mark.parametrize(
    ("query", "options", "status", "code"),
    [
        ("", {"additional_headers": {}}, 401, "unauthorized"),
        ("", {"additional_headers": {"Authorization": "Bearer nonsense"}}, 401, "unauthorized"),
        ("", {"additional_headers": {"Authorization": f"Bearer {token('bob', 'x' * 32)}"}}, 401, "unauthorized"),
        ("?token=nonsense", {"additional_headers": {}}, 401, "unauthorized"),
        ("", {"subprotocols": None}, 400, "invalid"),
        ("", {"subprotocols": ["postroom.v2.json"]}, 400, "invalid"),
    ],
)
async def test_who_is_not_let_in(served: Served, query: str, options: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with session(served, "bob", query, **options):
            pass
    response = caught.value.response
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(response.body)["code"] == code


async def test_a_token_in_the_query(served: Served) -> None:
    async with session(served, "bob", f"?token={token('bob')}", additional_headers={}) as bob:
        assert bob.connection.subprotocol == SUBPROTOCOL
        about = {"type": "welcome", "app": APP.name, "user": "bob", "queued": 0, "missed": 0}
        assert bob.welcome == about | {"session": bob.welcome["session"]}
        assert bob.welcome["session"].isdecimal()


async def test_a_user_has_so_many_sessions_and_no_more(served: Served) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(SESSIONS_PER_USER_MAX):
            await stack.enter_async_context(session(served, "bob"))
        with pytest.raises(InvalidStatus) as caught:
            await stack.enter_async_context(session(served, "bob"))
        assert caught.value.response.status_code == 429


# Messages.


async def test_a_message_from_socket_to_disk_to_socket(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        ok = await alice.send(BOB, "hi", queue=True)
        assert ok["type"] == "ok"
        message = await bob.next()
        assert message == {
            "type": "message",
            "id": ok["id"],
            "conversation": ALICE,
            "sender": "alice",
            "payload": "hi",
            "format": "text",
            "timestamp": ok["timestamp"],
            "lane": "normal",
            "queued": True,
            "seq": 1,
            "via": "native",
        }
        assert await bob.ask(type="ack", id=message["id"]) == {"type": "ok"}
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 0


async def test_a_message_to_a_group(served: Served) -> None:
    create = CreateConversation(app=APP.name, conversation=group("g1"), members=("alice", "bob"))
    await served.broker.submit(create)
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        name = {"kind": "group", "id": "g1"}
        ok = await alice.send(name, "hi", queue=True, history=True)
        message = await bob.next()
        assert (message["id"], message["conversation"], message["seq"]) == (ok["id"], name, 1)
        assert await bob.ask(type="ack", id=message["id"]) == {"type": "ok"}
        await served.broker.submit(RecallMessage(app=APP.name, id=int(ok["id"]), by="alice"))
        assert await bob.next() == {
            "type": "recalled",
            "id": ok["id"],
            "conversation": name,
            "by": "alice",
            "queued": True,
            "seq": 2,
        }


async def test_what_waited_comes_in_order_until_it_is_acknowledged(served: Served) -> None:
    async with session(served, "alice") as alice:
        await alice.say([{"type": "send", "ref": n, "to": BOB, "payload": n, "queue": True} for n in range(1, 101)])
        assert [answer["ref"] for answer in await alice.take(100)] == list(range(1, 101))
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 100
        messages = await bob.take(100)
        assert [message["payload"] for message in messages] == list(range(1, 101))
        assert [message["seq"] for message in messages] == list(range(1, 101))
        assert {message["format"] for message in messages} == {"json"}
        assert await bob.ask(type="ack", id=messages[49]["id"], seq=50) == {"type": "ok"}
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 50
        assert [message["payload"] for message in await bob.take(50)] == list(range(51, 101))


async def test_acks_name_their_frames_in_the_order_in_which_they_came(served: Served) -> None:
    """Whether or not somebody waits for one: an edit that nobody has handled has the id of what was."""
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        first = await alice.ask(type="send", to=BOB, payload="X", queue=True, history=True)
        second = await alice.ask(type="send", to=BOB, payload="Y", queue=True)
        await served.broker.submit(
            EditMessage(app="shop", id=MessageId(int(first["id"])), by="alice", body=b"X, edited")
        )
        await bob.take(3)
        await bob.say([{"type": "ack", "id": first["id"], "ref": 1}, {"type": "ack", "id": second["id"]}])
        assert (await bob.take(1))[0]["ref"] == 1
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 1
        assert (await bob.take(1))[0]["type"] == "edited"


async def test_an_unqueued_message_reaches_who_is_there(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        await alice.send(BOB, "now or never", lane="high")
        message = await bob.next()
        assert message["lane"] == "high"
        assert "queued" not in message
        assert "seq" not in message
        assert await bob.ask(type="ack", id=message["id"]) == {"type": "ok"}


async def test_other_sessions_of_the_user_are_told_of_acks(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as phone, session(served, "bob") as desk:
        await alice.send(BOB, "hi", queue=True)
        message = await phone.next()
        assert await desk.next() == message
        await phone.say({"type": "ack", "id": message["id"]})
        assert await desk.next() == {"type": "acked", "id": message["id"], "seq": 1}


async def test_a_retry_with_a_dedup_key_sends_nothing(served: Served) -> None:
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        first = await alice.send(BOB, "hi", queue=True, dedup="k1")
        again = await alice.send(BOB, "hi", queue=True, dedup="k1")
        assert again == first | {"duplicate": True}
        other = await alice.send(BOB, "ho", queue=True, dedup="k1")
        assert other["code"] == "dedup_mismatch"
        await alice.send(BOB, "last", queue=True)
        assert [message["payload"] for message in await bob.take(2)] == ["hi", "last"]


async def test_changes_reach_the_session(served: Served) -> None:
    async with session(served, "bob") as bob:
        sent = SendMessage(app=APP.name, sender="alice", to=peer("bob"), body=b"hi", queue=True, history=True)
        id = (await served.broker.submit(sent)).id
        await served.broker.submit(EditMessage(app=APP.name, id=id, by="alice", body=b"[1]", format="json"))
        await served.broker.submit(RecallMessage(app=APP.name, id=id, by="alice"))
        await served.broker.submit(DeleteMessage(app=APP.name, id=id, by="admin"))
        message, edited, recalled, deleted = await bob.take(4)
    about = {"id": str(id), "conversation": ALICE, "queued": True}
    assert message["payload"] == "hi"
    assert edited == about | {"type": "edited", "by": "alice", "payload": [1], "format": "json", "seq": 2}
    assert recalled == about | {"type": "recalled", "by": "alice", "seq": 3}
    assert deleted == about | {"type": "deleted", "by": "admin", "seq": 4}


async def test_any_text_and_any_json_arrive_as_they_were_sent(served: Served) -> None:
    payloads = ["", "é☃😀\u0000\u2028", "x" * BODY_BYTES_MAX, None, 0, [1, {"a": "é"}], {"k": [True, 1.5]}]
    async with session(served, "alice") as alice, session(served, "bob") as bob:
        for payload in payloads:
            assert (await alice.send(BOB, payload, queue=True))["type"] == "ok"
            assert (await bob.next())["payload"] == payload


# What is refused.


async def test_refusals_leave_the_connection_open(served: Served) -> None:
    async with session(served, "alice") as alice:
        answers = [
            await alice.send(BOB, "x" * (BODY_BYTES_MAX + 1)),
            await alice.send({"kind": "peer", "id": ""}, "hi"),
            await alice.send({"kind": "room", "id": "r1"}, "hi", queue=True),
            await alice.send(BOB, "hi", lane="express"),
            await alice.ask(type="join", room=""),
            await alice.ask(type="join", room="r1", since="x"),
            await alice.ask(type="leave", room="x" * 257),
            await alice.ask(type="read", conversation=BOB, until=5),
            await alice.ask(type="dance"),
        ]
        assert {(answer["type"], answer["code"]) for answer in answers} == {("error", "invalid")}
        nobody_s = await alice.send({"kind": "group", "id": "g1"}, "hi", queue=True, history=True)
        assert nobody_s["code"] == "unknown_conversation"
        assert (await alice.send({"kind": "service", "id": "s1"}, "hi"))["code"] == "unknown_conversation"
        unknown = await alice.ask(type="ack", id="17")
        assert unknown["code"] == "unknown_id"
        assert (await alice.send(BOB, "hi"))["type"] == "ok"


async def test_the_rate_of_an_app() -> None:
    app = msgspec.structs.replace(APP, limits=Limits(native_messages=Rate(1, 60_000)))
    async with serving(config_of(app)) as served, session(served, "alice") as alice:
        assert (await alice.send(BOB, "hi"))["type"] == "ok"
        refused = await alice.send(BOB, "ho")
        assert refused["code"] == "rate_limited"
        assert 0 < refused["retry_after_ms"] <= 60_000


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", 4400),
        (b"{}", 4400),
        ("[" * 50_000, 4400),
        ('[{"type":"ack","id":"1"},2]', 4400),
        (" " * (TEXT_BYTES_MAX + 1), 1009),
    ],
)
async def test_what_is_no_frame_closes_the_connection(served: Served, message: str | bytes, code: int) -> None:
    async with session(served, "alice") as alice:
        await alice.say_raw(message)
        assert (await alice.closed())[0] == code


# Kicks.


def bearer(text: str) -> dict[str, Any]:
    """A session that opens with this token."""
    return {"additional_headers": {"Authorization": f"Bearer {text}"}}


def signed(**claims: Any) -> str:
    """A token of bob's as somebody else would make it."""
    return jwt.encode({"app": APP.name, "sub": "bob", "exp": 4_000_000_000} | claims, APP.session_secret, "HS256")


async def kick(served: Served, user: str = "bob", reason: str = "") -> float:
    """The time of the kick, in seconds."""
    return (await served.broker.submit(Kick(app=APP.name, user=user, reason=reason))).at_ms / 1000


async def refused(served: Served, text: str) -> None:
    """A token that is revoked opens nothing, and says so before the upgrade."""
    with pytest.raises(InvalidStatus) as caught:
        async with session(served, "bob", **bearer(text)):
            pass
    response = caught.value.response
    assert (response.status_code, json.loads(response.body)["code"]) == (401, "token_revoked")
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_kick_closes_every_session_of_the_user_and_revokes_their_tokens(served: Served) -> None:
    old = token("bob")
    async with (
        session(served, "bob", **bearer(old)) as phone,
        session(served, "bob") as desk,
        session(served, "cy") as cy,
    ):
        at_s = await kick(served, reason="späm 😀")
        assert await phone.closed() == await desk.closed() == (4115, "späm 😀")
        assert (await cy.send(BOB, "still here", queue=True))["type"] == "ok"
    for text in (old, signed(), signed(iat=at_s), signed(iat=int(at_s))):
        await refused(served, text)
    for text in (signed(iat=at_s + 0.001), signed(iat=int(at_s) + 1)):
        async with session(served, "bob", **bearer(text)) as bob:
            assert bob.welcome["queued"] == 1
            assert (await bob.next())["payload"] == "still here"


async def test_a_kick_of_somebody_who_is_away_revokes_their_tokens(served: Served) -> None:
    async with session(served, "bob", **bearer(signed())):
        pass  # without `iat`, as long as nobody was kicked
    await kick(served)
    await refused(served, signed())
    async with session(served, "alice"):
        pass


async def test_a_reason_that_is_too_long_for_a_close_frame_is_cut(served: Served) -> None:
    async with session(served, "bob") as bob:
        await kick(served, reason="é" * 64)
        assert await bob.closed() == (4115, "é" * 61)


# The end.


async def test_the_end_of_the_server(served: Served) -> None:
    async with session(served, "alice") as alice:
        served.stop.set()
        assert await alice.closed() == (1012, "the server is shutting down")
        with trio.fail_after(10):
            await served.stopped.wait()


# Clients that do not read.


@asynccontextmanager
async def deaf(served: Served, user: str) -> AsyncIterator[trio.SocketStream]:
    """A client that has upgraded, with the smallest of receive buffers, and reads nothing from then on."""
    raw = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await raw.connect(("127.0.0.1", served.port))
    async with trio.SocketStream(raw) as stream:
        await stream.send_all(
            (
                f"GET /v1/connect?token={token(user)} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
                f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
            ).encode()
        )
        assert b" 101 " in await stream.receive_some(200)
        yield stream


def masked(frames: object) -> bytes:
    """Frames as a client's WebSocket text message; the mask is zero."""
    data = json.dumps(frames).encode()
    assert 126 <= len(data) < 65_536
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


async def test_who_does_not_read_keeps_his_messages_on_disk_and_delays_nobody(served: Served) -> None:
    big = b"x" * 100_000
    to_bob = SendMessage(app=APP.name, sender="alice", to=peer("bob"), body=big, queue=True)
    async with deaf(served, "bob"), session(served, "carol") as carol:
        for _ in range(100):  # 10 MB: more than the kernel and a session together hold
            await served.broker.submit(to_bob)
        assert served.broker.statistics().delivered[APP.name] < 100
        assert (await carol.send({"kind": "peer", "id": "dave"}, "quick"))["type"] == "ok"
    async with session(served, "bob") as bob:
        assert bob.welcome["queued"] == 100
        assert [message["seq"] for message in await bob.take(100)] == list(range(1, 101))


async def test_who_sends_and_does_not_read_is_not_read_from(served: Served) -> None:
    # Answers are ten times as long as what they answer, so they fill the buffers of any kernel first.
    nonsense = [{"type": "x" * 100, "ref": "r" * 128}] * 100
    async with deaf(served, "alice") as stream, session(served, "carol") as carol:
        sent_bytes = 0
        with trio.CancelScope() as stuck:
            while sent_bytes < 200_000_000:
                stuck.deadline = trio.current_time() + 2
                await stream.send_all(masked(nonsense))
                sent_bytes += len(masked(nonsense))
        assert stuck.cancelled_caught
        assert (await carol.send({"kind": "peer", "id": "dave"}, "quick"))["type"] == "ok"


async def test_a_message_without_an_end_costs_its_connection(served: Served) -> None:
    begins, goes_on = b"\x01", b"\x00"
    part = b"\xff" + (1_000_000).to_bytes(8, "big") + bytes(4) + b" " * 1_000_000
    async with deaf(served, "alice") as stream, session(served, "carol") as carol:
        await stream.send_all(begins + part)
        sent = 1
        with suppress(trio.BrokenResourceError):
            while sent < 100:
                await stream.send_all(goes_on + part)
                sent += 1
        assert sent < 30
        assert (await carol.send({"kind": "peer", "id": "dave"}, "quick"))["type"] == "ok"


async def test_a_message_too_large_is_told_so(served: Served) -> None:
    async with session(served, "alice") as alice:
        await alice.say_raw("x" * (2 * TEXT_BYTES_MAX))
        assert (await alice.closed())[0] == 1009


async def test_compression_is_not_agreed_to(served: Served) -> None:
    async with session(served, "alice", compression="deflate") as alice:
        assert alice.connection.protocol.extensions == []
