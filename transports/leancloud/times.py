"""Times of rows: ISO-8601 in UTC with milliseconds (LeanCloud 4.1). Messages have theirs as plain numbers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from postroom.core.ids import UnixMs

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def iso(ms: UnixMs) -> str:
    """As `2023-11-14T22:13:20.000Z`."""
    when = _EPOCH + timedelta(milliseconds=ms)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def date(ms: UnixMs) -> dict[str, str]:
    """A time as a value of its own."""
    return {"__type": "Date", "iso": iso(ms)}


def is_date(value: Mapping[str, Any]) -> bool:
    """Whether an object is meant to be a time."""
    return value.get("__type") == "Date"


def time_of(value: Mapping[str, Any]) -> UnixMs | None:
    """The time that an object is; None if it is none, or meant to be one and wrong."""
    text = value.get("iso")
    return from_iso(text) if is_date(value) and isinstance(text, str) else None


def from_iso(text: str) -> UnixMs | None:
    """The time that a text names, in UTC if it has no zone; None if it is no time."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    try:
        return UnixMs((when - _EPOCH) // timedelta(milliseconds=1))
    except OverflowError:
        return None
