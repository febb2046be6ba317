"""Kept messages as elements of the history (LeanCloud 4.3)."""

from typing import Any, Final

from postroom.core.model import Message

from .ids import message_name, pair_id

RECALLED: Final = '{"_lctype":-127}'
"""What clients take for a recalled message (LeanCloud 6.3, Recall)."""


def record(message: Message) -> dict[str, Any]:
    """A message, whichever dialect it came by: of a JSON body the text, of two users as LeanCloud 7.13 says."""
    peer = message.conversation.kind == "peer"
    to = message.conversation.id
    shown = {
        "timestamp": message.at_ms,
        "conv-id": pair_id(message.sender, to) if peer else to,
        "data": RECALLED if message.recalled else message.body.decode(),
        "from": message.sender,
        "msg-id": message_name(message.id),
        "is-conv": True,
        "is-room": False,
        "to": to,
        "bin": False,
        "from-ip": None,
    }
    if message.mention_all:
        shown["mention-all"] = True
    if message.mentions:
        shown["mention-pids"] = message.mentions
    return shown
