"""Messages as they are sent, and the dedup outcomes that make sending them again safe."""

from hashlib import blake2b
from typing import Final

import msgspec

from ..commands import SendMessage
from ..errors import DedupMismatch, QueueFull
from ..events import (
    ConversationCreated,
    MessageConfirmed,
    MessageSent,
)
from ..ids import ExpiryMs, MessageId, Place, Position, UnixMs, message_at
from ..limits import DEDUP_TTL_MS
from ..model import Receipt, Rules
from ..ports import Headers, ReadViews, Views
from ..rows import Body, DedupRow, Header, Kept
from . import groups, named, permission, rooms, streams, unread
from .conversations import first_use
from .decision import Decision, Now, Wait
from .queues import apply_queued, enqueue
from .times import at

_encoder = msgspec.msgpack.Encoder()
_NOTHING_MORE: Final = ("none", (), False, b"")
"""The rest of most sends; what is digested of them is what it always was."""


def decide_send(command: SendMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises DedupMismatch; QueueFull if the recipient's queue refuses; UnknownConversation for a group or a service that
    nobody created; Overloaded for a room that is being deleted; Banned and Silenced if the sender themselves speaks and
    may not."""
    digest = b""
    if command.dedup is not None:
        digest = command_digest(command)
        kept = views.dedup(command.app, command.sender, command.dedup)
        if kept is not None and kept.expires_ms > now.expiry_ms:
            return _repeat(command, kept, digest, views)
    if command.speaks:
        permission.to_speak(views, command.app, command.to, command.sender, now)
    recipient, kind = command.to.id, command.to.kind
    at_ms = at(command.app, views, now)
    created: tuple[ConversationCreated, ...] = ()
    to = groups.NOBODY
    if kind == "room":
        created = first_use(views, command.app, command.to, at_ms)
    elif kind != "peer":
        to = (named if command.recipients else groups).addressed(command, views, now, rules)
    elif command.queue:
        copy = enqueue(views, command.app, recipient, now, rules, owns_body=not command.history)
        if not copy.stored:
            raise QueueFull(f"the queue of {recipient!r} is full")
        to = groups.Addressed((copy,))
    id = message_at(Position(now.position + len(created)))
    event = MessageSent(
        app=command.app,
        id=id,
        conversation=command.to,
        sender=command.sender,
        lane=command.lane,
        at_ms=at_ms,
        history=command.history,
        queued=to.queued,
        dedup=command.dedup,
        dedup_digest=digest,
        dedup_expires_ms=ExpiryMs(max(now.wall_ms, now.expiry_ms) + DEDUP_TTL_MS if digest else 0),
        awaited=bool(digest) and command.wait_ack_ms is not None,
        number=to.number,
        recipients=to.recipients,
        stream=to.stream,
    )
    wait: Wait = "offline"
    if command.wait_ack_ms is not None and online(views, command.app, recipient):
        wait = "pending"
    return Decision(
        (*created, event),
        Receipt(id=id, at_ms=at_ms),
        Body(_header(command, id, at_ms, to), command.body),
        command.queue or command.history,
        wait,
        to.audience,
        stream=to.number if to.stream else 0,
    )


def _header(command: SendMessage, id: MessageId, at_ms: UnixMs, to: groups.Addressed) -> Header:
    return Header(
        type="message",
        app=command.app,
        id=id,
        conversation=command.to,
        sender=command.sender,
        lane=command.lane,
        format=command.format,
        at_ms=at_ms,
        queue=command.queue,
        history=command.history,
        via=command.via,
        mentions=command.mentions,
        mention_all=command.mention_all,
        push=command.push,
        # Who is named gets a copy like the others, and is told of its changes as its recipient alone.
        sender_copy="none" if command.sender in to.recipients else command.sender_copy,
    )


def _repeat(command: SendMessage, kept: DedupRow, digest: bytes, views: ReadViews) -> Decision:
    """The answer to a retry: the first outcome, and how the message stands now."""
    if kept.digest != digest:
        raise DedupMismatch(f"dedup key {command.dedup!r} was used for another message")
    wait: Wait = "offline"
    if kept.confirmed:
        wait = "delivered"
    elif command.to.kind == "peer" and online(views, command.app, command.to.id):
        wait = "pending"
    return Decision(result=Receipt(id=kept.id, at_ms=kept.at_ms, duplicate=True), wait=wait)


def command_digest(command: SendMessage) -> bytes:
    """What makes two sends the same: everything the recipient or the store would see of them."""
    what: tuple[object, ...] = command.to, command.body, command.format, command.queue, command.history, command.lane
    if command.recipients:
        what = *what, command.recipients
    rest = command.sender_copy, command.mentions, command.mention_all, command.push
    if rest != _NOTHING_MORE:
        what = *what, rest
    return blake2b(_encoder.encode(what), digest_size=16).digest()


def online(views: ReadViews, app: str, user: str) -> bool:
    """Whether a session of this epoch is open."""
    epoch = views.epoch
    return any(row.epoch == epoch for row in views.sessions(app, user))


def apply_sent(views: Views, position: Position, event: MessageSent, stamped_ms: ExpiryMs) -> list[Position]:
    """Queue entries, or one in a stream; history, dedup outcome."""
    app = event.app
    ended = apply_queued(views, app, position, event.queued)
    views.count(app).newest_at_ms = event.at_ms
    if event.history:
        place = Place(event.at_ms, event.id)
        members = tuple(copy.user for copy in event.queued) if event.conversation.kind == "group" else ()
        kept = Kept(
            event.conversation,
            event.sender,
            bool(event.queued) or event.stream,
            recipients=event.recipients or members,
            number=event.number,
            stream=event.stream,
        )
        views.put_kept(app, place, kept)
        if event.stream:
            streams.apply_sent(views, position, event, stamped_ms)
        if event.number:
            row = groups.count_message(views, app, event.conversation, event.number)
            unread.apply_own(views, app, row, event.sender)
        elif event.recipients:
            unread.apply_named(views, event)
    elif event.conversation.kind == "room":
        rooms.note_gap(views, app, event.conversation, Place(event.at_ms, event.id))
    if event.dedup is not None:
        outcome = DedupRow(event.dedup_digest, event.id, event.at_ms, event.dedup_expires_ms, event.awaited)
        views.put_dedup(app, event.sender, event.dedup, outcome)
    return ended


def apply_confirmed(views: Views, event: MessageConfirmed) -> None:
    """A retry of this send will find that it was acknowledged."""
    row = views.dedup(event.app, event.sender, event.dedup)
    if row is not None and row.id == event.id:
        views.put_dedup(event.app, event.sender, event.dedup, msgspec.structs.replace(row, confirmed=True))
