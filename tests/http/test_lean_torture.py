"""The lean host over raw sockets: what is HTTP is answered however it comes, what is not costs its connection only."""

import contextlib
import errno
import itertools
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from unittest import mock

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from trio.testing import wait_all_tasks_blocked

from postroom.core.errors import StorageFailure
from postroom.core.ids import MonotonicMs
from postroom.storage.memory import MemoryStore
from postroom.transports import anyrtc
from postroom.transports.config.tables import LeanConfig
from postroom.transports.http.lean.host import LeanHost
from postroom.transports.http.lean.requests import CHUNKS_AT_ONCE_MAX
from postroom.transports.http.lean.settings import LeanSettings
from postroom.transports.http.lean.stream import Gone, Stream
from postroom.transports.http.limits import Limiter
from postroom.transports.http.router import Router
from postroom.transports.http.serving import Serving, WebSockets
from postroom.transports.http.shell import HttpCounters, Shell
from postroom.transports.http.sockets import bind
from postroom.transports.http.system import Readiness, system_dialect
from postroom.transports.http.websocket import Socket
from tests.support.lean import opening as websocket_opening
from tests.support.native_client import session
from tests.support.serving import BASE, HOST, Served, config_of, raw, serving, serving_in_a_thread
from tests.support.web import APP, NOW_MS, PEER, FakeBroker, basic

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = json.dumps(PEER).encode()
POST = f"POST {BASE}/rtm/users/userA/peer_messages HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\n".encode()
SEND = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Reply(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def replies(data: bytes, *, head: bool = False) -> list[Reply]:
    """All answers in what came; fails if anything is left over, or if a length is not exact. After `head` no body comes."""
    found: list[Reply] = []
    while data:
        lines, blank, data = data.partition(b"\r\n\r\n")
        assert blank
        status, *fields = lines.decode("latin-1").split("\r\n")
        assert status.startswith("HTTP/1.1 ")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        assert len(headers) == len(fields)
        size = 0 if head or status[9] == "1" else int(headers.get("content-length", 0))
        assert len(data) >= size
        found.append(Reply(int(status[9:12]), headers, data[:size]))
        data = data[size:]
    return found


def lean(grace_s: float = 10, **limits: Any) -> contextlib.AbstractAsyncContextManager[Served]:
    """A server on the lean host with these limits, which may be smaller than a file may have them."""
    return serving(config_of(h11=LeanConfig(**limits)), hosts=["h11"], grace_s=grace_s)


async def opened(port: int, **more: Any) -> trio.SocketStream:
    """A client's connection."""
    return await trio.open_tcp_stream("127.0.0.1", port, **more)


async def rest(stream: trio.SocketStream) -> bytes:
    """All that still comes, to the server's close, which must come."""
    received = b""
    with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            received += data
    return received


async def reply_on(stream: trio.SocketStream, sent: bytes = GET) -> Reply:
    """Ask on a connection that stays open."""
    await stream.send_all(sent)
    received = b""
    with trio.fail_after(10):
        while True:
            data = await stream.receive_some()
            assert data
            received += data
            with contextlib.suppress(AssertionError):
                (reply,) = replies(received)
                return reply


@pytest.fixture(autouse=True)
def no_tracebacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever clients do here, nothing of it is a fault of ours."""
    yield
    assert not [record for record in caplog.get_records("call") if record.exc_info or record.levelno >= logging.ERROR]


async def nothing_was_sent(served: Served) -> None:
    """Fails if the broker took any message."""
    assert "shop" not in served.broker.statistics().totals


# What is HTTP is answered.


async def test_a_request_split_at_every_byte() -> None:
    body = b"".join(b"%x;ext=1\r\n%c\r\n" % (1, byte) for byte in BODY[:5]) + b"%X\r\n%b\r\n" % (
        len(BODY) - 5,
        BODY[5:],
    )
    sent = CHUNKED + body + b"0\r\nTrailer: x\r\n\r\n" + LAST
    async with lean() as served:
        for at in range(len(sent) + 1):
            async with await opened(served.port) as stream:
                await stream.send_all(sent[:at])
                await wait_all_tasks_blocked()
                await stream.send_all(sent[at:])
                first, second = replies(await rest(stream))
            assert (first.status, json.loads(first.body)["code"]) == (200, "message_sent"), at
            assert (second.status, second.headers["connection"]) == (200, "close"), at


async def test_a_request_byte_by_byte() -> None:
    async with lean() as served, await opened(served.port) as stream:
        for byte in SEND + LAST:
            await stream.send_all(bytes([byte]))
            await wait_all_tasks_blocked()
        assert [reply.status for reply in replies(await rest(stream))] == [200, 200]


async def test_a_burst_is_answered_in_order() -> None:
    sent = b"".join(SEND + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" for _ in range(500)) + LAST
    async with lean() as served, await opened(served.port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, sent)
        found = replies(await rest(stream))
    assert [reply.status for reply in found] == [200, 404] * 500 + [200]
    numbers = [int(json.loads(reply.body)["request_id"]) for reply in found[:-1:2]]
    assert numbers == sorted(numbers)


async def test_a_burst_with_one_bad_request() -> None:
    async with lean() as served:
        found = replies(await raw(served.port, GET * 50 + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + GET * 50))
    assert [reply.status for reply in found] == [200] * 50 + [400]
    assert found[-1].headers["connection"] == "close"
    assert json.loads(found[-1].body)["code"] == "invalid"


async def test_a_head_without_its_body() -> None:
    async with lean() as served:
        sent = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nHEAD /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        first, second = replies(await raw(served.port, sent), head=True)
    assert (first.status, first.headers["content-length"]) == (200, "15")
    assert second.status == 404
    assert int(second.headers["content-length"])


async def test_a_bad_body_of_a_head() -> None:
    async with lean() as served:
        sent = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        (reply,) = replies(await raw(served.port, sent), head=True)
    assert reply.status == 400


async def test_a_reply_without_a_body_has_no_length() -> None:
    async with lean() as served:
        sent = POST.replace(b"POST", b"OPTIONS") + b"Connection: close\r\n\r\n"
        (reply,) = replies(await raw(served.port, sent))
    assert reply.status == 204
    assert "content-length" not in reply.headers


async def test_every_answer_has_a_date_and_no_name() -> None:
    async with lean() as served:
        (reply,) = replies(await raw(served.port, LAST))
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", reply.headers["date"])
    assert "server" not in reply.headers


async def test_a_client_that_waits_to_be_told_to_continue() -> None:
    async with lean() as served, await opened(served.port) as stream:
        await stream.send_all(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        with trio.fail_after(5):
            assert await stream.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
        assert (await reply_on(stream, BODY)).status == 200
        await stream.send_all(LAST)
        assert [reply.status for reply in replies(await rest(stream))] == [200]


@pytest.mark.parametrize("more", [b"", b"Host: x\r\n", b"Connection: keep-alive\r\n"])
async def test_http_1_0_is_answered_once(more: bytes) -> None:
    async with lean() as served:
        (reply,) = replies(await raw(served.port, b"GET /healthz HTTP/1.0\r\n" + more + b"\r\n" + GET))
    assert (reply.status, reply.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    "more", [b"connection:CLOSE\r\n", b"Connection: x ,Close\r\n", b"Connection: close\r\nConnection: keep-alive\r\n"]
)
async def test_a_client_that_says_it_sends_no_more(more: bytes) -> None:
    async with lean() as served:
        for upgrade in (b"", b"Upgrade: h2c\r\n"):
            (reply,) = replies(await raw(served.port, GET[:-2] + upgrade + more + b"\r\n" + GET))
            assert (reply.status, reply.headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://api.example/healthz", 200),
        (b"HTTPS://api.example:1/healthz?a=b", 200),
        (b"http://api.example", 404),
        (b"ftp://api.example/healthz", 404),
        (b"*", 404),
        (b"?", 404),
        (b"api.example:443", 404),
    ],
)
async def test_targets(target: bytes, status: int) -> None:
    async with lean() as served:
        (reply,) = replies(await raw(served.port, LAST.replace(b"/healthz", target)))
        assert reply.status == status


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"PRI", b"BREW"])
async def test_other_methods_are_answered_and_the_connection_goes_on(method: bytes) -> None:
    async with lean() as served:
        found = replies(await raw(served.port, GET.replace(b"GET", method) + LAST))
    assert [reply.status for reply in found] == [405, 200]


@pytest.mark.parametrize(
    "more",
    [
        b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket2\r\n",
        b"Connection: upgrade\r\nUpgrade: \xff\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: keep-alive\r\nUpgrade: websocket\r\n",
    ],
)
async def test_an_upgrade_to_something_else_is_a_request_like_others(more: bytes) -> None:
    async with lean() as served:
        found = replies(await raw(served.port, GET[:-2] + more + b"\r\n" + LAST))
    assert [reply.status for reply in found] == [200, 200]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n%b\r\n",
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n%bSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: eA==\r\n\r\n",
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n%bSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
        b"GET ?token=x HTTP/1.1\r\nHost: x\r\n%b\r\n",
        b"GET /v1/connect?token=%%ff HTTP/1.1\r\nHost: x\r\n%b\r\n",
        b"GET /v1/connect HTTP/1.1\r\nHost: \xff..\r\n%b\r\n",
        b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n%bSec-WebSocket-Protocol: \xff\r\n\r\n",
    ],
)
async def test_what_asks_for_a_websocket_in_a_wrong_way(request_: bytes) -> None:
    upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
    async with lean() as served:
        (reply,) = replies(await raw(served.port, request_ % upgrade + GET))
    assert reply.status in (400, 426)
    assert reply.headers["connection"] == "close"


async def test_a_websocket_over_http_1_0_is_none() -> None:
    async with lean() as served:
        sent = b"GET /v1/connect HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        (reply,) = replies(await raw(served.port, sent))
    assert 400 <= reply.status < 500


# What is not HTTP, or may mean two things.

BAD = {
    "nothing": b"\r\n\r\n\r\n",
    "zeros": b"\0" * 100,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 100 + b"\r\n\r\n",
    "a version without a dot": b"GET / HTTP/2\r\nHost: x\r\n\r\n",
    "version 9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "version 2.0": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a target that is not ASCII": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target with a blank": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a blank before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: x\r\nX\r\n\r\n",
    "an empty name": b"GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
    "a zero in a value": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "a zero in a name": b"GET / HTTP/1.1\r\nHost: x\r\nX\0: a\r\n\r\n",
    "a bare CR in a value": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rY: b\r\n\r\n",
    "a bare CR in the first line": b"GET / HTTP/1.1\rHost: x\r\n\r\n",
    "a header that is no ASCII": b"GET / HTTP/1.1\r\nHost: x\r\n\xff: a\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
    "a header folded by a tab": b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n\tb\r\n\r\n",
    "a length in a fold": b"POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n Content-Length: 40\r\n\r\n",
    "a first header that is folded": b"GET / HTTP/1.1\r\n Host: x\r\nHost: x\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 37\r\n\r\n",
    "two lengths in one": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 37\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length with a sign": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
    "a hexadecimal length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n",
    "an empty length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n",
    "a length of 25 digits": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 25 + b"\r\n\r\n",
    "a length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "a coding that is unknown": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a coding that looks known": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks twice": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in version 1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}
BAD |= {
    f"a chunk size of {size!r}": CHUNKED + size + b"\r\n" + SMUGGLED
    for size in (b"", b"zz", b"-1", b"+1", b"0x1", b" 1", b"1_0", b"1\n", b"1\rx", b"f" * 21, b"1\0", b"\xff")
}
BAD["a chunk longer than it says"] = CHUNKED + b"1\r\nab\r\n0\r\n\r\n"
BAD["a chunk that ends with LF"] = CHUNKED + b"1\r\na\n0\r\n\r\n"
BAD["a trailer that is none"] = CHUNKED + b"0\r\n: x\r\n\r\n"


@pytest.mark.parametrize("sent", BAD.values(), ids=BAD)
async def test_what_is_not_http_is_answered_with_400_and_a_close(sent: bytes) -> None:
    async with lean() as served:
        (reply,) = replies(await raw(served.port, sent + SMUGGLED))
        assert (reply.status, reply.headers["connection"]) == (400, "close")
        assert json.loads(reply.body)["code"] == "invalid"
        assert (await served.send()).status_code == 200


async def test_a_body_of_small_chunks_lets_others_in_between() -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY.ljust(5_000)) + b"0\r\n\r\n"
    turns = mock.AsyncMock(wraps=trio.lowlevel.checkpoint)
    async with lean() as served, await opened(served.port) as stream:
        with mock.patch.object(trio.lowlevel, "checkpoint", turns):
            assert (await reply_on(stream, CHUNKED + body)).status == 200
    assert turns.await_count >= len(body) // 6 // CHUNKS_AT_ONCE_MAX


@pytest.mark.parametrize("more", [b"X: a\r\n b\r\n", b"X: " + b"x" * 9_000 + b"\r\n"])
async def test_a_head_that_is_refused_is_a_head_all_the_same(more: bytes) -> None:
    async with lean(header_kib=8) as served, await opened(served.port) as stream:
        await stream.send_all(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
        (reply,) = replies(await rest(stream), head=True)
        assert (reply.status, reply.body) == (400 if b"\r\n " in more else 431, b"")


async def test_what_is_too_large_need_not_be_sent_to_be_refused() -> None:
    async with lean(body_kib=1) as served, await opened(served.port) as stream:
        await stream.send_all(POST + b"Content-Length: 2000\r\nExpect: 100-continue\r\n\r\n")
        (reply,) = replies(await rest(stream))
        assert reply.status == 400


async def test_a_body_where_a_websocket_begins() -> None:
    async with lean() as served, await opened(served.port) as stream:
        await stream.send_all(websocket_opening("/v1/connect", {"Content-Length": "5"}) + b"hello")
        (reply,) = replies(await rest(stream))
        assert reply.status == 400


async def test_the_same_length_twice_means_one_thing() -> None:
    async with lean() as served:
        twice = SEND.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert [reply.status for reply in replies(await raw(served.port, twice + LAST))] == [200, 200]


async def test_what_looks_folded_in_a_body_is_nobodys_header() -> None:
    body = b'{\n "destination": "userB",\r\n\t"payload": "Hello"\n }'
    async with lean() as served:
        sent = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        assert [reply.status for reply in replies(await raw(served.port, sent * 2 + LAST))] == [200, 200, 200]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2_000 + b"\r\n\r\n",
    ],
    ids=len,
)
async def test_a_head_that_is_too_large(sent: bytes) -> None:
    async with lean(header_kib=1) as served:
        (reply,) = replies(await raw(served.port, sent))
        assert (reply.status, reply.headers["connection"]) == (431, "close")


async def test_a_head_as_large_as_it_may_be() -> None:
    async with lean(header_kib=1) as served:
        for size, status in ((1024, 200), (1025, 431)):
            head = LAST[:-2] + b"X: " + b"x" * (size - len(LAST) - 5) + b"\r\n\r\n"
            assert len(head) == size
            (reply,) = replies(await raw(served.port, head))
            assert reply.status == status


async def test_a_chunk_whose_line_or_trailer_is_too_large() -> None:
    async with lean(header_kib=1) as served:
        for sent in (b"1;" + b"x" * 5_000, b"0\r\nX: " + b"x" * 5_000):
            (reply,) = replies(await raw(served.port, CHUNKED + sent))
            assert reply.status == 431


# Bodies that are too large, or stop.


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_early_answer_arrives_though_the_client_is_still_sending(chunked: bool) -> None:
    part = b"x" * 1024
    data = b"".join(b"400\r\n%b\r\n" % part for _ in range(1024)) if chunked else part * 1024
    head = CHUNKED if chunked else POST + b"Content-Length: 100000000\r\n\r\n"
    async with lean(body_kib=256) as served:
        (reply,) = replies(await raw(served.port, head + data))
        assert (reply.status, reply.headers["connection"]) == (400, "close")
        assert json.loads(reply.body)["reason"] == "body: too large"


async def test_a_body_as_large_as_it_may_be() -> None:
    async with lean(body_kib=256) as served:
        body = BODY + b" " * (256 * 1024 - len(BODY))
        sent = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        assert [reply.status for reply in replies(await raw(served.port, sent + LAST))] == [200, 200]


async def test_a_half_closed_client_gets_its_answers() -> None:
    async with lean() as served, await opened(served.port) as stream:
        await stream.send_all(SEND + GET)
        await stream.send_eof()
        assert [reply.status for reply in replies(await rest(stream))] == [200, 200]


@pytest.mark.parametrize("sent", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_ends_within_a_head(sent: bytes) -> None:
    async with lean() as served, await opened(served.port) as stream:
        await stream.send_all(sent)
        await stream.send_eof()
        assert [reply.status for reply in replies(await rest(stream))] == [400]


@pytest.mark.parametrize("sent", [SEND[:-3], CHUNKED + b"5\r\nab", CHUNKED + b"1\r\na\r\n"])
async def test_a_client_that_ends_within_a_body(sent: bytes) -> None:
    async with lean() as served:
        async with await opened(served.port) as stream:
            await stream.send_all(sent)
            await stream.send_eof()
            assert await rest(stream) == b""
        await nothing_was_sent(served)


async def test_clients_that_reset() -> None:
    async with lean() as served:
        for sent in (b"", b"GET", SEND[:-1], SEND, GET * 100):
            stream = await opened(served.port)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.send_all(sent)
            await stream.aclose()
        await wait_all_tasks_blocked()
        assert (await served.send()).status_code == 200


# Time-outs.


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with lean(idle_s=0.1) as served:
        async with await opened(served.port) as stream:
            assert await rest(stream) == b""
        async with await opened(served.port) as stream:
            await reply_on(stream)
            assert await rest(stream) == b""


async def test_a_head_that_drips() -> None:
    async with lean(header_s=0.2) as served, await opened(served.port) as stream, trio.open_nursery() as nursery:

        async def drip() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                for byte in itertools.cycle(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 1000):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.02)

        nursery.start_soon(drip)
        (reply,) = replies(await rest(stream))
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        nursery.cancel_scope.cancel()


async def test_a_second_head_that_stops() -> None:
    async with lean(header_s=0.1) as served:
        first, second = replies(await raw(served.port, GET + GET[:20]))
        assert (first.status, second.status) == (200, 408)


@pytest.mark.parametrize(
    "sent", [SEND[:-1], POST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", CHUNKED + b"9\r\nx"]
)
async def test_an_upload_that_stops(sent: bytes) -> None:
    async with lean(body_s=0.1) as served:
        *_, reply = replies(await raw(served.port, sent))
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert json.loads(reply.body)["code"] == "request_timeout"
        await nothing_was_sent(served)


async def test_a_client_that_reads_nothing_is_given_up() -> None:
    async with lean(write_s=0.2) as served, await opened(served.port) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await stream.send_all(GET.replace(b"/healthz", b"/metrics") * 1_000_000)
        assert (await served.send()).status_code == 200


# Limits.


async def turned_away(port: int) -> None:
    """Fails unless a new connection is answered with 503 and closed."""
    async with await opened(port) as stream:
        (reply,) = replies(await rest(stream))
    assert (reply.status, reply.headers["connection"], reply.headers["retry-after"]) == (503, "close", "1")
    assert json.loads(reply.body) == {"code": "overloaded", "message": "too many connections"}


async def test_more_connections_than_allowed() -> None:
    async with lean(connections=3) as served:
        streams = [await opened(served.port) for _ in range(3)]
        for stream in streams:
            assert (await reply_on(stream)).status == 200
        await turned_away(served.port)
        assert (await reply_on(streams[0])).status == 200
        await streams.pop().aclose()
        await wait_all_tasks_blocked()
        async with await opened(served.port) as stream:
            assert (await reply_on(stream)).status == 200
        for stream in streams:
            await stream.aclose()


async def test_many_at_once_are_counted_before_they_are_served() -> None:
    async with lean(connections=3) as served:
        sockets = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(20)]  # none is accepted yet
        streams = [trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in sockets]
        await wait_all_tasks_blocked()
        found = b""
        for stream in streams[3:]:
            found += await rest(stream)
        assert [reply.status for reply in replies(found)] == [503] * 17
        for stream in streams[:3]:
            assert (await reply_on(stream)).status == 200
        for stream in streams:
            await stream.aclose()


async def test_more_connections_of_an_address_than_allowed() -> None:
    async with lean(connections_per_address=1) as served:
        async with await opened(served.port) as stream:
            await reply_on(stream)
            await turned_away(served.port)
            async with await opened(served.port, local_address="127.0.0.2") as other:
                assert (await reply_on(other)).status == 200
        await wait_all_tasks_blocked()
        assert [reply.status for reply in replies(await raw(served.port, LAST))] == [200]


async def test_more_requests_than_a_connection_may_have() -> None:
    async with lean(requests=3) as served:
        found = replies(await raw(served.port, GET * 5))
    assert [(reply.status, reply.headers.get("connection")) for reply in found] == [(200, None)] * 2 + [(200, "close")]


# How it ends.


async def test_stopping_ends_idle_connections_and_lets_busy_ones_answer() -> None:
    async with lean() as served:
        idle, begun, busy = [await opened(served.port) for _ in range(3)]
        await reply_on(idle)
        await begun.send_all(b"GET / HT")
        await busy.send_all(SEND[:-1])
        await wait_all_tasks_blocked()
        served.stop.set()
        assert await rest(idle) == b""
        assert await rest(begun) == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await opened(served.port)
        assert not served.stopped.is_set()
        await busy.send_all(SEND[-1:] + GET)
        (reply,) = replies(await rest(busy))
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        with trio.fail_after(2):
            await served.stopped.wait()
        for stream in (idle, begun, busy):
            await stream.aclose()


async def test_who_does_not_end_in_time_is_cut_off() -> None:
    async with lean(grace_s=0.1) as served, await opened(served.port) as stream:
        await stream.send_all(SEND[:-1])
        await wait_all_tasks_blocked()
        served.stop.set()
        assert await rest(stream) == b""
        with trio.fail_after(2):
            await served.stopped.wait()
        await nothing_was_sent(served)


async def test_both_hosts_in_one_process() -> None:
    async with serving(hosts=["hypercorn", "h11"]) as served:
        async with session(served, "userB") as session_:  # on the first
            (reply,) = replies(await raw(served.ports[1], SEND.replace(b"Host", b"Connection: close\r\nHost")))
            assert reply.status == 200
            assert (await session_.next())["payload"] == "Hello"
        one, two = [await opened(port) for port in served.ports]
        await reply_on(one)
        await reply_on(two)
        served.stop.set()
        with trio.fail_after(2):
            assert (await rest(one), await rest(two)) == (b"", b"")
            await served.stopped.wait()
        await one.aclose()
        await two.aclose()


# The host alone.


@asynccontextmanager
async def alone(
    broker: FakeBroker, listener: type[socket.socket] = socket.socket, serve: Any = None
) -> AsyncIterator[tuple[LeanHost, int]]:
    """A host over a broker that does what it is told, and its port."""
    own = system_dialect(
        lambda: Readiness(ready=True, disk_full=False), CollectorRegistry(), public_metrics=False, websockets=[]
    )
    limiter = Limiter({}, lambda: MonotonicMs(1))
    router = Router(own, [anyrtc.bind([APP])])
    shell = Shell(router, limiter, broker, itertools.count(1), HttpCounters(), lambda: NOW_MS)
    host = LeanHost(shell, WebSockets({"/v1/connect": serve}), Serving(), LeanSettings())
    (bound,) = bind("127.0.0.1", 0)
    one = listener(fileno=bound.detach())
    one.setblocking(False)
    port = one.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(host.serve, [one])
        yield host, port
        await host.stop_listening()


async def test_cutting_off_a_request_that_waits_is_no_incident() -> None:
    broker = FakeBroker()
    broker.hold = trio.Event()
    async with alone(broker) as (host, port), await opened(port) as stream:
        await stream.send_all(SEND.replace(b"peer_messages", b"peer_messages?wait_for_ack=1"))
        await wait_all_tasks_blocked()
        assert len(broker.commands) == 1
        host.cut_off()
        assert await rest(stream) == b""
        await wait_all_tasks_blocked()
    assert broker.withdrawn == 1


async def test_who_leaves_while_it_waits_frees_its_place() -> None:
    broker = FakeBroker()
    broker.hold = trio.Event()
    async with alone(broker) as (_, port), await opened(port) as stream:
        await stream.send_all(SEND.replace(b"peer_messages", b"peer_messages?wait_for_ack=1") + GET)
        await wait_all_tasks_blocked()
        await stream.send_eof()
        assert await rest(stream) == b""
    assert broker.withdrawn == 1


async def test_what_comes_while_it_waits_is_answered_next() -> None:
    broker = FakeBroker()
    broker.hold = trio.Event()
    async with alone(broker) as (_, port), await opened(port) as stream:
        await stream.send_all(SEND.replace(b"peer_messages", b"peer_messages?wait_for_ack=1"))
        await wait_all_tasks_blocked()
        await stream.send_all(GET[:9])
        await wait_all_tasks_blocked()
        await stream.send_all(GET[9:] + LAST)
        await wait_all_tasks_blocked()
        broker.hold.set()
        assert [reply.status for reply in replies(await rest(stream))] == [200, 200, 200]


async def test_a_failing_store_closes_unanswered() -> None:
    async with alone(FakeBroker(raises=StorageFailure("disk"))) as (_, port):
        assert await raw(port, SEND + GET) == b""
        assert len(replies(await raw(port, LAST))) == 1


async def test_a_failing_store_ends_a_websocket_without_a_word() -> None:
    async def serve(socket: Socket) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageFailure("disk")

    opening = b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    opening += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    async with alone(FakeBroker(), serve=serve) as (_, port):
        assert await raw(port, b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n" + opening) == b""


async def test_what_is_left_to_send_is_given_up_with_its_connection() -> None:
    """A task that sends what was left may begin only after its connection was closed."""
    one, other = socket.socketpair()
    stream = Stream(one, None, write_s=1)
    stream.close()
    with pytest.raises(Gone):
        await stream.send_rest(memoryview(b"x"))
    other.close()


class NoFiles(socket.socket):
    """Accepts nothing at first: the system has no more open files, or the client has left again."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._errors = [errno.ECONNABORTED, errno.EMFILE, errno.ENFILE]

    def accept(self) -> Any:
        if self._errors:
            raise OSError(self._errors.pop(), "no")
        return super().accept()


async def test_without_open_files_it_waits_for_some(caplog: pytest.LogCaptureFixture) -> None:
    async with alone(FakeBroker(), NoFiles) as (_, port):
        assert [reply.status for reply in replies(await raw(port, LAST))] == [200]
    assert len([record for record in caplog.records if "no-open-files" in record.getMessage()]) == 2


# Any bytes.

PIECES = [GET, SEND, CHUNKED, LAST, SMUGGLED, *BAD.values(), b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n"]
PIECES += [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"]
PIECES += [b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n"]
PIECES += [b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"]


def changed(data: bytes, at: int, by: bytes) -> bytes:
    """With some bytes in the place of one."""
    at %= len(data) + 1
    return data[:at] + by + data[at + 1 :]


PIECE = st.binary(max_size=60) | st.sampled_from(PIECES)
ANY = st.lists(
    PIECE | st.builds(changed, st.sampled_from(PIECES), st.integers(0, 400), st.binary(max_size=3)), max_size=6
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that goes on whatever comes."""
    token = HOST.set("h11")
    config = config_of(h11=LeanConfig(idle_s=2, header_s=2, body_s=2, write_s=2))
    with serving_in_a_thread(MemoryStore(), config) as (_, client):
        HOST.reset(token)
        yield client.base_url.port or 0
        assert client.get("/healthz").status_code == 200
        assert client.post(f"{BASE}/rtm/users/userA/peer_messages", json=PEER).json()["code"] == "message_sent"


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(parts=ANY)
def test_any_bytes_are_answered_or_not_and_nothing_else_happens(
    port: int, parts: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client, contextlib.suppress(ConnectionError):
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(65536):
            received += data
    assert not received or received.startswith(b"HTTP/1.1 ")
    assert not [record for record in caplog.records if record.exc_info]
