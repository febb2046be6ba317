"""Whatever a client sends to LeanCloud's API is answered in its form, never with a 500, and the server goes on.

The real server on a disk and on a socket, in a thread of its own; requests go out byte for byte.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from postroom.core.ids import MessageId
from postroom.storage.lmdb import LmdbStore
from postroom.transports import leancloud
from postroom.transports.config import Limits
from postroom.transports.leancloud.ids import message_name
from tests.support.leancloud import APP, FORM, A, M
from tests.support.line import Answer, Line
from tests.support.serving import Host, config_of, serving_in_a_thread
from tests.support.thorough import examples

pytestmark = pytest.mark.usefixtures("host")

STATUSES = {200, 201, 204, 400, 401, 403, 404, 405, 409, 429, 503}
CID = "0123456789abcdef01234567"
"""Stands for a conversation that is there."""

limited = settings(
    max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


class Place:
    """A server in which there is something."""

    def __init__(self, line: Line, client: httpx.Client) -> None:
        self.line = line
        self._client = client
        self._made: dict[str, str] = {}
        for path in ("conversations", "chatrooms", "service-conversations"):
            self._make(path)

    def _make(self, path: str) -> None:
        made = self._client.post(f"/1.2/rtm/{path}", json={"name": "one", "m": ["alice", "bob"], "level": 1}, headers=A)
        self._made[path] = made.json()["objectId"]
        url = f"/1.2/rtm/{path}/{self._made[path]}/messages"
        wire = {"from_client": "alice", "message": "hi", "to_clients": ["bob"]}
        assert self._client.post(url, json=wire, headers=M).status_code == 200

    def ask(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """A request; where it names CID it means one that is there, and if that is deleted there is another next time."""
        kind = "chatrooms" if "chatroom" in target else "conversations"
        if "service" in target or "broadcast" in target or "subscri" in target:
            kind = "service-conversations"
        answer = self.line.ask(
            method,
            target.replace(CID, self._made[kind]),
            headers,
            body.replace(CID.encode(), self._made[kind].encode()),
        )
        if method == "DELETE" and answer[0] == 200 and target.partition("?")[0].endswith(f"/{CID}"):
            self._make(kind)
        return answer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Iterator[Place]:
    """A server with no rates."""
    rates = {key: None for key in Limits.__struct_fields__ if key.startswith("leancloud_")}
    app = msgspec.structs.replace(APP, limits=Limits(**rates))
    directory: Path = tmp_path_factory.mktemp("fuzz")
    with serving_in_a_thread(LmdbStore(directory / "data"), config_of(app)) as (_, client):
        line = Line(client.base_url.port or 0)
        try:
            yield Place(line, client)
            line.close()
            assert client.get("/healthz").status_code == 200
            assert client.get("/1.2/rtm/all-conversations", headers=A).status_code == 200
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
        assert status in (200, 404, 405)
        return None
    assert headers["content-type"] == "application/json; charset=utf-8"
    said = json.loads(body)
    if status >= 400:
        assert set(said) == {"code", "error"}
        assert (type(said["code"]), type(said["error"])) == (int, str)
        assert said["error"]
    else:
        assert "error" not in said
    if status in (429, 503):
        assert int(headers["retry-after"]) >= 1
    return said


# What is sent.

ROUTES = [(route.method, route.template) for route in leancloud.bind([APP]).routes]
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
ESCAPED = st.binary(min_size=1, max_size=4).map(lambda raw: "".join(f"%{byte:02X}" for byte in raw))
UNICODE = st.text(max_size=4).map(lambda text: "".join(f"%{byte:02x}" for byte in text.encode(errors="surrogatepass")))
MID = message_name(MessageId(1_000_000_000_000))
SEGMENTS = (
    st.sampled_from([CID, CID, CID, MID, "sb_" + MID, "alice", "%20", "..", "", "x" * 300, "%00", "sign"])
    | st.lists(ESCAPED | UNICODE | st.text(VISIBLE, max_size=5), max_size=4).map("".join)
).map(lambda segment: segment.replace("/", "").replace("?", "").replace("#", ""))
NAMES = st.sampled_from(["alice", "bob", "x" * 64, "x" * 65, "", " a ", "a/b", "用", "1", CID, MID])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 2**31, 2**53, 2**63, 2**64, 10**18, 10**30, 10**400])
    | st.floats()
    | st.text(max_size=20)
    | NAMES
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
PEOPLE = st.lists(NAMES, max_size=3) | VALUES
OPERATORS = st.fixed_dictionaries(
    {"__op": st.sampled_from(["Delete", "Increment", "Add", "AddUnique", "Remove", "Batch"]) | SCALARS},
    optional={"amount": st.integers() | st.floats() | SCALARS, "objects": st.lists(SCALARS, max_size=3) | VALUES},
)
FIELDS = PEOPLE | OPERATORS | VALUES
CONDITIONS = st.recursive(
    SCALARS | st.just({"__type": "Date", "iso": "2023-11-14T22:13:20.001Z"}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "$ne",
                    "$lt",
                    "$gte",
                    "$in",
                    "$nin",
                    "$all",
                    "$exists",
                    "$size",
                    "$regex",
                    "$options",
                    "$or",
                    "$and",
                    "$select",
                    "m",
                    "mu",
                    "tr",
                    "sys",
                    "unique",
                    "createdAt",
                    "objectId",
                    "attr.x",
                    "level",
                    "__type",
                    "iso",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
MEMBERS = {
    "client_ids": PEOPLE,
    "peers": PEOPLE,
    "from_client": NAMES | SCALARS,
    "from_peer": NAMES | SCALARS,
    "from": NAMES | SCALARS,
    "conv_id": st.just(CID) | SCALARS,
    "convid": st.just(CID) | SCALARS,
    "msg_id": st.just(MID) | SCALARS,
    "msgid": st.just(MID) | SCALARS,
    "conv-id": st.just(CID) | SCALARS,
    "msg-id": st.just(MID) | SCALARS,
    "data": st.text(max_size=20) | VALUES,
    "message": st.text(max_size=20) | VALUES,
    "timestamp": st.integers(0, 2**43) | SCALARS,
    "transient": st.booleans() | SCALARS,
    "no_sync": st.booleans() | SCALARS,
    "recall": st.booleans() | SCALARS,
    "priority": st.sampled_from(["high", "LOW", "x"]) | SCALARS,
    "push_data": VALUES,
    "mention_all": st.booleans() | SCALARS,
    "mention_client_ids": PEOPLE,
    "to_clients": PEOPLE,
    "to_peers": PEOPLE,
    "push": VALUES,
    "valid_till": st.integers(0, 2**43) | SCALARS,
    "mid": st.sampled_from([MID, "sb_" + MID]) | SCALARS,
    "session_token": SCALARS,
    "client_id": NAMES | SCALARS,
    "clientId": NAMES | SCALARS,
    "role": st.sampled_from(["Owner", "Manager", "Member", "owner"]) | SCALARS,
    "ttl": st.integers(-1, 86_401) | SCALARS,
    "next": st.sampled_from(["0" * 14, "f" * 14, "0" * 24, "f" * 24]) | SCALARS,
    "name": FIELDS,
    "m": PEOPLE | OPERATORS,
    "mu": PEOPLE | OPERATORS,
    "level": OPERATORS | SCALARS,
    "unique": st.booleans() | SCALARS,
    "tr": st.booleans() | SCALARS,
    "sys": st.booleans() | SCALARS,
    "attr": VALUES,
}
OBJECTS = st.fixed_dictionaries({}, optional={**MEMBERS, "other": VALUES, "a.b": VALUES})
GOOD = (
    {"from_client": "alice", "message": "hi", "timestamp": 1_700_000_000_000},
    {"from_peer": "alice", "conv_id": CID, "message": "hi", "msg_id": MID, "timestamp": 1_700_000_000_000},
    {"from": "alice", "conv-id": CID, "data": "hi", "msg-id": MID, "timestamp": 1_700_000_000_000},
    {"client_ids": ["alice", "carol"], "peers": ["alice"]},
    {
        "from_client": "alice",
        "from_peer": "alice",
        "conv_id": CID,
        "message": "hi",
        "to_clients": ["bob"],
        "to_peers": ["bob"],
    },
    {"client_id": "bob", "conv_id": CID, "ttl": 60, "clientId": "bob", "role": "Manager"},
    {"name": "two", "level": {"__op": "Increment"}, "mu": ["alice"], "m": ["alice"]},
)


def encoded(value: object) -> bytes:
    """JSON; `NaN`, which is none, and halves of surrogate pairs included."""
    return json.dumps(value).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The JSON of a good body with a few bytes or members changed."""
    value = json.loads(encoded(draw(st.sampled_from(GOOD))))
    if draw(st.booleans()):
        value[draw(st.sampled_from(sorted(value)) | st.text(max_size=4))] = draw(VALUES)
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
PARAMETERS = [
    "limit",
    "skip",
    "order",
    "keys",
    "count",
    "timestamp",
    "msgid",
    "till_timestamp",
    "till_msgid",
    "include_start",
    "include_stop",
    "reversed",
    "max_ts",
    "client_ids",
    "from_client",
    "from",
    "convid",
    "gid",
    "session_token",
    "conv_id",
    "client_id",
    "direction",
    "mid",
    "",
]
QUERY_VALUES = (
    st.sampled_from(
        [
            "true",
            "1",
            "",
            "0",
            "-5",
            "1001",
            "1700000000000",
            "9" * 30,
            MID,
            CID,
            "-createdAt,name",
            "lm",
            "[1]",
            "alice",
            "old",
        ]
    )
    | st.text(VISIBLE, max_size=8).map(lambda text: text.replace("#", ""))
    | ESCAPED
    | UNICODE
)
CONDITION_TEXTS = CONDITIONS.map(lambda value: "".join(f"%{byte:02x}" for byte in encoded(value)))
PAIRS = st.tuples(st.sampled_from(PARAMETERS) | ESCAPED, QUERY_VALUES) | st.tuples(st.just("where"), CONDITION_TEXTS)
QUERIES = st.lists(PAIRS, max_size=5).map(lambda pairs: "&".join("=".join(pair) for pair in pairs))
TARGETS = st.one_of(
    st.tuples(st.sampled_from(["/1.2/rtm", "/1.1", "/1.1/rtm"]), st.lists(SEGMENTS, max_size=6)).map(
        lambda parts: "/".join([parts[0] + "/", *parts[1]])
    ),
    st.tuples(st.sampled_from(ROUTES), st.lists(SEGMENTS, min_size=3, max_size=3)).map(
        lambda parts: filled(parts[0][1], parts[1])
    ),
)
OCTETS = st.characters(max_codepoint=0xFF, exclude_categories=["Cc"])
HEADER_NAMES = st.sampled_from(
    ["X-LC-Id", "X-LC-Key", "X-LC-Sign", "x-avoscloud-master-key", "content-type", "idempotency-key", "origin"]
)
HEADER_VALUES = st.sampled_from(
    [*A.values(), *M.values(), "application/json", "a,1", ",", "a615addbec0246c0be3695851f384aff,1700000000000"]
) | st.text(OCTETS, max_size=30).map(lambda text: text.strip())
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=5)
METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "BREW"])
JSON = ("Content-Type", "application/json")


def filled(template: str, segments: list[str]) -> str:
    """A route's path with these for what it names."""
    left = iter(segments)
    return "/".join(next(left) if part.startswith("{") else part for part in template.split("/"))


@limited
@given(method=METHODS, target=TARGETS, query=QUERIES, headers=HEADERS, body=BODIES)
def test_anything_is_answered(
    place: Place, method: str, target: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    check(method, place.ask(method, f"{target}?{query}" if query else target, headers, body))


@settings(limited, max_examples=examples(120))
@given(
    route=st.sampled_from(ROUTES),
    segments=st.lists(SEGMENTS, min_size=3, max_size=3),
    query=QUERIES,
    keys=st.lists(st.text(OCTETS, max_size=20).map(lambda text: text.strip()), max_size=1),
    body=BODIES,
)
@example(route=("PUT", "/1.2/rtm/conversations/{cid}"), segments=[CID, ""], query="", keys=[], body=b'{"a":' * 5_000)
@example(route=("GET", "/1.2/rtm/conversations"), segments=[CID, ""], query="where=" + "[" * 5_000, keys=[], body=b"")
def test_anything_that_a_known_caller_says_is_answered(
    place: Place, route: tuple[str, str], segments: list[str], query: str, keys: list[str], body: bytes
) -> None:
    method, template = route
    path = filled(template, segments)
    headers = [*M.items(), JSON, *(("Idempotency-Key", key) for key in keys)]
    check(method, place.ask(method, f"{path}?{query}" if query else path, headers, body))


@limited
@given(
    changes=st.dictionaries(
        st.sampled_from(sorted(MEMBERS)) | st.text("abc_", min_size=1, max_size=3), FIELDS, max_size=4
    )
)
def test_what_is_written_can_be_read(place: Place, changes: dict[str, Any]) -> None:
    """Also by storage, and whatever came of it: the row is whole."""
    for path in (f"/1.2/rtm/conversations/{CID}", f"/1.1/classes/_Conversation/{CID}"):
        check("PUT", place.ask("PUT", path, [*M.items(), JSON], encoded(changes)))
    row = check("GET", place.ask("GET", f"/1.1/classes/_Conversation/{CID}", list(M.items()), b""))
    assert {"m", "objectId", "createdAt", "updatedAt"} <= set(row)
    check("PUT", place.ask("PUT", f"/1.2/rtm/conversations/{CID}", [*A.items(), *FORM.items()], b"{}"))
