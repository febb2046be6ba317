"""How much a client has not read (LeanCloud 6.8, 9)."""

from postroom.core.errors import UnknownConversation
from postroom.core.queries import CountUnread, GetConversation
from postroom.transports.http.dialect import Call, Steps, Work
from postroom.transports.http.types import HttpReply, json_reply

from .ids import check_client
from .known import KINDS, conversation, nowhere
from .parameters import Parameters


def parse(call: Call) -> Work:
    """Call 76: of the conversation `conv_id`, or of all. Raises InvalidCommand, NameTooLong."""
    return _count(call, Parameters(call.request.query()).maybe("conv_id"))


def parse_all(call: Call) -> Work:
    """`GET rtm/messages/unread/{uid}`. Raises NameTooLong."""
    return _count(call, None)


def parse_one(call: Call) -> Work:
    """`GET rtm/messages/unread/{uid}/{cid}`. Raises NameTooLong, UnknownConversation."""
    return _count(call, call.request.param("cid"))


def render(call: Call, count: int) -> HttpReply:
    """The number alone."""
    return json_reply(200, {"count": count})


def _count(call: Call, id: str | None) -> Work:
    user = check_client("uid", call.request.param("uid"))
    if id is None:
        return CountUnread(app=call.caller.app, user=user)
    return _of(call.caller.app, user, id)


def _of(app: str, user: str, id: str) -> Steps:
    """Of whatever has this id; a chatroom has no unread (LeanCloud 7.7)."""
    for kind in KINDS:
        of = conversation(kind, id)
        if kind == "room":
            if (yield GetConversation(app=app, conversation=of)) is not None:
                return 0
            continue
        try:
            return (yield CountUnread(app=app, user=user, conversation=of))
        except UnknownConversation:
            continue
    nowhere()
