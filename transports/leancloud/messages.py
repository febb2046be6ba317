"""Sending messages, and changing them (LeanCloud 6.3)."""

from typing import Any, Final, cast

import msgspec

from postroom.core.commands import ChangeMessage, DeleteMessage, EditMessage, RecallMessage, SendMessage
from postroom.core.errors import InvalidCommand, UnknownConversation, UnknownMessage
from postroom.core.ids import MessageId, UnixMs
from postroom.core.model import LANES, Conversation, Kind, Lane, Receipt
from postroom.core.queries import FindAlias, GetConversation, GetMessage
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from .errors import MessageTooLong
from .ids import alias, message_id, message_name
from .known import missing, named, record
from .parameters import Parameters, arguments_of, body_of

VIA: Final = "leancloud"
MESSAGE_BYTES_MAX: Final = 5_120
PUSH_BYTES_MAX: Final = 4_096
MENTIONS_MAX: Final = 20
SENDER: Final = "from_client"

_PUSHED: Final = (str, dict)


def parse_send(call: Call, kind: Kind) -> Steps:
    """Calls 11 and 34. The sender is not checked: anybody may speak in any conversation. Raises InvalidCommand."""
    given = Parameters(body_of(call.request))
    to = named(call, kind)
    return send(message_of(call.caller.app, to, given, sender=given.client(SENDER), transient=given.flag("transient")))


def message_of(app: str, to: Conversation, given: Parameters, *, sender: str, transient: bool) -> SendMessage:
    """A message to a group or a chatroom. Raises InvalidCommand, MessageTooLong."""
    body = text_of(given)
    lane, no_sync = lane_of(given), given.flag("no_sync")
    mentions = (
        given.clients("mention_client_ids", MENTIONS_MAX) if given.value("mention_client_ids") is not None else ()
    )
    grouped = to.kind == "group"
    push = push_of(given, "push_data") if grouped else b""  # chatrooms have none, whatever is said (10, C11)
    return SendMessage(
        app=app,
        sender=sender,
        to=to,
        body=body,
        queue=grouped and not transient,
        history=not transient,
        # A kept message of a conversation waits its turn behind those before it, whatever its priority (7.4).
        lane=lane if transient or not grouped else "normal",
        sender_copy="none" if no_sync or not grouped else "online",
        mentions=mentions,
        mention_all=given.flag("mention_all"),
        push=push if not transient else b"",
        via=VIA,
    )


def send(message: SendMessage) -> Steps:
    """The message's receipt, if there is where it goes. A send makes a room, so one that is not there is asked for first."""
    app, to = message.app, message.to
    if to.kind == "room" and (yield GetConversation(app=app, conversation=to)) is None:
        yield from missing(app, to, target=True)
    try:
        return (yield message)
    except UnknownConversation:
        yield from missing(app, to, target=True)


def render_send(call: Call, receipt: Receipt) -> HttpReply:
    """In the two shapes that clients read (LeanCloud 6.3, Send response)."""
    shown = sent(receipt)
    return json_reply(200, {"result": shown} | shown)


def sent(receipt: Receipt) -> dict[str, Any]:
    """A message's id and time."""
    return {"msg-id": message_name(receipt.id), "timestamp": receipt.at_ms}


def parse_edit(call: Call, kind: Kind) -> Steps:
    """Calls 13 and 36. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    return change(EditMessage(**_which(call, kind, given), body=text_of(given)), call.request.param("mid"))


def parse_recall(call: Call, kind: Kind) -> Steps:
    """Calls 14 and 37. Raises InvalidCommand."""
    work = RecallMessage(**_which(call, kind, Parameters(body_of(call.request))))
    return change(work, call.request.param("mid"))


def parse_delete(call: Call, kind: Kind) -> Steps:
    """Calls 15 and 38: nobody is told. Raises InvalidCommand."""
    work = DeleteMessage(**_which(call, kind, arguments_of(call.request)), silent=True)
    return change(work, call.request.param("mid"))


def _which(call: Call, kind: Kind, given: Parameters) -> dict[str, Any]:
    return which(
        call.caller.app, named(call, kind), call.request.param("mid"), given.client(SENDER), given.time("timestamp")
    )


def which(app: str, conversation: Conversation | None, mid: str, sender: str, sent_ms: int) -> dict[str, Any]:
    """Which message a change is of. An id that is none of ours may be an imported message's: `change` looks for it."""
    return {
        "app": app,
        "id": message_id(mid) or MessageId(0),
        "by": sender,
        "conversation": conversation,
        "sender": sender,
        "sent_ms": UnixMs(sent_ms),
    }


def change(work: ChangeMessage, mid: str = "") -> Steps:
    """What became of it; where there is no such message, who asks is told if there is no such conversation either.

    An imported message is named by the `mid` that it had where it came from.
    """
    try:
        return (yield from _changed(work, mid))
    except UnknownMessage as refusal:
        if work.conversation is not None:
            yield from record(work.app, work.conversation)
        raise refusal


def _changed(work: ChangeMessage, mid: str) -> Steps:
    unknown = UnknownMessage("no message has this id")
    if work.id:
        try:
            return (yield work)
        except UnknownMessage as refusal:
            unknown = refusal
    place = yield from _imported(work.app, mid)
    if place is None:
        raise unknown
    return (yield msgspec.structs.replace(work, id=place.id))


def _imported(app: str, mid: str) -> Steps:
    """The place of the message that was imported by this name, or None."""
    name = alias(mid)
    return None if name is None else (yield FindAlias(app=app, alias=name))


def find_message(work: ChangeMessage, mid: str) -> Steps:
    """The message that a change of a conversation's means, by either name; None if there is none."""
    assert work.conversation is not None
    if work.id:
        message = yield GetMessage(app=work.app, id=work.id, conversation=work.conversation)
        if message is not None:
            return message
    place = yield from _imported(work.app, mid)
    if place is None:
        return None
    return (yield GetMessage(app=work.app, id=place.id, conversation=work.conversation))


def render_changed(call: Call, receipt: Receipt) -> HttpReply:
    """Of an edit or a recall."""
    return json_reply(200, {"result": {}})


def render_deleted(call: Call, receipt: Receipt) -> HttpReply:
    """Of a delete."""
    return json_reply(200, {})


def text_of(given: Parameters) -> bytes:
    """`message`, which people also send as an object: then its JSON. Raises InvalidCommand, MessageTooLong."""
    return text_in("message", given.value("message"))


def text_in(name: str, value: Any) -> bytes:
    """A parameter that is a text or an object. Raises InvalidCommand, MessageTooLong."""
    if isinstance(value, dict | list):
        try:
            text = msgspec.json.encode(value)
        except RecursionError:
            raise InvalidCommand(f"{name}: nested too deeply") from None
    else:
        text = Parameters({name: value}).text(name).encode()
    if len(text) > MESSAGE_BYTES_MAX:
        raise MessageTooLong
    return text


def lane_of(given: Parameters) -> Lane:
    """`priority`. Raises InvalidCommand."""
    priority = given.maybe("priority")
    if priority is None:
        return "high"
    if priority.lower() not in LANES:
        raise InvalidCommand("priority: must be high, normal or low")
    return cast(Lane, priority.lower())


def push_of(given: Parameters, *names: str) -> bytes:
    """`push_data`, or what else it may be called, as JSON, a text or an object. Raises InvalidCommand."""
    name = next((name for name in names if given.value(name) is not None), None)
    if name is None:
        return b""
    value = given.value(name)
    if not isinstance(value, _PUSHED):
        raise InvalidCommand(f"{name}: must be a string or an object")
    try:
        push = msgspec.json.encode(value)
    except RecursionError:
        raise InvalidCommand(f"{name}: nested too deeply") from None
    if len(push) > PUSH_BYTES_MAX:
        raise InvalidCommand(f"{name}: at most {PUSH_BYTES_MAX} bytes")
    return push
