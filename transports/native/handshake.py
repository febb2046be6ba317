"""Before the upgrade: who is at the door, in which protocol, and what is answered if the door stays shut."""

from collections.abc import Mapping
from typing import Final

from postroom.core import Refusal
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
from postroom.core.ids import UnixMs
from postroom.transports.http.types import HttpReply, json_reply, retry_after
from postroom.transports.http.websocket import Socket

from .tokens import BadToken, TokenClaims, verify

SUBPROTOCOL: Final = "postroom.v1.json"

STATUS: Final[dict[type[Refusal], int]] = {
    Refusal: 500,
    InvalidCommand: 400,
    UnknownApp: 401,
    TokenRevoked: 401,
    UnknownMessage: 404,
    UnknownConversation: 404,
    UnknownId: 404,
    UnknownResult: 404,
    MessageIsRecalled: 409,
    DedupMismatch: 409,
    ConversationExists: 409,
    ConversationFull: 409,
    Banned: 403,
    Silenced: 403,
    BansFull: 409,
    SilencesFull: 409,
    RolesFull: 409,
    BlocksFull: 409,
    CopiesFull: 409,
    OwnerNeeded: 409,
    TooOld: 409,
    InTheFuture: 409,
    QueueFull: 429,
    TooManySessions: 429,
    TooManyRooms: 429,
    SessionEnded: 409,
    QuotaExceeded: 429,
    BroadcastsFull: 429,
    RateLimited: 429,
    Overloaded: 503,
    NoSpace: 503,
    ShuttingDown: 503,
    Internal: 500,
}
"""A refusal as an HTTP status. A login meets few of them; a new refusal must find its place here all the same."""


_CHALLENGE: Final = ("WWW-Authenticate", "Bearer")


class Rejected(Exception):
    """The opening request is answered with a reply instead of an upgrade."""

    def __init__(self, reply: HttpReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def admit(socket: Socket, secrets: Mapping[str, str], now_ms: UnixMs) -> TokenClaims:
    """Whom the request's token names. Raises Rejected: 401 for the token, 400 for the subprotocol."""
    token = _token(socket)
    if token is None:
        raise Rejected(_unauthorized("no token"))
    try:
        claims = verify(token, secrets, now_ms)
    except BadToken as bad:
        raise Rejected(_unauthorized(bad.reason)) from None
    offered = socket.headers.get("sec-websocket-protocol", "")
    if SUBPROTOCOL not in (name.strip() for name in offered.split(",")):
        raise Rejected(problem(400, "invalid", f"the subprotocol {SUBPROTOCOL} must be offered"))
    return claims


def refused(refusal: Refusal) -> HttpReply:
    """The answer to an opening request whose login was refused."""
    status = next(STATUS[kind] for kind in type(refusal).__mro__ if kind in STATUS)
    body: dict[str, str | int] = {"code": refusal.code, "message": refusal.message}
    wait_ms = refusal.retry_after_ms
    if wait_ms is None:
        return json_reply(status, body, *(_CHALLENGE,) * (status == 401))
    return json_reply(status, body | {"retry_after_ms": wait_ms}, retry_after(wait_ms))


def problem(status: int, code: str, message: str, *headers: tuple[str, str]) -> HttpReply:
    """An answer that is no upgrade, in the form of the protocol's `error` frames."""
    return json_reply(status, {"code": code, "message": message}, *headers)


def _unauthorized(message: str) -> HttpReply:
    return problem(401, "unauthorized", message, _CHALLENGE)


def _token(socket: Socket) -> str | None:
    """The header's token; without that header the query's, because browsers cannot set headers on a WebSocket."""
    header = socket.headers.get("authorization")
    if header is None:
        return socket.query.get("token")
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
