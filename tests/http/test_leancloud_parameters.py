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
