"""Blocks: the conversations that a user does not want to be put into."""

from itertools import islice
from typing import assert_never

from ..commands import BlockConversation, UnblockConversation
from ..errors import BlocksFull
from ..events.lists import ConversationBlocked, ConversationUnblocked
from ..limits import BLOCKED_MAX
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from .conversations import decided, nothing_to_do, record_of, require
from .decision import Decision, Now
from .times import at


def decide_block(command: BlockConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownConversation, BlocksFull."""
    app, user = command.app, command.user
    row = require(views, app, command.conversation)
    if views.is_blocked(app, user, row.number):
        return nothing_to_do(row, row.updated_ms)
    if sum(1 for _ in islice(views.blocked(app, user), BLOCKED_MAX)) == BLOCKED_MAX:
        raise BlocksFull(f"{user!r} blocks {BLOCKED_MAX} conversations")
    at_ms = at(app, views, now)
    event = ConversationBlocked(app=app, conversation=row.conversation, at_ms=at_ms, user=user)
    return decided(event, command, now, at_ms)


def decide_unblock(
    command: UnblockConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules
) -> Decision:
    """Raises UnknownConversation."""
    app, user = command.app, command.user
    row = require(views, app, command.conversation)
    if not views.is_blocked(app, user, row.number):
        return nothing_to_do(row, row.updated_ms)
    at_ms = at(app, views, now)
    event = ConversationUnblocked(app=app, conversation=row.conversation, at_ms=at_ms, user=user)
    return decided(event, command, now, at_ms)


def apply(views: Views, event: ConversationBlocked | ConversationUnblocked) -> None:
    """One more, or one less."""
    row = record_of(views, event)
    match event:
        case ConversationBlocked():
            views.put_block(event.app, event.user, row)
        case ConversationUnblocked():
            views.remove_block(event.app, event.user, row.number)
        case _:
            assert_never(event)
