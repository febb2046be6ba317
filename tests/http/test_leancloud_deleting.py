"""Conversations and chatrooms deleted over a real socket, by their own calls and by the storage API (LeanCloud 6.1, 9)."""

from collections.abc import AsyncIterator

import pytest

from tests.support.leancloud import NOBODY, A, Lean, M, leancloud

pytestmark = pytest.mark.usefixtures("host")

ROW = "/1.1/classes/_Conversation"
KINDS = {"group": "/conversations", "room": "/chatrooms"}


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def made(lean: Lean, kind: str) -> str:
    """A new one's id."""
    return await (lean.conversation("alice", "bob") if kind == "group" else lean.chatroom())


@pytest.mark.parametrize("kind", KINDS)
async def test_a_condition_is_not_passed_over(lean: Lean, kind: str) -> None:
    """What is to be done only where it matches is not done: nobody looks whether it does."""
    id = await made(lean, kind)
    for path in (f"{KINDS[kind]}/{id}", f"{ROW}/{id}"):
        for where in ('{"a":1}', "{}", "["):
            assert await lean.bad("DELETE", path, by=A, params={"where": where}) == (400, 1)
            assert await lean.bad("DELETE", path, b"{}", by=A, params={"where": where}) == (400, 1)
            assert await lean.bad("PUT", path, {"name": "x"}, by=A, params={"where": where}) == (400, 1)
        assert await lean.bad("DELETE", path, {"where": {"a": 1}}, by=A) == (400, 1)
        assert await lean.bad("DELETE", path, b"[", by=A) == (400, 107)
        assert (await lean.ok("GET", f"{ROW}/{id}", by=A)).get("name") != "x"
        assert await lean.ok("PUT", path, {"where": "a field"}, by=A, params={"where": ""})
    assert await lean.ok("DELETE", f"{KINDS[kind]}/{id}", b"null", by=A, params={"where": ""}) == {}


@pytest.mark.parametrize("by_row", [False, True], ids=["own", "storage"])
@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_gone_with_its_messages(lean: Lean, kind: str, by_row: bool) -> None:
    id, other = await made(lean, kind), await made(lean, kind)
    path = f"{KINDS[kind]}/{id}"
    mid, at_ms = await lean.send(path, "gone")
    await lean.send(f"{KINDS[kind]}/{other}", "kept")
    async with lean.broker.connect(app="shop", user="bob") as bob:
        queued = bob.welcome.queued
    assert await lean.ok("DELETE", f"{ROW}/{id}" if by_row else path, by=A) == {}
    assert await lean.bad("POST", f"{path}/messages", {"from_client": "alice", "message": "no"}) == (404, 4401)
    wire = {"from_peer": "alice", "conv_id": id, "message": "no", "transient": False}
    assert await lean.bad("POST", "/1.1/rtm/messages", wire) == (404, 4401)
    gone = (404, 4303)
    assert await lean.bad("GET", f"{path}/messages") == gone
    assert await lean.bad("PUT", path, {"name": "x"}, by=A) == gone
    assert await lean.bad("DELETE", path, by=A) == gone
    assert await lean.bad("DELETE", f"{ROW}/{id}", by=A) == gone
    if kind == "group":
        assert await lean.bad("POST", f"{path}/members", {"client_ids": ["carol"]}, by=A) == gone
        assert await lean.bad("GET", f"{path}/mutes", by=A) == gone
    assert await lean.ok("GET", f"{ROW}/{id}", by=A) == {}
    found = await lean.ok("GET", "/all-conversations", by=A, params={"count": 1})
    assert ([row["objectId"] for row in found["results"]], found["count"]) == ([other], 1)
    for history in ("/messages", "/clients/alice/messages"):
        assert await lean.texts(history) == ["kept"]
    change = {"from_client": "alice", "timestamp": at_ms, "message": "x"}
    status, code = await lean.bad("PUT", f"{path}/messages/{mid}", change)
    assert (status, code) in (gone, (404, 4404))
    async with lean.broker.connect(app="shop", user="bob") as bob:
        assert bob.welcome.queued == queued  # until it is swept
        if kind == "group":
            assert (await anext(bob)).body == b"kept"


@pytest.mark.parametrize("wire", [None, b"null", b"{}"])
async def test_as_sdks_call_it(lean: Lean, wire: bytes | None) -> None:
    id = await lean.conversation("alice")
    assert await lean.ok("DELETE", f"{ROW}/{id}", wire, by=A) == {}


async def test_the_id_of_another_kind_is_told_from_a_wrong_one(lean: Lean) -> None:
    cid, rid = await lean.conversation("alice"), await lean.chatroom()
    assert await lean.bad("DELETE", f"/conversations/{NOBODY}", by=A) == (404, 4303)
    assert await lean.bad("DELETE", f"/conversations/{'x' * 300}", by=A) == (404, 4303)
    other = await lean.bad("PUT", f"/conversations/{rid}", {"name": "x"}, by=A)
    assert await lean.bad("DELETE", f"/conversations/{rid}", by=A) == other
    assert await lean.bad("DELETE", f"/chatrooms/{cid}", by=A) == await lean.bad(
        "PUT", f"/chatrooms/{cid}", {"name": "x"}, by=A
    )
    for path in (f"/conversations/{cid}", f"/chatrooms/{rid}"):
        assert await lean.ok("DELETE", path, by=M) == {}


async def test_a_conditional_delete_is_refused(lean: Lean) -> None:
    id = await lean.conversation("alice")
    assert await lean.bad("DELETE", f"{ROW}/{id}", by=A, params={"where": "{}"}) == (400, 1)
    assert (await lean.ok("GET", f"{ROW}/{id}", by=A))["objectId"] == id


async def test_one_that_is_unique_is_made_anew(lean: Lean) -> None:
    wire = {"m": ["alice", "bob"], "unique": True}
    first = await lean.ok("POST", "/conversations", wire, by=A)
    await lean.ok("DELETE", f"/conversations/{first['objectId']}", by=A)
    again = await lean.call("POST", "/conversations", wire, by=A)
    assert again.status_code == 201
    assert again.json()["objectId"] != first["objectId"]
