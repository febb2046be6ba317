"""Messages of service conversations to every client of the app (LeanCloud 6.5)."""

from collections.abc import Iterable
from typing import Any, Final

from postroom.core.commands import ChangeBroadcast, DeleteBroadcast, EditBroadcast, SendBroadcast
from postroom.core.errors import InvalidCommand, UnknownConversation, UnknownMessage
from postroom.core.ids import UnixMs
from postroom.core.model import Conversation, Message, Quota, Receipt
from postroom.core.queries import FindBroadcasts
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from .ids import broadcast_id, broadcast_name
from .known import conversation, missing, named, record, target
from .messages import SENDER, VIA, push_of, text_of
from .parameters import Parameters, arguments_of, body_of
from .records import record as shown

VALID_MS_MAX: Final = 30 * 86_400_000
"""A month, for which a broadcast is valid at most, and unless it says otherwise."""


def parse_send(call: Call, quota: Quota | None, sender: str = SENDER) -> Steps:
    """Call 78, and `POST rtm/broadcast` with another name for who sends. Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    by, body, until_ms = given.client(sender), text_of(given), _valid_until(given, call.request.received_ms)
    transient, push = given.flag("transient"), push_of(given, "push", "push_data")
    return _send(
        SendBroadcast(
            app=call.caller.app,
            sender=by,
            conversation=target("service", given.text("conv_id")),
            body=body,
            valid_until_ms=None if transient else until_ms,
            transient=transient,
            push=b"" if transient else push,
            via=VIA,
            quota=quota,
        )
    )


def _valid_until(given: Parameters, now_ms: UnixMs) -> UnixMs:
    until_ms = given.integer("valid_till")
    latest_ms = now_ms + VALID_MS_MAX
    if until_ms is None:
        return UnixMs(latest_ms)
    if not now_ms < until_ms <= latest_ms:
        raise InvalidCommand("valid_till: must be a time to come, at most 30 days from now")
    return UnixMs(until_ms)


def _send(broadcast: SendBroadcast) -> Steps:
    try:
        return (yield broadcast)
    except UnknownConversation:
        yield from missing(broadcast.app, broadcast.conversation, target=True)


def render_send(call: Call, receipt: Receipt) -> HttpReply:
    """In the two shapes that clients read (LeanCloud 6.3, Send response)."""
    sent = {"msg-id": broadcast_name(receipt.id), "timestamp": receipt.at_ms}
    return json_reply(200, {"result": sent} | sent)


def render_old_send(call: Call, receipt: Receipt) -> HttpReply:
    """In the one shape that 1.1 has."""
    return json_reply(200, {"result": {"msg-id": broadcast_name(receipt.id), "timestamp": receipt.at_ms}})


def parse_edit(call: Call, quota: Quota | None) -> Steps:
    """Call 62 with a broadcast's id, or the id below `/broadcasts` (10, C19). Raises InvalidCommand, MessageTooLong."""
    given = Parameters(body_of(call.request))
    sender, body, sent_ms = given.client(SENDER), text_of(given), UnixMs(given.time("timestamp"))
    service = named(call, "service") if "cid" in call.request.params else None
    about = {"app": call.caller.app, "by": sender, "sender": sender, "sent_ms": sent_ms, "conversation": service}
    return _change(EditBroadcast, call.request.param("mid"), about | {"body": body, "quota": quota})


def parse_delete(call: Call) -> Steps:
    """Call 79. Raises InvalidCommand."""
    arguments_of(call.request)  # there are none, but what is sent is JSON or nothing
    return _change(DeleteBroadcast, call.request.param("mid"), {"app": call.caller.app, "by": VIA})


def parse_old_delete(call: Call) -> Steps:
    """`DELETE rtm/broadcast`. Raises InvalidCommand."""
    mid = arguments_of(call.request).text("mid")
    return _change(DeleteBroadcast, mid, {"app": call.caller.app, "by": VIA})


def _change(command: type[ChangeBroadcast], mid: str, about: dict[str, Any]) -> Steps:
    """What became of it. Who has received it is not concerned, so it is the same as if there were none any more."""
    service = about.get("conversation")
    id = broadcast_id(mid)
    try:
        if id is None:
            raise UnknownMessage("no such broadcast")
        return (yield command(id=id, **about))
    except UnknownMessage:
        if service is not None:
            yield from record(about["app"], service)
        raise


def parse_list(call: Call) -> Steps:
    """Call 80, and `GET rtm/broadcast`: those of a service that are in force. Raises InvalidCommand."""
    given = Parameters(call.request.query())
    service = conversation("service", given.text("conv_id"))
    offset = max(given.integer("skip") or 0, 0)
    return _list(FindBroadcasts(app=call.caller.app, conversation=service, offset=offset, limit=given.limit()), service)


def _list(query: FindBroadcasts, service: Conversation) -> Steps:
    found = yield query
    if not found:
        yield from record(query.app, service)
    return found


def render_list(call: Call, broadcasts: Iterable[Message]) -> HttpReply:
    """A bare array, the newest first."""
    return json_reply(200, [_shown(each) for each in broadcasts])


def _shown(broadcast: Message) -> dict[str, Any]:
    record = shown(broadcast) | {"msg-id": broadcast_name(broadcast.id)}
    return record if broadcast.valid_until_ms is None else record | {"valid-till": broadcast.valid_until_ms}
