"""The way of a request through the shell: the order of checks, and what each refusal or failure becomes."""

import itertools
import json
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry
from trio.testing import wait_all_tasks_blocked

from postroom.core.buckets import Rate
from postroom.core.errors import DedupMismatch, Overloaded, ShuttingDown, StorageFailure, UnknownResult
from postroom.core.ids import MonotonicMs
from postroom.core.model import PresenceEvent
from postroom.core.queries import CollectMessages, CountMessages, TakePresence
from postroom.transports import anyrtc
from postroom.transports.http.limits import Limiter, Rates
from postroom.transports.http.router import Router
from postroom.transports.http.shell import HttpCounters, Shell
from postroom.transports.http.system import Readiness, system_dialect
from postroom.transports.http.types import HttpReply, HttpRequest
from tests.support.web import APP, APP_ID, NOW_MS, PEER, PEER_PATH, FakeBroker, basic, header, request, told

NOTHING: Rates = {}


class Desk:
    """A shell with everything around it."""

    def __init__(self, broker: FakeBroker, rates: Rates = NOTHING) -> None:
        own = system_dialect(
            lambda: Readiness(ready=True, disk_full=False), CollectorRegistry(), public_metrics=False, websockets=[]
        )
        self.counters = HttpCounters()
        self.shell = Shell(
            Router(own, [anyrtc.bind([APP])]),
            Limiter(rates, lambda: MonotonicMs(1)),
            broker,
            itertools.count(4711),
            self.counters,
            lambda: NOW_MS,
        )

    async def ask(self, asked: HttpRequest) -> HttpReply:
        """The answer, from a client that stays."""
        reply = await self.shell.handle(asked, trio.sleep_forever)
        assert reply is not None
        return reply


async def test_a_send_is_submitted_and_its_receipt_rendered() -> None:
    broker = FakeBroker()
    reply = await Desk(broker).ask(request())
    assert reply.status == 200
    assert told(reply) == {"code": "message_sent", "result": "success", "request_id": "4711"}
    assert header(reply, "Access-Control-Allow-Origin") == "*"
    assert (broker.sent.app, broker.sent.sender, broker.sent.to.id, broker.sent.body) == (
        "shop",
        "userA",
        "userB",
        b"Hello",
    )


async def test_each_call_has_an_id_of_its_own() -> None:
    desk = Desk(FakeBroker())
    ids = [told(await desk.ask(request()))["request_id"] for _ in range(3)]
    assert ids == ["4711", "4712", "4713"]


BAD_BODY = b"{"
NOBODY = {"Authorization": "Basic bm9ib2R5Og=="}


async def test_the_order_of_checks() -> None:
    rates = {("shop", "anyrtc.peer_messages"): Rate(1, 1_000)}
    broker = FakeBroker(raises=Overloaded("later"))
    desk = Desk(broker, rates)
    all_wrong = {"body": BAD_BODY, "headers": NOBODY}
    assert (await desk.ask(request("/dev/v2/project/x/nothing", method="GET", **all_wrong))).status == 404  # type: ignore[arg-type]
    assert (await desk.ask(request(method="GET", **all_wrong))).status == 405  # type: ignore[arg-type]
    assert (await desk.ask(request(**all_wrong))).status == 401  # type: ignore[arg-type]
    # A call that is refused for its parameters has used the rate.
    assert (await desk.ask(request(body=BAD_BODY))).status == 400
    assert (await desk.ask(request(body=BAD_BODY))).status == 429
    assert not broker.commands


async def test_unauthenticated_calls_do_not_count_against_the_rate() -> None:
    desk = Desk(FakeBroker(), {("shop", "anyrtc.peer_messages"): Rate(1, 1_000)})
    for _ in range(5):
        assert (await desk.ask(request(headers=NOBODY))).status == 401
    assert (await desk.ask(request())).status == 200
    limited = await desk.ask(request())
    assert limited.status == 429
    assert header(limited, "Retry-After") == "1"


async def test_a_wrong_method_says_what_is_right() -> None:
    reply = await Desk(FakeBroker()).ask(request(method="GET"))
    assert (reply.status, header(reply, "Allow")) == (405, "OPTIONS, POST")
    assert told(reply)["code"] == "method_not_allowed"


async def test_preflight() -> None:
    reply = await Desk(FakeBroker()).ask(request(method="OPTIONS", headers={"Origin": "http://x"}))
    assert (reply.status, reply.body) == (204, b"")
    assert header(reply, "Access-Control-Allow-Origin") == "*"
    assert header(reply, "Access-Control-Allow-Methods") == "GET, POST, OPTIONS"
    allowed = (header(reply, "Access-Control-Allow-Headers") or "").split(", ")
    assert {"authorization", "content-type", "x-ar-token", "x-ar-uid", "x-agora-token", "x-agora-uid"} <= set(allowed)


async def test_preflight_of_nothing_is_not_found() -> None:
    desk = Desk(FakeBroker())
    reply = await desk.ask(request("/dev/v2/project/x/nothing", method="OPTIONS"))
    assert (reply.status, header(reply, "Access-Control-Allow-Origin")) == (404, "*")
    assert (await desk.ask(request("/healthz", method="OPTIONS"))).status == 405


@pytest.mark.parametrize("key", ["k", "k" * 128, "\u4e2d" * 42])
async def test_an_idempotency_key_is_the_dedup_key(key: str) -> None:
    broker = FakeBroker()
    reply = await Desk(broker).ask(request(headers={"Authorization": basic(), "Idempotency-Key": key}))
    assert reply.status == 200
    assert broker.sent.dedup == key


@pytest.mark.parametrize("key", ["", "k" * 129, "\u4e2d" * 43])
async def test_an_idempotency_key_of_the_wrong_length(key: str) -> None:
    broker = FakeBroker()
    reply = await Desk(broker).ask(request(headers={"Authorization": basic(), "idempotency-key": key}))
    assert reply.status == 400
    assert told(reply)["message"] == "Idempotency-Key: must be 1 to 128 bytes"
    assert not broker.commands


async def test_an_idempotency_key_that_is_not_utf8() -> None:
    asked = HttpRequest(
        method="POST",
        path=PEER_PATH,
        headers=[(b"authorization", basic().encode()), (b"idempotency-key", b"\xff")],
        body=json.dumps(PEER).encode(),
    )
    assert told(await Desk(FakeBroker()).ask(asked))["message"] == "Idempotency-Key: not UTF-8"


async def test_a_refusal_of_the_broker_is_in_the_dialects_words() -> None:
    conflict = await Desk(FakeBroker(raises=DedupMismatch("used for another message"))).ask(request())
    assert (conflict.status, told(conflict)["code"], header(conflict, "Retry-After")) == (409, "conflict", None)
    closing = await Desk(FakeBroker(raises=ShuttingDown("the broker is shutting down"))).ask(request())
    assert (closing.status, told(closing)["code"], header(closing, "Retry-After")) == (503, "shutting_down", "1")


async def test_a_failing_store_is_not_answered() -> None:
    with pytest.raises(StorageFailure):
        await Desk(FakeBroker(raises=StorageFailure("disk"))).ask(request())
    with pytest.raises(StorageFailure):
        await Desk(FakeBroker(raises=StorageFailure("disk"))).ask(request(query="wait_for_ack=true"))


@pytest.mark.parametrize("query", ["", "wait_for_ack=true"])
async def test_a_fault_of_ours_is_logged_and_answered_with_its_id(query: str, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(FakeBroker(raises=ZeroDivisionError("secret detail")))
    reply = await desk.ask(request(query=query))
    assert reply.status == 500
    assert told(reply) == {
        "result": "failed",
        "code": "internal_error",
        "message": "internal error 4711",
        "reason": "internal error 4711",
        "request_id": "4711",
    }
    (record,) = [each for each in caplog.records if each.name == "postroom.http"]
    assert "4711" in str(record.msg)
    assert record.exc_info is not None
    assert b"secret detail" not in reply.body


async def test_a_body_that_was_too_large() -> None:
    broker = FakeBroker()
    reply = await Desk(broker).ask(request(body=b"", oversized=True))
    assert (reply.status, told(reply)["message"]) == (400, "body: too large")
    assert (await Desk(broker).ask(request(body=b"", oversized=True, headers=NOBODY))).status == 401


async def test_a_wait_ends_with_the_client() -> None:
    broker = FakeBroker()
    broker.hold = trio.Event()
    left = trio.Event()
    replies: list[HttpReply | None] = []

    async def ask() -> None:
        replies.append(await Desk(broker).shell.handle(request(query="wait_for_ack=true"), left.wait))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        left.set()
    assert replies == [None]
    assert broker.withdrawn == 1


async def test_what_does_not_wait_does_not_look_at_the_client() -> None:
    async def gone() -> None:
        raise AssertionError

    assert await Desk(FakeBroker()).shell.handle(request(), gone) is not None


@pytest.mark.parametrize(
    ("confirmation", "status", "code"),
    [
        ("delivered", 200, "message_delivered"),
        ("offline", 200, "message_offline"),
        ("timeout", 408, "timeout"),
    ],
)
async def test_a_wait_that_ends(confirmation: str, status: int, code: str) -> None:
    broker = FakeBroker(confirmation=confirmation)  # type: ignore[arg-type]
    reply = await Desk(broker).ask(request(query="wait_for_ack=true"))
    assert (reply.status, told(reply)["code"]) == (status, code)
    assert broker.sent.wait_ack_ms == 5_000


# Queries.

EVENTS_PATH = f"/dev/v2/project/{APP_ID}/rtm/vendor/user_events"
HISTORY_PATH = f"/dev/v2/project/{APP_ID}/rtm/message/history"


def asked(path: str = EVENTS_PATH, **more: Any) -> HttpRequest:
    """A GET without a body."""
    return request(path, b"", method="GET", **more)


async def test_a_query_is_asked_and_its_answer_rendered() -> None:
    broker = FakeBroker()
    broker.answer = (PresenceEvent("login", NOW_MS, "userA"),)
    reply = await Desk(broker).ask(asked())
    assert reply.status == 200
    events = [{"ms": NOW_MS, "type": "Login", "user_id": "userA"}]
    assert told(reply) == {"result": "success", "request_id": "4711", "events": events}
    assert broker.queries == [TakePresence(app="shop", feed="users")]
    assert not broker.commands


async def test_an_answer_that_is_empty_is_an_answer() -> None:
    broker = FakeBroker()
    broker.answer = 0
    times = "start_time=1&end_time=2"
    reply = await Desk(broker).ask(asked(f"{HISTORY_PATH}/count", query=f"source=userA&{times}"))
    assert (reply.status, told(reply)["count"]) == (200, 0)
    assert isinstance(broker.queries[0], CountMessages)


async def test_requests_know_when_they_were_taken_up() -> None:
    """By the clock that the shell was given: it bounds what a history query looks at."""
    broker = FakeBroker()
    broker.answer = 0
    await Desk(broker).ask(asked(f"{HISTORY_PATH}/count", query="source=userA&start_time=1&end_time=1790000000"))
    (query,) = broker.queries
    assert isinstance(query, CountMessages)
    assert query.start_ms == NOW_MS - 7 * 86_400_000


async def test_head_takes_nothing() -> None:
    broker = FakeBroker()
    for path in (EVENTS_PATH, f"{HISTORY_PATH}/query/4711", f"{HISTORY_PATH}/count"):
        reply = await Desk(broker).ask(request(path, b"", method="HEAD"))
        assert (reply.status, header(reply, "Allow")) == (405, "GET, OPTIONS")
    assert not broker.queries


async def test_a_query_needs_credentials_and_counts_against_its_rate() -> None:
    broker = FakeBroker()
    desk = Desk(broker, {("shop", "anyrtc.user_events"): Rate(1, 1_000)})
    assert (await desk.ask(asked(headers=NOBODY))).status == 401
    assert [(await desk.ask(asked())).status for _ in range(3)] == [200, 429, 429]
    assert len(broker.queries) == 1


async def test_a_query_that_is_refused() -> None:
    gone = await Desk(FakeBroker(raises=UnknownResult("no result"))).ask(asked(f"{HISTORY_PATH}/query/4711"))
    assert gone.status == 200
    assert told(gone) == {
        "code": "resource not exist",
        "result": "failed",
        "messages": [],
        "request_id": "4711",
    }
    busy = await Desk(FakeBroker(raises=Overloaded("later", retry_after_ms=2_000))).ask(asked())
    assert (busy.status, header(busy, "Retry-After")) == (503, "2")
    with pytest.raises(StorageFailure):
        await Desk(FakeBroker(raises=StorageFailure("disk"))).ask(asked())
    broken = await Desk(FakeBroker(raises=ZeroDivisionError())).ask(asked())
    assert (broken.status, told(broken)["code"]) == (500, "internal_error")


async def test_a_handle_is_asked_for_as_it_stands_in_the_path() -> None:
    broker = FakeBroker()
    assert (await Desk(broker).ask(asked(f"{HISTORY_PATH}/query/a%2Fb"))).status == 200
    assert broker.queries == [CollectMessages(app="shop", handle="a/b")]


async def test_a_query_has_no_idempotency_key() -> None:
    broker = FakeBroker()
    headers = {"Authorization": basic(), "Idempotency-Key": ""}
    assert (await Desk(broker).ask(asked(headers=headers))).status == 200


async def test_the_three_history_calls_have_a_bucket_each() -> None:
    broker = FakeBroker()
    desk = Desk(broker, {("shop", "anyrtc.history"): Rate(1, 1_000)})
    post = request(f"{HISTORY_PATH}/query", b"{")
    collect, count = asked(f"{HISTORY_PATH}/query/1"), asked(f"{HISTORY_PATH}/count")
    # All but the second are wrong in their parameters, which is looked at last.
    assert [(await desk.ask(each)).status for each in (post, collect, count)] == [400, 200, 400]
    assert [(await desk.ask(each)).status for each in (post, collect, count)] == [429, 429, 429]


async def test_replies_and_refusals_are_counted() -> None:
    desk = Desk(FakeBroker())
    await desk.ask(request())
    await desk.ask(request(body=b"{"))
    await desk.ask(request(headers=NOBODY))
    await desk.ask(request("/nothing"))
    assert desk.counters.replies == {("anyrtc", 200): 1, ("anyrtc", 400): 1, ("anyrtc", 401): 1, ("postroom", 404): 1}
    assert desk.counters.refused == {("shop", "invalid"): 1}
