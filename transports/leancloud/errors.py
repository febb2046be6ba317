"""Every refusal as LeanCloud would say it: `{"code", "error"}` and a status, whatever was asked (LeanCloud 3)."""

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
from postroom.core.model import Kind
from postroom.transports.http.dialect import named
from postroom.transports.http.errors import Forbidden, MethodNotAllowed, NotFound, RequestTimeout, Unauthorized
from postroom.transports.http.types import HttpReply, json_reply, retry_after


class Malformed(InvalidCommand):
    """What should be a JSON object is none."""

    def __init__(self) -> None:
        super().__init__("Malformed json object. A json dictionary is expected.")


class InvalidKey(InvalidCommand):
    """A field cannot have this name."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Invalid key name. Keys have 1 to 256 of the characters a-z, A-Z, 0-9 and _, and are not error: {key[:64]!r}."
        )


class ReadOnly(InvalidCommand):
    """A field is the server's, or has calls of its own."""

    def __init__(self, key: str) -> None:
        super().__init__("The key is read only.")
        self.key = key


class NameTooLong(InvalidCommand):
    """A client id has more characters than any may have."""

    def __init__(self, parameter: str) -> None:
        super().__init__("INVALID_LOGIN")
        self.parameter = parameter


class MessageTooLong(InvalidCommand):
    """A message has more bytes than any may have."""

    def __init__(self) -> None:
        super().__init__("FRAME_TOO_LONG")


class NoSuchUser(InvalidCommand):
    """No user has this session token: there are no users here."""

    def __init__(self) -> None:
        super().__init__("Could not find user.")


class UnknownRole(InvalidCommand):
    """There are three roles, and this is none."""

    def __init__(self) -> None:
        super().__init__("UNKNOWN_CONVERSATION_ROLE")


class NoSuchRecord(NotFound):
    """No member info of the conversation has this id."""


class NotSigned(Unauthorized):
    """The app wants its history queries signed, and this one is not, or wrongly."""

    def __init__(self) -> None:
        super().__init__("CONVERSATION_SIGNATURE_FAILED")


class NoTarget(UnknownConversation):
    """A message was to go where nothing is."""

    def __init__(self) -> None:
        super().__init__("INVALID_MESSAGING_TARGET")


class OtherKind(UnknownConversation):
    """There is such a conversation, of another kind than the path says."""

    def __init__(self, wanted: Kind) -> None:
        self.number, message = REQUIRED[wanted]
        super().__init__(message)


class SubscriptionQuotaExceeded(QuotaExceeded):
    """The day's number of messages to subscribers is used up."""

    def __init__(self, quota: QuotaExceeded) -> None:
        super().__init__(quota.message, retry_after_ms=quota.retry_after_ms)


REQUIRED: Final[dict[Kind, tuple[int, str]]] = {
    "service": (4313, "SYSTEM_CONVERSATION_REQUIRED"),
    "group": (4314, "NORMAL_CONVERSATION_REQUIRED"),
    "room": (4316, "TRANSIENT_CONVERSATION_REQUIRED"),
}
"""Code and text by the kind that a path wants."""


class Answer(NamedTuple):
    """Status and code of a refusal; its text, if that is not the refusal's; when to try again, if the refusal does not say."""

    status: int
    code: int
    text: str | None = None
    retry_after_ms: int | None = None


NO_MESSAGE: Final = Answer(404, 4404, "MESSAGE_NOT_FOUND")
UNAUTHORIZED: Final = Answer(401, 401, "Unauthorized.")

ANSWERS: Final[dict[type[Refusal], Answer]] = {
    InvalidCommand: Answer(400, 1),
    Malformed: Answer(400, 107),
    InvalidKey: Answer(400, 105),
    ReadOnly: Answer(400, 117),
    NameTooLong: Answer(400, 4103),
    MessageTooLong: Answer(400, 4109),
    NoSuchUser: Answer(400, 211),
    Unauthorized: UNAUTHORIZED,
    NotSigned: Answer(401, 4302),
    UnknownApp: UNAUTHORIZED,
    Forbidden: Answer(403, 403),
    NotFound: Answer(404, 404, "Not found."),
    MethodNotAllowed: Answer(405, 405, "Not found."),
    UnknownConversation: Answer(404, 4303, "CONVERSATION_NOT_FOUND"),
    NoTarget: Answer(404, 4401),
    OtherKind: Answer(400, 4314),
    ConversationFull: Answer(400, 4304, "CONVERSATION_FULL"),
    UnknownRole: Answer(400, 4321),
    NoSuchRecord: Answer(404, 101, "Object not found."),
    Banned: Answer(400, 4548, "BLOCKED_BY_CONV"),
    BansFull: Answer(400, 4543, "BLACKLIST_FULL"),
    BlocksFull: Answer(400, 4543, "BLACKLIST_FULL"),
    CopiesFull: Answer(400, 1),
    SilencesFull: Answer(400, 4561, "SILIENCED_MEMBER_LIST_FULL"),
    OwnerNeeded: Answer(400, 4324, "CONVERSATION_NEED_OWNER"),
    RolesFull: Answer(400, 4322),
    # Not of calls here, which send on somebody's behalf.
    Silenced: Answer(400, 4563),
    UnknownMessage: NO_MESSAGE,
    MessageIsRecalled: NO_MESSAGE,
    RequestTimeout: Answer(408, 4107),
    RateLimited: Answer(429, 429, "Too many requests.", 1_000),
    QuotaExceeded: Answer(429, 429, "The daily quota of system messages is exceeded.", 1_000),
    SubscriptionQuotaExceeded: Answer(429, 429, "Too many requests.", 1_000),
    BroadcastsFull: Answer(429, 429, None, 10_000),
    Internal: Answer(500, 4200),
    Overloaded: Answer(503, 4201, None, 1_000),
    QueueFull: Answer(503, 4201, None, 10_000),
    NoSpace: Answer(503, 4201, None, 10_000),
    ShuttingDown: Answer(503, 4201, None, 1_000),
    # Idempotency-Key is ours, and so is what it is answered with.
    DedupMismatch: Answer(409, 1),
    # What no call of this dialect meets: an id is given once, nothing is imported by calls, and sessions and reserved
    # results are others'.
    TooOld: Answer(409, 1),
    InTheFuture: Answer(409, 1),
    ConversationExists: Answer(409, 1),
    SessionEnded: Answer(409, 1),
    TokenRevoked: UNAUTHORIZED,
    UnknownId: Answer(404, 1),
    UnknownResult: Answer(404, 1),
    TooManyRooms: Answer(429, 429, None, 1_000),
    TooManySessions: Answer(429, 429, None, 1_000),
}


def refuse(refusal: Refusal, request_id: str) -> HttpReply:
    """The answer to a refusal. Both keys are always there; clients look for `error` (LeanCloud 3)."""
    answer = named(type(refusal), ANSWERS)
    code = refusal.number if isinstance(refusal, OtherKind) else answer.code
    text = refusal.message if answer.text is None else answer.text
    headers = []
    if answer.retry_after_ms is not None:
        wait_ms = refusal.retry_after_ms or answer.retry_after_ms
        headers.append(retry_after(wait_ms))
        if answer.status == 503:
            text = f"{text}; the same request may be repeated in {headers[0][1]} s"
    return json_reply(answer.status, {"code": code, "error": text}, *headers)
