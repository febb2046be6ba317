"""What a broker speaks of: conversations, lanes, formats, the rules of an app, and what callers get back."""

from typing import Final, Literal

import msgspec

from .expiry import DAY_MS
from .ids import MessageId, UnixMs

Kind = Literal["peer", "group", "room", "service"]
Lane = Literal["high", "normal", "low"]
Format = Literal["text", "json"]
Overflow = Literal["oldest", "refuse"]
Confirmation = Literal["delivered", "offline", "timeout"]

LANES: Final[tuple[Lane, ...]] = ("high", "normal", "low")
"""Highest first."""


class Conversation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a message belongs. A peer conversation is named by its other side; `line` is one of its timelines."""

    kind: Kind
    id: str
    line: int = 0


def peer(user: str) -> Conversation:
    """The conversation of two users, named by the other one."""
    return Conversation("peer", user)


def group(name: str) -> Conversation:
    """A conversation with a durable list of members."""
    return Conversation("group", name)


def room(name: str) -> Conversation:
    """A conversation of whoever is in it now; it never queues."""
    return Conversation("room", name)


def service(name: str) -> Conversation:
    """A conversation of one service with its subscribers."""
    return Conversation("service", name)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an app's settings say to `decide`. What they decided rides in the event: a log replays the same after a change."""

    queue_messages: int = 200
    """Entries a recipient's queue holds."""
    queue_ttl_ms: int = 7 * DAY_MS
    """How long an entry waits, by the expiry clock."""
    overflow: Overflow = "oldest"
    """What a full queue does: drop its oldest entry, or refuse the newest."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a command was answered with, once it is on disk."""

    id: MessageId
    """The message's id; of a change, the id of the message that was changed."""
    at_ms: UnixMs
    """The wall time the broker gave it; it never runs back within an app."""
    duplicate: bool = False
    """Nothing was written: this repeats an earlier outcome (the same `dedup` key, or a recall of what was recalled)."""
    confirmation: Confirmation | None = None
    """How a wait for the recipient's ack ended; None if none was asked for."""
