"""Routes that take more than one step, and those whose successes are counted."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import trio
from prometheus_client import CollectorRegistry

from postroom.core import SendMessage
from postroom.core.buckets import Rate
from postroom.core.commands import SendBroadcast
from postroom.core.errors import InvalidCommand, Refusal, StorageFailure, UnknownMessage
from postroom.core.ids import MonotonicMs
from postroom.core.model import Receipt, peer, service
from postroom.core.queries import FindMembers
from postroom.transports.http.dialect import Call, Caller, Dialect, Route, Steps, Work, everyone
from postroom.transports.http.limits import Limiter, Rates
from postroom.transports.http.router import Router
from postroom.transports.http.shell import HttpCounters, Shell
from postroom.transports.http.system import STATUS, Readiness, system_dialect
from postroom.transports.http.types import HttpReply, json_reply
from tests.support.web import NOW_MS, FakeBroker, request, told

SEND = SendMessage(app="shop", sender="a", to=peer("b"), body=b"hi")
MEMBERS = FindMembers(app="shop", room="r")


def refuse(refusal: Refusal, id: str) -> HttpReply:
    """Its class."""
    return json_reply(STATUS[type(refusal)], type(refusal).__name__)


class Desk:
    """A shell with one route, of which successes are counted."""

    def __init__(
        self,
        broker: FakeBroker,
        parse: Callable[[Call], Work],
        rates: Rates | None = None,
        limit: str | Callable[[Call], str] = "x",
    ) -> None:
        own = system_dialect(
            lambda: Readiness(ready=True, disk_full=False), CollectorRegistry(), public_metrics=False, websockets=[]
        )
        route = Route(
            method="POST",
            template="/x",
            limit=limit,
            counted="successes",
            authenticate=lambda request: Caller("shop"),
            permit=everyone,
            parse=parse,
            render=lambda call, outcome: json_reply(200, str(outcome)),
        )
        self.counters = HttpCounters()
        self.shell = Shell(
            Router(own, [Dialect(name="d", prefixes=("/x",), routes=(route,), refuse=refuse)]),
            Limiter(rates or {}, lambda: MonotonicMs(1)),
            broker,
            itertools.count(1),
            self.counters,
            lambda: NOW_MS,
        )

    async def ask(self, **more: Any) -> tuple[int, Any]:
        """Status and body."""
        reply = await self.shell.handle(request("/x", **more), trio.sleep_forever)
        assert reply is not None
        return reply.status, told(reply)


async def test_steps_are_taken_one_after_the_other() -> None:
    def steps() -> Steps:
        members = yield MEMBERS
        receipt = yield SEND
        assert isinstance(receipt, Receipt)
        return members

    broker = FakeBroker()
    broker.answer = ("one", "two")
    assert await Desk(broker, lambda call: steps()).ask() == (200, "('one', 'two')")
    assert (broker.queries, broker.commands) == ([MEMBERS], [SEND])


async def test_steps_may_be_none_at_all() -> None:
    def steps() -> Steps:
        return "nothing"
        yield

    broker = FakeBroker()
    assert await Desk(broker, lambda call: steps()).ask() == (200, "nothing")


async def test_an_answer_of_none_is_an_answer() -> None:
    broker = FakeBroker()
    broker.answer = None
    assert await Desk(broker, lambda call: MEMBERS).ask() == (200, "None")


async def test_steps_are_told_of_a_refusal_and_may_go_on() -> None:
    def steps() -> Steps:
        try:
            yield SEND
        except UnknownMessage as refusal:
            return refusal.message
        raise AssertionError

    assert await Desk(FakeBroker(raises=UnknownMessage("none")), lambda call: steps()).ask() == (200, "none")


async def test_a_refusal_that_steps_leave_alone_is_the_answer() -> None:
    ended = []

    def steps() -> Steps:
        try:
            yield SEND
        finally:
            ended.append(True)

    broker = FakeBroker(raises=UnknownMessage("none"))
    assert await Desk(broker, lambda call: steps()).ask() == (404, "UnknownMessage")
    assert ended == [True]


async def test_a_failing_store_ends_the_steps() -> None:
    ended = []

    def steps() -> Steps:
        try:
            yield SEND
        finally:
            ended.append(True)

    with pytest.raises(StorageFailure):
        await Desk(FakeBroker(raises=StorageFailure("disk")), lambda call: steps()).ask()
    assert ended == [True]


async def test_a_client_that_leaves_ends_the_steps() -> None:
    def steps() -> Steps:
        yield MEMBERS
        raise AssertionError

    async def gone() -> None:
        return

    class Busy(FakeBroker):
        async def ask(self, query: Any) -> Any:
            await trio.sleep_forever()

    assert await Desk(Busy(), lambda call: steps()).shell.handle(request("/x"), gone) is None


async def test_an_idempotency_key_is_for_the_message_among_the_steps() -> None:
    def steps() -> Steps:
        yield MEMBERS
        return (yield SEND)

    broker = FakeBroker()
    await Desk(broker, lambda call: steps()).ask(headers={"Idempotency-Key": "k1"})
    assert broker.sent.dedup == "k1"
    assert await Desk(broker, lambda call: steps()).ask(headers={"Idempotency-Key": ""}) == (400, "InvalidCommand")


async def test_an_idempotency_key_is_for_a_broadcast_too() -> None:
    broadcast = SendBroadcast(app="shop", sender="a", conversation=service("s"), body=b"hi")
    broker = FakeBroker()
    await Desk(broker, lambda call: broadcast).ask(headers={"Idempotency-Key": "k1"})
    (command,) = broker.commands
    assert command == msgspec.structs.replace(broadcast, dedup="k1")


RATES = {("shop", "x"): Rate(1, 60_000, "interval", 60_000)}


def wrong(call: Call) -> Work:
    """Parameters that are not as they should be."""
    raise InvalidCommand("x: wrong")


async def test_where_successes_are_counted_parameters_come_first() -> None:
    desk = Desk(FakeBroker(), wrong, RATES)
    assert [await desk.ask() for _ in range(3)] == [(400, "InvalidCommand")] * 3
    assert (await desk.ask(body=b"", oversized=True))[0] == 400
    assert desk.counters.refused == {("shop", "invalid"): 4}


async def test_a_call_that_fails_is_not_counted() -> None:
    broker = FakeBroker(raises=UnknownMessage("none"))
    desk = Desk(broker, lambda call: SEND, RATES)
    assert [await desk.ask() for _ in range(3)] == [(404, "UnknownMessage")] * 3
    broker.raises = None
    assert [(await desk.ask())[0] for _ in range(3)] == [200, 429, 429]
    assert desk.counters.refused == {("shop", "rate_limited"): 2}


async def test_a_request_may_say_what_it_counts_against() -> None:
    """Once its parameters are right; a call that fails gives back to the same rate."""

    def limit(call: Call) -> str:
        return call.request.body.decode()

    def parse(call: Call) -> Work:
        if call.request.body not in (b"x", b"y"):
            raise InvalidCommand("x: wrong")
        return SEND

    broker = FakeBroker(raises=UnknownMessage("none"))
    desk = Desk(broker, parse, RATES, limit)
    assert [(await desk.ask(body=body))[0] for body in (b"x", b"x", b"z")] == [404, 404, 400]
    broker.raises = None
    assert [(await desk.ask(body=body))[0] for body in (b"x", b"x", b"y", b"y", b"z")] == [200, 429, 200, 200, 400]
