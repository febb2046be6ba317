"""What a command becomes, and what an event does: pure functions over the views, side by side a kind of thing.

`decide` reads and refuses, `apply` changes and never refuses. Replay calls `apply` alone.
"""

from collections.abc import Callable
from typing import Any, Final, assert_never

from ..commands import (
    Ack,
    AddMembers,
    BanUsers,
    BlockConversation,
    CollectResult,
    Command,
    CreateConversation,
    DeleteBroadcast,
    DeleteConversation,
    DeleteMessage,
    EditBroadcast,
    EditMessage,
    EndStaleSessions,
    ExpireBroadcasts,
    ExpireDedup,
    ExpireGaps,
    ExpireHistory,
    ExpireQueue,
    ExpireResults,
    ExpireSilences,
    ImportConversation,
    ImportMessage,
    Join,
    Kick,
    Leave,
    Login,
    Logout,
    MarkRead,
    MuteConversation,
    RecallMessage,
    RemoveMembers,
    RemoveRole,
    ReserveResult,
    SendBroadcast,
    SendMessage,
    SetRole,
    SilenceUsers,
    StartEpoch,
    SweepConversation,
    TakeFeed,
    UnbanUsers,
    UnblockConversation,
    UnmuteConversation,
    UnsilenceUsers,
    UpdateConversation,
)
from ..events import (
    Acked,
    ConversationCreated,
    ConversationMuted,
    ConversationRead,
    ConversationUnmuted,
    ConversationUpdated,
    CopiesExpired,
    DedupExpired,
    EpochStarted,
    GapsExpired,
    HistoryExpired,
    LoggedIn,
    LoggedOut,
    MembersAdded,
    MembersRemoved,
    MessageConfirmed,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    PresenceTaken,
    QueueExpired,
    Record,
    ResultCollected,
    ResultReserved,
    ResultsExpired,
    RoomJoined,
    RoomLeft,
    StaysExpired,
    StreamNoticesExpired,
    UserKicked,
)
from ..events.broadcasts import (
    BroadcastDeleted,
    BroadcastEdited,
    BroadcastSent,
    BroadcastsExpired,
)
from ..events.deletion import ConversationDeleted, ConversationSwept, CopiesWithdrawn, DeletionEvent
from ..events.imports import AliasesExpired, ConversationImported, ImportEvent, MessageImported
from ..events.lists import (
    ConversationBlocked,
    ConversationUnblocked,
    ListEvent,
    RoleRemoved,
    RoleSet,
    SilencesExpired,
    UsersBanned,
    UsersSilenced,
    UsersUnbanned,
    UsersUnsilenced,
)
from ..events.quotas import QuotaUsed
from ..ids import ExpiryMs, Position
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from . import (
    bans,
    blocks,
    broadcasts,
    changes,
    conversations,
    copy_changes,
    deletion,
    groups,
    history,
    imports,
    marks,
    messages,
    presence,
    queues,
    quotas,
    results,
    roles,
    rooms,
    sessions,
    silences,
    streams,
    users,
)
from .decision import Collected, Decision, Entered, Found, Now, Opening, Presence, Result, Wait, Welcome

__all__ = [
    "Collected",
    "Decision",
    "Entered",
    "Found",
    "Now",
    "Opening",
    "Presence",
    "Result",
    "Wait",
    "Welcome",
    "apply",
    "decide",
]

_DECIDE: Final[dict[type[Command], Callable[[Any, ReadViews, Headers, Now, Rules], Decision]]] = {
    SendMessage: messages.decide_send,
    EditMessage: copy_changes.decide_edit,
    RecallMessage: copy_changes.decide_recall,
    DeleteMessage: copy_changes.decide_delete,
    StartEpoch: sessions.decide_epoch,
    Kick: users.decide_kick,
    Login: sessions.decide_login,
    Logout: sessions.decide_logout,
    Ack: sessions.decide_ack,
    ExpireQueue: sessions.decide_expire,
    ExpireDedup: sessions.decide_expire_dedup,
    EndStaleSessions: sessions.decide_stale,
    Join: rooms.decide_join,
    Leave: rooms.decide_leave,
    TakeFeed: presence.decide_take,
    ReserveResult: results.decide_reserve,
    CollectResult: results.decide_collect,
    ExpireResults: results.decide_expire,
    ExpireHistory: history.decide_expire,
    ExpireGaps: rooms.decide_expire_gaps,
    CreateConversation: conversations.decide_create,
    UpdateConversation: conversations.decide_update,
    AddMembers: conversations.decide_add,
    RemoveMembers: conversations.decide_remove,
    MuteConversation: conversations.decide_mute,
    UnmuteConversation: conversations.decide_unmute,
    BanUsers: bans.decide_ban,
    UnbanUsers: bans.decide_unban,
    SilenceUsers: silences.decide_silence,
    UnsilenceUsers: silences.decide_unsilence,
    ExpireSilences: silences.decide_expire,
    SetRole: roles.decide_set,
    RemoveRole: roles.decide_remove,
    BlockConversation: blocks.decide_block,
    UnblockConversation: blocks.decide_unblock,
    DeleteConversation: deletion.decide_delete,
    SweepConversation: deletion.decide_sweep,
    MarkRead: marks.decide_mark,
    SendBroadcast: broadcasts.decide_send,
    EditBroadcast: broadcasts.decide_edit,
    DeleteBroadcast: broadcasts.decide_delete,
    ExpireBroadcasts: broadcasts.decide_expire,
    ImportConversation: imports.decide_conversation,
    ImportMessage: imports.decide_message,
}


def decide(command: Command, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """What the command becomes here and now. Raises Refusal, and then nothing happened."""
    kind = _DECIDE[type(command)]
    quota = getattr(command, "quota", None)
    if quota is None:
        return kind(command, views, headers, now, rules)
    return quotas.within(
        quota, command.app, views, now, rules, lambda later: kind(command, views, headers, later, rules)
    )


def apply(views: Views, record: Record) -> list[Position]:
    """Change the views by one event; it depends on nothing else. Returns the positions whose bodies end with it."""
    ended = _apply(views, record)
    views.advance(record)
    return ended


def _apply(views: Views, record: Record) -> list[Position]:
    event, position = record.event, record.position
    match event:
        case MessageSent():
            return messages.apply_sent(views, position, event, record.clock_ms)
        case Acked():
            return sessions.apply_acked(views, event)
        case MessageEdited() | MessageRecalled() | MessageDeleted():
            return _apply_change(views, position, event, record.clock_ms)
        case LoggedIn():
            sessions.apply_login(views, event)
        case LoggedOut():
            sessions.apply_logout(views, event)
        case MessageConfirmed():
            messages.apply_confirmed(views, event)
        case RoomJoined():
            rooms.apply_joined(views, position, event)
        case RoomLeft():
            rooms.apply_left(views, position, event)
        case (
            QueueExpired()
            | HistoryExpired()
            | CopiesExpired()
            | StreamNoticesExpired()
            | ConversationDeleted()
            | CopiesWithdrawn()
            | ConversationSwept()
        ):
            return _apply_ends(views, event)
        case BroadcastSent() | BroadcastEdited() | BroadcastDeleted() | BroadcastsExpired():
            return broadcasts.apply(views, position, event)
        case _:
            _apply_rest(views, position, event)
    return []


def _apply_change(
    views: Views, position: Position, event: MessageEdited | MessageRecalled | MessageDeleted, stamped_ms: ExpiryMs
) -> list[Position]:
    """What becomes of a message, or of some recipients' copies of it."""
    if event.copies:
        return copy_changes.apply(views, position, event)
    if isinstance(event, MessageDeleted):
        return changes.apply_deleted(views, position, event, stamped_ms)
    return changes.apply_changed(views, position, event, stamped_ms)


def _apply_ends(
    views: Views, event: QueueExpired | HistoryExpired | CopiesExpired | StreamNoticesExpired | DeletionEvent
) -> list[Position]:
    """What age ends, or the end of its conversation."""
    match event:
        case QueueExpired():
            return queues.apply_expired(views, event)
        case HistoryExpired():
            return history.apply_expired(views, event)
        case CopiesExpired():
            return groups.apply_copies_gone(views, event)
        case StreamNoticesExpired():
            return streams.apply_notices_expired(views, event)
        case _:
            return deletion.apply(views, event)


def _apply_rest(
    views: Views,
    position: Position,
    event: EpochStarted
    | DedupExpired
    | PresenceTaken
    | ResultReserved
    | ResultCollected
    | ResultsExpired
    | StaysExpired
    | GapsExpired
    | UserKicked
    | ConversationRead
    | QuotaUsed
    | conversations.RecordEvent
    | ListEvent
    | ImportEvent,
) -> None:
    """What ends no body and is less frequent."""
    match event:
        case UserKicked() | ConversationRead() | QuotaUsed():
            _apply_of_users(views, event)
        case PresenceTaken():
            presence.apply_taken(views, event)
        case ResultReserved():
            results.apply_reserved(views, position, event)
        case ResultCollected():
            results.apply_collected(views, event)
        case ResultsExpired():
            results.apply_expired(views, event)
        case StaysExpired():
            rooms.apply_stays_expired(views, event)
        case GapsExpired():
            rooms.apply_gaps_expired(views, event)
        case DedupExpired():
            sessions.apply_dedup_expired(views, event)
        case EpochStarted():
            views.start_epoch(event.epoch, position)
        case (
            ConversationCreated()
            | ConversationUpdated()
            | MembersAdded()
            | MembersRemoved()
            | ConversationMuted()
            | ConversationUnmuted()
        ):
            conversations.apply(views, position, event)
        case ConversationImported() | MessageImported() | AliasesExpired():
            imports.apply(views, position, event)
        case _:
            _apply_lists(views, position, event)


def _apply_of_users(views: Views, event: UserKicked | ConversationRead | QuotaUsed) -> None:
    """Who was thrown out, who has read what, how much of a day's number is used."""
    match event:
        case UserKicked():
            users.apply_kicked(views, event)
        case ConversationRead():
            marks.apply_read(views, event)
        case QuotaUsed():
            quotas.apply(views, event)
        case _:
            assert_never(event)


def _apply_lists(views: Views, position: Position, event: ListEvent) -> None:
    """Who may come in, who may talk, who is what."""
    match event:
        case UsersBanned() | UsersUnbanned():
            bans.apply(views, position, event)
        case UsersSilenced() | UsersUnsilenced():
            silences.apply(views, position, event)
        case SilencesExpired():
            silences.apply_expired(views, event)
        case RoleSet() | RoleRemoved():
            roles.apply(views, position, event)
        case ConversationBlocked() | ConversationUnblocked():
            blocks.apply(views, event)
        case _:
            assert_never(event)
