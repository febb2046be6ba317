"""Finding kept messages (LeanCloud 6.3, History; 7.10)."""

import hmac
from collections.abc import Iterable
from typing import Final

import msgspec

from postroom.core.errors import InvalidCommand
from postroom.core.ids import UnixMs
from postroom.core.model import Conversation, Kind, Message
from postroom.core.queries import Bound, FindMessages
from postroom.transports.config import LeancloudConfig
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from .errors import NotSigned
from .ids import alias, check_client, message_id
from .known import named, record
from .parameters import Parameters
from .records import record as shown

BY_CLIENTS: Final[tuple[Kind, ...]] = ("peer", "group", "room")
"""Where clients have a word."""
START: Final = ("timestamp", "msgid", "include_start")
STOP: Final = ("till_timestamp", "till_msgid", "include_stop")


def parse_conversation(call: Call, kind: Kind, settings: LeancloudConfig) -> Steps:
    """Calls 12 and 35. Raises InvalidCommand, NotSigned."""
    given = Parameters(call.request.query())
    conversation = named(call, kind)
    if settings.sign_history:
        check_signature(given, settings, conversation.id, client="client_id")
    return of_conversation(find(call.caller.app, given, conversation))


def parse_client(call: Call) -> FindMessages:
    """Call 71: what a client sent, to others than service conversations. Raises InvalidCommand."""
    sender = check_client("uid", call.request.param("uid"))
    query = find(call.caller.app, Parameters(call.request.query()), sender=sender)
    return msgspec.structs.replace(query, kinds=BY_CLIENTS)


def parse_app(call: Call) -> FindMessages:
    """Call 81: all of the app's. Raises InvalidCommand."""
    return find(call.caller.app, Parameters(call.request.query()))


def find(
    app: str, given: Parameters, conversation: Conversation | None = None, sender: str | None = None
) -> FindMessages:
    """The query that the parameters mean. Raises InvalidCommand."""
    return FindMessages(
        app=app,
        sender=sender,
        conversations=() if conversation is None else (conversation,),
        everything=conversation is None and sender is None,
        newest_first=not given.flag("reversed"),
        limit=given.limit(),
        recalled=True,
        start=_bound(given, *START),
        stop=_bound(given, *STOP),
    )


def of_conversation(query: FindMessages) -> Steps:
    """The messages of a conversation, which there must be."""
    found = yield query
    if not found:
        yield from record(query.app, query.conversations[0])
    return found


def render(call: Call, messages: Iterable[Message]) -> HttpReply:
    """A bare array, in the direction of travel."""
    return json_reply(200, [shown(message) for message in messages])


def check_signature(given: Parameters, settings: LeancloudConfig, conversation: str, *, client: str) -> None:
    """An app may want whoever queries a conversation's history named and signed for. Raises NotSigned (LeanCloud 7.10)."""
    names = (client, "nonce", "signature_ts", "signature")
    user, nonce, timestamp, signature = (str(given.value(name) or "") for name in names)
    expected = signature_of(settings, user, conversation, timestamp, nonce)
    if not (user and nonce and timestamp) or not hmac.compare_digest(signature.encode(), expected.encode()):
        raise NotSigned


def signature_of(settings: LeancloudConfig, user: str, conversation: str, timestamp: str, nonce: str) -> str:
    """Hex HMAC-SHA1 under the master key. The time is signed as it was received, in whichever unit (LeanCloud 10, C6)."""
    return _signed(settings, f"{settings.app_id}:{user}:{conversation}:{nonce}:{timestamp}")


def login_signature_of(settings: LeancloudConfig, user: str, timestamp: str, nonce: str) -> str:
    """What call 75 would answer, if there were users."""
    return _signed(settings, f"{settings.app_id}:{user}::{timestamp}:{nonce}")


def _signed(settings: LeancloudConfig, text: str) -> str:
    return hmac.new(settings.master_key.encode(), text.encode(), "sha1").hexdigest()


def _bound(given: Parameters, time: str, id: str, include: str) -> Bound | None:
    at_ms, mid, included = given.integer(time), given.maybe(id), given.flag(include)
    if time == "timestamp" and at_ms is None:
        at_ms = given.integer("max_ts")
    if at_ms is None:
        if mid is not None:
            raise InvalidCommand(f"{id}: needs {time}")
        return None
    if mid is None:
        return Bound(UnixMs(max(at_ms, 0)), None, included)
    return Bound(UnixMs(max(at_ms, 0)), message_id(mid), included, alias(mid))
