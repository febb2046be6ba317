"""How parameters may be written, and what is said of those that are wrong (LeanCloud 2.2, 3, 5)."""

from collections.abc import AsyncIterator

import pytest

from tests.support.leancloud import A, Lean, leancloud

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def test_a_text_is_no_list_of_clients(lean: Lean) -> None:
    cid, rid, sid = await lean.conversation("abc"), await lean.chatroom(), await lean.service("abc")
    text = {"client_ids": "abc"}
    for path in (
        *(f"/conversations/{cid}/{of}" for of in ("members", "mutes", "blacklists", "permanent-silenceds")),
        *(f"/chatrooms/{rid}/{of}" for of in ("blacklists", "permanent-silenceds")),
        f"/service-conversations/{sid}/blacklists",
    ):
        for method in ("POST", "DELETE"):
            assert await lean.bad(method, path, text) == (400, 1)
        assert await lean.ok("DELETE", path, params={"client_ids": "nobody"}) is not None
    assert await lean.ok("GET", f"/conversations/{cid}/members", by=A) == {"result": ["abc"]}
    assert await lean.bad("POST", "/clients/check-online", text) == (400, 1)
    assert await lean.bad("POST", "/1.1/rtm/online", {"peers": "abc"}) == (400, 1)
    wire = {"from_client": "news", "message": "hi"}
    assert await lean.bad("POST", f"/service-conversations/{sid}/messages", wire | {"to_clients": "abc"}) == (400, 1)
    mentions = {"mention_client_ids": "abc"}
    assert await lean.bad("POST", f"/conversations/{cid}/messages", wire | mentions) == (400, 1)
    old = {"from_peer": "news", "message": "hi", "conv_id": sid}
    assert await lean.bad("POST", "/1.1/rtm/messages", old | {"to_peers": "abc"}) == (400, 1)


@pytest.mark.parametrize("limit", ["0", "-1", "abc", "1.5", "9" * 20, "1" + "0" * 18, "", "9" * 5_000])
async def test_a_limit_that_is_none(lean: Lean, limit: str) -> None:
    """Of every call that has one."""
    cid, sid = await lean.conversation("bob"), await lean.service("bob")
    await lean.send(f"/conversations/{cid}", "hi")
    query, of = {"limit": limit}, {"limit": limit, "conv_id": sid}
    for path in ("/conversations", "/all-conversations", "/1.1/classes/_Conversation"):
        assert (await lean.ok("GET", path, params=query))["results"]
    for path in (f"/conversations/{cid}/messages", "/messages", "/clients/alice/messages", "/1.1/rtm/messages/history"):
        assert await lean.texts(path, **query) == ["hi"]
    for path in (f"/conversations/{cid}/blacklists", f"/conversations/{cid}/permanent-silenceds"):
        assert await lean.ok("GET", path, params=query) == {"client_ids": []}
    assert await lean.ok("GET", f"/conversations/{cid}/member-infos", params=query) == {"results": []}
    assert await lean.ok("GET", "/clients/bob/blacklists", params=query) == {"conv_ids": []}
    for path in (f"/service-conversations/{sid}/subscribers", "/clients/bob/service-conversations"):
        assert len(await lean.ok("GET", path, params=query)) == 1
    assert len(await lean.ok("GET", "/1.1/rtm/conversation/subscribers", params=of)) == 1
    assert await lean.ok("GET", "/broadcasts", params=of) == []


@pytest.mark.parametrize("number", ["9" * 18, "1" + "0" * 18, "9" * 40])
async def test_whole_numbers_beyond_all_measure(lean: Lean, number: str) -> None:
    cid, sid = await lean.conversation("bob"), await lean.service("bob")
    mid, time = await lean.send(f"/conversations/{cid}", "hi")
    assert await lean.ok("GET", "/conversations", params={"skip": number}) == {"results": []}
    assert await lean.ok("GET", f"/conversations/{cid}/member-infos", params={"skip": number}) == {"results": []}
    assert await lean.ok("GET", f"/conversations/{cid}/member-infos", params={"skip": f"-{number}"}) == {"results": []}
    assert await lean.ok("GET", "/broadcasts", params={"skip": number, "conv_id": sid}) == []
    path = f"/conversations/{cid}/messages"
    assert await lean.texts(path, timestamp=number) == ["hi"]
    assert await lean.texts(path, timestamp=f"-{number}") == []
    assert await lean.texts(path, till_timestamp=number) == []
    wire = {"from_client": "alice", "message": "x", "timestamp": number}
    assert await lean.bad("PUT", f"{path}/{mid}", wire) == (404, 4404)
    assert await lean.bad("PUT", f"{path}/{mid}", wire | {"timestamp": int(number)}) == (404, 4404)
    assert await lean.bad("GET", path, params={"timestamp": "1.5"}) == (400, 1)
    assert await lean.ok("PUT", f"{path}/{mid}", wire | {"timestamp": float(time)}) == {"result": {}}
