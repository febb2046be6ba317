"""Creating, changing and finding conversations of any kind (LeanCloud 5, 6.1)."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from postroom.core.commands import (
    AddMembers,
    CreateConversation,
    DeleteConversation,
    MembersCommand,
    MuteConversation,
    RemoveMembers,
    Step,
    Transact,
    UnmuteConversation,
    UpdateConversation,
)
from postroom.core.ids import UnixMs
from postroom.core.model import Conversation, ConversationInfo, Kind, Receipt
from postroom.core.queries import CountConversations, FindConversations
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from . import fields
from .ids import new_object_id
from .known import known, named, record
from .messages import VIA
from .parameters import Parameters, arguments_of, body_of, refuse_condition
from .rows import alone, narrowed, row
from .times import iso, time_of
from .where import order_of, where_of

List = Literal["members", "muted"]

ADD: Final[dict[List, type[MembersCommand]]] = {"members": AddMembers, "muted": MuteConversation}
REMOVE: Final[dict[List, type[MembersCommand]]] = {"members": RemoveMembers, "muted": UnmuteConversation}


class Created(msgspec.Struct, frozen=True):
    """What a create came to."""

    receipt: Receipt
    info: ConversationInfo | None = None
    """Of one that is unique by its members."""


class Updated(msgspec.Struct, frozen=True):
    """What a change came to."""

    id: str
    at_ms: UnixMs


def parse_create(call: Call, kind: Kind) -> Steps:
    """Calls 1 and 28. What the path makes goes before what the body says of it. Raises InvalidCommand."""
    return create(call.caller.app, kind, fields.creation(body_of(call.request)))


def create(app: str, kind: Kind, made: fields.Creation) -> Steps:
    """A new conversation, or the one of exactly these members, as it is; of another kind than a group nobody is a member."""
    grouped = kind == "group"
    receipt = yield CreateConversation(
        app=app,
        conversation=Conversation(kind, new_object_id()),
        attributes=made.attributes,
        members=made.members if grouped else (),
        muted=made.muted if grouped else (),
        unique=grouped and made.unique,
    )
    if grouped and made.unique:
        return Created(receipt, (yield from record(app, receipt.conversation)))
    return Created(receipt)


def render_create(call: Call, created: Created, location: Callable[[str], str]) -> HttpReply:
    """201 with where the new row is; 200 for one that was there (LeanCloud 6.1). One that is unique is shown whole."""
    if created.info is not None:
        shown = alone(created.info)
    else:
        assert created.receipt.conversation is not None
        shown = {"objectId": created.receipt.conversation.id, "createdAt": iso(created.receipt.at_ms)}
    if created.receipt.duplicate:
        return json_reply(200, shown)
    return json_reply(201, shown, ("Location", location(shown["objectId"])))


def parse_update(call: Call, kind: Kind) -> Steps:
    """Calls 3 and 30. Raises InvalidCommand, ReadOnly."""
    refuse_condition(Parameters(call.request.query()))
    wanted = fields.update(body_of(call.request), members=False)
    return update(call.caller.app, named(call, kind), wanted)


def update(app: str, conversation: Conversation, wanted: fields.Update) -> Steps:
    """The changes of fields, members and mutes, all of them or none."""
    changes: list[Step] = []
    if wanted.operations:
        changes.append(UpdateConversation(app=app, conversation=conversation, operations=wanted.operations))
    if wanted.members is not None:
        changes += yield from _turned(app, conversation, "members", wanted.members)
    if wanted.muted is not None:
        changes += yield from _turned(app, conversation, "muted", wanted.muted)
    if not changes:
        return Updated(conversation.id, (yield from record(app, conversation)).updated_ms)
    work = Transact(app=app, conversation=conversation, steps=tuple(changes))
    receipt = yield from known(app, conversation, work)
    return Updated(conversation.id, receipt.at_ms)


def _turned(app: str, conversation: Conversation, of: List, people: fields.People) -> Steps:
    """What turns a list into another: first whoever goes."""
    going = people.users if people.change == "remove" else ()
    coming = people.users if people.change != "remove" else ()
    if people.change == "set":
        there = getattr((yield from record(app, conversation)), of)
        going = tuple(user for user in there if user not in coming)
    turns = ((REMOVE[of], going), (ADD[of], coming))
    return [command(app=app, conversation=conversation, users=users) for command, users in turns if users]


def render_update(call: Call, updated: Updated) -> HttpReply:
    """Also of calls that change who is a member."""
    return json_reply(200, {"updatedAt": iso(updated.at_ms), "objectId": updated.id})


def parse_delete(call: Call, kind: Kind) -> Steps:
    """Calls 4 and 31. Raises UnknownConversation, InvalidCommand."""
    refuse_condition(arguments_of(call.request))
    return delete(call.caller.app, named(call, kind))


def delete(app: str, conversation: Conversation) -> Steps:
    """With its messages. Who deletes is not known: a key does."""
    return known(app, conversation, DeleteConversation(app=app, conversation=conversation, by=VIA))


def render_delete(call: Call, receipt: Receipt) -> HttpReply:
    """An empty object."""
    return json_reply(200, {})


def parse_query(call: Call, kinds: tuple[Kind, ...]) -> Steps:
    """Calls 2, 29 and 77 (LeanCloud 5). Raises Malformed, InvalidCommand."""
    given = Parameters(call.request.query())
    where = where_of(given.maybe("where"), kinds)
    find = FindConversations(
        app=call.caller.app,
        kinds=kinds,
        where=where,
        time_of=time_of,
        order=order_of(given.maybe("order")),
        offset=max(given.integer("skip") or 0, 0),
        limit=given.limit(),
    )
    count = CountConversations(app=find.app, kinds=kinds, where=where, time_of=time_of) if given.flag("count") else None
    return _found(find, count)


def _found(find: FindConversations, count: CountConversations | None) -> Steps:
    found = yield find
    return found, (yield count) if count is not None else None


def render_query(call: Call, outcome: tuple[Iterable[ConversationInfo], int | None]) -> HttpReply:
    """The rows, and with `count` how many there are."""
    found, count = outcome
    keys = Parameters(call.request.query()).maybe("keys")
    said: dict[str, Any] = {"results": [narrowed(row(info), keys) for info in found]}
    return json_reply(200, said if count is None else said | {"count": count})
