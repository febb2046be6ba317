"""Every refusal as anyRTC would say it (anyRTC 10): the status codes that clients know, and every member ever seen."""

from typing import Final, NamedTuple

from postroom.core.errors import (
    Banned,
    BansFull,
    BlocksFull,
    BroadcastsFull,
    ConversationExists,
    ConversationFull,
    CopiesFull,
    DedupMismatch,
    Internal,
    InTheFuture,
    InvalidCommand,
    MessageIsRecalled,
    NoSpace,
    Overloaded,
    OwnerNeeded,
    QueueFull,
    QuotaExceeded,
    RateLimited,
    Refusal,
    RolesFull,
    SessionEnded,
    ShuttingDown,
    Silenced,
    SilencesFull,
    TokenRevoked,
    TooManyRooms,
    TooManySessions,
    TooOld,
    UnknownApp,
    UnknownConversation,
    UnknownId,
    UnknownMessage,
    UnknownResult,
)
from postroom.transports.http.dialect import named
from postroom.transports.http.errors import Forbidden, MethodNotAllowed, NotFound, RequestTimeout, Unauthorized
from postroom.transports.http.types import HttpReply, json_reply, retry_after

from .history import not_there


class Answer(NamedTuple):
    """Status and `code` of a refusal, and after how long a client should try again if the refusal does not say."""

    status: int
    code: str
    retry_after_ms: int | None = None


ANSWERS: Final[dict[type[Refusal], Answer]] = {
    UnknownResult: Answer(200, "resource not exist"),
    InvalidCommand: Answer(400, "invalid_parameter"),
    Unauthorized: Answer(401, "unauthorized"),
    Forbidden: Answer(401, "unauthorized"),
    UnknownApp: Answer(401, "unauthorized"),
    TokenRevoked: Answer(401, "unauthorized"),
    NotFound: Answer(404, "not_found"),
    UnknownMessage: Answer(404, "not_found"),
    UnknownConversation: Answer(404, "not_found"),
    UnknownId: Answer(404, "not_found"),
    MethodNotAllowed: Answer(405, "method_not_allowed"),
    RequestTimeout: Answer(408, "request_timeout"),
    # 400 would blame the key's form; the key is fine, and used.
    DedupMismatch: Answer(409, "conflict"),
    ConversationExists: Answer(409, "conflict"),
    ConversationFull: Answer(409, "conflict"),
    BansFull: Answer(409, "conflict"),
    SilencesFull: Answer(409, "conflict"),
    RolesFull: Answer(409, "conflict"),
    BlocksFull: Answer(409, "conflict"),
    CopiesFull: Answer(409, "conflict"),
    OwnerNeeded: Answer(409, "conflict"),
    TooOld: Answer(409, "conflict"),
    InTheFuture: Answer(409, "conflict"),
    # No call here speaks for the sender themselves, or puts anybody anywhere.
    Banned: Answer(409, "conflict"),
    Silenced: Answer(409, "conflict"),
    MessageIsRecalled: Answer(409, "conflict"),
    SessionEnded: Answer(409, "conflict"),
    RateLimited: Answer(429, "too_many_requests", 1_000),
    QuotaExceeded: Answer(429, "too_many_requests", 1_000),
    BroadcastsFull: Answer(429, "too_many_requests", 10_000),
    TooManySessions: Answer(429, "too_many_requests", 1_000),
    TooManyRooms: Answer(429, "too_many_requests", 1_000),
    # 429 and not 503, since it is this recipient that has no room: another of our hosts would have none either.
    QueueFull: Answer(429, "queue_full", 10_000),
    Internal: Answer(500, "internal_error"),
    Overloaded: Answer(503, "overloaded", 1_000),
    NoSpace: Answer(503, "no_space", 10_000),
    ShuttingDown: Answer(503, "shutting_down", 1_000),
}


def refuse(refusal: Refusal, request_id: str) -> HttpReply:
    """The answer to a refusal."""
    if isinstance(refusal, UnknownResult):
        return not_there(request_id)
    status, code, wait_ms = named(type(refusal), ANSWERS)
    headers = []
    if status == 401:
        headers.append(("WWW-Authenticate", 'Basic realm="rtm"'))  # clients of .NET and Java wait for the challenge
    if wait_ms is not None:
        headers.append(retry_after(refusal.retry_after_ms or wait_ms))
    return failed(status, code, refusal.message, request_id, *headers)


def failed(status: int, code: str, message: str, request_id: str, *headers: tuple[str, str]) -> HttpReply:
    """An error body: `message` and `reason` say the same, since clients look for either."""
    body = {"result": "failed", "code": code, "message": message, "reason": message, "request_id": request_id}
    return json_reply(status, body, *headers)
