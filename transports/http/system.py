"""What the server says about itself: `/healthz`, `/readyz`, `/metrics`, and that `/v1/connect` wants a WebSocket."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

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

from .dialect import Dialect, LocalRoute, named
from .errors import Forbidden, MethodNotAllowed, NotFound, RequestTimeout, Unauthorized
from .types import HttpReply, HttpRequest, json_reply, retry_after

STATUS: Final[dict[type[Refusal], int]] = {
    InvalidCommand: 400,
    Unauthorized: 401,
    TokenRevoked: 401,
    Forbidden: 403,
    Banned: 403,
    Silenced: 403,
    UnknownApp: 404,
    UnknownMessage: 404,
    UnknownConversation: 404,
    UnknownId: 404,
    UnknownResult: 404,
    NotFound: 404,
    MethodNotAllowed: 405,
    RequestTimeout: 408,
    MessageIsRecalled: 409,
    DedupMismatch: 409,
    ConversationExists: 409,
    ConversationFull: 409,
    BansFull: 409,
    SilencesFull: 409,
    RolesFull: 409,
    BlocksFull: 409,
    CopiesFull: 409,
    OwnerNeeded: 409,
    TooOld: 409,
    InTheFuture: 409,
    SessionEnded: 409,
    TooManySessions: 429,
    TooManyRooms: 429,
    RateLimited: 429,
    QuotaExceeded: 429,
    BroadcastsFull: 429,
    QueueFull: 429,
    Internal: 500,
    Overloaded: 503,
    NoSpace: 503,
    ShuttingDown: 503,
}
"""What each refusal is in HTTP; our own form, and where a vendor says nothing."""


class Readiness(msgspec.Struct, frozen=True):
    """Whether to send this process work."""

    ready: bool
    disk_full: bool
    """Messages are refused until space returns; acks, recalls and reading go on, so the process stays ready."""


def refuse(refusal: Refusal, id: str) -> HttpReply:
    """A refusal in our own form: `code` and `message`, as the error frames of the native protocol."""
    headers = () if refusal.retry_after_ms is None else (retry_after(refusal.retry_after_ms),)
    body = {"code": refusal.code, "message": refusal.message, "request_id": id}
    return json_reply(named(type(refusal), STATUS), body, *headers)


def system_dialect(
    readiness: Callable[[], Readiness], metrics: CollectorRegistry, *, public_metrics: bool, websockets: Iterable[str]
) -> Dialect:
    """Our own routes. `websockets` are the paths on which plain HTTP is told to upgrade."""

    def readyz(request: HttpRequest) -> HttpReply:
        now = readiness()
        return json_reply(200 if now.ready else 503, now)

    def metrics_text(request: HttpRequest) -> HttpReply:
        if not public_metrics and not request.from_loopback:
            return json_reply(403, {"code": "forbidden", "message": "loopback callers only (server.metrics)"})
        return HttpReply(200, (("Content-Type", CONTENT_TYPE_LATEST),), generate_latest(metrics))

    routes = [
        LocalRoute(method="GET", template="/healthz", answer=_healthz),
        LocalRoute(method="GET", template="/readyz", answer=readyz),
        LocalRoute(method="GET", template="/metrics", answer=metrics_text),
        *(LocalRoute(method="GET", template=path, answer=_upgrade) for path in websockets),
    ]
    return Dialect(name="postroom", prefixes=("",), routes=tuple(routes), refuse=refuse)


def _healthz(request: HttpRequest) -> HttpReply:
    return json_reply(200, {"status": "ok"})


def _upgrade(request: HttpRequest) -> HttpReply:
    # Not 426: that has to bring an Upgrade header, which HTTP/2 forbids.
    return json_reply(400, {"code": "upgrade_required", "message": "open a WebSocket here"})
