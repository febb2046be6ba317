"""The ASGI application, spoken to as a host would."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry
from trio.testing import MockClock, wait_all_tasks_blocked

from postroom.core.errors import StorageFailure
from postroom.core.ids import MonotonicMs
from postroom.transports import anyrtc
from postroom.transports.http.asgi import AsgiApp
from postroom.transports.http.asgi_socket import CLOSE_DEADLINE_S
from postroom.transports.http.body import BODY_BYTES_MAX
from postroom.transports.http.limits import Limiter
from postroom.transports.http.router import Router
from postroom.transports.http.serving import Serving, WebSockets
from postroom.transports.http.shell import HttpCounters, Shell
from postroom.transports.http.system import Readiness, system_dialect
from postroom.transports.http.types import json_reply
from postroom.transports.http.websocket import Serve, Socket
from tests.support.web import APP, NOW_MS, PEER, PEER_PATH, FakeBroker, Wire, http_scope, websocket_scope

BODY = {"type": "http.request", "body": json.dumps(PEER).encode(), "more_body": True}
END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}
CONNECT = {"type": "websocket.connect"}
CLOSED = {"type": "websocket.disconnect", "code": 1000}


async def nobody(socket: Socket) -> None:
    raise AssertionError


def app(broker: FakeBroker | None = None, serve: Serve = nobody, serving: Serving | None = None) -> AsgiApp:
    own = system_dialect(
        lambda: Readiness(ready=True, disk_full=False), CollectorRegistry(), public_metrics=False, websockets=[]
    )
    router = Router(own, [anyrtc.bind([APP])])
    limiter = Limiter({}, lambda: MonotonicMs(1))
    shell = Shell(router, limiter, broker or FakeBroker(), itertools.count(1), HttpCounters(), lambda: NOW_MS)
    return AsgiApp(shell, WebSockets({"/v1/connect": serve}), serving or Serving())


async def test_a_request() -> None:
    wire = Wire([BODY, END])
    broker = FakeBroker()
    await app(broker)(http_scope(wire), wire.receive, wire.send)
    assert wire.status == 200
    assert wire.json == {"code": "message_sent", "result": "success", "request_id": "1"}
    start, body = wire.sent
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/json; charset=utf-8"
    assert headers[b"content-length"] == b"%d" % len(body["body"])
    assert broker.sent.body == b"Hello"


@pytest.mark.parametrize("target", [f"http://host{PEER_PATH}", f"HTTPS://host:1{PEER_PATH}", PEER_PATH])
async def test_a_target_in_absolute_form(target: str) -> None:
    wire = Wire([BODY, END])
    await app()(http_scope(wire, target), wire.receive, wire.send)
    assert wire.status == 200


@pytest.mark.parametrize("target", ["*", "host:443", "ftp://host/", "http://host"])
async def test_a_target_that_is_no_path(target: str) -> None:
    wire = Wire([END])
    await app()(http_scope(wire, target, "OPTIONS"), wire.receive, wire.send)
    assert wire.status == 404


async def test_a_reply_without_a_body_has_no_length() -> None:
    wire = Wire([END])
    await app()(http_scope(wire, method="OPTIONS"), wire.receive, wire.send)
    assert wire.status == 204
    assert b"content-length" not in dict(wire.sent[0]["headers"])


async def test_a_client_that_leaves_within_its_request() -> None:
    wire = Wire([BODY, GONE])
    broker = FakeBroker()
    await app(broker)(http_scope(wire), wire.receive, wire.send)
    assert (wire.sent, broker.commands) == ([], [])


async def test_a_client_that_leaves_while_it_waits() -> None:
    wire = Wire([BODY, END])
    broker = FakeBroker()
    broker.hold = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app(broker), http_scope(wire, query=b"wait_for_ack=1"), wire.receive, wire.send)
        await wait_all_tasks_blocked()
        wire.say(GONE)
    assert (wire.sent, broker.withdrawn) == ([], 1)


async def test_a_body_that_is_too_large_is_answered_while_it_is_read_on() -> None:
    wire = Wire([{"type": "http.request", "body": b"x" * (BODY_BYTES_MAX + 1), "more_body": False}])
    await app()(http_scope(wire), wire.receive, wire.send)
    assert wire.status == 400
    assert wire.json["message"] == "body: too large"


async def test_a_body_that_never_ends(autojump_clock: MockClock) -> None:
    wire = Wire([BODY])
    await app()(http_scope(wire), wire.receive, wire.send)
    assert wire.status == 408
    assert wire.json["result"] == "failed"
    assert wire.json["code"] == "request_timeout"


async def test_a_failing_store_closes_the_connection_unanswered() -> None:
    wire = Wire([BODY, END])
    with trio.CancelScope() as wire.scope:
        await app(FakeBroker(raises=StorageFailure("disk")))(http_scope(wire), wire.receive, wire.send)
    assert wire.aborted
    assert wire.sent == []


async def test_a_host_that_cannot_abort_gets_no_answer_either(autojump_clock: MockClock) -> None:
    wire = Wire([BODY, END])
    scope = http_scope(wire) | {"state": None}
    with trio.move_on_after(60) as waiting:
        await app(FakeBroker(raises=StorageFailure("disk")))(scope, wire.receive, wire.send)
    assert waiting.cancelled_caught
    assert wire.sent == []


async def test_waiting_until_nothing_is_served() -> None:
    wire = Wire([BODY, END])
    broker = FakeBroker()
    broker.hold = trio.Event()
    serving = Serving()
    await serving.wait_idle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app(broker, serving=serving), http_scope(wire), wire.receive, wire.send)
        await wait_all_tasks_blocked()
        assert serving.open == 1
        nursery.start_soon(serving.wait_idle)
        await wait_all_tasks_blocked()
        broker.hold.set()
    assert serving.open == 0


async def test_lifespan() -> None:
    wire = Wire([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    await app()({"type": "lifespan"}, wire.receive, wire.send)
    assert [message["type"] for message in wire.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# WebSockets.


def answering_close(wire: Wire) -> None:
    """The client answers a close frame."""

    def on_send(message: Mapping[str, Any]) -> None:
        if message["type"] == "websocket.close":
            wire.say(CLOSED)

    wire.on_send = on_send


async def serve(wire: Wire, session: Serve, scope: dict[str, Any] | None = None) -> list[str]:
    """Serve a WebSocket with this session; what was sent, by type."""
    await app(serve=session)(scope or websocket_scope(wire), wire.receive, wire.send)
    return [message["type"].removeprefix("websocket.") for message in wire.sent]


async def test_a_session() -> None:
    heard: list[str | bytes | None] = []

    async def session(socket: Socket) -> None:
        assert socket.headers == {"x-twice": "one", "sec-websocket-protocol": "a, b"}
        assert socket.query == {"token": "t 1"}
        assert socket.client == "127.0.0.1"
        await socket.accept("b")
        heard.extend([await socket.receive(), await socket.receive()])
        await socket.send("hello")
        await socket.close(1012, "bye")
        await socket.send("too late")
        await socket.close(1000, "too late")
        heard.append(await socket.receive())

    wire = Wire(
        [
            CONNECT,
            {"type": "websocket.receive", "text": "hi", "bytes": None},
            {"type": "websocket.receive", "text": None, "bytes": b"\x00"},
        ]
    )
    answering_close(wire)
    scope = websocket_scope(wire, query=b"token=t+1", subprotocols=["a", "b"])
    assert await serve(wire, session, scope) == ["accept", "send", "close"]
    assert heard == ["hi", b"\x00", None]
    assert wire.sent[0]["subprotocol"] == "b"
    assert wire.sent[1]["text"] == "hello"
    assert (wire.sent[2]["code"], wire.sent[2]["reason"]) == (1012, "bye")


async def test_a_client_that_closes() -> None:
    async def session(socket: Socket) -> None:
        await socket.accept(None)
        assert await socket.receive() is None
        assert await socket.receive() is None
        await socket.send("nobody is there")
        await socket.close(1000, "")

    wire = Wire([CONNECT, CLOSED])
    assert await serve(wire, session) == ["accept"]


async def test_a_rejection() -> None:
    async def session(socket: Socket) -> None:
        await socket.reject(json_reply(401, {"code": "unauthorized"}))

    wire = Wire([CONNECT])
    assert await serve(wire, session) == ["http.response.start", "http.response.body"]
    assert (wire.status, wire.json) == (401, {"code": "unauthorized"})


async def test_a_close_ends_a_receive_that_waits() -> None:
    async def session(socket: Socket) -> None:
        await socket.accept(None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.receive)
            await wait_all_tasks_blocked()
            await socket.close(1012, "bye")

    wire = Wire([CONNECT])
    answering_close(wire)
    assert await serve(wire, session) == ["accept", "close"]


async def test_a_client_that_never_answers_a_close(autojump_clock: MockClock) -> None:
    async def session(socket: Socket) -> None:
        await socket.accept(None)
        await socket.close(1000, "")

    wire = Wire([CONNECT, {"type": "websocket.receive", "text": "still talking"}])
    start = trio.current_time()
    assert await serve(wire, session) == ["accept", "close"]
    assert trio.current_time() - start == CLOSE_DEADLINE_S
    assert wire.aborted


async def test_a_send_that_nobody_will_read_ends_with_the_connection() -> None:
    wire = Wire([CONNECT])

    async def stuck(message: Mapping[str, Any]) -> None:
        await wire.send(message)
        if message["type"] == "websocket.send":
            with trio.CancelScope(shield=True):  # as hypercorn's
                while not wire.aborted:
                    await trio.lowlevel.checkpoint()

    async def session(socket: Socket) -> None:
        await socket.accept(None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.send, "hi")
            await trio.lowlevel.checkpoint()
            wire.say(CLOSED)
            assert await socket.receive() is None

    await app(serve=session)(websocket_scope(wire), wire.receive, stuck)
    assert wire.aborted


async def test_a_session_that_leaves_its_socket_open_or_unopened() -> None:
    async def opened(socket: Socket) -> None:
        await socket.accept(None)

    wire = Wire([CONNECT])
    answering_close(wire)
    assert await serve(wire, opened) == ["accept", "close"]
    assert wire.sent[1]["code"] == 1011

    async def unopened(socket: Socket) -> None:
        pass

    wire = Wire([CONNECT])
    assert await serve(wire, unopened) == ["http.response.start", "http.response.body"]
    assert wire.status == 500


async def test_a_fault_of_ours_is_logged_and_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def session(socket: Socket) -> None:
        await socket.accept(None)
        raise ZeroDivisionError

    wire = Wire([CONNECT])
    answering_close(wire)
    assert await serve(wire, session) == ["accept", "close"]
    assert wire.sent[1]["code"] == 1011
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_failing_store_ends_the_connection() -> None:
    async def session(socket: Socket) -> None:
        await socket.accept(None)
        raise StorageFailure("disk")

    wire = Wire([CONNECT])
    with trio.CancelScope() as wire.scope:
        await serve(wire, session)
    assert wire.aborted
    assert [message["type"] for message in wire.sent] == ["websocket.accept"]


async def test_where_there_is_no_websocket() -> None:
    wire = Wire([CONNECT])
    await serve(wire, nobody, websocket_scope(wire, "/v2/connect"))
    assert (wire.status, wire.json["code"]) == (404, "not_found")


async def test_a_query_that_is_not_utf8() -> None:
    wire = Wire([CONNECT])
    await serve(wire, nobody, websocket_scope(wire, query=b"token=%ff"))
    assert (wire.status, wire.json["message"]) == (400, "query: not UTF-8")
