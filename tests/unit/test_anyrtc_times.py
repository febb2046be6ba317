"""The times of history queries (anyRTC 8.3, 8.4): what is one, and which milliseconds it stands for."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import InvalidCommand
from postroom.core.ports import LAST_PLACE
from postroom.transports.anyrtc.times import parse_range, parse_time

AUGUST = 1_564_622_530  # 2019-08-01T01:22:10Z


def span(value: int | str) -> tuple[int, int]:
    """First and last millisecond."""
    return tuple(parse_time("start_time", value))  # type: ignore[return-value]


def second(seconds: int) -> tuple[int, int]:
    """All of a second."""
    return seconds * 1000, seconds * 1000 + 999


def instant(ms: int) -> tuple[int, int]:
    """One millisecond."""
    return ms, ms


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # whole seconds, as documented
        (0, second(0)),
        (1_433_088_000, second(1_433_088_000)),
        ("0", second(0)),
        ("1433088000", second(1_433_088_000)),
        ("0001433088000", second(1_433_088_000)),
        ("000000000000000000000001433088000", second(1_433_088_000)),
        (99_999_999_999, second(99_999_999_999)),
        ("99999999999", second(99_999_999_999)),
        # milliseconds
        (100_000_000_000, instant(100_000_000_000)),
        ("100000000000", instant(100_000_000_000)),
        (1_790_000_000_123, instant(1_790_000_000_123)),
        ("1790000000123", instant(1_790_000_000_123)),
        (999_999_999_999_999, instant(999_999_999_999_999)),
        ("999999999999999", instant(999_999_999_999_999)),
        # ISO-8601
        ("2019-08-01T01:22:10Z", second(AUGUST)),
        ("2019-08-01t01:22:10z", second(AUGUST)),
        ("2019-08-01T01:22:10.5Z", instant(AUGUST * 1000 + 500)),
        ("2019-08-01T01:22:10.12Z", instant(AUGUST * 1000 + 120)),
        ("2019-08-01T01:22:10.123Z", instant(AUGUST * 1000 + 123)),
        ("2019-08-01T01:22:10.000Z", instant(AUGUST * 1000)),
        ("2019-08-01T01:22:10.123999Z", instant(AUGUST * 1000 + 123)),
        ("2019-08-01T01:22:10.123456789Z", instant(AUGUST * 1000 + 123)),
        ("2019-08-01T09:22:10+08:00", second(AUGUST)),
        ("2019-08-01T09:22:10+0800", second(AUGUST)),
        ("2019-08-01T09:22:10 08:00", second(AUGUST)),  # a `+` that came through a query unescaped
        ("2019-07-31T20:52:10-04:30", second(AUGUST)),
        ("2019-08-01T01:22:10.007+00:00", instant(AUGUST * 1000 + 7)),
        ("2019-08-01T01:22:10-00:00", second(AUGUST)),
        ("1970-01-01T00:00:00Z", second(0)),
        ("1970-01-01T08:00:00+08:00", second(0)),
        ("9999-12-31T23:59:59.999Z", instant(253_402_300_799_999)),
        ("9999-12-31T23:59:59-23:59", second(253_402_300_799 + 23 * 3600 + 59 * 60)),
        ("2000-02-29T00:00:00Z", second(951_782_400)),
    ],
)
def test_times(value: int | str, expected: tuple[int, int]) -> None:
    assert span(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        -1,
        10**15,
        10**30,
        "",
        " ",
        "-1",
        "+1",
        "1.5",
        "1e9",
        "0x10",
        "1433088000 ",
        " 1433088000",
        "1_433_088_000",
        "\u0661\u0662",  # digits, but not ours
        "1" * 16,
        "1" * 5_000,  # more than Python converts
        "now",
        "2019-08-01",
        "2019-08-01T01:22:10",  # which zone?
        "2019-08-01 01:22:10Z",
        "2019-08-01T01:22Z",
        "2019-08-01T01:22:10.Z",
        "2019-08-01T01:22:10,5Z",
        "2019-08-01T01:22:10.1234567890Z",
        "2019-08-01T01:22:10ZZ",
        "2019-08-01T01:22:10Z\n",
        "2019-08-01T01:22:10+8",
        "2019-08-01T01:22:10+08",
        "2019-08-01T01:22:10+08:60",
        "2019-13-01T01:22:10Z",
        "2019-02-29T01:22:10Z",
        "2019-08-01T24:00:00Z",
        "2019-08-01T01:60:10Z",
        "2019-08-01T01:22:60Z",
        "0000-01-01T00:00:00Z",
        "20190801T012210Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "\u0662\u0660\u0661\u0669-08-01T01:22:10Z",
    ],
)
def test_what_is_no_time(value: int | str) -> None:
    with pytest.raises(InvalidCommand, match=r"^end_time: "):
        parse_time("end_time", value)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1_433_088_000, 1_433_433_600, (1_433_088_000_000, 1_433_433_600_999)),
        (5, 5, (5_000, 5_999)),  # one second, whole
        ("5", 5, (5_000, 5_999)),
        (1_790_000_000_123, 1_790_000_000_123, (1_790_000_000_123, 1_790_000_000_123)),
        (1_790_000_000, 1_790_000_000_500, (1_790_000_000_000, 1_790_000_000_500)),
        (1_790_000_000_500, 1_790_000_000, (1_790_000_000_500, 1_790_000_000_999)),
        ("1970-01-01T00:00:01.5Z", "1970-01-01T00:00:01Z", (1_500, 1_999)),
        (0, 10**15 - 1, (0, 10**15 - 1)),
    ],
)
def test_ranges(start: int | str, end: int | str, expected: tuple[int, int]) -> None:
    assert parse_range(start, end) == expected


@pytest.mark.parametrize(
    ("start", "end"),
    [(6, 5), ("6", "5"), (1_790_000_000_124, 1_790_000_000_123), (1_790_000_001, 1_790_000_000_999)],
)
def test_a_range_that_ends_before_it_begins(start: int | str, end: int | str) -> None:
    with pytest.raises(InvalidCommand, match="start_time: must not be after end_time"):
        parse_range(start, end)


def test_which_of_the_two_is_wrong() -> None:
    with pytest.raises(InvalidCommand, match=r"^start_time: "):
        parse_range("x", "y")
    with pytest.raises(InvalidCommand, match=r"^end_time: "):
        parse_range(1, "y")


ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1971, 1, 2), datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001


@given(MOMENTS)
def test_python_writes_the_same_times(moment: datetime) -> None:
    """Whatever the zone, to the second and to the microsecond."""
    whole = moment.replace(microsecond=0)
    since = whole - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since // timedelta(seconds=1)
    assert span(whole.isoformat()) == second(seconds)
    assert span(moment.isoformat(timespec="microseconds")) == instant(seconds * 1000 + moment.microsecond // 1000)
    assert span(moment.isoformat(timespec="milliseconds")) == instant(seconds * 1000 + moment.microsecond // 1000)


@given(st.integers() | st.text() | st.from_regex(r"[0-9TZ:+\-. ]{0,40}", fullmatch=True))
def test_anything_is_a_time_within_all_time_or_refused(value: int | str) -> None:
    try:
        first, last = parse_time("start_time", value)
    except InvalidCommand:
        return
    assert 0 <= first <= last <= LAST_PLACE.at_ms
    assert last - first in (0, 999)
