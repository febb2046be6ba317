"""The times of history queries: whole seconds as documented, ISO-8601 as clients send them, milliseconds too (anyRTC 8.3)."""

import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from postroom.core.errors import InvalidCommand
from postroom.core.ids import UnixMs

MILLISECONDS_FROM: Final = 10**11
"""A number from here on is in milliseconds: as seconds it would be the year 5138."""
DIGITS_MAX: Final = 15
"""Of milliseconds until the year 9999."""
_DIGITS: Final = re.compile(r"[0-9]+")
# A `+` of the zone that came through a query unescaped is a blank.
_ISO: Final = re.compile(
    r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?:Z|(?P<sign>[+ -])(?P<hours>[0-9]{2}):?(?P<minutes>[0-5][0-9]))",
    re.IGNORECASE,
)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - the zone is taken off by hand


class Span(NamedTuple):
    """The milliseconds that a time stands for, both included: a whole second, or one millisecond."""

    first_ms: UnixMs
    last_ms: UnixMs


def parse_range(start: int | str, end: int | str) -> tuple[UnixMs, UnixMs]:
    """The range between two times, both included. Raises InvalidCommand naming the member."""
    first, last = parse_time("start_time", start).first_ms, parse_time("end_time", end).last_ms
    if first > last:
        raise InvalidCommand("start_time: must not be after end_time")
    return first, last


def parse_time(member: str, value: int | str) -> Span:
    """A JSON integer, its digits as a string, or ISO-8601 with a zone. Raises InvalidCommand naming the member."""
    if isinstance(value, int):
        return _number(member, value)
    if _DIGITS.fullmatch(value):
        if len(value.lstrip("0")) > DIGITS_MAX:
            raise InvalidCommand(f"{member}: out of range")
        return _number(member, int(value))
    return _iso(member, value)


def _number(member: str, number: int) -> Span:
    if not 0 <= number < 10**DIGITS_MAX:
        raise InvalidCommand(f"{member}: out of range")
    return _millisecond(number) if number >= MILLISECONDS_FROM else _second(number)


def _iso(member: str, text: str) -> Span:
    found = _ISO.fullmatch(text)
    try:
        if found is None:
            raise ValueError(text)
        seconds = (datetime.fromisoformat(found["time"].upper()) - _EPOCH) // timedelta(seconds=1)
    except ValueError:
        raise InvalidCommand(f"{member}: must be seconds since 1970, or like 2019-08-01T01:22:10Z") from None
    if found["hours"]:
        zone_s = int(found["hours"]) * 3600 + int(found["minutes"]) * 60
        seconds += zone_s if found["sign"] == "-" else -zone_s
    if seconds < 0:
        raise InvalidCommand(f"{member}: before 1970")
    fraction = found["fraction"]
    return _second(seconds) if fraction is None else _millisecond(seconds * 1000 + int(fraction.ljust(3, "0")[:3]))


def _second(seconds: int) -> Span:
    return Span(UnixMs(seconds * 1000), UnixMs(seconds * 1000 + 999))


def _millisecond(ms: int) -> Span:
    return Span(UnixMs(ms), UnixMs(ms))
