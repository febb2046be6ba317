"""Service conversations: the conformance checks, and what else is said of them (LeanCloud 6.1, 6.4, 6.7, 6.8, 8, 11)."""

import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from postroom.core.buckets import Rate
from postroom.transports.config import Limits
from postroom.transports.leancloud.ids import service_pair_id
from tests.support.leancloud import APP, NOBODY, RECORD, A, Lean, leancloud, next_of, refused
from tests.support.serving import StoppedClock

pytestmark = pytest.mark.usefixtures("host")

ROW = "/1.1/classes/_Conversation"


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def test_l24_a_service_conversation(lean: Lean) -> None:
    sid = await lean.service()
    base = f"/service-conversations/{sid}"
    assert await lean.ok("POST", f"{base}/subscribers", {"client_id": "alice"}) == {}
    assert await lean.ok("GET", f"{base}/subscribers/count", by=A) == {"count": 1}
    assert await lean.ok("GET", f"{base}/subscribers", params={"client_id": "alice"}, by=A) == []
    mid, time = await lean.publish(sid, "to all")
    (record,) = await lean.ok("GET", f"{base}/subscribers/alice/messages")
    assert set(record) == RECORD
    assert (record["msg-id"], record["timestamp"], record["data"], record["to"]) == (mid, time, "to all", sid)
    assert record["conv-id"] == service_pair_id(sid, "alice")
    wire = {"from_client": "news", "message": "by name"}
    many = [f"c{number}" for number in range(21)]
    assert await lean.bad("POST", f"{base}/messages", wire | {"to_clients": many}) == (400, 1)
    await lean.send(base, "by name", "news", to_clients=["dave"])
    await lean.send(base, "each once", "news", to_clients=many[1:] * 2)
    assert await lean.waiting("c1") == ["each once"]
    assert await lean.texts(f"{base}/subscribers/dave/messages") == ["by name"]
    assert await lean.texts(f"{base}/subscribers/alice/messages") == ["to all"]
    assert (await lean.waiting("dave"), await lean.waiting("alice")) == (["by name"], ["to all"])


async def test_a_list_of_subscribers_does_not_end_behind_one_who_left(lean: Lean) -> None:
    """It would look as if there were no more."""
    sid = await lean.service("s0", "s1", "s2")
    base, old = f"/service-conversations/{sid}/subscribers", "/1.1/rtm/conversation/subscribers"
    await lean.ok("DELETE", f"{base}/s1")
    for after in ("s1", "nobody"):
        for path, query in ((base, {}), (old, {"conv_id": sid})):
            reply = await lean.call("GET", path, params={"client_id": after, **query}, by=A)
            assert refused(reply) == (400, 1)
            assert reply.json()["error"].startswith("client_id: ")
    assert [row["subscriber"] for row in await lean.ok("GET", base, params={"client_id": "s0"}, by=A)] == ["s2"]
    assert await lean.ok("GET", base, params={"client_id": "s2"}, by=A) == []
    assert await lean.bad("GET", f"/service-conversations/{NOBODY}/subscribers", params={"client_id": "s2"}) == (
        404,
        4303,
    )


async def test_a_list_of_subscriptions_does_not_end_behind_one_that_did(lean: Lean) -> None:
    services = [await lean.service("alice") for _ in range(3)]
    path = "/clients/alice/service-conversations"
    await lean.ok("DELETE", f"/service-conversations/{services[1]}/subscribers/alice")
    for direction, rest in (("new", services[2]), ("old", services[0])):
        query: dict[str, object] = {"direction": direction, "timestamp": 1}
        reply = await lean.call("GET", path, params=query | {"conv_id": services[1]})
        assert refused(reply) == (400, 1)
        assert reply.json()["error"].startswith("conv_id: ")
        assert await lean.ok("GET", path, params=query | {"conv_id": rest}) == []
        assert await lean.bad("GET", path, params=query | {"conv_id": NOBODY}) == (404, 4303)


async def test_l25_what_a_client_subscribes_to(lean: Lean) -> None:
    s1, s2 = await lean.service("alice"), await lean.service("alice")
    path = "/clients/alice/service-conversations"

    async def found(**query: object) -> list[str]:
        rows = await lean.ok("GET", path, params=query)
        assert all(set(row) == {"timestamp", "subscriber", "conv_id"} and row["subscriber"] == "alice" for row in rows)
        return [row["conv_id"] for row in rows]

    assert await found() == [s1, s2]
    assert await found(direction="old") == [s2, s1]
    assert await found(limit=1) == [s1]
    assert await lean.bad("GET", path, params={"conv_id": s1}) == (400, 1)
    assert await found(conv_id=s1, timestamp=1) == await found(direction="old", limit=1) == [s2]
    assert await found(conv_id=s2, timestamp=1) == []
    assert await found(conv_id=s2, timestamp=1, direction="old") == [s1]
    assert await lean.bad("GET", path, params={"direction": "up"}) == (400, 1)
    assert await lean.bad("GET", path, params={"conv_id": NOBODY, "timestamp": 1}) == (404, 4303)
    assert await lean.ok("GET", "/clients/nobody/service-conversations") == []


# Rows.


async def test_rows_of_service_conversations(lean: Lean) -> None:
    made = await lean.call(
        "POST", "/service-conversations", {"name": "news", "m": ["x"], "unique": True, "tr": True}, by=A
    )
    assert made.status_code == 201
    sid = made.json()["objectId"]
    assert made.headers["location"] == f"/1.2/rtm/service-conversations/{sid}"
    (row,) = (await lean.ok("GET", "/service-conversations", by=A))["results"]
    assert row == {"name": "news", "sys": True} | {key: row[key] for key in ("objectId", "createdAt", "updatedAt")}
    await lean.ok("PUT", f"/service-conversations/{sid}", {"level": 3}, by=A)
    where = json.dumps({"level": 3, "sys": True})
    assert len((await lean.ok("GET", "/all-conversations", params={"where": where}, by=A))["results"]) == 1
    for path in ("/conversations", "/chatrooms"):
        assert await lean.ok("GET", path, by=A) == {"results": []}
    for key in ("m", "sys", "tr"):
        assert await lean.bad("PUT", f"/service-conversations/{sid}", {key: []}, by=A) == (400, 117)
    assert await lean.bad("PUT", f"/conversations/{sid}", {"level": 4}, by=A) == (400, 4314)
    cid = await lean.conversation("bob")
    assert await lean.bad("PUT", f"/service-conversations/{cid}", {"level": 4}, by=A) == (400, 4313)


async def test_a_row_of_1_1_may_have_both_marks(lean: Lean) -> None:
    both = (await lean.ok("POST", ROW, {"sys": True, "tr": True, "name": "x"}, by=A))["objectId"]
    one, rid = await lean.service(), await lean.chatroom()
    row = await lean.ok("GET", f"{ROW}/{both}", by=A)
    assert (row["sys"], row["tr"]) == (True, True)
    for where, found in (
        ({"tr": True}, {both, rid}),
        ({"tr": {"$ne": True}}, {one}),
        ({"tr": True, "sys": True}, {both}),
        ({"sys": True}, {both, one}),
        ({"tr": {"$exists": False}}, {one}),
    ):
        rows = (await lean.ok("GET", ROW, params={"where": json.dumps(where)}, by=A))["results"]
        assert {each["objectId"] for each in rows} == found
    await lean.ok("POST", f"/service-conversations/{both}/subscribers", {"client_id": "alice"})
    await lean.ok("PUT", f"{ROW}/{both}", {"name": "y", "m": ["z"]}, by=A)
    row = await lean.ok("GET", f"{ROW}/{both}", by=A)
    assert (row["name"], row["tr"], "m" in row) == ("y", True, False)


# Subscribers.


async def test_pages_of_subscribers(lean: Lean) -> None:
    users = [f"u{number}" for number in range(60)]
    sid = await lean.service(*users)
    path = f"/service-conversations/{sid}/subscribers"

    async def page(**query: object) -> list[str]:
        rows = await lean.ok("GET", path, params=query, by=A)
        assert all(set(row) == {"timestamp", "subscriber", "conv_id"} and row["conv_id"] == sid for row in rows)
        assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
        return [row["subscriber"] for row in rows]

    assert await page() == await page(limit=51) == await page(limit=0) == users[:50]
    assert await page(client_id="u49") == users[50:]
    assert await page(client_id="u3", limit=2) == ["u4", "u5"]
    # Again is nothing new, and who leaves and comes back is the last.
    since = (await lean.ok("GET", path, params={"limit": 1}))[0]["timestamp"]
    await lean.ok("POST", path, {"client_id": "u0"})
    assert (await lean.ok("GET", path, params={"limit": 1}))[0]["timestamp"] == since
    assert await lean.ok("DELETE", f"{path}/u0", b"null") == {}
    assert await lean.ok("DELETE", f"{path}/nobody") == {}
    assert (await page(limit=1), await lean.ok("GET", f"{path}/count", by=A)) == (["u1"], {"count": 59})
    await lean.ok("POST", path, {"client_id": "u0"})
    assert await page(client_id="u59") == ["u0"]


async def test_a_client_may_be_called_count(lean: Lean) -> None:
    sid = await lean.service("count")
    path = f"/service-conversations/{sid}/subscribers"
    await lean.publish(sid, "hi")
    assert await lean.texts(f"{path}/count/messages") == ["hi"]
    assert await lean.ok("GET", f"{path}/count", by=A) == {"count": 1}
    assert await lean.ok("DELETE", f"{path}/count") == {}
    assert await lean.ok("GET", f"{path}/count", by=A) == {"count": 0}
    reply = await lean.call("PUT", f"{path}/count", {})
    assert (reply.status_code, reply.headers["allow"]) == (405, "DELETE, GET, OPTIONS")


async def test_who_is_banned_does_not_subscribe(lean: Lean) -> None:
    sid = await lean.service("alice", "bob")
    base = f"/service-conversations/{sid}"
    assert await lean.ok("POST", f"{base}/blacklists", {"client_ids": ["alice"]}) == {}
    assert await lean.ok("GET", f"{base}/blacklists") == {"client_ids": ["alice"]}
    assert await lean.ok("GET", f"{base}/subscribers/count") == {"count": 1}
    assert await lean.bad("POST", f"{base}/subscribers", {"client_id": "alice"}) == (400, 4548)
    await lean.publish(sid, "hi")
    assert await lean.waiting("alice") == []
    assert await lean.ok("DELETE", f"{base}/blacklists", {"client_ids": ["alice"]}) == {}
    await lean.ok("POST", f"{base}/subscribers", {"client_id": "alice"})
    await lean.ok("POST", "/clients/carol/blacklists", {"conv_id": sid})
    assert await lean.bad("POST", f"{base}/subscribers", {"client_id": "carol"}) == (400, 4548)


async def test_nobody_is_silenced_in_a_service_conversation(lean: Lean) -> None:
    sid = await lean.service()
    for path in ("temporary-silenceds", "permanent-silenceds", "member-infos", "members", "mutes"):
        assert await lean.bad("POST", f"/service-conversations/{sid}/{path}", {"client_id": "x"}) == (404, 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/subscribers"),
        ("DELETE", "/subscribers/alice"),
        ("GET", "/subscribers"),
        ("GET", "/subscribers/count"),
        ("GET", "/subscribers/alice/messages"),
        ("POST", "/blacklists"),
        ("PUT", "/messages/x"),
        ("PUT", "/messages/x/recall"),
        ("DELETE", "/subscribers/alice/messages/x"),
    ],
)
async def test_services_that_are_not_there(lean: Lean, method: str, path: str) -> None:
    wire = {"client_id": "a", "client_ids": ["a"], "from_client": "a", "message": "x", "timestamp": 1}
    body = wire if method != "GET" else None
    cid = await lean.conversation("bob")
    assert await lean.bad(method, f"/service-conversations/{NOBODY}{path}", body) == (404, 4303)
    assert await lean.bad(method, f"/service-conversations/{cid}{path}", body) == (400, 4313)


async def test_sends_to_services_that_are_not_there(lean: Lean) -> None:
    cid, sid = await lean.conversation("bob"), await lean.service()
    wire = {"from_client": "a", "message": "x", "to_clients": ["b"]}
    for path in ("messages", "broadcasts"):
        assert await lean.bad("POST", f"/service-conversations/{NOBODY}/{path}", wire) == (404, 4401)
        assert await lean.bad("POST", f"/service-conversations/{cid}/{path}", wire) == (400, 4313)
    assert await lean.bad("POST", f"/conversations/{sid}/messages", wire) == (400, 4314)
    assert await lean.bad("POST", f"/chatrooms/{sid}/messages", wire) == (400, 4316)


# The calls of 1.1.


async def test_the_calls_of_1_1(lean: Lean) -> None:
    sid = (await lean.ok("POST", ROW, {"sys": True, "name": "news"}, by=A))["objectId"]
    mine = "/1.1/rtm/conversation/subscription"
    for user in ("alice", "bob"):
        assert await lean.ok("POST", mine, {"conv_id": sid, "client_id": user}) == {}
    rows = await lean.ok("GET", f"{mine}/subscribers", params={"conv_id": sid, "client_id": "alice"}, by=A)
    assert [(row["subscriber"], row["conv_id"]) for row in rows] == [("bob", sid)]
    assert await lean.ok("GET", f"{mine}/subscribers/count", params={"conv_id": sid}, by=A) == {"count": 2}
    said = await lean.ok(
        "POST", "/1.1/rtm/broadcast/subscriber", {"from_peer": "news", "conv_id": sid, "message": "all"}
    )
    assert set(said) == {"result"}
    wire = {"from_peer": "news", "conv_id": sid, "message": "some", "to_peers": ["alice", "dave"]}
    await lean.ok("POST", "/1.1/rtm/messages", wire)
    assert await lean.waiting("dave") == []  # transient unless it says otherwise
    sent = (await lean.ok("POST", "/1.1/rtm/messages", wire | {"transient": False}))["result"]
    assert (await lean.waiting("alice"), await lean.waiting("dave")) == (["all", "some"], ["some"])
    assert await lean.bad("POST", "/1.1/rtm/messages", wire | {"to_peers": None}) == (400, 1)
    assert await lean.bad("POST", "/1.1/rtm/messages", wire | {"to_peers": [f"x{n}" for n in range(21)]}) == (400, 1)
    patch = {
        "conv_id": sid,
        "msg_id": sent["msg-id"],
        "timestamp": sent["timestamp"],
        "from_peer": "news",
        "message": "new",
    }
    assert await lean.bad("POST", "/1.1/rtm/patch/message", patch) == (400, 1)
    # What is too much is passed over.
    to = {"to_peers": ["alice", *["alice"] * 30]}
    assert await lean.ok("POST", "/1.1/rtm/patch/message", patch | to) == {"result": {}}
    base = f"/service-conversations/{sid}/subscribers"
    assert await lean.texts(f"{base}/alice/messages") == ["new", "all"]
    assert await lean.texts(f"{base}/dave/messages") == ["some"]
    assert await lean.ok("DELETE", mine, params={"conv_id": sid, "client_id": "bob"}) == {}
    rows = await lean.ok("GET", mine, params={"client_id": "alice"})
    assert [row["conv_id"] for row in rows] == [sid]


async def test_whether_a_client_subscribes(lean: Lean) -> None:
    services = [await lean.service() for _ in range(4)]
    path = "/1.1/rtm/conversation/subscription/subscribed"
    for name in ("subscribers", "subscribers/count"):
        query = {"conv_id": services[0]}
        for base in ("/1.1/rtm/conversation", "/1.1/rtm/conversation/subscription"):
            assert await lean.ok("GET", f"{base}/{name}", params=query, by=A) in ([], {"count": 0})

    async def subscribed(user: str, sid: str) -> bool:
        said = await lean.ok("GET", path, params={"conv_id": sid, "client_id": user}, by=A)
        assert type(said) is bool
        return said

    assert await lean.ok("GET", path, params={"conv_id": services[0]}, by=A) == {"count": 0}
    for sid in services[1:3]:
        await lean.ok("POST", f"/service-conversations/{sid}/subscribers", {"client_id": "alice"})
    assert [await subscribed("alice", sid) for sid in services] == [False, True, True, False]
    assert not await subscribed("bob", services[1])
    assert await lean.bad("GET", path, params={"conv_id": NOBODY, "client_id": "alice"}, by=A) == (404, 4303)


# Rates and quotas (LeanCloud 8).


async def test_rates_by_what_is_changed() -> None:
    clock = StoppedClock()
    limits = Limits(
        leancloud_normal=Rate(3, 60_000, "interval", 60_000),
        leancloud_subscription_minute=Rate(3, 60_000, "interval", 60_000),
    )
    async with leancloud(msgspec.structs.replace(APP, limits=limits), clock=clock) as lean:
        sid = await lean.service("alice")
        base = f"/service-conversations/{sid}"
        mid, time = await lean.publish(sid, "one")
        named, then = await lean.send(base, "one", "news", to_clients=["alice"])
        which, of_named = ({"from_client": "news", "timestamp": at, "message": "x"} for at in (time, then))
        # What fails counts nothing, of whichever group.
        for _ in range(4):
            assert await lean.bad("PUT", f"{base}/messages/{named}", of_named) == (400, 1)
            assert await lean.bad("PUT", f"{base}/messages/{mid}", which | {"to_clients": ["alice"]}) == (400, 1)
        await lean.ok("PUT", f"{base}/messages/{mid}", which)
        await lean.ok("PUT", f"{base}/messages/{mid}/recall", which)
        assert await lean.bad("PUT", f"{base}/messages/{mid}/recall", which) == (429, 429)
        await lean.ok("PUT", f"{base}/messages/{named}", of_named | {"to_clients": ["alice"]})
        await lean.ok("PUT", f"{base}/messages/{named}/recall", of_named | {"to_clients": ["alice"]})
        wire = {"from_client": "news", "message": "x", "to_clients": ["alice"]}
        assert await lean.bad("POST", f"{base}/messages", wire) == (429, 429)
        clock.pass_ms(60_000)
        await lean.publish(sid, "two")


async def test_the_quota_of_messages_to_subscribers() -> None:
    clock = StoppedClock()
    limits = Limits(leancloud_subscription_day=Rate(3, 86_400_000, "interval"))
    async with leancloud(msgspec.structs.replace(APP, limits=limits), clock=clock) as lean:
        sid = await lean.service("alice")
        mid, time = await lean.publish(sid, "one")
        which = {"from_client": "news", "timestamp": time, "message": "x"}
        await lean.ok("PUT", f"/service-conversations/{sid}/messages/{mid}", which)
        old = {"from_peer": "news", "conv_id": sid, "message": "x"}
        await lean.ok("POST", "/1.1/rtm/broadcast/subscriber", old)
        over = await lean.call("POST", f"/service-conversations/{sid}/broadcasts", which)
        assert (over.status_code, over.json()) == (429, {"code": 429, "error": "Too many requests."})
        assert await lean.bad("PUT", f"/service-conversations/{sid}/messages/{mid}/recall", which) == (429, 429)
        assert await lean.bad("POST", "/1.1/rtm/broadcast/subscriber", old) == (429, 429)
        await lean.send(f"/service-conversations/{sid}", "x", "news", to_clients=["alice"])
        await lean.broadcast(sid, "x")
        clock.pass_ms(86_400_000)
        await lean.publish(sid, "four")


async def test_changes_of_1_1_count_in_the_day_of_what_they_are_of() -> None:
    limits = Limits(leancloud_subscription_day=Rate(3, 86_400_000, "interval"))
    async with leancloud(msgspec.structs.replace(APP, limits=limits), clock=StoppedClock()) as lean:
        sid = await lean.service("alice")
        mid, time = await lean.publish(sid, "one")
        named, then = await lean.send(f"/service-conversations/{sid}", "two", "news", to_clients=["alice"])

        def calls(mid: str, time: int) -> tuple[tuple[str, str, dict[str, object]], ...]:
            patch = {"conv_id": sid, "msg_id": mid, "timestamp": time, "from_peer": "news", "message": "x"}
            record = {"conv-id": sid, "msg-id": mid, "timestamp": time, "from": "news", "data": "y"}
            return ("POST", "/1.1/rtm/patch/message", patch), ("PUT", "/1.1/rtm/messages/logs", record)

        for method, path, wire in calls(named, then) * 2:
            await lean.ok(method, path, wire | {"to_peers": ["alice"]})
        for method, path, wire in calls(mid, time):
            assert await lean.bad(method, path, wire | {"timestamp": 5}) == (404, 4404)
            assert await lean.bad(method, path, wire | {"from_peer": "eve", "from": "eve"}) == (404, 4404)
        for method, path, wire in calls(mid, time):
            await lean.ok(method, path, wire)
        for method, path, wire in calls(mid, time):
            for more in ({}, {"recall": True}):
                assert await lean.bad(method, path, wire | more) == (429, 429)
        for method, path, wire in calls(named, then):
            await lean.ok(method, path, wire | {"to_peers": ["alice"]})


# Deleting.


async def test_a_service_that_is_deleted(lean: Lean) -> None:
    """With what it sent, whether or not anybody has received it."""
    sid, other = await lean.service("alice"), await lean.service("alice")
    base = f"/service-conversations/{sid}"
    await lean.publish(sid, "to subscribers")
    await lean.send(base, "by name", "news", to_clients=["alice"])
    mid, _ = await lean.broadcast(sid, "to everyone")
    assert await lean.ok("DELETE", base, by=A) == {}
    wire = {"from_client": "news", "message": "x", "to_clients": ["alice"], "conv_id": sid}
    for path in (f"{base}/messages", f"{base}/broadcasts", "/broadcasts"):
        assert await lean.bad("POST", path, wire) == (404, 4401)
    gone = (404, 4303)
    assert await lean.bad("POST", f"{base}/subscribers", {"client_id": "bob"}) == gone
    for path in ("/subscribers", "/subscribers/count", "/subscribers/alice/messages", "/blacklists"):
        assert await lean.bad("GET", f"{base}{path}") == gone
    assert await lean.bad("GET", "/broadcasts", params={"conv_id": sid}) == gone
    assert await lean.bad("DELETE", f"/broadcasts/{mid}") == (404, 4404)
    assert await lean.texts("/messages") == []
    rows = await lean.ok("GET", "/clients/alice/service-conversations")
    assert [row["conv_id"] for row in rows] == [other]
    await lean.publish(other, "what is left")
    async with lean.broker.connect(app="shop", user="alice") as alice:
        assert await next_of(alice, 1) == [("message", "what is left")]
