"""The one way from a request to an answer, for every dialect; the only await between a socket and the core.

The order of checks is the same everywhere (anyRTC 2): route (404), method (405), authentication (401), permission
(401, 403), rate limit (429), parameters (400), then the work. A route whose successes are counted swaps the last two
checks (LeanCloud 8).
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from time import monotonic
from typing import Any, Protocol, TypeVar

import msgspec
import trio

from postroom.core.commands import Command, SendBroadcast, SendMessage
from postroom.core.errors import Internal, InvalidCommand, Refusal, StorageFailure
from postroom.core.ids import UnixMs
from postroom.core.limits import DEDUP_BYTES_MAX
from postroom.core.model import Receipt
from postroom.core.queries import Query
from postroom.transports.logs import get_logger

from .decode import utf8
from .dialect import Call, Dialect, LocalRoute, Route, Work
from .errors import MethodNotAllowed
from .limits import Limiter
from .router import Match, NoRoute, Router
from .types import HttpReply, HttpRequest

_log = get_logger("postroom.http")
_access_log = get_logger("postroom.access")

A = TypeVar("A")

Gone = Callable[[], Awaitable[None]]
"""Returns when the client closed its connection."""


class Desk(Protocol):
    """What the shell needs of a broker."""

    async def submit(self, command: Command) -> Receipt:
        """Carry out a command. Raises Refusal, StorageFailure."""

    async def ask(self, query: Query[A]) -> A:
        """Answer a query. Raises Refusal, StorageFailure."""


class HttpCounters:
    """What the shell counts from its start."""

    def __init__(self) -> None:
        self.replies: Counter[tuple[str, int]] = Counter()
        """By dialect and status."""
        self.refused: Counter[tuple[str, str]] = Counter()
        """By app and code: calls of known callers that never became a command."""


class Shell:
    """Carries requests through the routes of all dialects. Any number of tasks may call `handle`."""

    def __init__(
        self,
        router: Router,
        limiter: Limiter,
        broker: Desk,
        ids: Iterator[int],
        counters: HttpCounters,
        wall_ms: Callable[[], UnixMs],
    ) -> None:
        """`ids` names the calls: numbers that are unique, also across restarts."""
        self._router = router
        self._limiter = limiter
        self._broker = broker
        self._ids = ids
        self._counters = counters
        self._wall_ms = wall_ms

    async def handle(self, request: HttpRequest, gone: Gone) -> HttpReply | None:
        """The answer to a request; None if the client left while it was waited for.

        Raises StorageFailure: the outcome is unknown, so nothing may be answered. Cancelling this is cancelling
        `submit`: a command that the broker has taken is carried out.
        """
        started = monotonic()
        id = str(next(self._ids))
        found = self._router.match(request.method, request.path)
        reply = await self._answer(found, request, id, gone)
        if reply is not None:
            self._counters.replies[found.dialect.name, reply.status] += 1
            # Not shown by default: under load a line a request is too much for a log, and whoever stops reading our
            # stderr would stop us. The path and never the query, which may carry a token.
            write = _access_log.debug if reply.status < 500 else _access_log.warning
            write(
                "request",
                id=id,
                dialect=found.dialect.name,
                method=request.method,
                path=request.path,
                status=reply.status,
                ms=round((monotonic() - started) * 1000, 1),
                client=request.client,
            )
        return reply

    def refuse(self, request: HttpRequest, refusal: Refusal) -> HttpReply:
        """The answer to a request that cannot be carried through, in the form of the dialect it was meant for."""
        dialect = self._router.match(request.method, request.path).dialect
        reply = _refused(dialect, refusal, str(next(self._ids)))
        self._counters.replies[dialect.name, reply.status] += 1
        return dialect.cors.opened(reply) if dialect.cors is not None else reply

    async def _answer(self, found: Match | NoRoute, request: HttpRequest, id: str, gone: Gone) -> HttpReply | None:
        """The dialect's answer, an exception's included."""
        dialect = found.dialect
        try:
            if isinstance(found, NoRoute):
                if request.method == "OPTIONS" and dialect.cors and isinstance(found.refusal, MethodNotAllowed):
                    return dialect.cors.preflight()
                raise found.refusal
            request = msgspec.structs.replace(request, params=found.params, received_ms=self._wall_ms())
            if isinstance(found.route, LocalRoute):
                reply: HttpReply | None = found.route.answer(request)
            else:
                reply = await self._call(found.route, request, id, gone)
        except Refusal as refusal:
            reply = _refused(dialect, refusal, id)
        except StorageFailure:
            raise
        except Exception:  # noqa: BLE001  a fault of ours costs its caller an answer, and nobody else anything
            _log.exception("incident", id=id, dialect=dialect.name, method=request.method, path=request.path)
            reply = _refused(dialect, Internal(id), id)
        if reply is not None and dialect.cors is not None:
            reply = dialect.cors.opened(reply)
        return reply

    async def _call(self, route: Route, request: HttpRequest, id: str, gone: Gone) -> HttpReply | None:
        call = Call(request, id, route.authenticate(request))
        app = call.caller.app
        try:
            route.permit(call)
            if route.counted == "calls":
                self._limiter.take(app, _limit(route, call), route.bucket)
            if request.oversized:
                raise InvalidCommand("body: too large")
            work = route.parse(call)
            dedup = _dedup_key(request) if not isinstance(work, Query) else None
            if route.counted == "successes":
                limit = _limit(route, call)
                taken = self._limiter.take(app, limit, route.bucket)
        except Refusal as refusal:
            self._counters.refused[app, refusal.code] += 1
            raise
        try:
            outcome = await self._carry_out(work, dedup, gone)
        except _ClientLeft:
            return None
        except Refusal:
            if route.counted == "successes":
                self._limiter.give_back(app, limit, route.bucket, taken)
            raise
        return route.render(call, outcome)

    async def _carry_out(self, work: Work, dedup: str | None, gone: Gone) -> Any:
        """The outcome of the work, of steps one after the other. Raises Refusal, StorageFailure, _ClientLeft."""
        if isinstance(work, Command | Query):
            return await self._one(work, dedup, gone)
        with closing(work):
            try:
                step = next(work)
                while True:
                    try:
                        outcome = await self._one(step, dedup, gone)
                    except Refusal as refusal:
                        step = work.throw(refusal)
                    else:
                        step = work.send(outcome)
            except StopIteration as end:
                return end.value

    async def _one(self, work: Command | Query[Any], dedup: str | None, gone: Gone) -> Any:
        if isinstance(work, Query):
            return await _unless_gone(partial(self._broker.ask, work), gone)
        if isinstance(work, SendMessage | SendBroadcast) and dedup is not None:
            work = msgspec.structs.replace(work, dedup=dedup)
        if isinstance(work, SendMessage) and work.wait_ack_ms is not None:
            return await _unless_gone(partial(self._broker.submit, work), gone)
        return await self._broker.submit(work)


def _refused(dialect: Dialect, refusal: Refusal, id: str) -> HttpReply:
    reply = dialect.refuse(refusal, id)
    if isinstance(refusal, MethodNotAllowed):
        return HttpReply(reply.status, (*reply.headers, ("Allow", ", ".join(refusal.allowed))), reply.body)
    return reply


def _limit(route: Route, call: Call) -> str:
    return route.limit if isinstance(route.limit, str) else route.limit(call)


def _dedup_key(request: HttpRequest) -> str | None:
    """What makes a send safe to retry: the request's Idempotency-Key, if it has one. Raises InvalidCommand."""
    key = request.header("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= DEDUP_BYTES_MAX:
        raise InvalidCommand(f"Idempotency-Key: must be 1 to {DEDUP_BYTES_MAX} bytes")
    return utf8(key, "Idempotency-Key")


class _ClientLeft(Exception):
    """Nobody waits for the answer any more."""


async def _unless_gone(work: Callable[[], Awaitable[A]], gone: Gone) -> A:
    """What the work gives or raises; raises _ClientLeft if the client left first, which frees its place among those that
    wait."""
    outcomes: list[A] = []
    raised: Refusal | StorageFailure | None = None
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await gone()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            outcomes.append(await work())
        except (Refusal, StorageFailure) as error:
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
    if not outcomes:
        raise _ClientLeft
    return outcomes[0]
