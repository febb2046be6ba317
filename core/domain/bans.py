"""Bans: who is out of a conversation, and stays out until the ban is lifted."""

from typing import assert_never

import msgspec

from ..commands import BanUsers, UnbanUsers
from ..errors import BansFull
from ..events import AnyEvent, MembersRemoved, RoomLeft
from ..events.lists import UsersBanned, UsersUnbanned
from ..ids import Position
from ..limits import LISTED_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from .conversations import decided, nothing_to_do, off_list, on_list, record_of, require, taken_off
from .decision import Decision, Now
from .times import at


def decide_ban(command: BanUsers, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """They leave first, whoever is in it. Raises UnknownConversation, BansFull."""
    app = command.app
    row = require(views, app, command.conversation)
    users = off_list(views, app, row, "banned", command.users)
    if not users:
        return nothing_to_do(row, row.updated_ms)
    most = LISTED_MAX[row.kind]
    if row.banned + len(users) > most:
        raise BansFull(f"{row.kind} {row.id!r} would have banned more than {most} users")
    at_ms = at(app, views, now)
    out: list[AnyEvent] = []
    members = on_list(views, app, row, "members", users)
    if members:
        out.append(MembersRemoved(app=app, conversation=row.conversation, at_ms=at_ms, users=members))
    if row.kind == "room":
        out += (
            RoomLeft(app=app, room=row.id, user=user, at_ms=at_ms)
            for user in users
            if views.open_stay(app, row.id, user) is not None
        )
    event = UsersBanned(app=app, conversation=row.conversation, at_ms=at_ms, users=users)
    return decided(event, command, now, at_ms, *out)


def decide_unban(command: UnbanUsers, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation."""
    return taken_off(command, "banned", UsersUnbanned, views, now)


def apply(views: Views, position: Position, event: UsersBanned | UsersUnbanned) -> None:
    """The list, and how long it is."""
    app, row = event.app, record_of(views, event)
    match event:
        case UsersBanned():
            views.list_users(app, row, "banned", event.users, position)
            count = row.banned + len(event.users)
        case UsersUnbanned():
            views.unlist_users(app, row, "banned", event.users)
            count = row.banned - len(event.users)
        case _:
            assert_never(event)
    views.put_conversation(app, msgspec.structs.replace(row, banned=count))
