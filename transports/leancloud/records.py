"""Kept messages as elements of the history (LeanCloud 4.3)."""

import base64
from typing import Any, Final

from postroom.core.model import Message

from .ids import message_name, pair_id

RECALLED: Final = '{"_lctype":-127}'
"""What clients take for a recalled message (LeanCloud 6.3, Recall)."""


def record(message: Message) -> dict[str, Any]:
    """A message, whichever dialect it came by: of a JSON body the text, of two users as LeanCloud 7.13 says."""
    peer = message.conversation.kind == "peer"
    to = message.conversation.id
    binary = message.format == "binary" and not message.recalled
    shown = {
        "timestamp": message.at_ms,
        "conv-id": pair_id(message.sender, to) if peer else to,
        "data": RECALLED if message.recalled else data(message),
        "from": message.sender,
        "msg-id": message.alias or message_name(message.id),
        "is-conv": True,
        "is-room": False,
        "to": to,
        "bin": binary,
        "from-ip": None,
    }
    if message.mention_all:
        shown["mention-all"] = True
    if message.mentions:
        shown["mention-pids"] = message.mentions
    return shown


def data(message: Message) -> str:
    """A message's text; of one that is bytes, which only imports are, base64."""
    body = base64.b64encode(message.body) if message.format == "binary" else message.body
    return body.decode()
