"""Roles: who is owner, manager or member of a conversation by name. They are kept and told, and restrict nobody here."""

from typing import assert_never

import msgspec

from ..commands import RemoveRole, SetRole
from ..errors import OwnerNeeded, RolesFull
from ..events.lists import RoleRemoved, RoleSet
from ..ids import Position
from ..limits import ROLES_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from ..rows import ConversationRow, RoleRow
from .conversations import decided, nothing_to_do, record_of, require
from .decision import Decision, Now
from .times import at


def decide_set(command: SetRole, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation, OwnerNeeded, RolesFull."""
    app = command.app
    row = require(views, app, command.conversation)
    old = views.role(app, row.number, command.user)
    if old is not None and old.role == command.role:
        return nothing_to_do(row, row.updated_ms)
    _keep_an_owner(row, old)
    if old is None and row.roles >= ROLES_MAX:
        raise RolesFull(f"{ROLES_MAX} users have a role in {row.kind} {row.id!r}")
    at_ms = at(app, views, now)
    event = RoleSet(app=app, conversation=row.conversation, at_ms=at_ms, user=command.user, role=command.role)
    return decided(event, command, now, at_ms)


def decide_remove(command: RemoveRole, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation, OwnerNeeded."""
    app = command.app
    row = require(views, app, command.conversation)
    old = views.role(app, row.number, command.user)
    if old is None:
        return nothing_to_do(row, row.updated_ms)
    _keep_an_owner(row, old)
    at_ms = at(app, views, now)
    event = RoleRemoved(app=app, conversation=row.conversation, at_ms=at_ms, user=command.user)
    return decided(event, command, now, at_ms)


def _keep_an_owner(row: ConversationRow, old: RoleRow | None) -> None:
    """Before somebody loses a role: raises OwnerNeeded if they are the only owner."""
    if old is not None and old.role == "owner" and row.owners == 1:
        raise OwnerNeeded(f"{old.user!r} is the only owner of {row.kind} {row.id!r}")


def apply(views: Views, position: Position, event: RoleSet | RoleRemoved) -> None:
    """The role, and how many there are."""
    app, row = event.app, record_of(views, event)
    old = views.role(app, row.number, event.user)
    roles, owners = row.roles, row.owners - (old is not None and old.role == "owner")
    match event:
        case RoleSet():
            since = position if old is None else old.since
            views.put_role(app, row.number, RoleRow(event.user, event.role, since))
            roles, owners = roles + (old is None), owners + (event.role == "owner")
        case RoleRemoved():
            views.remove_role(app, row.number, event.user)
            roles -= 1
        case _:
            assert_never(event)
    views.put_conversation(app, msgspec.structs.replace(row, roles=roles, owners=owners))
