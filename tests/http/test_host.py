"""Both hosts: hostile bytes, clients that do not read, and how it ends."""

import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from postroom.core import StorageFailure
from postroom.core.runtime.clock import SystemClock
from postroom.transports.native.tokens import issue
from tests.support.serving import BASE, DyingStore, Served, config_of, raw, serving
from tests.support.web import APP, PEER, basic
from tests.support.websocket import WebSocketClient, websocket

pytestmark = pytest.mark.usefixtures("host")

UPGRADE = b"GET /v1/connect HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
OPENING = UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def h2_headers(*fields: bytes) -> bytes:
    """A HEADERS frame that ends its stream; every field is literal, without indexing."""
    block = b"".join(fields)
    return len(block).to_bytes(3, "big") + b"\x01\x05\x00\x00\x00\x01" + block


def field(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def token(user: str = "bob") -> str:
    return issue(APP.session_secret, APP.name, user, 60, SystemClock().wall_ms())


@asynccontextmanager
async def receiver(served: Served, user: str = "bob") -> AsyncIterator[WebSocketClient]:
    """A WebSocket session, its welcome read."""
    async with websocket(served.port, f"/v1/connect?token={token(user)}") as client:
        assert (await client.frame())["type"] == "welcome"
        yield client


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n\r\n",
        b"\x00" * 1000,
        b"\xff\xfe\xfd\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        UPGRADE + b"Sec-WebSocket-Protocol: \xff\r\n\r\n",
        UPGRADE.replace(b"upgrade\r\n", b"upgrade, \xff\r\n") + b"\r\n",
        UPGRADE + b"Sec-WebSocket-Extensions: \xff\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
        UPGRADE + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: \xff\r\n\r\n",
        H2_PREFACE + b"\xff" * 100,
        H2_PREFACE
        + h2_headers(
            field(b":method", b"GET"), field(b":scheme", b"http"), field(b":authority", b"x"), field(b":path", b"/\xff")
        ),
        H2_PREFACE + h2_headers(field(b":method", b"\xff"), field(b":scheme", b"http"), field(b":path", b"/")),
    ],
    ids=len,
)
async def test_hostile_bytes_cost_one_connection_and_nobody_else_anything(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served, receiver(served) as session:
        await hostile(served.port, sent)
        reply = await served.send(PEER | {"destination": "bob"}, query="wait_for_ack=false")
        assert reply.status_code == 200
        assert (await session.frame())["payload"] == "Hello"
    assert not [record for record in caplog.records if record.exc_info]


async def hostile(port: int, sent: bytes) -> None:
    """Send, see what comes, and hang up."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with trio.move_on_after(0.2):
            try:
                await stream.send_all(sent)
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass


async def test_head_has_no_body() -> None:
    async with serving() as served:
        reply = await served.client.head("/healthz")
        assert (reply.status_code, reply.content, reply.headers["content-length"]) == (200, b"", "15")


async def test_many_requests_on_one_connection() -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving() as served:
        answer = await raw(served.port, request * 50 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.count(b"HTTP/1.1 200 ") == 51


async def test_what_the_server_is_is_not_told() -> None:
    async with serving() as served:
        assert "server" not in (await served.client.get("/healthz")).headers


async def test_a_message_from_request_to_websocket() -> None:
    async with serving() as served, receiver(served) as session:
        replies: list[httpx.Response] = []

        async def send() -> None:
            replies.append(await served.send(PEER | {"destination": "bob"}, query="wait_for_ack=1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            frame = await session.frame()
            assert (frame["sender"], frame["payload"], frame["via"]) == ("userA", "Hello", "anyrtc")
            await session.say({"type": "ack", "id": frame["id"]})
        assert replies[0].json()["code"] == "message_delivered"


@pytest.mark.parametrize(("path", "status"), [("/v1/connect", 401), ("/v1/connect?token=x", 401), ("/v1/other", 404)])
async def test_a_websocket_that_is_refused(path: str, status: int) -> None:
    asked = OPENING.replace(b"/v1/connect", path.encode()) + b"\r\n"
    async with serving() as served:
        head, _, body = (await raw(served.port, asked)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(body)["code"]


# How it ends.


async def test_stopping_answers_what_waits_and_closes_sessions() -> None:
    replies: list[httpx.Response] = []

    async def send(served: Served) -> None:
        replies.append(await served.send(PEER | {"destination": "bob"}, query="wait_for_ack=1"))

    async with serving() as served, receiver(served) as session, trio.open_nursery() as nursery:
        nursery.start_soon(send, served)
        assert (await session.frame())["payload"] == "Hello"
        assert served.broker.statistics().sessions == {"shop": 1}
        served.stop.set()
        assert await session.frame() is None
        assert session.close_code == 1012
        with trio.fail_after(2):
            await served.stopped.wait()
        assert served.broker.statistics().sessions == {"shop": 0}
        assert served.broker.statistics().totals["shop"].queued == 0
    assert (replies[0].status_code, replies[0].json()["code"]) == (408, "timeout")


async def test_stopping_refuses_new_connections_and_ends_idle_ones() -> None:
    async with serving() as served:
        idle = await trio.open_tcp_stream("127.0.0.1", served.port)
        await trio.sleep(0.05)
        served.stop.set()
        with trio.fail_after(2):
            assert await idle.receive_some() == b""
            await served.stopped.wait()
        await idle.aclose()
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", served.port)


async def deaf(port: int, sent: bytes, until_stuck_s: float) -> trio.SocketStream:
    """A client that asks and asks and never reads, until nothing more of its asking is taken."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with trio.move_on_after(until_stuck_s):
        await stream.send_all(sent)
    return stream


async def test_stopping_does_not_wait_for_those_who_do_not_read() -> None:
    """Neither a session nor a client whose answers pile up."""
    login = b"Sec-WebSocket-Protocol: postroom.v1.json\r\nAuthorization: Bearer " + token().encode()
    async with serving(grace_s=0.3) as served:
        asking = await deaf(served.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000, until_stuck_s=1.5)
        session = await deaf(served.port, OPENING + login + b"\r\n\r\n", until_stuck_s=0.5)
        for _ in range(400):  # 12 MB, more than the system takes for one who does not read
            await served.send({"destination": "bob", "payload": "x" * 32_000})
        assert served.broker.statistics().sessions == {"shop": 1}
        served.stop.set()
        with trio.fail_after(2):
            await served.stopped.wait()
        assert served.broker.statistics().sessions == {"shop": 0}
        await asking.aclose()
        await session.aclose()


async def test_a_failing_store_answers_nobody() -> None:
    store = DyingStore()
    body = json.dumps(PEER).encode()
    head = f"POST {BASE}/rtm/users/a/peer_messages HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\n"
    answers: list[bytes] = []

    async def ask(port: int) -> None:
        answers.append(await raw(port, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body))

    async def serve(outside: trio.Nursery) -> None:
        async with serving(store=store) as served, receiver(served):
            store.dying = True
            outside.start_soon(ask, served.port)
            await trio.sleep_forever()

    with trio.fail_after(10):
        async with trio.open_nursery() as outside:
            with pytest.raises(StorageFailure, match="the disk is gone"):
                await serve(outside)
    assert answers == [b""]


def certify(tmp_path: Path) -> tuple[str, str]:
    """A key and a certificate for 127.0.0.1."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run([*made.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return key, certificate


async def test_tls(tmp_path: Path) -> None:
    key, certificate = certify(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    config = config_of(tls_certificate=certificate, tls_key=key)
    async with serving(config, hosts=["hypercorn"]) as served:
        async with httpx.AsyncClient(verify=context) as client:
            reply = await client.get(f"https://127.0.0.1:{served.port}/healthz")
            assert reply.json() == {"status": "ok"}
        await hostile(served.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with httpx.AsyncClient(verify=context) as client:
            assert (await client.get(f"https://127.0.0.1:{served.port}/healthz")).status_code == 200
