"""The conformance checks of LeanCloud's contract over a real socket: conversations, chatrooms, members (LeanCloud 11).

Those of messages are in test_leancloud_messages.py, that of the Python SDK in test_leancloud_sdk.py. Numbers are the
contract's; what is missing is of calls that are not served.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import jwt
import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from postroom.core import room
from postroom.core.runtime.clock import SystemClock
from tests.support.leancloud import APP, FORM, LEANCLOUD, NOBODY, A, Lean, M, leancloud
from tests.support.native_client import Client, session

pytestmark = pytest.mark.usefixtures("host")

SERVED = {*range(1, 33)}
SIGNED = "a615addbec0246c0be3695851f384aff,1700000000000"
SIGNED_BY_MASTER = "88500459f205e3c67ee68684f71a48a4,1700000000000,master"
ID = {"X-LC-Id": "demo-app"}


def test_every_check_of_what_is_served_is_made_once() -> None:
    texts = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_leancloud_*.py")]
    found = Counter(
        int(number) for text in texts for number in re.findall(r"^(?:async )?def test_l(\d\d)_", text, re.M)
    )
    assert found == Counter(SERVED)


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


def session_of(lean: Lean, user: str, issued_s: float | None = None) -> AbstractAsyncContextManager[Client]:
    """A native session, by default with a token of this moment."""
    issued = {"iat": SystemClock().wall_ms() / 1000 if issued_s is None else issued_s}
    claims = {"app": APP.name, "sub": user, "exp": 4_000_000_000} | issued
    text = jwt.encode(claims, APP.session_secret, "HS256")
    return session(lean.served, user, additional_headers={"Authorization": f"Bearer {text}"})


# Who calls. (`/broadcasts` of the contract's checks is not served; `/messages` wants the master key, too.)


async def test_l01_no_credentials_or_wrong_ones(lean: Lean) -> None:
    for headers in (
        {},
        ID,
        A | {"X-LC-Key": "wrong"},
        A | {"X-LC-Id": "other-app"},
        ID | {"X-LC-Key": "demo-master-key"},
    ):
        reply = await lean.call("GET", "/all-conversations", by=headers)
        assert reply.status_code == 401
        assert reply.json() == {"code": 401, "error": "Unauthorized."}


async def test_l02_a_signature_of_the_app_key(lean: Lean) -> None:
    assert await lean.ok("GET", "/all-conversations", by=ID | {"X-LC-Sign": SIGNED}) == {"results": []}
    digest, _, timestamp = SIGNED.partition(",")
    assert await lean.bad("GET", "/all-conversations", by=ID | {"X-LC-Sign": f"{digest.upper()},{timestamp}"}) == (
        401,
        401,
    )


async def test_l03_a_signature_of_the_master_key(lean: Lean) -> None:
    assert await lean.ok("GET", "/messages", by=ID | {"X-LC-Sign": SIGNED_BY_MASTER}) == []
    said = await lean.ok("GET", "/stats", by=ID | {"X-LC-Sign": SIGNED_BY_MASTER})
    assert said == {"result": {"online_user_count": 0, "user_count_today": 0}}
    assert {type(number) for number in said["result"].values()} == {int}


async def test_l04_a_key_decides_alone(lean: Lean) -> None:
    assert await lean.ok("GET", "/messages", by=M | {"X-LC-Sign": SIGNED}) == []
    assert set(await lean.ok("GET", "/stats", by=M | {"X-LC-Sign": SIGNED})) == {"result"}
    assert await lean.bad("GET", "/messages", by=A | {"X-LC-Sign": SIGNED_BY_MASTER}) == (403, 403)


async def test_l05_what_only_the_master_key_may(lean: Lean) -> None:
    cid, rid = await lean.conversation("bob"), await lean.chatroom()
    wire = {"from_client": "alice", "message": "hi"}
    for method, path in (
        ("POST", f"/conversations/{cid}/messages"),
        ("GET", f"/conversations/{cid}/messages"),
        ("PUT", f"/conversations/{cid}/messages/x"),
        ("PUT", f"/conversations/{cid}/messages/x/recall"),
        ("DELETE", f"/conversations/{cid}/messages/x"),
        ("POST", f"/chatrooms/{rid}/messages"),
        ("GET", f"/chatrooms/{rid}/members"),
        ("GET", f"/chatrooms/{rid}/members/online-count"),
        ("POST", "/clients/check-online"),
        ("GET", "/clients/alice/messages"),
        ("POST", "/clients/alice/kick"),
        ("GET", "/stats"),
        ("GET", "/messages"),
        ("POST", "/1.1/rtm/client/kick"),
        ("POST", "/1.1/rtm/messages"),
        ("GET", "/1.1/rtm/messages/history"),
        ("POST", "/1.1/rtm/patch/message"),
    ):
        reply = await lean.call(method, path, wire if method != "GET" else None, by=A)
        assert (reply.status_code, reply.json()) == (
            403,
            {"code": 403, "error": "The request must be signed by master key."},
        )
    assert await lean.texts("/messages") == []


async def test_an_app_that_is_strict_wants_the_master_key_for_its_conversations() -> None:
    strict = msgspec.structs.replace(APP, leancloud=msgspec.structs.replace(LEANCLOUD, strict_conversation_acl=True))
    async with leancloud(strict) as lean:
        made = await lean.ok("POST", "/conversations", {"m": ["alice"]})
        cid = made["objectId"]
        for method, path in (
            ("POST", "/conversations"),
            ("GET", "/conversations"),
            ("PUT", f"/conversations/{cid}"),
            ("DELETE", f"/conversations/{cid}"),
            ("DELETE", f"/1.1/classes/_Conversation/{cid}"),
            ("GET", f"/conversations/{cid}/members"),
            ("POST", f"/conversations/{cid}/mutes"),
            ("GET", "/all-conversations"),
            ("GET", f"/1.1/classes/_Conversation/{cid}"),
        ):
            reply = await lean.call(method, path, {} if method != "GET" else None, by=A)
            assert (reply.status_code, reply.json()) == (
                403,
                {"code": 403, "error": "Forbidden to read/write by class permissions."},
            )
        assert len((await lean.ok("GET", "/conversations"))["results"]) == 1


# Conversations.


async def test_l06_each_create_makes_another(lean: Lean) -> None:
    seen = set()
    for _ in range(2):
        reply = await lean.call("POST", "/conversations", {"name": "one", "m": ["alice", "bob"]}, by=A)
        assert reply.status_code == 201
        made = reply.json()
        assert set(made) == {"objectId", "createdAt"}
        assert re.fullmatch(r"[0-9a-f]{24}", made["objectId"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made["createdAt"])
        assert reply.headers["location"] == f"/1.2/rtm/conversations/{made['objectId']}"
        seen.add(made["objectId"])
    assert len(seen) == 2


async def test_l07_a_conversation_that_is_unique_by_its_members(lean: Lean) -> None:
    first = await lean.call("POST", "/conversations", {"m": ["bob", "alice"], "unique": True, "name": "one"}, by=A)
    second = await lean.call("POST", "/conversations", {"m": ["alice", "bob"], "unique": True, "name": "two"}, by=A)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    row = second.json()
    assert row == {
        "name": "one",
        "m": ["bob", "alice"],
        "unique": True,
        "uniqueId": "ec0048c7d6b5a11cdb261b71a813eff3",
        "objectId": row["objectId"],
        "createdAt": row["createdAt"],
        "updatedAt": row["createdAt"],
    }
    await lean.ok("POST", f"/conversations/{row['objectId']}/members", {"client_ids": ["carol"]})
    third = await lean.ok("POST", "/conversations", {"m": ["alice", "bob"], "unique": True}, by=A)
    assert third["objectId"] != row["objectId"]  # its members are others now


async def test_l08_a_query(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    await lean.conversation("bob")
    await lean.conversation("alice")
    found = (await lean.ok("GET", "/conversations", params={"where": '{"m":"alice"}', "limit": 1}, by=A))["results"]
    assert [row["objectId"] for row in found] == [cid]
    assert {"m", "createdAt", "updatedAt", "objectId"} <= set(found[0])
    assert await lean.bad("GET", "/conversations", params={"where": "{bad"}, by=A) == (400, 107)


async def test_queries_of_all_kinds(lean: Lean) -> None:
    first = await lean.conversation("alice", "bob", name="one", level=1, c="alice")
    second = await lean.conversation("bob", name="two", level=2, attr={"x": {"y": 1}})
    rid = await lean.chatroom(level=3)

    async def found(path: str = "/all-conversations", **query: object) -> list[str]:
        rows = (await lean.ok("GET", path, params=query, by=A))["results"]
        return [row["objectId"] for row in rows]

    assert await found() == [first, second, rid]
    assert await found(order="-createdAt") == [rid, second, first]
    assert await found(order="-level", limit=2, skip=1) == [second, first]
    assert await found(where='{"level": {"$gte": 2}}') == [second, rid]
    assert await found(where='{"level": {"$in": [1, 3]}, "tr": {"$ne": true}}') == [first]
    assert await found(where='{"tr": true}') == [rid]
    assert await found("/conversations", where='{"tr": true}') == []
    assert await found(where='{"attr.x.y": 1}') == [second]
    assert await found(where='[{"m": "bob"}, {"name": {"$regex": "^O", "$options": "i"}}]') == [first]
    assert await found(where=f'{{"$or": [{{"objectId": "{rid}"}}, {{"m": {{"$size": 2}}}}]}}') == [first, rid]
    row = (await lean.ok("GET", "/conversations", params={"where": '{"c":"alice"}'}, by=A))["results"][0]
    for stamp in (f'"{row["createdAt"]}"', f'{{"__type": "Date", "iso": "{row["createdAt"]}"}}'):
        assert first in await found(where=f'{{"createdAt": {stamp}}}')
        assert first not in await found(where=f'{{"createdAt": {{"$lt": {stamp}}}}}')
    counted = await lean.ok("GET", "/conversations", params={"count": 1, "limit": 1}, by=A)
    assert (len(counted["results"]), counted["count"]) == (1, 2)
    narrow = await lean.ok("GET", "/conversations", params={"keys": "name"}, by=A)
    assert set(narrow["results"][0]) == {"name", "objectId", "createdAt", "updatedAt"}
    for where in ('{"a": {"$select": {}}}', '{"a": {"$regex": "("}}', '{"a": {"$foo": 1}}', '{"lm": 1}'):
        assert await lean.bad("GET", "/conversations", params={"where": where}, by=A) == (400, 1)


async def test_dates_of_an_apps_own(lean: Lean) -> None:
    """They are compared as times, however they are written; what is of another type does not match (LeanCloud 5)."""

    def date(iso: str) -> dict[str, str]:
        return {"__type": "Date", "iso": iso}

    early, same, late = "2024-05-01T00:00:00.000Z", "2024-05-01T08:00:00+08:00", "2024-05-02T01:00:00.000+08:00"
    first = await lean.conversation("a", due=date(early))
    second = await lean.conversation("a", due=date(same), attr={"when": [date(late)]})
    third = await lean.conversation("a", due=date(late))
    fourth = await lean.conversation("a", due=early)

    async def found(where: object, **query: object) -> list[str]:
        params = {"where": json.dumps(where), **query}
        rows = await lean.ok("GET", "/conversations", params=params | {"count": 1}, by=A)
        assert rows["count"] == len(rows["results"])
        return [row["objectId"] for row in rows["results"]]

    for iso in (early, same, "2024-05-01T00:00:00Z"):
        assert await found({"due": date(iso)}) == [first, second]
        assert await found({"due": {"$in": [date(iso), 5]}}) == [first, second]
        assert await found({"due": {"$ne": date(iso)}}) == [third, fourth]
        assert await found({"due": {"$gt": date(iso)}}) == [third]
        assert await found({"due": {"$lte": date(iso)}}) == [first, second]
    assert await found({"due": early}) == [fourth]
    assert await found({"due": {"$gt": ""}}) == [fourth]
    assert await found({"attr.when": date("2024-05-01T17:00:00.000Z")}) == [second]
    assert await found({}, order="-due") == [third, first, second, fourth]
    for wrong in ({"due": date("soon")}, {"due": {"$gt": {"__type": "Date"}}}, {"createdAt": {"$gt": date("soon")}}):
        assert await lean.bad("GET", "/conversations", params={"where": json.dumps(wrong)}, by=A) == (400, 1)
    for never in (5, {"$gt": 5}, {"$lt": 10**15}, {"$in": [5]}):
        assert await found({"createdAt": never}) == []
    assert await found({"createdAt": {"$ne": 5}}) == [first, second, third, fourth]


async def test_l09_an_update(lean: Lean) -> None:
    cid = await lean.conversation("alice", name="one")
    made = await lean.ok("PUT", f"/conversations/{cid}", {"name": "two", "level": 3}, by=A)
    assert set(made) == {"updatedAt", "objectId"}
    assert made["objectId"] == cid
    rows = (await lean.ok("GET", "/conversations", params={"where": '{"level":3}'}, by=A))["results"]
    assert [(row["objectId"], row["name"], row["updatedAt"]) for row in rows] == [(cid, "two", made["updatedAt"])]
    assert await lean.bad("PUT", f"/conversations/{cid}", {"m": ["x"]}, by=A) == (400, 117)
    assert (await lean.ok("GET", f"/conversations/{cid}/members", by=A)) == {"result": ["alice"]}


async def test_updates_with_operators(lean: Lean) -> None:
    cid = await lean.conversation("alice", name="one", level=1, tags=["a"])
    path = f"/conversations/{cid}"
    changes = {
        "name": {"__op": "Delete"},
        "level": {"__op": "Increment", "amount": 2},
        "tags": {"__op": "AddUnique", "objects": ["a", "b"]},
        "mu": ["alice"],
    }
    await lean.ok("PUT", path, changes, by=A)
    (row,) = (await lean.ok("GET", "/conversations", by=A))["results"]
    assert "name" not in row
    assert (row["level"], row["tags"], row["mu"], row["m"]) == (3, ["a", "b"], ["alice"], ["alice"])
    await lean.ok("PUT", path, {"tags": {"__op": "Remove", "objects": ["a"]}, "mu": []}, by=A)
    (row,) = (await lean.ok("GET", "/conversations", by=A))["results"]
    assert (row["tags"], "mu" in row) == (["b"], False)
    assert await lean.ok("PUT", path, {}, by=A) == {"updatedAt": row["updatedAt"], "objectId": cid}
    for wire, code in (
        ({"tags": {"__op": "Increment"}}, 1),
        ({"tr": True}, 117),
        ({"objectId": "x"}, 117),
        ({"a.b": 1}, 105),
        ({"big": "x" * 131_073}, 1),
    ):
        assert await lean.bad("PUT", path, wire, by=A) == (400, code)
    assert await lean.bad("PUT", path, b"[]", by=A) == (400, 107)
    assert await lean.bad("PUT", f"/conversations/{NOBODY}", {"name": "x"}, by=A) == (404, 4303)
    assert await lean.bad("PUT", f"/conversations/{NOBODY}", {}, by=A) == (404, 4303)
    assert await lean.bad("PUT", f"/chatrooms/{cid}", {"name": "x"}, by=A) == (400, 4316)


async def test_l10_members(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    path = f"/conversations/{cid}/members"
    made = await lean.ok("POST", path, {"client_ids": ["carol", "alice"]}, by=A)
    assert set(made) == {"updatedAt", "objectId"}
    assert made["objectId"] == cid
    assert await lean.ok("GET", path, by=A) == {"result": ["alice", "bob", "carol"]}
    again = await lean.ok("POST", path, {"client_ids": ["carol", "carol"]}, by=A)
    assert again == made  # nothing was to do
    await lean.ok("DELETE", path, b'{"client_ids":["alice","nobody"]}', by=A, headers=FORM)
    assert await lean.ok("GET", path, by=A) == {"result": ["bob", "carol"]}
    await lean.ok("DELETE", path, by=A, params={"client_ids": "bob"})
    assert await lean.ok("GET", path, by=A) == {"result": ["carol"]}
    for wire in ({}, {"client_ids": {}}, {"client_ids": [1]}, {"client_ids": [""]}):
        assert await lean.bad("POST", path, wire, by=A) == (400, 1)
    assert await lean.bad("POST", path, {"client_ids": ["x" * 65]}, by=A) == (400, 4103)
    assert await lean.bad("DELETE", path, b"null", by=A) == (400, 1)
    assert await lean.bad("GET", f"/conversations/{NOBODY}/members", by=A) == (404, 4303)
    assert await lean.bad("POST", f"/conversations/{NOBODY}/members", {"client_ids": ["x"]}, by=A) == (404, 4303)
    many = [f"u{number}" for number in range(500)]
    assert await lean.bad("POST", path, {"client_ids": many}, by=A) == (400, 4304)
    assert await lean.bad("POST", "/conversations", {"m": [*many, "carol"]}, by=A) == (400, 4304)
    assert await lean.ok("GET", path, by=A) == {"result": ["carol"]}


# Chatrooms.


async def test_l23_a_chatroom(lean: Lean) -> None:
    made = await lean.call("POST", "/chatrooms", {"name": "room", "m": ["eve"], "sys": True}, by=A)
    assert made.status_code == 201
    rid = made.json()["objectId"]
    row = {"name": "room", "tr": True, "objectId": rid} | {
        key: made.json()["createdAt"] for key in ("createdAt", "updatedAt")
    }
    for path in ("/chatrooms", "/all-conversations"):
        assert await lean.ok("GET", path, by=A) == {"results": [row]}
    assert await lean.ok("GET", "/conversations", by=A) == {"results": []}
    assert await lean.ok("GET", f"/chatrooms/{rid}/members/online-count") == {"result": 0}
    assert await lean.bad("GET", f"/conversations/{rid}/members") == (400, 4314)


async def test_who_is_in_a_chatroom(lean: Lean) -> None:
    rid = await lean.chatroom()
    async with lean.broker.connect(app="shop", user="alice") as session:
        await session.join(rid)
        assert await lean.ok("GET", f"/chatrooms/{rid}/members") == {"result": ["alice"]}
        assert await lean.ok("GET", f"/chatrooms/{rid}/members/online-count") == {"result": 1}
        assert await lean.ok("GET", f"/1.1/rtm/transient_group/onlines?gid={rid}", by=A) == {"result": 1}
        assert await lean.ok("GET", f"/1.1/rtm/transient_group/members?gid={rid}", by=A) == {"result": ["alice"]}
    assert await lean.bad("GET", f"/chatrooms/{NOBODY}/members") == (404, 4303)
    cid = await lean.conversation("alice")
    assert await lean.bad("GET", f"/chatrooms/{cid}/members/online-count") == (400, 4316)


async def test_a_room_that_somebody_joined_is_a_chatroom_here(lean: Lean) -> None:
    async with lean.broker.connect(app="shop", user="alice") as session:
        await session.join("lobby")
    (row,) = (await lean.ok("GET", "/chatrooms", by=A))["results"]
    assert (row["objectId"], row["tr"]) == ("lobby", True)
    await lean.ok("PUT", "/chatrooms/lobby", {"name": "Lobby"}, by=A)
    (row,) = (await lean.ok("GET", "/all-conversations", params={"where": '{"name":"Lobby"}'}, by=A))["results"]
    assert row["objectId"] == room("lobby").id


# Clients.


async def test_l28_who_is_online(lean: Lean) -> None:
    path = "/clients/check-online"
    assert await lean.bad("POST", path, {"client_ids": [str(number) for number in range(21)]}) == (400, 1)
    assert await lean.ok("POST", path, {"client_ids": ["nobody"]}) == {"results": []}
    async with lean.broker.connect(app="shop", user="alice"):
        assert await lean.ok("POST", path, {"client_ids": ["nobody", "alice", "alice"]}) == {"results": ["alice"]}
        assert await lean.ok("POST", "/1.1/rtm/online", {"peers": ["alice"]}) == {"results": ["alice"]}
    assert await lean.ok("POST", path, {"client_ids": ["alice"]}) == {"results": []}


async def test_l29_kicking_a_client(lean: Lean) -> None:
    path = "/clients/alice/kick"
    assert await lean.bad("POST", path, {"reason": "x" * 21}) == (400, 1)
    assert await lean.bad("POST", path, {"reason": 1}) == (400, 1)
    assert await lean.bad("POST", f"/clients/{'a' * 65}/kick") == (400, 4103)
    async with session_of(lean, "alice") as alice, session_of(lean, "bob") as bob:
        assert await lean.ok("POST", path, {"reason": "😀" * 20}) == {}
        assert await alice.closed() == (4115, "😀" * 20)
        assert await lean.ok("POST", path) == {}  # offline, and without a body
        assert await lean.ok("POST", "/1.1/rtm/client/kick", {"client_id": "bob", "reason": "spam"}) == {}
        assert await bob.closed() == (4115, "spam")
    assert await lean.bad("POST", "/1.1/rtm/client/kick", {}) == (400, 1)
    assert await lean.bad("POST", "/1.1/rtm/client/kick", {"client_id": "bob", "reason": "x" * 21}) == (400, 1)
    for user in ("alice", "bob"):
        with pytest.raises(InvalidStatus) as caught:
            async with session_of(lean, user, issued_s=0):
                pass
        assert caught.value.response.status_code == 401


async def test_who_is_online_and_who_came_today(lean: Lean) -> None:
    async def stats() -> tuple[int, int]:
        result = (await lean.ok("GET", "/stats"))["result"]
        return result["online_user_count"], result["user_count_today"]

    async with lean.broker.connect(app="shop", user="alice"), lean.broker.connect(app="shop", user="alice"):
        assert await stats() == (1, 1)
        async with lean.broker.connect(app="shop", user="bob"):
            assert await stats() == (2, 2)
        assert await stats() == (1, 2)
    assert await stats() == (0, 2)


async def test_no_session_token_is_anybodys(lean: Lean) -> None:
    assert await lean.bad("GET", "/clients/sign", by=A) == (400, 1)
    assert await lean.bad("GET", "/clients/sign?session_token=x", by=A) == (400, 211)
    assert await lean.bad("POST", "/1.1/rtm/sign", {"session_token": "x"}, by=A) == (400, 211)


# The rest of HTTP.


async def test_paths_and_methods_that_are_not_there(lean: Lean) -> None:
    for path in ("/subscribers", "/1.1/nothing", "/conversations/x/y/z", "/broadcasts/x/y"):
        assert await lean.bad("GET", path) == (404, 404)
    reply = await lean.call("PATCH", "/conversations", {})
    assert (reply.status_code, reply.json()) == (405, {"code": 405, "error": "Not found."})
    assert reply.headers["allow"] == "GET, OPTIONS, POST"
    other = await lean.served.client.get("/1.2/other")
    assert (other.status_code, other.json()) == (404, {"code": 404, "error": "Not found."})


async def test_browsers_may_call(lean: Lean) -> None:
    reply = await lean.call("OPTIONS", "/conversations", by={"Origin": "http://page.example"})
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "PUT" in reply.headers["access-control-allow-methods"]
    assert {"x-lc-id", "x-lc-key", "x-lc-sign"} <= set(reply.headers["access-control-allow-headers"].split(", "))


async def test_a_body_must_be_json(lean: Lean) -> None:
    for label in ("application/json;charset=utf-8", "application/json; charset=UTF-8"):
        await lean.ok("POST", "/conversations", b'{"m":[]}', by=A, headers={"Content-Type": label})
    assert await lean.bad("POST", "/conversations", b'{"m":[]}', by=A, headers=FORM) == (400, 107)
    assert await lean.bad("POST", "/conversations", b"null", by=A) == (400, 107)
    await lean.ok("POST", "/conversations", by=A)  # every field is optional
    await lean.ok("GET", "/conversations", b"{", by=A)  # and a GET has no body, whatever it has


async def test_the_servers_time(lean: Lean) -> None:
    said = await lean.ok("GET", "/1.1/date", by={})
    assert said["__type"] == "Date"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["iso"])
