"""What is taken over from another service: conversations as they were, messages for queries alone. Nobody is told, nothing
is queued, and no clock of the app moves: its next live message gets the time it would have had."""

from collections.abc import Iterator
from itertools import islice, takewhile
from typing import assert_never

from ..commands import ImportConversation, ImportMessage
from ..errors import ConversationExists, ConversationFull, InTheFuture, TooOld
from ..events import AliasesExpired, ConversationImported, MessageImported
from ..events.imports import ImportEvent
from ..ids import Place, Position, UnixMs, message_at
from ..limits import HISTORY_EXPIRED_MAX, IMPORT_AHEAD_MS, MEMBERS_MAX, MUTED_MAX
from ..model import Receipt, Rules
from ..ports import Headers, ReadViews, Views
from ..rows import Body, ChangedRow, ConversationRow, Header, Kept
from . import attributes
from .conversations import decided, nothing_to_do, require
from .decision import Decision, Now, parts


def decide_conversation(
    command: ImportConversation, views: ReadViews, headers: Headers, now: Now, rules: Rules
) -> Decision:
    """Raises InTheFuture, ConversationFull, ConversationExists if one of that name is being deleted, InvalidCommand if the
    attributes are too large."""
    app, conversation = command.app, command.conversation
    row = views.conversation(app, conversation)
    if row is not None:
        return nothing_to_do(row, row.created_ms)
    if views.was_imported(app, conversation.id):
        receipt = Receipt(
            id=message_at(Position(0)), at_ms=command.created_ms, duplicate=True, conversation=conversation
        )
        return Decision(result=receipt)
    if views.is_deleted(app, conversation):
        raise ConversationExists(f"{conversation.kind} {conversation.id!r} is being deleted")
    _not_ahead(command.updated_ms, now)
    members, muted = (tuple(dict.fromkeys(users)) for users in (command.members, command.muted))
    if len(members) > MEMBERS_MAX or len(muted) > MUTED_MAX:
        raise ConversationFull(f"a group has at most {MEMBERS_MAX} members, and is muted by at most {MUTED_MAX} users")
    json = attributes.compact(command.attributes)
    attributes.check_size(json)
    event = ConversationImported(
        app=app,
        conversation=conversation,
        created_ms=command.created_ms,
        updated_ms=command.updated_ms,
        attributes=attributes.merge(json, (), ()),
        members=members,
        muted=muted,
        unique=command.unique,
    )
    return decided(event, command, now, event.created_ms)


def decide_message(command: ImportMessage, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """Raises TooOld, InTheFuture, UnknownConversation. What is past retention is refused whether or not it was known: the
    next sweep forgets that it was."""
    app, at_ms = command.app, command.at_ms
    if at_ms <= rules.history_horizon(now.expiry_ms):
        raise TooOld("older than the app keeps messages")
    known = views.alias(app, command.alias)
    if known is not None:
        return Decision(result=Receipt(id=known.id, at_ms=known.at_ms, duplicate=True))
    _not_ahead(at_ms, now)
    if command.conversation.kind != "peer":
        require(views, app, command.conversation)
    id = message_at(now.position)
    event = MessageImported(
        app=app,
        id=id,
        conversation=command.conversation,
        sender=command.sender,
        at_ms=at_ms,
        alias=command.alias,
        recipients=tuple(dict.fromkeys(command.recipients)),
        recalled=command.recalled,
    )
    return Decision((event,), Receipt(id=id, at_ms=at_ms), Body(_header(command, event), command.body), keeps_body=True)


def _header(command: ImportMessage, event: MessageImported) -> Header:
    return Header(
        type="recalled" if command.recalled else "message",
        app=command.app,
        id=event.id,
        conversation=command.conversation,
        sender=command.sender,
        lane="normal",
        format=command.format,
        at_ms=command.at_ms,
        queue=False,
        history=True,
        via=command.via,
        mentions=command.mentions,
        mention_all=command.mention_all,
    )


def _not_ahead(at_ms: UnixMs, now: Now) -> None:
    """Clocks differ, by so much at most. Raises InTheFuture."""
    if at_ms > now.wall_ms + IMPORT_AHEAD_MS:
        raise InTheFuture("more than a day ahead of the clock")


def decide_expire_aliases(app: str, views: ReadViews, horizon: UnixMs, limit: int) -> Iterator[AliasesExpired]:
    """Messages that were deleted, and could not be imported any more anyway."""
    over = list(islice(takewhile(lambda place: place.at_ms <= horizon, views.outlived_aliases(app)), limit))
    for part in parts(over, HISTORY_EXPIRED_MAX):
        yield AliasesExpired(app=app, at_ms=part[-1].at_ms, count=len(part))


# What they do.


def apply(views: Views, position: Position, event: ImportEvent) -> None:
    """Rows of a record or of a kept message, and those that know the import again."""
    views.count(event.app)  # what an app has is looked through by its totals: there are some from here on
    match event:
        case ConversationImported():
            _apply_conversation(views, position, event)
        case MessageImported():
            _apply_message(views, position, event)
        case AliasesExpired():
            views.remove_outlived_aliases(event.app, event.count)
        case _:
            assert_never(event)


def _apply_conversation(views: Views, position: Position, event: ConversationImported) -> None:
    app = event.app
    row = ConversationRow(
        number=position,
        kind=event.conversation.kind,
        id=event.conversation.id,
        created_ms=event.created_ms,
        updated_ms=event.updated_ms,
        unique=event.unique,
        attributes=event.attributes,
        members=len(event.members),
        muted=len(event.muted),
    )
    views.put_conversation(app, row)
    views.list_users(app, row, "members", event.members, position)
    views.list_users(app, row, "muted", event.muted, position)
    if row.unique:
        views.put_unique(app, row, event.members)
    views.put_imported(app, event.conversation, position)


def _apply_message(views: Views, position: Position, event: MessageImported) -> None:
    app, place = event.app, Place(event.at_ms, event.id)
    kept = Kept(
        event.conversation, event.sender, recalled=event.recalled, recipients=event.recipients, alias=event.alias
    )
    views.put_kept(app, place, kept)
    views.put_alias(app, event.alias, place)
    if event.recalled:  # its body says that it is none of a message as it was sent
        views.put_changed(event.id, ChangedRow(position))


def note_deleted(views: Views, app: str, place: Place, kept: Kept) -> None:
    """A kept message is gone before its time. If it was imported, that is remembered, so that it is not imported again."""
    if kept.alias:
        views.outlive(app, kept.alias, place)
