"""Silences: who may not talk in a conversation, for good or for a while. The one knows nothing of the other.

One for a while is over by rule when the expiry clock says so; that its row is forgotten is an event of the sweeper's.
"""

from itertools import islice, takewhile
from typing import assert_never

import msgspec

from ..commands import ExpireSilences, SilenceUsers, UnsilenceUsers
from ..errors import SilencesFull
from ..events.lists import SilencesExpired, UsersSilenced, UsersUnsilenced
from ..ids import ExpiryMs, Position
from ..limits import DEDUP_EXPIRED_MAX, LISTED_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from .conversations import decided, nothing_to_do, off_list, on_list, record_of, require
from .decision import Decision, Now, parts
from .times import at


def decide_silence(command: SilenceUsers, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """For a while: from now on, again. Raises UnknownConversation, SilencesFull."""
    app, until_ms = command.app, None
    row = require(views, app, command.conversation)
    if command.ttl_ms is None:
        users = off_list(views, app, row, "silenced", command.users)
    else:
        users, until_ms = tuple(dict.fromkeys(command.users)), ExpiryMs(now.expiry_ms + command.ttl_ms)
    if not users:
        return nothing_to_do(row, row.updated_ms)
    most = LISTED_MAX[row.kind]
    if until_ms is None and row.silenced + len(users) > most:
        raise SilencesFull(f"{row.kind} {row.id!r} would have silenced more than {most} users")
    at_ms = at(app, views, now)
    event = UsersSilenced(app=app, conversation=row.conversation, at_ms=at_ms, users=users, until_ms=until_ms)
    return decided(event, command, now, at_ms)


def decide_unsilence(command: UnsilenceUsers, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation. One that is over by itself is not lifted."""
    app = command.app
    row = require(views, app, command.conversation)
    if command.temporary:
        ends = ((user, views.silence(app, row.number, user)) for user in dict.fromkeys(command.users))
        users = tuple(user for user, until_ms in ends if until_ms is not None and until_ms > now.expiry_ms)
    else:
        users = on_list(views, app, row, "silenced", command.users)
    if not users:
        return nothing_to_do(row, row.updated_ms)
    at_ms = at(app, views, now)
    event = UsersUnsilenced(
        app=app, conversation=row.conversation, at_ms=at_ms, users=users, temporary=command.temporary
    )
    return decided(event, command, now, at_ms)


def decide_expire(command: ExpireSilences, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Forget those that are over."""
    over = list(islice(takewhile(lambda end: end <= now.expiry_ms, views.silence_ends()), command.limit))
    return Decision(
        tuple(SilencesExpired(until_ms=part[-1], count=len(part)) for part in parts(over, DEDUP_EXPIRED_MAX))
    )


def apply(views: Views, position: Position, event: UsersSilenced | UsersUnsilenced) -> None:
    """The list, and how long it is; or until when."""
    app, row = event.app, record_of(views, event)
    match event:
        case UsersSilenced(until_ms=None):
            views.list_users(app, row, "silenced", event.users, position)
            views.put_conversation(app, msgspec.structs.replace(row, silenced=row.silenced + len(event.users)))
        case UsersSilenced(until_ms=until_ms):
            assert until_ms is not None
            for user in event.users:
                views.put_silence(app, row.number, user, until_ms)
        case UsersUnsilenced(temporary=False):
            views.unlist_users(app, row, "silenced", event.users)
            views.put_conversation(app, msgspec.structs.replace(row, silenced=row.silenced - len(event.users)))
        case UsersUnsilenced():
            for user in event.users:
                views.remove_silence(app, row.number, user)
        case _:
            assert_never(event)


def apply_expired(views: Views, event: SilencesExpired) -> None:
    """They are forgotten."""
    views.remove_oldest_silences(event.count)
