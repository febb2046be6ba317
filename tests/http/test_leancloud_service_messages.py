"""What service conversations send, and what becomes of it (LeanCloud 6.3, 6.4)."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.support.leancloud import APP, LEANCLOUD, A, Lean, leancloud, next_of

pytestmark = pytest.mark.usefixtures("host")

RECALLED = '{"_lctype":-127}'


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def test_a_message_to_subscribers(lean: Lean) -> None:
    """To those of this moment; the sender is a receiver like any other."""
    sid = await lean.service("alice", "news")
    await lean.publish(sid, "one", push={"alert": "x"})
    await lean.ok("POST", f"/service-conversations/{sid}/subscribers", {"client_id": "late"})
    await lean.ok("DELETE", f"/service-conversations/{sid}/subscribers/alice")
    await lean.publish(sid, "two", push_data="x")
    assert [await lean.waiting(user) for user in ("alice", "news", "late")] == [["one"], ["one", "two"], ["two"]]
    base = f"/service-conversations/{sid}/subscribers"
    assert await lean.texts(f"{base}/alice/messages") == ["one"]
    assert await lean.texts(f"{base}/news/messages", reversed=True) == ["one", "two"]
    assert await lean.texts(f"{base}/stranger/messages") == []
    assert await lean.texts("/messages") == ["two", "one"]
    assert await lean.texts("/clients/news/messages") == []  # others than service conversations
    assert await lean.texts("/1.1/rtm/messages/history", convid=sid) == ["two", "one"]


async def test_a_message_by_name(lean: Lean) -> None:
    sid = await lean.service("alice")
    base = f"/service-conversations/{sid}"
    async with lean.broker.connect(app="shop", user="news") as own, lean.broker.connect(app="shop", user="bob") as bob:
        await lean.send(base, "one", "news", to_clients=["bob", "bob", "carol"])
        await lean.send(base, "two", "news", to_clients=["bob"], no_sync=True)
        await lean.send(base, "now", "news", to_clients=["bob", "carol"], transient=True, priority="low")
        assert await next_of(bob, 3) == [("message", text) for text in ("one", "two", "now")]
        assert await next_of(own, 2) == [("message", "one"), ("message", "now")]
    assert (await lean.waiting("carol"), await lean.waiting("alice")) == (["one"], [])
    for wrong in (None, [], "bob", 5, [5]):
        wire = {"from_client": "news", "message": "x", "to_clients": wrong}
        if wrong != "bob":  # one name is a list of it, as in a query
            assert await lean.bad("POST", f"{base}/messages", wire) == (400, 1)
    assert await lean.bad("POST", f"{base}/messages", {"from_client": "n", "message": "x"}, by=A) == (403, 403)


async def test_changes_of_a_message_to_subscribers(lean: Lean) -> None:
    sid = await lean.service("alice", "bob")
    base = f"/service-conversations/{sid}"
    async with lean.broker.connect(app="shop", user="alice") as alice:
        mid, time = await lean.publish(sid, "one")
        which = {"from_client": "news", "timestamp": time}
        assert await next_of(alice, 1) == [("message", "one")]
        for wrong in ({"from_client": "eve"}, {"timestamp": time + 1}):
            assert await lean.bad("PUT", f"{base}/messages/{mid}", which | {"message": "x"} | wrong) == (404, 4404)
        assert await lean.bad("PUT", f"{base}/messages/{mid}", which | {"message": "x", "to_clients": ["bob"]}) == (
            400,
            1,
        )
        assert await lean.ok("PUT", f"{base}/messages/{mid}", which | {"message": "two"}) == {"result": {}}
        assert await next_of(alice, 1) == [("edited", "two")]
    assert (await lean.waiting("bob"))[0] == "two"
    assert await lean.texts(f"{base}/subscribers/bob/messages") == ["two"]
    assert await lean.ok("PUT", f"{base}/messages/{mid}/recall", which) == {"result": {}}
    assert await lean.texts(f"{base}/subscribers/bob/messages") == [RECALLED]
    assert await lean.bad("PUT", f"{base}/messages/{mid}", which | {"message": "x"}) == (404, 4404)
    assert await lean.ok("PUT", f"{base}/messages/{mid}/recall", which) == {"result": {}}
    other = await lean.service()
    assert await lean.bad("PUT", f"/service-conversations/{other}/messages/{mid}/recall", which) == (404, 4404)


async def test_changes_of_the_copies_of_some(lean: Lean) -> None:
    sid = await lean.service()
    base = f"/service-conversations/{sid}"
    users = ["alice", "bob", "carol"]

    async def seen() -> list[list[str]]:
        return [await lean.texts(f"{base}/subscribers/{user}/messages") for user in users]

    mid, time = await lean.send(base, "one", "news", to_clients=users)
    which = {"from_client": "news", "timestamp": time}
    path, edit = f"{base}/messages/{mid}", which | {"message": "two"}
    assert await lean.bad("PUT", path, edit) == (400, 1)
    assert await lean.bad("PUT", f"{path}/recall", which) == (400, 1)
    assert await lean.bad("PUT", path, edit | {"to_clients": ["stranger"]}) == (404, 4404)
    async with lean.broker.connect(app="shop", user="alice") as alice:
        assert await next_of(alice, 1) == [("message", "one")]
        assert await lean.ok("PUT", path, edit | {"to_clients": ["alice", "bob"]}) == {"result": {}}
        assert await next_of(alice, 1) == [("edited", "two")]
    assert await seen() == [["two"], ["two"], ["one"]]
    assert await lean.texts("/messages") == ["one"]
    assert await lean.ok("PUT", f"{path}/recall", which | {"to_clients": ["alice"]}) == {"result": {}}
    assert await seen() == [[RECALLED], ["two"], ["one"]]
    three = which | {"message": "three"}
    assert await lean.bad("PUT", path, three | {"to_clients": users}) == (
        404,
        4404,
    )  # it was taken back from one of them
    assert await lean.ok("PUT", path, three | {"to_clients": users[1:]}) == {"result": {}}
    assert (await lean.texts("/messages"), await seen()) == (["one"], [[RECALLED], ["three"], ["three"]])
    assert await lean.ok("PUT", f"{path}/recall", which | {"to_clients": users}) == {"result": {}}
    assert (await lean.texts("/messages"), await seen()) == ([RECALLED], [[RECALLED]] * 3)


async def test_a_message_hidden_from_one(lean: Lean) -> None:
    sid = await lean.service("alice", "bob")
    base = f"/service-conversations/{sid}"
    mid, time = await lean.publish(sid, "hi")
    query = {"from_client": "news", "timestamp": time}
    path = f"{base}/subscribers/{{}}/messages/{mid}"
    assert await lean.bad("DELETE", path.format("alice"), params=query | {"timestamp": 1}) == (404, 4404)
    assert await lean.ok("DELETE", path.format("alice"), params=query) == {}
    assert await lean.bad("DELETE", path.format("alice"), params=query) == (404, 4404)
    assert await lean.bad("DELETE", path.format("stranger"), params=query) == (404, 4404)
    assert [await lean.texts(f"{base}/subscribers/{user}/messages") for user in ("alice", "bob")] == [[], ["hi"]]
    assert await lean.waiting("bob") == ["hi"]
    await lean.publish(sid, "next")
    async with lean.broker.connect(app="shop", user="alice") as alice:
        assert await next_of(alice, 1) == [("message", "next")]
    mid, time = await lean.send(base, "by name", "news", to_clients=["alice", "bob"])
    query = {"from_client": "news", "timestamp": time}
    for user, left in (("alice", ["by name", "next", "hi"]), ("bob", ["next", "hi"])):
        assert await lean.ok("DELETE", f"{base}/subscribers/{user}/messages/{mid}", params=query) == {}
        assert await lean.texts("/messages") == left


async def test_the_history_of_a_client_in_parts(lean: Lean) -> None:
    """With the same bounds as any other; both ways of sending are one history."""
    sid = await lean.service("alice")
    base = f"/service-conversations/{sid}"
    path = f"{base}/subscribers/alice/messages"
    id1, t1 = await lean.publish(sid, "1")
    await lean.send(base, "2", "news", to_clients=["alice"])
    await lean.send(base, "not hers", "news", to_clients=["bob"])
    id3, t3 = await lean.publish(sid, "3")
    ends = {"timestamp": t3, "msgid": id3, "till_timestamp": t1, "till_msgid": id1}
    assert await lean.texts(path, **ends) == ["2"]
    assert await lean.texts(path, **ends, include_start=True, include_stop=True) == ["3", "2", "1"]
    assert await lean.texts(path, limit=2, reversed="True") == ["1", "2"]


async def test_an_app_may_want_its_queries_signed() -> None:
    signed = msgspec.structs.replace(APP, leancloud=msgspec.structs.replace(LEANCLOUD, sign_history=True))
    async with leancloud(signed) as lean:
        sid = await lean.service("alice")
        assert await lean.bad("GET", f"/service-conversations/{sid}/subscribers/alice/messages") == (401, 4302)
