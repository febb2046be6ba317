"""Refusals in LeanCloud's words (LeanCloud 3)."""

import pytest

from postroom.core.errors import (
    ConversationFull,
    DedupMismatch,
    Internal,
    InvalidCommand,
    MessageIsRecalled,
    NoSpace,
    Overloaded,
    QueueFull,
    RateLimited,
    Refusal,
    ShuttingDown,
    UnknownConversation,
    UnknownMessage,
)
from postroom.transports.http.errors import Forbidden, MethodNotAllowed, NotFound, RequestTimeout, Unauthorized
from postroom.transports.leancloud import errors
from postroom.transports.leancloud.errors import ANSWERS, refuse
from tests.support.web import header, told
from tests.unit.test_http_system import ours, subclasses


def test_every_refusal_has_an_answer() -> None:
    own = {kind for kind in subclasses(Refusal) if kind.__module__ == errors.__name__}
    assert set(ANSWERS) == ours() | own


@pytest.mark.parametrize(
    ("refusal", "status", "code", "text", "retry_after"),
    [
        (Unauthorized("Unauthorized."), 401, 401, "Unauthorized.", None),
        (Forbidden("The request must be signed by master key."), 403, 403, None, None),
        (errors.Malformed(), 400, 107, "Malformed json object. A json dictionary is expected.", None),
        (InvalidCommand("limit: must be a whole number"), 400, 1, "limit: must be a whole number", None),
        (errors.ReadOnly("m"), 400, 117, "The key is read only.", None),
        (errors.NameTooLong("from_client"), 400, 4103, "INVALID_LOGIN", None),
        (errors.MessageTooLong(), 400, 4109, "FRAME_TOO_LONG", None),
        (errors.NoSuchUser(), 400, 211, "Could not find user.", None),
        (errors.NotSigned(), 401, 4302, "CONVERSATION_SIGNATURE_FAILED", None),
        (UnknownConversation("x"), 404, 4303, "CONVERSATION_NOT_FOUND", None),
        (errors.NoTarget(), 404, 4401, "INVALID_MESSAGING_TARGET", None),
        (errors.OtherKind("service"), 400, 4313, "SYSTEM_CONVERSATION_REQUIRED", None),
        (errors.OtherKind("group"), 400, 4314, "NORMAL_CONVERSATION_REQUIRED", None),
        (errors.OtherKind("room"), 400, 4316, "TRANSIENT_CONVERSATION_REQUIRED", None),
        (ConversationFull("x"), 400, 4304, "CONVERSATION_FULL", None),
        (UnknownMessage("x"), 404, 4404, "MESSAGE_NOT_FOUND", None),
        (MessageIsRecalled("x"), 404, 4404, "MESSAGE_NOT_FOUND", None),
        (NotFound(), 404, 404, "Not found.", None),
        (MethodNotAllowed(("POST",)), 405, 405, "Not found.", None),
        (RequestTimeout(), 408, 4107, None, None),
        (DedupMismatch("used"), 409, 1, "used", None),
        (RateLimited("rate", retry_after_ms=59_001), 429, 429, "Too many requests.", "60"),
        (Internal("4711"), 500, 4200, "internal error 4711", None),
        (
            Overloaded("no room", retry_after_ms=2500),
            503,
            4201,
            "no room; the same request may be repeated in 3 s",
            "3",
        ),
        (QueueFull("full"), 503, 4201, None, "10"),
        (NoSpace("disk full"), 503, 4201, None, "10"),
        (ShuttingDown("closing"), 503, 4201, None, "1"),
    ],
)
def test_answers(refusal: Refusal, status: int, code: int, text: str | None, retry_after: str | None) -> None:
    reply = refuse(refusal, "4711")
    assert reply.status == status
    said = told(reply)
    assert set(said) == {"code", "error"}
    assert said["code"] == code
    assert text is None or said["error"] == text
    assert header(reply, "Retry-After") == retry_after
    assert header(reply, "Content-Type") == "application/json; charset=utf-8"


def test_a_bad_name_is_shown_in_short() -> None:
    reply = refuse(errors.InvalidKey("a.b" + "x" * 1000), "1")
    assert (reply.status, told(reply)["code"]) == (400, 105)
    assert told(reply)["error"].startswith("Invalid key name. ")
    assert len(told(reply)["error"]) < 200


def test_a_refusal_that_nobody_foresaw_has_its_ancestors_answer() -> None:
    class Odd(InvalidCommand):
        pass

    assert told(refuse(Odd("x"), "1")) == {"code": 1, "error": "x"}
