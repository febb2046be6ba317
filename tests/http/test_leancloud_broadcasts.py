"""Broadcasts to every client of an app: the conformance checks, and what else is said of them (LeanCloud 6.5, 8, 11)."""

from collections.abc import AsyncIterator
from itertools import count

import httpx
import msgspec
import pytest
import trio

from postroom.core.buckets import Rate
from postroom.transports.config import Limits
from tests.support.leancloud import APP, NOBODY, RECORD, A, Lean, leancloud, next_of
from tests.support.serving import StoppedClock
from tests.support.web import NOW_MS

pytestmark = pytest.mark.usefixtures("host")

DAY_MS = 86_400_000


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def test_l26_who_has_a_broadcast_keeps_what_they_got(lean: Lean) -> None:
    sid = await lean.service()
    await lean.waiting("bob")  # both are known, and bob is away again
    async with lean.broker.connect(app="shop", user="alice") as alice:
        mid, time = await lean.broadcast(sid, "one")
        assert mid.startswith("sb_")
        assert len(mid) == 25
        assert await next_of(alice, 1) == [("message", "one")]
        path = f"/service-conversations/{sid}/messages/{mid}"
        edit = {"from_client": "news", "message": "two", "timestamp": time}
        assert await lean.ok("PUT", path, edit) == {"result": {}}
        async with lean.broker.connect(app="shop", user="bob") as bob:
            assert bob.welcome.queued == 1
            with trio.fail_after(20):
                delivery = await anext(bob)
            assert (delivery.body, delivery.sender, delivery.type) == (b"two", "news", "message")
            await bob.ack(delivery)
        third, _ = await lean.broadcast(sid, "three")
        assert await next_of(alice, 1) == [("message", "three")]  # and nothing of the edit
    assert await lean.ok("DELETE", f"/broadcasts/{third}") == {}
    assert await lean.waiting("bob") == []
    (record,) = await lean.ok("GET", "/broadcasts", params={"conv_id": sid})
    assert set(record) == RECORD | {"valid-till"}
    assert (record["msg-id"], record["timestamp"], record["data"], record["conv-id"]) == (mid, time, "two", sid)
    assert record["valid-till"] - time in range(30 * DAY_MS - 60_000, 30 * DAY_MS + 1)
    assert await lean.bad("GET", "/broadcasts") == (400, 1)
    assert await lean.bad("DELETE", f"/broadcasts/{third}") == (404, 4404)


async def test_l27_how_long_and_how_many() -> None:
    clock = StoppedClock()
    limits = Limits(leancloud_normal=None, leancloud_broadcast_minute=None)
    async with leancloud(msgspec.structs.replace(APP, limits=limits), clock=clock) as lean:
        sid, cid, rid = await lean.service(), await lean.conversation("bob"), await lean.chatroom()
        wire = {"from_client": "news", "message": "hi", "conv_id": sid}
        for days in (31, 0, -1):
            assert await lean.bad("POST", "/broadcasts", wire | {"valid_till": NOW_MS + days * DAY_MS}) == (400, 1)
        for id in (cid, rid):
            assert await lean.bad("POST", "/broadcasts", wire | {"conv_id": id}) == (400, 4313)
        assert await lean.bad("POST", "/broadcasts", wire | {"conv_id": NOBODY}) == (404, 4401)
        mid, time = await lean.broadcast(sid, "1", valid_till=NOW_MS + 30 * DAY_MS)
        which = {"from_client": "news", "timestamp": time}
        await lean.ok("PUT", f"/service-conversations/{sid}/messages/{mid}", which | {"message": "2"})
        await lean.ok("PUT", f"/broadcasts/{mid}", which | {"message": "3"})
        old = {"from_peer": "news", "message": "4", "conv_id": sid}
        await lean.ok("POST", "/1.1/rtm/broadcast", old)
        for text in map(str, range(5, 31)):
            await lean.broadcast(sid, text)
        over = await lean.call("POST", "/broadcasts", wire)
        assert over.status_code == 429
        assert over.json() == {"code": 429, "error": "The daily quota of system messages is exceeded."}
        assert 1 <= int(over.headers["retry-after"]) <= 86_400
        assert await lean.bad("PUT", f"/broadcasts/{mid}", which | {"message": "x"}) == (429, 429)
        assert await lean.bad("POST", "/1.1/rtm/broadcast", old) == (429, 429)
        # Neither deletes nor reads are counted, and the other kinds of messages have quotas of their own.
        assert len(await lean.ok("GET", "/broadcasts", params={"conv_id": sid})) == 28
        await lean.ok("DELETE", f"/broadcasts/{mid}")
        await lean.send(f"/service-conversations/{sid}", "hi", to_clients=["bob"])
        clock.pass_ms(DAY_MS)
        await lean.broadcast(sid, "31")


async def test_a_broadcast_ends(lean: Lean) -> None:
    """Nobody gets it any more, and nobody finds it."""
    clock = StoppedClock()
    async with leancloud(clock=clock) as lean:
        sid = await lean.service()
        await lean.waiting("bob")
        await lean.broadcast(sid, "short", valid_till=NOW_MS + 1_000)
        await lean.broadcast(sid, "long", valid_till=NOW_MS + 2_000)
        clock.pass_ms(999)
        assert await lean.waiting("bob") == ["short", "long"]
        clock.pass_ms(1)
        assert await lean.waiting("bob") == ["long"]
        assert [each["data"] for each in await lean.ok("GET", "/broadcasts", params={"conv_id": sid})] == ["long"]
        clock.pass_ms(1_000)
        assert await lean.waiting("bob") == []


async def test_who_comes_for_the_first_time_gets_the_newest(lean: Lean) -> None:
    sid, other = await lean.service(), await lean.service()
    await lean.waiting("bob")
    await lean.broadcast(sid, "one")
    await lean.broadcast(other, "two")
    assert await lean.waiting("bob") == ["one", "two"]
    assert await lean.waiting("dave") == ["two"]
    await lean.broadcast(sid, "three")
    assert await lean.waiting("dave") == ["two", "three"]


async def test_a_transient_broadcast_is_for_who_is_there(lean: Lean) -> None:
    sid = await lean.service()
    await lean.waiting("bob")
    async with lean.broker.connect(app="shop", user="alice") as alice:
        mid, time = await lean.broadcast(sid, "now", transient=True, push={"alert": "x"})
        assert mid.startswith("sb_")
        assert await next_of(alice, 1) == [("message", "now")]
    assert await lean.waiting("bob") == []
    assert await lean.ok("GET", "/broadcasts", params={"conv_id": sid}) == []
    edit = {"from_client": "news", "timestamp": time, "message": "x"}
    assert await lean.bad("PUT", f"/broadcasts/{mid}", edit) == (404, 4404)


async def test_no_history_shows_a_broadcast(lean: Lean) -> None:
    sid = await lean.service("bob")
    await lean.broadcast(sid, "to everyone")
    for path in ("/messages", "/clients/news/messages", f"/service-conversations/{sid}/subscribers/bob/messages"):
        assert await lean.texts(path) == []
    assert await lean.texts("/1.1/rtm/messages/history", convid=sid) == []


async def test_pages(lean: Lean) -> None:
    sid, other = await lean.service(), await lean.service()
    for text in "abcd":
        await lean.broadcast(sid, text)
    await lean.broadcast(other, "x")
    for query, found in (({}, "dcba"), ({"limit": 2}, "dc"), ({"limit": 2, "skip": 1}, "cb"), ({"skip": 4}, "")):
        for path in ("/broadcasts", "/1.1/rtm/broadcast"):
            assert await lean.texts(path, conv_id=sid, **query) == list(found)


async def test_broadcasts_that_are_wrong(lean: Lean) -> None:
    sid = await lean.service()
    wire = {"from_client": "news", "message": "hi", "conv_id": sid}
    for wrong in ({"from_client": None}, {"message": None}, {"conv_id": None}, {"push": 5}, {"valid_till": "soon"}):
        assert await lean.bad("POST", "/broadcasts", wire | wrong) == (400, 1)
    assert await lean.bad("POST", "/broadcasts", wire | {"message": "x" * 5_121}) == (400, 4109)
    assert await lean.bad("POST", "/broadcasts", wire, by=A) == (403, 403)
    assert await lean.waiting("bob") == []
    mid, time = await lean.broadcast(sid, "hi")
    path, edit = (
        f"/service-conversations/{sid}/messages/{mid}",
        {"from_client": "news", "message": "x", "timestamp": time},
    )
    other = await lean.service()
    for url, changed in (
        (path, edit | {"timestamp": time + 1}),
        (path, edit | {"from_client": "eve"}),
        (path.replace(sid, other), edit),
        (path.replace("sb_", ""), edit),
        (f"{path}x", edit),
        (f"{path}/recall", edit),
    ):
        assert await lean.bad("PUT", url, changed) == (404, 4404)
    assert await lean.bad("PUT", path.replace(sid, NOBODY), edit) == (404, 4303)
    assert await lean.bad("DELETE", f"/broadcasts/{mid.removeprefix('sb_')}") == (404, 4404)
    assert await lean.bad("DELETE", "/broadcasts/sb_x") == (404, 4404)
    assert await lean.bad("GET", "/broadcasts", params={"conv_id": NOBODY}) == (404, 4303)
    assert await lean.waiting("bob") == ["hi"]


async def test_the_calls_of_1_1(lean: Lean) -> None:
    sid = await lean.service()
    await lean.waiting("bob")
    wire = {"from_peer": "news", "conv_id": sid, "message": {"_lctype": -1}, "push_data": {"alert": "x"}}
    said = await lean.ok("POST", "/1.1/rtm/broadcast", wire)
    assert set(said) == {"result"}
    assert said["result"]["msg-id"].startswith("sb_")
    assert await lean.waiting("bob") == ['{"_lctype":-1}']
    assert await lean.ok("DELETE", "/1.1/rtm/broadcast", b"null", params={"mid": said["result"]["msg-id"]}) == {}
    assert await lean.waiting("bob") == []
    assert await lean.bad("DELETE", "/1.1/rtm/broadcast") == (400, 1)


async def test_a_broadcast_that_is_repeated() -> None:
    """Until when it is valid is counted from each request, and yet it is the same one."""
    clock = StoppedClock()
    async with leancloud(clock=clock) as lean:
        sid, ids = await lean.service(), set()
        for _ in range(3):
            wire = {"from_client": "news", "conv_id": sid, "message": "x"}
            said = await lean.ok("POST", "/broadcasts", wire, headers={"Idempotency-Key": "k"})
            ids.add(said["msg-id"])
            clock.pass_ms(1_000)
        assert len(ids) == len(await lean.ok("GET", "/broadcasts", params={"conv_id": sid})) == 1


async def test_one_call_over_the_rate_ends_the_group_for_a_minute() -> None:
    clock, numbers = StoppedClock(), count()
    limits = Limits(leancloud_broadcast_minute=Rate(2, 60_000, "interval", 60_000))
    async with leancloud(msgspec.structs.replace(APP, limits=limits), clock=clock) as lean:
        sid = await lean.service("bob")

        async def send() -> httpx.Response:
            wire = {"from_client": "news", "message": str(next(numbers)), "conv_id": sid}
            return await lean.call("POST", "/broadcasts", wire)

        assert (await send()).status_code == 200
        assert await lean.bad("POST", "/broadcasts", {"from_client": "x", "message": "x", "conv_id": NOBODY}) == (
            404,
            4401,
        )
        assert (await send()).status_code == 200
        assert (await send()).status_code == 429
        await lean.publish(sid, "others are not concerned")
        await lean.send(f"/service-conversations/{sid}", "nor these", to_clients=["bob"])
        clock.pass_ms(59_999)
        assert (await send()).status_code == 429
        clock.pass_ms(1)
        assert (await send()).status_code == 200
