"""The calls of 1.1, as the SDKs make them (LeanCloud 9). Their Python SDK itself is in test_leancloud_sdk.py."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.support.leancloud import NOBODY, A, Lean, leancloud

pytestmark = pytest.mark.usefixtures("host")

ROW = "/1.1/classes/_Conversation"


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def test_a_row_from_its_beginning(lean: Lean) -> None:
    made = await lean.call(
        "POST", f"{ROW}?fetchWhenSave=false", {"name": "one", "m": {"__op": "Add", "objects": ["a"]}}, by=A
    )
    assert made.status_code == 201
    id = made.json()["objectId"]
    assert set(made.json()) == {"objectId", "createdAt"}
    assert made.headers["location"] == f"{ROW}/{id}"
    for operator, objects, members in (
        ("Add", ["b"], ["a", "b"]),
        ("AddUnique", ["b", "c"], ["a", "b", "c"]),
        ("Remove", ["a", "x"], ["b", "c"]),
    ):
        said = await lean.ok("PUT", f"{ROW}/{id}", {"m": {"__op": operator, "objects": objects}}, by=A)
        assert set(said) == {"updatedAt", "objectId"}
        assert (await lean.ok("GET", f"{ROW}/{id}", by=A))["m"] == members
    await lean.ok("PUT", f"{ROW}/{id}", {"m": ["z", "c"], "name": "two"}, by=A)
    row = await lean.ok("GET", f"{ROW}/{id}", by=A)
    assert (row["m"], row["name"]) == (["c", "z"], "two")
    assert await lean.ok("GET", f"{ROW}/{id}?keys=name", by=A) == {
        key: row[key] for key in ("name", "objectId", "createdAt", "updatedAt")
    }
    found = await lean.ok("GET", ROW, params={"where": json.dumps({"m": "z"}), "count": 1}, by=A)
    assert found == {"results": [row], "count": 1}


async def test_a_row_of_a_chatroom_has_no_members(lean: Lean) -> None:
    made = await lean.ok("POST", f"{ROW}?", {"tr": True, "m": ["a"]}, by=A)
    id = made["objectId"]
    await lean.ok("PUT", f"{ROW}/{id}", {"m": ["b"], "name": "room"}, by=A)
    row = await lean.ok("GET", f"{ROW}/{id}", by=A)
    assert (row["tr"], row["name"], "m" in row) == (True, "room", False)


async def test_rows_that_are_not_there(lean: Lean) -> None:
    assert await lean.ok("GET", f"{ROW}/{NOBODY}", by=A) == {}
    assert await lean.ok("GET", f"{ROW}/{'x' * 300}", by=A) == {}
    assert await lean.bad("PUT", f"{ROW}/{NOBODY}", {"name": "x"}, by=A) == (404, 4303)


async def test_what_is_refused_rather_than_done_otherwise(lean: Lean) -> None:
    cid = await lean.conversation("a")
    assert await lean.bad("PUT", f"{ROW}/{cid}", {"name": "x"}, by=A, params={"where": "{}"}) == (400, 1)
    assert await lean.bad("PUT", f"{ROW}/{cid}", {"unique": True}, by=A) == (400, 117)
    assert await lean.bad("GET", f"{ROW}?where=[1", by=A) == (400, 107)


async def test_a_send_is_transient_unless_it_says_otherwise(lean: Lean) -> None:
    cid, rid = await lean.conversation("bob"), await lean.chatroom()
    for id in (cid, rid):
        wire = {"from_peer": "alice", "conv_id": id, "message": "hi", "to_peers": ["x"]}
        said = await lean.ok("POST", "/1.1/rtm/messages", wire)
        assert set(said) == {"result"}
        assert await lean.texts("/1.1/rtm/messages/history", convid=id) == []
        await lean.ok("POST", "/1.1/rtm/messages", wire | {"transient": False})
        assert await lean.texts("/1.1/rtm/messages/history", convid=id) == ["hi"]
        for anything in (["x"] * 21, [], 5, [5], ["y" * 65]):
            await lean.ok("POST", "/1.1/rtm/messages", wire | {"to_peers": anything})
    for missing in ("from_peer", "conv_id", "message"):
        wire = {"from_peer": "alice", "conv_id": cid, "message": "hi"}
        del wire[missing]
        assert await lean.bad("POST", "/1.1/rtm/messages", wire) == (400, 1)


async def test_patches_and_deletes(lean: Lean) -> None:
    cid, rid = await lean.conversation("bob"), await lean.chatroom()
    for to, id in ((f"/conversations/{cid}", cid), (f"/chatrooms/{rid}", rid)):
        mid, time = await lean.send(to, "one")
        which = {"conv_id": id, "msg_id": mid, "timestamp": time, "from_peer": "alice", "to_peers": 5}
        assert await lean.ok("POST", "/1.1/rtm/patch/message", which | {"message": "two"}) == {"result": {}}
        assert await lean.texts(f"{to}/messages") == ["two"]
        assert await lean.ok("POST", "/1.1/rtm/patch/message", which | {"recall": True}) == {"result": {}}
        assert await lean.texts(f"{to}/messages") == ['{"_lctype":-127}']
        assert await lean.bad("POST", "/1.1/rtm/patch/message", which) == (400, 1)
        wrong = which | {"conv_id": NOBODY, "recall": True}
        assert await lean.bad("POST", "/1.1/rtm/patch/message", wrong) == (404, 4303)
        query = {"convid": id, "msgid": mid, "timestamp": time, "from": "alice"}
        assert await lean.ok("DELETE", "/1.1/rtm/messages/logs", b"null", params=query) == {}
        assert await lean.bad("DELETE", "/1.1/rtm/messages/logs", b"{}", params=query) == (404, 4404)
        assert await lean.texts(f"{to}/messages") == []


async def test_a_record_is_put_with_another_text(lean: Lean) -> None:
    """As the history shows it, all of it; or just what names the message."""
    logs = "/1.1/rtm/messages/logs"
    cid, rid = await lean.conversation("bob"), await lean.chatroom()
    for to in (f"/conversations/{cid}", f"/chatrooms/{rid}"):
        await lean.send(to, "one")
        (record,) = await lean.ok("GET", f"{to}/messages")
        assert await lean.ok("PUT", logs, record | {"data": "two"}) == {}
        assert await lean.ok("GET", f"{to}/messages") == [record | {"data": "two"}]
        named = {key: record[key] for key in ("conv-id", "msg-id", "timestamp", "from")}
        assert await lean.ok("PUT", logs, named | {"data": {"_lctype": -1, "_lctext": "three"}}) == {}
        assert await lean.texts(f"{to}/messages") == ['{"_lctype":-1,"_lctext":"three"}']
        for key in (*named, "data"):
            wire = named | {"data": "four"}
            del wire[key]
            assert await lean.bad("PUT", logs, wire) == (400, 1)
        wrong = {"conv-id": NOBODY, "from": "bob", "timestamp": 5, "msg-id": "x"}
        for key, code in (("conv-id", 4303), ("from", 4404), ("timestamp", 4404), ("msg-id", 4404)):
            assert await lean.bad("PUT", logs, named | {"data": "four", key: wrong[key]}) == (404, code)
        assert await lean.bad("PUT", logs, named | {"data": "x" * 5_121}) == (400, 4109)
        assert await lean.bad("PUT", logs, named | {"data": "four"}, by=A) == (403, 403)
        assert await lean.texts(f"{to}/messages") == ['{"_lctype":-1,"_lctext":"three"}']
