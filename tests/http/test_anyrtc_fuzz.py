"""Whatever a client sends to anyRTC's API is answered in its form, never with a 500, and the server goes on.

The real server on a disk and on a socket, in a thread of its own; requests go out byte for byte. What is no HTTP at all is
not answered here: the host refuses it before we see it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from postroom.storage.lmdb import LmdbStore
from postroom.transports.config import AppConfig, Limits
from tests.support.line import Answer, Line
from tests.support.rtm_tokens import VECTORS
from tests.support.serving import BASE, Host, config_of, serving_in_a_thread
from tests.support.thorough import examples
from tests.support.web import APP, APP_ID, PEER, RTC, basic

pytestmark = pytest.mark.usefixtures("host")

STATUSES = {200, 204, 400, 401, 404, 405, 408, 409, 429, 503}
"""All that the contract has, but 500, and the preflight's; 409 and 503 are ours."""
CODES_OF_200 = {"message_sent", "message_delivered", "message_offline", "ok", "resource not exist", None}
CREDENTIALS = ("authorization", basic())

# On each of two hosts: what is looked for is behind both.
limited = settings(
    max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Iterator[Line]:
    """A line to a server with no rates, whose waits are short."""
    off = {f"anyrtc_{name}": None for name in ("peer_messages", "channel_messages", "user_events", "channel_events")}
    app = msgspec.structs.replace(
        APP,
        limits=Limits(**off, anyrtc_history=None),
        anyrtc=msgspec.structs.replace(RTC, ack_timeout_s=0.1),
    )
    lenient = AppConfig(
        name="lenient",
        session_secret="s" * 32,
        anyrtc=msgspec.structs.replace(RTC, app_id=LENIENT_ID, lenient_ids=True, lenient_history_limit=True),
        limits=app.limits,
    )
    directory: Path = tmp_path_factory.mktemp("fuzz")
    with serving_in_a_thread(LmdbStore(directory / "data"), config_of(app, lenient)) as (_, client):
        line = Line(client.base_url.port or 0)
        try:
            yield line
            line.close()
            assert client.get("/healthz").status_code == 200
            assert client.post(f"{BASE}/rtm/users/userA/peer_messages", json=PEER).json()["code"] == "message_sent"
        finally:
            line.close()


def check(method: str, answer: Answer) -> Any:
    """The answer's JSON; fails if it is not as the contract has it."""
    status, headers, body = answer
    event(f"{status}")
    assert status in STATUSES, answer
    assert headers["access-control-allow-origin"] == "*"
    if status == 204:
        assert method == "OPTIONS"
        return None
    if method == "HEAD":
        assert status in (404, 405)
        return None
    assert headers["content-type"] == "application/json; charset=utf-8"
    said = json.loads(body)
    assert said["request_id"].isdecimal()
    if status == 200:
        assert said["result"] == ("failed" if said.get("code") == "resource not exist" else "success")
        assert said.get("code") in CODES_OF_200
    else:
        assert set(said) == {"result", "code", "message", "reason", "request_id"}
        assert (said["result"], said["reason"]) == ("failed", said["message"])
        assert all(type(value) is str and value for value in said.values())
    if status == 401:
        assert headers["www-authenticate"] == 'Basic realm="rtm"'
    if status in (429, 503):
        assert int(headers["retry-after"]) >= 1
    return said


# What is sent.

LENIENT_ID = "0123456789abcdef0123456789abcdef"
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
ESCAPED = st.binary(min_size=1, max_size=4).map(lambda raw: "".join(f"%{byte:02X}" for byte in raw))
UNICODE = st.text(max_size=4).map(lambda text: "".join(f"%{byte:02x}" for byte in text.encode(errors="surrogatepass")))
PIECES = st.sampled_from(
    ["userA", "%20", "%2F", "%2f", "..", ".", "", "%", "%zz", "%25", "%00", "+", "'", '"', "a" * 65]
)
SEGMENTS = (
    st.sampled_from(["userA", "peer_messages", "query", "count", "4711", "rtm", "vendor", "user_events", "..", ""])
    | st.lists(PIECES | ESCAPED | UNICODE | st.text(VISIBLE, max_size=5), max_size=4).map("".join)
).map(lambda segment: segment.replace("/", "").replace("?", ""))
TEMPLATES = (
    ("POST", "/rtm/users/{}/peer_messages"),
    ("POST", "/rtm/users/{}/channel_messages"),
    ("GET", "/rtm/vendor/user_events"),
    ("GET", "/rtm/vendor/channel_events"),
    ("POST", "/rtm/message/history/query"),
    ("GET", "/rtm/message/history/query/{}"),
    ("GET", "/rtm/message/history/count"),
)
APP_IDS = st.sampled_from([APP_ID, APP_ID, APP_ID, LENIENT_ID]) | SEGMENTS
NAMES = st.sampled_from(["userA", "userB", "channelA", "x" * 64, "x" * 65, "", " a ", "a/b", "\u7528", '"userA"', "1"])
TIMES = st.sampled_from(
    [0, 1, 1_433_088_000, "1433088000", 10**11, 10**14, "9999-12-31T23:59:59Z", "2019-08-01T01:22:10+08:00"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 2**31, 2**53, 2**63, 2**64, 10**30, 10**400])
    | st.floats()
    | st.text(max_size=20)
    | NAMES
    | TIMES
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
FLAGS = st.booleans() | st.none() | SCALARS
MEMBERS = {
    "destination": NAMES | SCALARS,
    "channel_name": NAMES | SCALARS,
    "payload": st.text(min_size=1, max_size=30) | SCALARS,
    "enable_offline_messaging": FLAGS,
    "enable_historical_messaging": FLAGS,
    "filter": st.fixed_dictionaries(
        {},
        optional={
            "source": NAMES | SCALARS,
            "destination": NAMES | SCALARS,
            "start_time": TIMES | SCALARS,
            "end_time": TIMES | SCALARS,
        },
    )
    | VALUES,
    "offset": st.integers(0, 200) | SCALARS,
    "limit": st.sampled_from([20, 50, 100, 30]) | SCALARS,
    "order": st.sampled_from(["asc", "desc", "up"]) | SCALARS,
}
OBJECTS = st.fixed_dictionaries({}, optional={**MEMBERS, "other": VALUES})
GOOD = (
    {"destination": "userB", "payload": "Hello", "enable_offline_messaging": True, "enable_historical_messaging": True},
    {"channel_name": "channelA", "payload": "Hello", "enable_historical_messaging": True},
    {
        "filter": {"source": "userA", "start_time": 1, "end_time": 4_102_444_800},
        "offset": 0,
        "limit": 20,
        "order": "asc",
    },
    {"filter": {"destination": "channelA", "start_time": "1", "end_time": "2100-01-01T00:00:00Z"}},
)


def encoded(value: object) -> bytes:
    """JSON; `NaN`, which is none, and halves of surrogate pairs included."""
    return json.dumps(value).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The JSON of a good body with a few bytes or members changed."""
    value = json.loads(encoded(draw(st.sampled_from(GOOD))))
    where = value["filter"] if "filter" in value and draw(st.booleans()) else value
    if draw(st.booleans()):
        where[draw(st.sampled_from(sorted(where)) | st.text(max_size=4))] = draw(VALUES)
    raw = bytearray(encoded(value))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw) - 1))
        raw[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\ud800", b"{", b"1e999"])
        )
    return bytes(raw)


BODIES = (
    st.sampled_from(GOOD).map(encoded) | mutated() | OBJECTS.map(encoded) | VALUES.map(encoded) | st.binary(max_size=60)
)
QUESTIONS = (
    st.fixed_dictionaries(
        {
            "filter": st.fixed_dictionaries(
                {
                    "start_time": st.sampled_from([0, 1, "1", "2019-08-01T01:22:10Z", "2019-08-01T09:22:10.5+08:00"]),
                    "end_time": st.sampled_from([4_102_444_800, "4102444800000", 10**14]) | TIMES,
                },
                optional={"source": st.sampled_from(["userA", "userB", ""]) | NAMES, "destination": NAMES},
            )
        },
        optional={
            "offset": st.integers(0, 50),
            "limit": st.sampled_from([20, 50, 100, None, 7]),
            "order": st.sampled_from(["asc", "desc"]),
        },
    ).map(encoded)
    | mutated()
)
"""Of E5, most of them good."""
PAIRS = st.tuples(
    st.sampled_from(["wait_for_ack", "source", "destination", "start_time", "end_time", "", "other"]) | ESCAPED,
    st.sampled_from(["true", "1", "", "userA", '"userA"', "%22userA%22", "1433088000", '"1433088000"', "+", "%20true"])
    | st.text(VISIBLE, max_size=8)
    | ESCAPED
    | UNICODE,
)
QUERIES = st.lists(PAIRS, max_size=5).map(lambda pairs: "&".join("=".join(pair) for pair in pairs)) | st.text(
    VISIBLE, max_size=20
)
TARGETS = st.one_of(
    st.tuples(APP_IDS, st.lists(SEGMENTS, max_size=7)).map(lambda parts: "/".join([parts[0], *parts[1]])),
    st.tuples(APP_IDS, st.sampled_from(TEMPLATES), SEGMENTS).map(lambda parts: parts[0] + parts[1][1].format(parts[2])),
).map("/dev/v2/project/{}".format)
OCTETS = st.characters(max_codepoint=0xFF, exclude_categories=["Cc"])
WHO_CALLS = ("authorization", "Authorization", "x-ar-token", "X-AR-Token", "x-ar-uid", "x-agora-token", "x-agora-uid")
HEADER_NAMES = st.sampled_from([*WHO_CALLS, "content-type", "idempotency-key", "origin", "accept", "x-forwarded-for"])
HEADER_VALUES = (
    st.sampled_from([*VECTORS.values(), *(f"agora token={token}" for token in VECTORS.values())])
    | st.sampled_from(
        [basic(), basic("k1", "wrong"), "Basic", "Basic =", "agora token=", "userA", "userB", "", "k" * 129]
    )
    | st.text(OCTETS, max_size=30).map(lambda text: text.strip())
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=5)
METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "BREW"])


@limited
@given(method=METHODS, target=TARGETS, query=QUERIES, headers=HEADERS, body=BODIES)
def test_anything_is_answered(
    line: Line, method: str, target: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    check(method, line.ask(method, f"{target}?{query}" if query else target, headers, body))


@limited
@given(
    which=st.sampled_from(TEMPLATES), headers=HEADERS, body=BODIES, user=st.sampled_from(["userA", "userB", "%75serA"])
)
def test_any_credentials_are_answered(
    line: Line, which: tuple[str, str], headers: list[tuple[str, str]], body: bytes, user: str
) -> None:
    method, path = which
    answer = line.ask(method, BASE + path.format(user), headers, body)
    check(method, answer)
    if answer.status == 200:
        assert any(
            value == basic() or "970CA35de60c44645bbae8a215061b33" in value or "007" in value for _, value in headers
        )


@limited
@given(
    base=st.sampled_from([BASE, BASE.replace(APP_ID, LENIENT_ID)]),
    which=st.sampled_from(TEMPLATES),
    segment=SEGMENTS,
    query=QUERIES,
    keys=st.lists(st.text(OCTETS, max_size=20).map(lambda text: text.strip()), max_size=1),
    body=BODIES,
)
def test_anything_that_a_known_caller_says_is_answered(
    line: Line, base: str, which: tuple[str, str], segment: str, query: str, keys: list[str], body: bytes
) -> None:
    method, path = which
    headers = [CREDENTIALS, *(("idempotency-key", key) for key in keys)]
    answer = line.ask(method, f"{base}{path.format(segment)}?{query}", headers, body)
    check(method, answer)
    assert answer.status in (200, 400, 409, 503)


@limited
@given(base=st.sampled_from([BASE, BASE.replace(APP_ID, LENIENT_ID)]), body=QUESTIONS)
@example(base=BASE, body=encoded(GOOD[2] | {"offset": 10**400}))
def test_any_query_that_is_taken_has_a_result(line: Line, base: str, body: bytes) -> None:
    """What was kept meanwhile by the other tests comes back in the documented form."""
    said = check("POST", line.ask("POST", f"{base}/rtm/message/history/query", [CREDENTIALS], body))
    if said["result"] == "failed":
        return
    assert set(said) == {"result", "offset", "limit", "order", "location", "request_id"}
    target = said["location"].replace("~", base)
    found = check("GET", line.ask("GET", target, [CREDENTIALS], b""))
    assert found["code"] == "ok"
    assert len(found["messages"]) <= said["limit"] <= 100
    times = [each["ms"] for each in found["messages"]]
    assert times == sorted(times, reverse=said["order"] == "desc")
    for each in found["messages"]:
        assert set(each) == {"src", "dst", "message_type", "payload", "ms"}
        assert each["message_type"] in ("peer_message", "channel_message")
    assert check("GET", line.ask("GET", target, [CREDENTIALS], b""))["code"] == "resource not exist"
