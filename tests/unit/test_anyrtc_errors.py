"""Refusals in anyRTC's words (anyRTC 10)."""

import pytest

from postroom.core.errors import (
    DedupMismatch,
    Internal,
    InvalidCommand,
    NoSpace,
    Overloaded,
    QueueFull,
    RateLimited,
    Refusal,
    SessionEnded,
    ShuttingDown,
    TooManyRooms,
    UnknownResult,
)
from postroom.transports.anyrtc.errors import ANSWERS, refuse
from postroom.transports.http.errors import MethodNotAllowed, NotFound, Unauthorized
from tests.support.web import header, told
from tests.unit.test_http_system import ours


def test_every_refusal_has_an_answer() -> None:
    assert set(ANSWERS) == ours()


@pytest.mark.parametrize(
    ("refusal", "status", "code", "retry_after"),
    [
        (InvalidCommand("payload: must not be empty"), 400, "invalid_parameter", None),
        (Unauthorized("Invalid authentication credentials"), 401, "unauthorized", None),
        (NotFound(), 404, "not_found", None),
        (MethodNotAllowed(("POST",)), 405, "method_not_allowed", None),
        (DedupMismatch("used"), 409, "conflict", None),
        (SessionEnded("over"), 409, "conflict", None),
        (TooManyRooms("256"), 429, "too_many_requests", "1"),
        (RateLimited("rate limit exceeded", retry_after_ms=3), 429, "too_many_requests", "1"),
        (QueueFull("full"), 429, "queue_full", "10"),
        (Internal("4711"), 500, "internal_error", None),
        (Overloaded("no room", retry_after_ms=2500), 503, "overloaded", "3"),
        (NoSpace("disk full"), 503, "no_space", "10"),
        (ShuttingDown("closing"), 503, "shutting_down", "1"),
    ],
)
def test_answers(refusal: Refusal, status: int, code: str, retry_after: str | None) -> None:
    reply = refuse(refusal, "4711")
    assert reply.status == status
    assert told(reply) == {
        "result": "failed",
        "code": code,
        "message": refusal.message,
        "reason": refusal.message,
        "request_id": "4711",
    }
    assert header(reply, "Retry-After") == retry_after
    assert header(reply, "Content-Type") == "application/json; charset=utf-8"
    assert header(reply, "WWW-Authenticate") == ('Basic realm="rtm"' if status == 401 else None)


def test_a_handle_that_nothing_waits_under_is_no_error() -> None:
    """Status, code and the empty list are what clients look at (anyRTC 6 E6)."""
    reply = refuse(UnknownResult("no result waits under this handle"), "4711")
    assert reply.status == 200
    assert told(reply) == {
        "code": "resource not exist",
        "result": "failed",
        "messages": [],
        "request_id": "4711",
    }


def test_a_refusal_that_nobody_foresaw_has_its_ancestors_answer() -> None:
    class Odd(InvalidCommand):
        pass

    assert refuse(Odd("x"), "1").status == 400
