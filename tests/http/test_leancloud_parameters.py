"""How parameters may be written, and what is said of those that are wrong (LeanCloud 2.2, 3, 5)."""

from collections.abc import AsyncIterator

import pytest

from tests.support.leancloud import A, Lean, leancloud, refused

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


async def error(lean: Lean, method: str, path: str, wire: object = None, **query: object) -> str:
    """The text of a call that is refused for a parameter of its."""
    reply = await lean.call(method, path, wire, params=query)
    assert refused(reply) == (400, 1)
    text: str = reply.json()["error"]
    return text


async def test_an_error_begins_with_the_name_of_a_parameter(lean: Lean) -> None:
    """Also where the core checks it, which calls it otherwise."""
    cid, rid, sid = await lean.conversation("bob"), await lean.chatroom(), await lean.service("bob")
    many = {"client_ids": [f"u{number}" for number in range(501)]}
    for method, path in (
        ("DELETE", f"/conversations/{cid}/members"),
        ("DELETE", f"/conversations/{cid}/mutes"),
        ("DELETE", f"/conversations/{cid}/blacklists"),
        ("DELETE", f"/conversations/{cid}/permanent-silenceds"),
        *((method, f"/chatrooms/{rid}/blacklists") for method in ("POST", "DELETE")),
        *((method, f"/chatrooms/{rid}/permanent-silenceds") for method in ("POST", "DELETE")),
        *((method, f"/service-conversations/{sid}/blacklists") for method in ("POST", "DELETE")),
    ):
        assert await error(lean, method, path, many) == "client_ids: at most 500", path
    for next in ("000", "0" * 24):
        assert (await error(lean, "GET", "/clients/u/blacklists", next=next)).startswith("next: ")
    for next in ("000", "0" * 14):
        assert (await error(lean, "GET", f"/chatrooms/{rid}/blacklists", next=next)).startswith("next: ")
    silence = {"client_id": "bob", "ttl": 5, "conv_id": sid}
    for method in ("POST", "DELETE"):
        assert (await error(lean, method, "/1.1/rtm/conversation/blacklist", silence)).startswith("conv_id: ")
    assert (await error(lean, "GET", "/conversations", order="name", skip=10_001)).startswith("skip: ")


async def test_an_error_about_a_field_begins_with_its_name(lean: Lean) -> None:
    """Whatever it is called: the core has fields of its own."""
    names = ("level", "users", "conversation", "offset", "after")
    cid = await lean.conversation("bob", **dict.fromkeys(names, "text"))
    path = f"/conversations/{cid}"
    for name in names:
        wire: dict[str, object] = {name: {"__op": "Increment"}}
        assert await error(lean, "PUT", path, wire) == f"{name}: increment works on a number"
        long = await error(lean, "PUT", path, {name: "x" * 300_000})
        assert long == f"{name}: 300002 bytes are more than the 131072 allowed"
    long = await error(lean, "POST", "/conversations", {"level": "x" * 300_000})
    assert long == "attributes: 300012 bytes are more than the 131072 allowed"
    half = "x" * 70_000
    assert (await error(lean, "PUT", path, {"a": half, "b": half})).startswith("attributes: ")
    assert (
        await error(lean, "PUT", path, {f"k{n}": 1 for n in range(1_001)})
    ) == "attributes: at most 1000 in one call"


async def test_no_field_is_called_error(lean: Lean) -> None:
    """Clients take whatever has it for a failure."""
    for path, kind in (("/conversations", {}), ("/1.1/classes/_Conversation", {"sys": True})):
        wire = {"name": "one", "error": "boom"} | kind
        assert await lean.bad("POST", path, wire, by=A) == (400, 105)
        assert await lean.bad("POST", path, wire | {"unique": True, "m": ["z"]}, by=A) == (400, 105)
    cid = await lean.conversation("z", errors=1)
    for path in (f"/conversations/{cid}", f"/1.1/classes/_Conversation/{cid}"):
        assert await lean.bad("PUT", path, {"error": "boom"}, by=A) == (400, 105)


async def test_unique_is_written_like_any_boolean(lean: Lean) -> None:
    ids = set()
    for path in ("/conversations", "/1.1/classes/_Conversation"):
        for value in (True, "true", "True", 1, "1"):
            row = await lean.ok("POST", path, {"m": ["z"], "unique": value}, by=A)
            assert row["unique"] is True
            ids.add(row["objectId"])
    assert len(ids) == 1
    assert "unique" not in await lean.ok("POST", "/conversations", {"m": ["z"], "unique": "False"}, by=A)
    assert await lean.bad("POST", "/conversations", {"m": ["z"], "unique": "yes"}, by=A) == (400, 1)
