"""The history calls from request to query and from answer to reply (anyRTC 6 E5-E7; 8)."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.errors import InvalidCommand, Refusal
from postroom.core.ids import MessageId, UnixMs
from postroom.core.model import Conversation, Format, Message, peer, room
from postroom.core.queries import CollectMessages, CountMessages, FindMessages, ReserveMessages
from postroom.transports.anyrtc import history
from postroom.transports.config import AnyrtcConfig
from postroom.transports.http.types import HttpRequest
from tests.support.web import NOW_MS, RTC, call, request, told

DAY_MS = 86_400_000
START_S, END_S = NOW_MS // 1000 - 3_600, NOW_MS // 1000
FILTER = {"source": "userA", "destination": "userB", "start_time": START_S, "end_time": END_S}
LENIENT = msgspec.structs.replace(RTC, lenient_ids=True)


def parse_raw(raw: object, settings: AnyrtcConfig = RTC) -> ReserveMessages:
    """E5 of any body."""
    return history.parse_query(call(request(body=raw, received_ms=NOW_MS)), settings)


def without(given: dict[str, Any]) -> dict[str, Any]:
    """The members that are not left out."""
    return {name: value for name, value in given.items() if value is not ...}


def parse(filter: object = FILTER, settings: AnyrtcConfig = RTC, **more: object) -> FindMessages:
    """E5 of a filter."""
    return parse_raw(without({"filter": filter, **more}), settings).find


def filtered(settings: AnyrtcConfig = RTC, **changes: object) -> FindMessages:
    """E5 of our filter, changed."""
    return parse(without(FILTER | changes), settings)


def count(query: str, settings: AnyrtcConfig = RTC) -> CountMessages:
    """E7."""
    return history.parse_count(call(request(method="GET", body=b"", query=query, received_ms=NOW_MS)), settings)


TIMES = f"start_time={START_S}&end_time={END_S}"


# E5


def test_the_least_request() -> None:
    assert parse_raw({"filter": FILTER}) == ReserveMessages(
        app="shop",
        find=FindMessages(
            app="shop",
            sender="userA",
            conversations=(peer("userB"), room("userB")),
            start_ms=UnixMs(START_S * 1000),
            end_ms=UnixMs(END_S * 1000 + 999),
            offset=0,
            limit=20,
        ),
        ttl_ms=600_000,
    )


def test_how_long_a_handle_is_good_is_configured() -> None:
    settings = msgspec.structs.replace(RTC, handle_ttl_s=7)
    assert parse_raw({"filter": FILTER}, settings).ttl_ms == 7_000


@pytest.mark.parametrize(
    ("source", "destination", "sender", "conversations", "receiver"),
    [
        ("userA", "userB", "userA", (peer("userB"), room("userB")), None),
        ("userA", None, "userA", (), None),
        ("userA", "", "userA", (), None),
        ("userA", ..., "userA", (), None),
        (None, "userB", None, (peer("userB"), room("userB")), "userB"),
        ("", "userB", None, (peer("userB"), room("userB")), "userB"),
        (..., "userB", None, (peer("userB"), room("userB")), "userB"),
        (" a ", " b ", " a ", (peer(" b "), room(" b ")), None),
    ],
)
def test_who_is_asked_for(source: Any, destination: Any, sender: Any, conversations: Any, receiver: Any) -> None:
    for found in (
        filtered(source=source, destination=destination),
        filtered(settings=LENIENT, source=source, destination=destination),
    ):
        assert (found.sender, found.conversations, found.receiver) == (sender, conversations, receiver)


@pytest.mark.parametrize("nobody", [..., None, ""])
def test_somebody_must_be_asked_for(nobody: object) -> None:
    for settings in (RTC, LENIENT):
        with pytest.raises(InvalidCommand, match="filter: source or destination must be given"):
            filtered(settings, source=nobody, destination=nobody)


@pytest.mark.parametrize("member", ["source", "destination"])
@pytest.mark.parametrize("value", ["x" * 65, "\u7528\u6237", "a/b", 'a"b', "*", 5, True, 1.5, [], {}])
def test_what_is_no_name(member: str, value: object) -> None:
    with pytest.raises(InvalidCommand, match=member):
        filtered(**{member: value})


def test_lenient_ids_take_numbers() -> None:
    assert filtered(LENIENT, source=5).sender == "5"
    assert filtered(LENIENT, source=0).sender == "0"
    assert filtered(LENIENT, destination=6).conversations == (peer("6"), room("6"))
    for value in (True, 1.5, [], 10**70):
        with pytest.raises(InvalidCommand, match="source"):
            filtered(LENIENT, source=value)


@pytest.mark.parametrize("member", ["start_time", "end_time"])
@pytest.mark.parametrize("value", [..., None, True, 1.0, 1.5, -1, "", "x", [], {}, "-1", 10**15])
def test_what_is_no_time(member: str, value: object) -> None:
    with pytest.raises(InvalidCommand, match=member):
        filtered(**{member: value})


def test_times_in_every_form() -> None:
    form = "2026-09-21T13:{}:20.5Z"  # of NOW_MS, an hour before it
    assert NOW_MS == 1_790_000_000_000
    for start, end in ((START_S, END_S), (str(START_S), str(END_S)), (START_S, str(END_S))):
        found = filtered(start_time=start, end_time=end)
        assert (found.start_ms, found.end_ms) == (START_S * 1000, END_S * 1000 + 999)
    found = filtered(start_time=form.format("13"), end_time=NOW_MS)
    assert (found.start_ms, found.end_ms) == (START_S * 1000 + 500, NOW_MS)


def test_a_range_that_ends_before_it_begins() -> None:
    with pytest.raises(InvalidCommand, match="start_time"):
        filtered(start_time=END_S + 1)
    assert filtered(start_time=END_S).start_ms == END_S * 1000


def test_only_what_is_kept_is_looked_at() -> None:
    """An older range is no error, it is empty (anyRTC 8.2)."""
    assert filtered(start_time=0).start_ms == NOW_MS - 7 * DAY_MS
    settings = msgspec.structs.replace(RTC, history_days=14)
    assert filtered(settings, start_time=0).start_ms == NOW_MS - 14 * DAY_MS
    old = filtered(start_time=0, end_time=1)
    assert (old.start_ms, old.end_ms) == (NOW_MS - 7 * DAY_MS, 1_999)


@pytest.mark.parametrize("limit", [20, 50, 100])
def test_limits(limit: int) -> None:
    assert parse(limit=limit).limit == limit


@pytest.mark.parametrize("limit", [..., None])
def test_the_limit_is_20_unless_there_is_one(limit: object) -> None:
    assert parse(limit=limit).limit == 20


@pytest.mark.parametrize("limit", [0, 1, 10, 19, 30, 101, 1_000, -20, "20", True, 20.0, [], 10**30])
def test_what_is_no_limit(limit: object) -> None:
    with pytest.raises(InvalidCommand, match="limit"):
        parse(limit=limit)


def test_limits_may_be_lenient() -> None:
    settings = msgspec.structs.replace(RTC, lenient_history_limit=True)
    for limit in (1, 10, 20, 99, 100):
        assert parse(settings=settings, limit=limit).limit == limit
    for limit in (0, 101, -1, "20", True):
        with pytest.raises(InvalidCommand, match="limit"):
            parse(settings=settings, limit=limit)


@pytest.mark.parametrize(("offset", "expected"), [(..., 0), (None, 0), (0, 0), (100, 100), (10**18, 10**18)])
def test_offsets(offset: object, expected: int) -> None:
    assert parse(offset=offset).offset == expected


@pytest.mark.parametrize("offset", [-1, "0", True, 0.0, 1.5, [], {}])
def test_what_is_no_offset(offset: object) -> None:
    with pytest.raises(InvalidCommand, match="offset"):
        parse(offset=offset)


@pytest.mark.parametrize(("order", "newest_first"), [(..., False), (None, False), ("asc", False), ("desc", True)])
def test_orders(order: object, newest_first: bool) -> None:
    assert parse(order=order).newest_first is newest_first


@pytest.mark.parametrize("order", ["up", "ASC", "", 1, True, []])
def test_what_is_no_order(order: object) -> None:
    with pytest.raises(InvalidCommand, match="order"):
        parse(order=order)


@pytest.mark.parametrize("filter", [..., None, [], "x", 5, {}])
def test_what_is_no_filter(filter: object) -> None:
    with pytest.raises(InvalidCommand, match="filter"):
        parse(filter)


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b"null", b'"x"', b"\xff", b"5", b'{"filter":' * 5_000])
def test_what_is_no_body(raw: bytes) -> None:
    with pytest.raises(InvalidCommand):
        parse_raw(raw)


def test_members_that_nobody_knows_are_ignored() -> None:
    assert parse(FILTER | {"other": 1}, offSet=5) == parse()


def test_where_the_result_waits() -> None:
    def rendered(settings: AnyrtcConfig = RTC, **more: object) -> dict[str, object]:
        asked = call(request(body={"filter": FILTER, **more}, received_ms=NOW_MS))
        reply = history.render_query(asked, "123456123456", settings)
        assert reply.status == 200
        said: dict[str, object] = told(reply)
        return said

    location = "~/rtm/message/history/query/123456123456"
    least = {"result": "success", "location": location, "request_id": "4711"}
    assert rendered() == least | {"offset": 0, "limit": 20, "order": "asc"}
    assert rendered(offset=None, limit=None, order=None) == rendered()
    echoed = {"offset": 100, "limit": 50, "order": "desc"}
    assert rendered(**echoed) == least | echoed
    lenient = msgspec.structs.replace(RTC, lenient_history_limit=True)
    assert rendered(lenient, limit=7)["limit"] == 7


# E6


@pytest.mark.parametrize(
    ("segment", "handle"), [("4711", "4711"), ("MjI%3D", "MjI="), ("a%2Fb", "a/b"), ("", ""), ("x" * 999, "x" * 999)]
)
def test_any_text_may_be_a_handle(segment: str, handle: str) -> None:
    asked = call(request(method="GET", params={"handle": segment}))
    assert history.parse_collect(asked) == CollectMessages(app="shop", handle=handle)


def kept(conversation: Conversation, body: bytes = b"Hello", format: Format = "text") -> Message:
    """A message of userA."""
    return Message(
        id=MessageId(4096),
        conversation=conversation,
        sender="userA",
        body=body,
        format=format,
        at_ms=NOW_MS,
        lane="high",
        via="native",
    )


def test_messages_with_exactly_the_documented_members() -> None:
    reply = history.render_messages(call(request()), (kept(peer("userB")), kept(room("channelA"))))
    assert reply.status == 200
    common = {"src": "userA", "payload": "Hello", "ms": NOW_MS}
    assert told(reply) == {
        "code": "ok",
        "result": "success",
        "request_id": "4711",
        "messages": [
            common | {"dst": "userB", "message_type": "peer_message"},
            common | {"dst": "channelA", "message_type": "channel_message"},
        ],
    }


def test_a_json_body_shows_as_its_text() -> None:
    raw = b'{"lat": 52.520, "\\u00e9": null}'
    (told_,) = told(history.render_messages(call(request()), (kept(peer("userB"), raw, "json"),)))["messages"]
    assert told_["payload"] == raw.decode()


def test_no_messages() -> None:
    assert told(history.render_messages(call(request()), ())) == {
        "code": "ok",
        "result": "success",
        "request_id": "4711",
        "messages": [],
    }


# E7


@pytest.mark.parametrize(
    "query",
    [
        f"source=userA&destination=userB&{TIMES}",
        f"?&source=userA&destination=userB&{TIMES}",
        f"&&{TIMES}&&destination=userB&source=userA&",
        f'source="userA"&destination="userB"&{TIMES}',
        f"source=%22userA%22&destination=%22userB%22&{TIMES}",
        f"source=%20userA+&destination=+userB&{TIMES}",
        f'source=userA&destination="userB"&start_time="{START_S}"&end_time="{END_S}"',
        f"source=userA&destination=userB&start_time={START_S}+&end_time=%20{END_S}&other=1",
    ],
)
def test_a_count_is_asked_for_as_messages_are(query: str) -> None:
    found = parse()
    assert count(query) == CountMessages(
        app="shop",
        sender="userA",
        conversations=found.conversations,
        start_ms=found.start_ms,
        end_ms=found.end_ms,
    )


def test_names_are_form_decoded_once() -> None:
    found = count(f"source=a%2Bb+c%25%26%23&destination=%22a%2526%22&{TIMES}")
    assert found.sender == "a+b c%&#"
    assert found.conversations == (peer("a%26"), room("a%26"))


def test_one_pair_of_quotes_is_taken_off() -> None:
    assert count(f'source="userA"&{TIMES}').sender == "userA"
    assert count(f"source=%22%20userA%20%22&{TIMES}").sender == " userA "
    for value in ('""userA""', '"userA', 'userA"', '"', "us%22erA"):
        with pytest.raises(InvalidCommand, match="source"):
            count(f"source={value}&{TIMES}")


@pytest.mark.parametrize("query", ["", TIMES, f"source=&destination=&{TIMES}", f'source=""&{TIMES}', f"source&{TIMES}"])
def test_somebody_must_be_counted(query: str) -> None:
    with pytest.raises(InvalidCommand):
        count(query)


@pytest.mark.parametrize(
    ("query", "member"),
    [
        ("source=userA", "start_time"),
        (f"source=userA&end_time={END_S}", "start_time"),
        (f"source=userA&start_time={START_S}", "end_time"),
        (f"source=userA&start_time=&end_time={END_S}", "start_time"),
        (f'source=userA&start_time=""&end_time={END_S}', "start_time"),
        (f"source=userA&start_time={START_S}&end_time=never", "end_time"),
        (f"source=userA&start_time=1.5&end_time={END_S}", "start_time"),
        (f"source=userA&start_time=-1&end_time={END_S}", "start_time"),
        (f"source=userA&start_time=true&end_time={END_S}", "start_time"),
        (f"source=userA&start_time={END_S}&end_time={START_S}", "start_time"),
        (f"source={'x' * 65}&{TIMES}", "source"),
        (f"source=userA&destination=%E7%94%A8&{TIMES}", "destination"),
        (f"source=%ff&{TIMES}", "query"),
        (f"source=userA&%ff=1&{TIMES}", "query"),
    ],
)
def test_what_cannot_be_counted(query: str, member: str) -> None:
    with pytest.raises(InvalidCommand, match=member):
        count(query)


def test_times_of_a_count_in_iso_form() -> None:
    for zone in ("Z", "%2B00:00", "+00:00", "-00:00"):
        found = count(f"source=userA&start_time=2026-09-21T13:13:20.123{zone}&end_time=2026-09-21T14:13:20{zone}")
        assert (found.start_ms, found.end_ms) == (START_S * 1000 + 123, END_S * 1000 + 999)


@pytest.mark.parametrize(
    ("source", "destination", "sender", "receiver"),
    [("userA", "", "userA", None), ("", "userB", None, "userB"), ("userA", "userB", "userA", None)],
)
def test_who_is_counted(source: str, destination: str, sender: str | None, receiver: str | None) -> None:
    found = count(f"source={source}&destination={destination}&{TIMES}")
    assert (found.sender, found.receiver) == (sender, receiver)


def test_the_count() -> None:
    assert told(history.render_count(call(request()), 123)) == {
        "result": "success",
        "code": "ok",
        "count": 123,
        "request_id": "4711",
    }


# Anything.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(START_S),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FILTERS = st.fixed_dictionaries(
    {}, optional={name: st.just(value) | VALUES for name, value in FILTER.items()}
) | VALUES  # fmt: skip
BODIES = st.fixed_dictionaries({}, optional={"filter": FILTERS, **dict.fromkeys(("offset", "limit", "order"), VALUES)})


@given(st.binary() | BODIES.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_any_body_is_a_query_or_refused(raw: bytes, lenient: bool) -> None:
    try:
        query = parse_raw(raw, LENIENT if lenient else RTC)
    except Refusal:
        return
    query.check()  # what the broker asks of it


PAIRS = st.tuples(
    st.sampled_from([*FILTER, "other", ""]),
    st.sampled_from(["userA", '"userA"', str(START_S), str(END_S), "", "%22", "2026-09-21T13:13:20Z"]) | st.text(),
)
QUERIES = st.lists(PAIRS, max_size=6).map(lambda pairs: "&".join("=".join(pair) for pair in pairs).encode())


@given(st.binary() | QUERIES)
def test_any_query_is_a_count_or_refused(raw: bytes) -> None:
    asked = HttpRequest(method="GET", path="/", query_string=raw, received_ms=NOW_MS)
    try:
        query = history.parse_count(call(asked), RTC)
    except Refusal:
        return
    query.check()
