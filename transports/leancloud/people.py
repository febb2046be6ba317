"""Who is a member of a conversation, and who wants no push notifications from it (LeanCloud 6.2, 6.6)."""

import random
from collections.abc import Sequence
from typing import Final

from postroom.core.commands import MembersCommand
from postroom.core.model import Conversation, ConversationInfo
from postroom.core.queries import FindMembers
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from .conversations import ADD, REMOVE, List, Updated
from .known import known, named, record
from .parameters import Parameters, arguments_of, body_of

SAMPLE_MAX: Final = 50
"""Of the members of a chatroom so many are shown."""


def parse_add(call: Call, of: List) -> Steps:
    """Calls 5 and 8. Raises InvalidCommand."""
    return _change(call, ADD[of], Parameters(body_of(call.request)))


def parse_remove(call: Call, of: List) -> Steps:
    """Calls 6 and 9: who is not in the list need not leave it. Raises InvalidCommand."""
    return _change(call, REMOVE[of], arguments_of(call.request))


def _change(call: Call, command: type[MembersCommand], given: Parameters) -> Steps:
    app, conversation = call.caller.app, named(call, "group")
    return _changed(command(app=app, conversation=conversation, users=given.clients("client_ids")))


def _changed(work: MembersCommand) -> Steps:
    if not work.users:
        info = yield from record(work.app, work.conversation)
        return Updated(work.conversation.id, info.updated_ms)
    receipt = yield from known(work.app, work.conversation, work)
    return Updated(work.conversation.id, receipt.at_ms)


def parse_list(call: Call) -> Steps:
    """Calls 7 and 10."""
    return record(call.caller.app, named(call, "group"))


def render_list(call: Call, info: ConversationInfo, of: List) -> HttpReply:
    """In the order in which they first came."""
    return json_reply(200, {"result": getattr(info, of)})


def parse_online(call: Call) -> Steps:
    """Calls 32 and 33."""
    return online(call.caller.app, named(call, "room"))


def online(app: str, room: Conversation) -> Steps:
    """Who is in a chatroom, which there must be."""
    found = yield FindMembers(app=app, room=room.id)
    if not found:
        yield from record(app, room)
    return found


def render_sample(call: Call, users: Sequence[str]) -> HttpReply:
    """Some of them, by chance."""
    shown = users if len(users) <= SAMPLE_MAX else random.sample(users, SAMPLE_MAX)
    return json_reply(200, {"result": shown})


def render_count(call: Call, users: Sequence[str]) -> HttpReply:
    """How many they are."""
    return json_reply(200, {"result": len(users)})
