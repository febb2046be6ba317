"""What a session receives."""

from typing import Final, Literal

import msgspec

from ..ids import MessageId, Position, UnixMs
from ..model import Conversation, Format, Lane, peer
from ..rows import Body, Header

DeliveryType = Literal["message", "edited", "recalled", "deleted", "acked", "dropped"]
NO_MESSAGE: Final = frozenset({"acked", "dropped"})
"""Frames that are about none, and need no ack."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One frame, as the receiver sees it: a peer conversation is named by the other side."""

    type: DeliveryType
    id: MessageId = MessageId(0)
    conversation: Conversation | None = None
    sender: str = ""
    body: bytes = b""
    format: Format = "text"
    at_ms: UnixMs = UnixMs(0)
    lane: Lane = "normal"
    queued: bool = False
    """It waits for the recipient until acknowledged."""
    seq: int | None = None
    """Its running number in the recipient's queue."""
    stream: int | None = None
    """Of a message that is kept once for all, or of a change of one: the message's running number in its conversation."""
    via: str = ""
    by: str = ""
    """Who edited, recalled or deleted it."""
    count: int = 0
    """Of `dropped`: how many frames."""
    position: Position = Position(0)
    """Of the event that made it; for the broker's own order."""
    through: Position = Position(0)
    """Up to here nothing else is for the receiver: an ack of it covers that, too; for the broker's own use."""
    awaited: bool = False
    """Its sender may come back to ask whether it was acknowledged; for the broker's own use."""


def delivery(
    body: Body,
    type: DeliveryType,
    user: str,
    position: Position,
    seq: int | None,
    *,
    stream: int | None = None,
    awaited: bool = False,
) -> Delivery:
    """The frame of a message, or of what became of it, for one receiver: `seq` if it is in their queue, `stream` if it is kept
    for all."""
    header = body.header
    return Delivery(
        type=type,
        id=header.id,
        conversation=seen_by(user, header),
        sender=header.sender,
        body=b"" if type == "recalled" else body.payload,  # what a recall brought instead is for its own dialect alone
        format=header.format,
        at_ms=header.at_ms,
        lane=header.lane,
        queued=seq is not None or stream is not None,
        seq=seq,
        stream=stream,
        via=header.via,
        by="" if type == "message" else header.by,
        position=position,
        awaited=awaited,
    )


def broadcast_delivery(body: Body, type: DeliveryType, position: Position) -> Delivery:
    """The frame of a broadcast, one for all receivers: queued, unless it is transient, and in nobody's queue."""
    frame = delivery(body, type, "", position, None)
    return msgspec.structs.replace(frame, queued=True) if body.header.queue else frame


def seen_by(user: str, header: Header) -> Conversation:
    """The conversation under the name it has for this user."""
    conversation = header.conversation
    return peer(header.sender) if conversation.kind == "peer" and user == conversation.id else conversation
