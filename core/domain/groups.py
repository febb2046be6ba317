"""Messages to groups and services: a copy in each member's queue or, for many, one entry in the conversation's stream, all of
one text, which is the history's; and who else is told."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ..commands import SendMessage
from ..events import CopiesExpired, Queued, Withdrawn
from ..events.deletion import CopiesWithdrawn
from ..ids import MessageId, Position, position_of
from ..limits import GROUP_COPIES_MAX, HISTORY_EXPIRED_MAX
from ..model import Conversation, Rules
from ..ports import ReadViews, Views
from ..rows import ConversationRow, Header, Kept
from . import copies
from .conversations import require
from .decision import Now, parts
from .queues import Term, enqueue, entries_about, leave


class Addressed(msgspec.Struct, frozen=True, gc=False):
    """Whom a message reaches."""

    queued: tuple[Queued, ...] = ()
    audience: tuple[str, ...] = ()
    """Who is told without a copy."""
    number: int = 0
    """Its running number in the conversation."""
    recipients: tuple[str, ...] = ()
    """Of a message to some users of a service: who they are."""
    stream: bool = False
    """It is kept once for all, in the conversation's stream."""


NOBODY: Final = Addressed()
"""A message that is kept for nobody in particular."""


def addressed(command: SendMessage, views: ReadViews, now: Now, rules: Rules) -> Addressed:
    """Where a message to a group or a service is kept for whom, and who is told without. Raises UnknownConversation.

    A queue that refuses costs its owner the copy, which counts as evicted; the others get theirs. What a stream is for, and
    what a service's subscribers are told without keeping it, reads no list.
    """
    row = require(views, command.app, command.to)
    sender = (command.sender,) if command.sender_copy == "online" else ()
    number = views.message_count(row.number) + 1 if command.history else 0
    if row.kind == "service" or (command.queue and row.members > GROUP_COPIES_MAX):
        return Addressed((), sender, number, stream=command.queue)
    members = tuple(user for user in views.listed(row.number, "members") if user != command.sender)
    if not command.queue:
        return Addressed((), (*members, *sender), number)
    queued = tuple(enqueue(views, command.app, user, now, rules, owns_body=False) for user in members)
    return Addressed(queued, sender, number)


def count_message(views: Views, app: str, conversation: Conversation, number: int) -> ConversationRow:
    """A message to the group took this running number. Returns the group's record."""
    row = views.conversation(app, conversation)
    assert row is not None  # nobody sends to a group that there is not
    views.put_message_count(row.number, number)
    return row


def audience(header: Header, kept: Kept | None, views: ReadViews) -> tuple[str, ...]:
    """Who is told of a change besides those whose queues it went to: of a message that was not queued, whoever was a member
    then and is one now, or whom it named; and its sender, if they got it in their own sessions."""
    sender = (header.sender,) if header.sender_copy == "online" else ()
    if kept is not None and kept.named:
        sender = sender if header.sender not in kept.recipients else ()
        return sender if header.queue else (*kept.recipients, *sender)
    if header.conversation.kind != "group":
        return ()
    row = None if header.queue else views.conversation(header.app, header.conversation)
    if row is None:
        return sender
    members = tuple(user for user in views.listed(row.number, "members") if user != header.sender)
    return (*(user for user in members if _came_before(views, header, row.number, user)), *sender)


def _came_before(views: ReadViews, header: Header, number: Position, user: str) -> bool:
    """Whether a member was one when the message was sent."""
    since = views.member_since(header.app, number, user)
    assert since is not None  # they are on the list
    return since < position_of(header.id)


def recipients(header: Header, kept: Kept | None) -> tuple[str, ...]:
    """In whose queues a message may lie."""
    if header.conversation.kind == "peer":
        return (header.conversation.id,)
    return kept.recipients if kept is not None else ()


def waiting(views: ReadViews, app: str, users: Iterable[str], id: MessageId) -> Iterator[Withdrawn]:
    """Entries about a message, by the user in whose queue they are."""
    for user in users:
        positions = tuple(entry.position for entry in entries_about(views, app, user, id))
        if positions:
            yield Withdrawn(user, positions)


def decide_copies_expired(views: ReadViews, app: str, kept: Kept, id: MessageId) -> Iterator[CopiesExpired]:
    """What still waits of a message that leaves the history: its text has no other owner."""
    users = copies.holders(views, id, kept.recipients)
    for part in parts(tuple(waiting(views, app, users, id)), HISTORY_EXPIRED_MAX):
        yield CopiesExpired(app=app, id=id, copies=tuple(part))


def apply_copies_gone(views: Views, event: CopiesExpired | CopiesWithdrawn) -> list[Position]:
    """They are accounted for. Returns the positions whose bodies end."""
    return take_out(views, event.app, event.copies, "expired" if isinstance(event, CopiesExpired) else "withdrawn")


def take_out(views: Views, app: str, gone: Iterable[Withdrawn], term: Term) -> list[Position]:
    """These entries leave the queues they waited in. Returns the positions whose bodies end."""
    ended: list[Position] = []
    for of in gone:
        entries = [views.entry(app, of.user, position) for position in of.positions]
        ended += leave(views, app, of.user, [entry for entry in entries if entry is not None], term)
    return ended
