"""The class `_Conversation` of the storage API, which the SDKs use (LeanCloud 9)."""

import msgspec

from postroom.core.model import ConversationInfo, Kind
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from . import fields
from .conversations import create, delete, update
from .known import existing, of_any_kind
from .parameters import Parameters, arguments_of, body_of, refuse_condition
from .rows import alone, narrowed


def parse_create(call: Call) -> Steps:
    """The body says which kind it is. Raises InvalidCommand."""
    body = body_of(call.request)
    given = Parameters(body)
    service, room = given.flag("sys"), given.flag("tr")
    kind: Kind = "service" if service else "room" if room else "group"
    return create(call.caller.app, kind, fields.creation(body, both=service and room))


def parse_get(call: Call) -> Steps:
    """A row of any kind."""
    return of_any_kind(call.caller.app, call.request.param("cid"))


def render_get(call: Call, info: ConversationInfo | None) -> HttpReply:
    """A missing row is an empty one, not an error."""
    if info is None:
        return json_reply(200, {})
    return json_reply(200, narrowed(alone(info), Parameters(call.request.query()).maybe("keys")))


def parse_update(call: Call) -> Steps:
    """Fields or operators, on `m` too. Raises InvalidCommand, ReadOnly."""
    refuse_condition(Parameters(call.request.query()))
    wanted = fields.update(body_of(call.request), members=True)
    return _update(call.caller.app, call.request.param("cid"), wanted)


def _update(app: str, id: str, wanted: fields.Update) -> Steps:
    conversation = yield from existing(app, id)
    if conversation.kind != "group":  # which alone has members, whatever is written (4.2)
        wanted = msgspec.structs.replace(wanted, members=None, muted=None)
    return (yield from update(app, conversation, wanted))


def parse_delete(call: Call) -> Steps:
    """A row of any kind. Raises UnknownConversation, InvalidCommand."""
    refuse_condition(arguments_of(call.request))
    return _delete(call.caller.app, call.request.param("cid"))


def _delete(app: str, id: str) -> Steps:
    return (yield from delete(app, (yield from existing(app, id))))
