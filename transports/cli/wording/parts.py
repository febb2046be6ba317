"""What sentences about events are made of: names, times, numbers of things."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from postroom.core.events import Queued
from postroom.core.model import Conversation

_RECIPIENTS_SHOWN: Final = 3


_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(ms: int) -> str:
    """A time in milliseconds since 1970 as people write it, in UTC."""
    try:
        return (_START + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return f"{ms} ms"


def shown(name: str) -> str:
    """A name as it is, or quoted if it is empty or has blanks or what a terminal might obey."""
    return name if name and name.isprintable() and not any(map(str.isspace, name)) else ascii(name)


def safe(text: str) -> str:
    """A line without what a terminal might obey."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def place(conversation: Conversation) -> str:
    """A conversation."""
    line = f" line {conversation.line}" if conversation.line else ""
    return f"{conversation.kind} {shown(conversation.id)}{line}"


def names(users: Iterable[str]) -> str:
    """Users, the first few by name."""
    return ", ".join(few(map(shown, users)))


def streamed(conversation: Conversation | None) -> list[str]:
    """Where else it stands."""
    return [f"told in the stream of {place(conversation)}"] if conversation is not None else []


def copies(copies: Iterable[Queued]) -> list[str]:
    """What queues did with a message, the first few."""
    return few(map(_copy, copies))


def _copy(copy: Queued) -> str:
    what = "queued for" if copy.stored else "refused by the full queue of"
    dropped = [f"{verb} {count}" for verb, count in (("evicted", copy.evicted), ("expired", copy.expired)) if count]
    return ", ".join([f"{what} {shown(copy.user)} as seq {copy.seq}", *dropped])


def few(parts: Iterable[str]) -> list[str]:
    """The first few parts, and how many more there are."""
    every = list(parts)
    if len(every) <= _RECIPIENTS_SHOWN:
        return every
    return [*every[:_RECIPIENTS_SHOWN], f"and {len(every) - _RECIPIENTS_SHOWN} more"]


def joined(first: str, rest: Iterable[str]) -> str:
    """A sentence and what more is to be said."""
    return ", ".join([first, *rest])


def counted(count: int, what: str) -> str:
    """A number of things."""
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what[:-1]}ies" if what.endswith("ry") else f"{count:,} {what}s"
