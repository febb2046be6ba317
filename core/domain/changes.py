"""What becomes of a message that was sent: it is edited, recalled, deleted."""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

import msgspec

from ..commands import ChangeBroadcast, ChangeMessage, DeleteMessage, EditMessage, RecallMessage
from ..errors import MessageIsRecalled, UnknownMessage
from ..events import (
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    Queued,
)
from ..expiry import expired
from ..ids import POSITION_MAX, ExpiryMs, Place, Position, UnixMs, position_of
from ..model import Conversation, Receipt, Rules
from ..ports import Headers, ReadViews, Views
from ..rows import Body, ChangedRow, Header, Kept, Replacement
from . import copies, groups, history, streams
from .decision import Decision, Now
from .messages import online
from .queues import apply_queued, enqueue, entries_about
from .times import at, note

_encode = msgspec.msgpack.Encoder().encode
_replacement = msgspec.msgpack.Decoder(Replacement).decode


def decide_edit(command: EditMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage, MessageIsRecalled."""
    found = find(command, views, headers, now, rules)
    header = found.header
    if header.type == "recalled":
        raise MessageIsRecalled(f"message {command.id} was recalled")
    at_ms = at(command.app, views, now)
    event = MessageEdited(
        app=command.app,
        id=command.id,
        by=command.by,
        at_ms=at_ms,
        queued=tell(found, found.recipients, views, now, rules),
        stream=found.stream,
    )
    header = msgspec.structs.replace(header, type="edited", by=command.by, format=command.format, push=b"")
    return _changed(event, Body(header, command.body), found, views)


def decide_recall(command: RecallMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage. A repeated recall writes nothing and says so."""
    found = find(command, views, headers, now, rules)
    header = found.header
    at_ms = at(command.app, views, now)
    if header.type == "recalled":
        return Decision(result=Receipt(id=command.id, at_ms=at_ms, duplicate=True))
    event = MessageRecalled(
        app=command.app,
        id=command.id,
        by=command.by,
        at_ms=at_ms,
        queued=tell(found, found.recipients, views, now, rules),
        sent_ms=header.at_ms if found.kept is not None else UnixMs(0),
        stream=found.stream,
    )
    return _changed(event, recalled(header, command), found, views)


def recalled(header: Header, command: RecallMessage) -> Body:
    """What is left of the message, and what the recall brings to be shown in its text's place."""
    header = msgspec.structs.replace(header, type="recalled", by=command.by, push=b"")
    payload = b""
    if command.replacement:
        payload = _encode(Replacement(command.via, command.format, command.replacement))
    return Body(header, payload)


def deleted(header: Header, command: DeleteMessage) -> Body:
    """What tells of the deletion: no text."""
    return Body(msgspec.structs.replace(header, type="deleted", by=command.by, push=b""), b"")


def replacement(body: Body) -> Replacement | None:
    """What is to be shown in the place of a recalled message's text, if its recall brought something."""
    return _replacement(body.payload) if body.header.type == "recalled" and body.payload else None


def decide_delete(command: DeleteMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises UnknownMessage."""
    found = find(command, views, headers, now, rules)
    header, kept = found.header, found.kept
    holders = copies.holders(views, header.id, found.recipients)
    withdrawn = tuple(groups.waiting(views, header.app, holders, header.id))
    leaving = {of.user: of.positions for of in withdrawn}
    event = MessageDeleted(
        app=command.app,
        id=command.id,
        by=command.by,
        at_ms=at(command.app, views, now),
        timeline=header.conversation if kept is not None else None,
        sender=header.sender if kept is not None else "",
        sent_ms=header.at_ms if kept is not None else UnixMs(0),
        withdrawn=withdrawn,
        queued=() if command.silent else tell(found, found.recipients, views, now, rules, withdrawn=leaving),
        stream=None if command.silent else found.stream,
    )
    body = deleted(header, command)
    if command.silent:
        holders = (*found.recipients, header.sender) if found.recipients else ()
        return Decision((event,), Receipt(id=event.id, at_ms=event.at_ms), body, audience=holders)
    kept_for_somebody = event.stream is not None or any(copy.stored for copy in event.queued)
    return _changed(event, body, found, views, keeps_body=kept_for_somebody)


def _changed(
    event: MessageEdited | MessageRecalled | MessageDeleted,
    body: Body,
    found: "Found",
    views: ReadViews,
    *,
    keeps_body: bool = True,
) -> Decision:
    return Decision(
        (event,),
        Receipt(id=event.id, at_ms=event.at_ms),
        body,
        keeps_body,
        audience=groups.audience(found.header, found.kept, views),
        stream=found.kept.number if found.kept is not None and event.stream is not None else 0,
        hidden_from=copies.hidden_from(views, event.id),
    )


class Found(NamedTuple):
    """A message that is to be changed."""

    header: Header
    kept: Kept | None
    """None if it was not kept for history, or has left it while a copy still waits."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """In whose queues it may lie."""
        return groups.recipients(self.header, self.kept)

    @property
    def stream(self) -> Conversation | None:
        """In whose stream it stands."""
        return self.kept.conversation if self.kept is not None and self.kept.stream else None


def is_meant(header: Header, command: ChangeMessage | ChangeBroadcast) -> bool:
    """Whether the message is what the command takes it for."""
    return (
        command.conversation in (None, header.conversation)
        and command.sender in (None, header.sender)
        and command.sent_ms in (None, header.at_ms)
    )


def find(command: ChangeMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Found:
    """The message that is meant, of the command's app. One past its expiry is not there, swept or not."""
    id = command.id
    unknown = UnknownMessage(f"no message {id} is kept")
    if not 0 < id <= POSITION_MAX:  # no key could be made of it
        raise unknown
    changed = views.changed(id)
    header = headers.header(changed.body if changed else position_of(id))
    if header is None or header.id != id or header.app != command.app or header.type == "deleted":
        raise unknown
    if not is_meant(header, command):
        raise unknown
    if header.conversation.kind != "peer" and views.is_deleted(header.app, header.conversation):
        raise unknown
    kept = views.kept(header.app, Place(header.at_ms, id)) if header.history else None
    if kept is not None and header.at_ms > rules.history_horizon(now.expiry_ms):
        return Found(header, kept)
    if all(
        expired(entry.expires_s, now.expiry_ms)
        for user in Found(header, kept).recipients
        for entry in entries_about(views, header.app, user, id)
    ):
        raise unknown
    return Found(header, kept)


def tell(
    found: Found,
    users: Iterable[str],
    views: ReadViews,
    now: Now,
    rules: Rules,
    *,
    withdrawn: Mapping[str, Collection[Position]] | None = None,
) -> tuple[Queued, ...]:
    """The change as an entry of its own, for whoever of these users has acknowledged the message or has a session open.

    Whoever has neither sees the change in the message's own place. `withdrawn`: nothing else of the message is kept, and
    these entries leave each user's queue first.
    """
    header = found.header
    if not header.queue:
        return ()
    told = []
    owns = withdrawn is not None or found.kept is None
    for user in users:
        row = views.user(header.app, user)
        if (row is not None and row.acked_through >= position_of(header.id)) or online(views, header.app, user):
            leaving = withdrawn.get(user, ()) if withdrawn else ()
            told.append(enqueue(views, header.app, user, now, rules, owns_body=owns, leaving=leaving))
    return tuple(told)


def apply_changed(
    views: Views, position: Position, event: MessageEdited | MessageRecalled, stamped_ms: ExpiryMs
) -> list[Position]:
    """The body now lies under this position; the newest entry about it owns it."""
    app, id = event.app, event.id
    old = views.changed(id)
    ended = [old.body if old else position_of(id)]
    changes = tuple(change for change in old.changes if views.change(change) is not None) if old else ()
    for copy in event.queued:
        if not (copy.stored and copy.owns_body):
            continue
        for earlier in chain((position_of(id),), changes):
            entry = views.entry(app, copy.user, earlier)
            if entry is not None and entry.owns_body:
                views.remove_entries(app, copy.user, (entry,))
                views.put_entry(app, copy.user, msgspec.structs.replace(entry, owns_body=False))
    told = sum(copy.stored for copy in event.queued)
    if told:
        changes = (*changes, position)
        views.put_change(position, id, told)
    if event.stream is not None:
        changes = streams.apply_changed(views, position, event, stamped_ms, old.changes if old else ())
    left, over = copies.replaced(views, app, id) if old is not None and old.copies else (0, [])
    ended += over
    views.put_changed(id, ChangedRow(position, changes, left))
    if isinstance(event, MessageRecalled) and event.sent_ms:
        history.mark_recalled(views, app, Place(event.sent_ms, id))
    note(views, app, event.at_ms)
    return ended + apply_queued(views, app, position, event.queued)


def apply_deleted(views: Views, position: Position, event: MessageDeleted, stamped_ms: ExpiryMs) -> list[Position]:
    """Queued copies are withdrawn, history forgets it; the notice, if any, lies under this position."""
    app, id = event.app, event.id
    old = views.changed(id)
    ended = withdraw(views, event)
    if event.timeline is not None:
        kept = views.kept(app, Place(event.sent_ms, id))
        if kept is not None and kept.stream:
            streams.apply_deleted(views, position, event, stamped_ms, kept, old.changes if old else ())
        history.forget(views, app, Place(event.sent_ms, id))
        ended += copies.end(views, app, id)
    told = sum(copy.stored for copy in event.queued)
    if told:
        views.put_change(position, id, told)
    note(views, app, event.at_ms)
    return ended + apply_queued(views, app, position, event.queued)


def withdraw(views: Views, event: MessageDeleted) -> list[Position]:
    """What waited of it leaves the queues. Returns the positions whose bodies end."""
    return groups.take_out(views, event.app, event.withdrawn, "withdrawn")
