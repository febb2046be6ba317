"""Who is owner, manager or member of a conversation: its "member infos" (LeanCloud 6.7)."""

from collections.abc import Sequence
from typing import Final

from postroom.core.commands import RemoveRole, SetRole
from postroom.core.errors import InvalidCommand
from postroom.core.limits import ROLES_MAX
from postroom.core.model import Conversation, Kind, Role, RoleInfo
from postroom.core.queries import FindRoles
from postroom.transports.http.dialect import Call, Steps
from postroom.transports.http.types import HttpReply, json_reply

from .conversations import Updated
from .errors import NoSuchRecord, UnknownRole
from .ids import info_id
from .known import known, named, record
from .parameters import Parameters, arguments_of, body_of

ROLES: Final[dict[str, Role]] = {"Owner": "owner", "Manager": "manager", "Member": "member"}
_NAMES: Final[dict[Role, str]] = {role: name for name, role in ROLES.items()}


def parse_set(call: Call, kind: Kind) -> Steps:
    """Calls 18 and 41; who has a role gets the other one. Raises InvalidCommand, UnknownRole."""
    given = Parameters(body_of(call.request))
    conversation = named(call, kind)
    # The vendor's table calls it `client_id` (LeanCloud 10, C8).
    user = given.client("clientId" if given.value("clientId") is not None else "client_id")
    return _set(SetRole(app=call.caller.app, conversation=conversation, user=user, role=_role(given.text("role"))))


def parse_change(call: Call, kind: Kind) -> Steps:
    """Calls 20 and 43. Raises InvalidCommand, UnknownRole."""
    given = Parameters(body_of(call.request))
    name = given.maybe("role")
    user = given.maybe("clientId")
    return _change(call, named(call, kind), None if name is None else _role(name), user)


def _change(call: Call, conversation: Conversation, role: Role | None, user: str | None) -> Steps:
    app = call.caller.app
    info = yield from _named(app, conversation, call.request.param("iid"))
    if user not in (None, info.user):
        raise InvalidCommand("clientId: is who it is")
    if role is None:
        found = yield from record(app, conversation)
        return Updated(info_id(conversation, info.user), found.updated_ms)
    return (yield from _set(SetRole(app=app, conversation=conversation, user=info.user, role=role)))


def _set(command: SetRole) -> Steps:
    receipt = yield from known(command.app, command.conversation, command)
    return Updated(info_id(command.conversation, command.user), receipt.at_ms)


def parse_remove(call: Call, kind: Kind) -> Steps:
    """Calls 19 and 42. Raises InvalidCommand."""
    arguments_of(call.request)  # there are none, but what is sent is JSON or nothing
    return _remove(call, named(call, kind))


def _remove(call: Call, conversation: Conversation) -> Steps:
    info = yield from _named(call.caller.app, conversation, call.request.param("iid"))
    yield RemoveRole(app=call.caller.app, conversation=conversation, user=info.user)


def _named(app: str, conversation: Conversation, id: str) -> Steps:
    """Whose record has this id, which is not kept: they are few."""
    query = FindRoles(app=app, conversation=conversation, limit=ROLES_MAX)
    for info in (yield from known(app, conversation, query)):
        if info_id(conversation, info.user) == id:
            return info
    raise NoSuchRecord


def parse_list(call: Call, kind: Kind) -> Steps:
    """Calls 21 and 44. Raises InvalidCommand, UnknownRole."""
    given = Parameters(call.request.query())
    name, offset = given.maybe("role"), max(given.integer("skip") or 0, 0)
    conversation = named(call, kind)
    role = None if name is None else _role(name)
    return _list(
        conversation,
        FindRoles(app=call.caller.app, conversation=conversation, role=role, offset=offset, limit=given.limit()),
    )


def _list(conversation: Conversation, query: FindRoles) -> Steps:
    return conversation, (yield from known(query.app, conversation, query))


def render_list(call: Call, found: tuple[Conversation, Sequence[RoleInfo]]) -> HttpReply:
    """In the order in which they first had one."""
    conversation, infos = found
    rows = [
        {"clientId": info.user, "objectId": info_id(conversation, info.user), "role": _NAMES[info.role]}
        for info in infos
    ]
    return json_reply(200, {"results": rows})


def _role(name: str) -> Role:
    role = ROLES.get(name)
    if role is None:
        raise UnknownRole
    return role
