"""What a command becomes, and what an event does: pure functions over the views, side by side a kind of thing.

`decide` reads and refuses, `apply` changes and never refuses. Replay calls `apply` alone.
"""

from collections.abc import Callable
from typing import Any, Final, assert_never

from ..commands import (
    Ack,
    Command,
    DeleteMessage,
    EditMessage,
    EndStaleSessions,
    ExpireDedup,
    ExpireQueue,
    Login,
    Logout,
    RecallMessage,
    SendMessage,
    StartEpoch,
)
from ..events import (
    Acked,
    DedupExpired,
    EpochStarted,
    LoggedIn,
    LoggedOut,
    MessageConfirmed,
    MessageDeleted,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    QueueExpired,
    Record,
)
from ..ids import Position
from ..model import Rules
from ..ports import Headers, ReadViews, Views
from . import messages, queues, sessions
from .decision import Collected, Decision, Now, Wait, Welcome

__all__ = ["Collected", "Decision", "Now", "Wait", "Welcome", "apply", "decide"]

_DECIDE: Final[dict[type[Command], Callable[[Any, ReadViews, Headers, Now, Rules], Decision]]] = {
    SendMessage: messages.decide_send,
    EditMessage: messages.decide_edit,
    RecallMessage: messages.decide_recall,
    DeleteMessage: messages.decide_delete,
    StartEpoch: sessions.decide_epoch,
    Login: sessions.decide_login,
    Logout: sessions.decide_logout,
    Ack: sessions.decide_ack,
    ExpireQueue: sessions.decide_expire,
    ExpireDedup: sessions.decide_expire_dedup,
    EndStaleSessions: sessions.decide_stale,
}


def decide(command: Command, views: ReadViews, headers: Headers, now: Now, rules: Rules) -> Decision:
    """What the command becomes here and now. Raises Refusal, and then nothing happened."""
    return _DECIDE[type(command)](command, views, headers, now, rules)


def apply(views: Views, record: Record) -> list[Position]:
    """Change the views by one event; it depends on nothing else. Returns the positions whose bodies end with it."""
    ended = _apply(views, record)
    views.advance(record)
    return ended


def _apply(views: Views, record: Record) -> list[Position]:
    event, position = record.event, record.position
    match event:
        case MessageSent():
            return messages.apply_sent(views, position, event)
        case Acked():
            return sessions.apply_acked(views, event)
        case MessageEdited() | MessageRecalled():
            return messages.apply_changed(views, position, event)
        case MessageDeleted():
            return messages.apply_deleted(views, position, event)
        case QueueExpired():
            return queues.apply_expired(views, event)
        case LoggedIn():
            sessions.apply_login(views, event)
        case LoggedOut():
            sessions.apply_logout(views, event)
        case MessageConfirmed():
            messages.apply_confirmed(views, event)
        case DedupExpired():
            sessions.apply_dedup_expired(views, event)
        case EpochStarted():
            views.start_epoch(event.epoch)
        case _:
            assert_never(event)
    return []
