"""Unread counts over LeanCloud's API: what counts, where no kind is given, and who may ask (LeanCloud 6.8, 7.7, 9)."""

from collections.abc import AsyncIterator

import pytest

from postroom.core import group, service
from postroom.core.commands import CreateConversation, MarkRead
from postroom.core.ids import UnixMs
from tests.support.leancloud import NOBODY, A, Lean, leancloud
from tests.support.native_client import session

pytestmark = pytest.mark.usefixtures("host")

OLD = "/1.1/rtm/messages/unread"


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def unread(lean: Lean, client: str, cid: str | None = None) -> int:
    """As all calls say it."""
    said = await lean.ok("GET", f"/clients/{client}/unread-count", by=A, params={"conv_id": cid} if cid else {})
    old = await lean.ok("GET", f"{OLD}/{client}/{cid}" if cid else f"{OLD}/{client}", by=A)
    assert said == old
    assert set(said) == {"count"}
    count: int = said["count"]
    assert type(count) is int
    return count


async def test_l30_unread_messages(lean: Lean) -> None:
    cid, other = await lean.conversation("alice", "bob"), await lean.conversation("bob", "carol")
    for number in range(1, 4):
        await lean.send(f"/conversations/{cid}", "hi")
        assert await unread(lean, "bob") == number
    await lean.send(f"/conversations/{other}", "hi", sender="carol")
    assert (await unread(lean, "bob"), await unread(lean, "bob", cid), await unread(lean, "bob", other)) == (4, 3, 1)
    assert (await unread(lean, "alice"), await unread(lean, "carol", other)) == (0, 0)
    assert (await unread(lean, "nobody"), await unread(lean, "nobody", cid)) == (0, 0)


async def test_only_a_mark_makes_it_less(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    sent = [await lean.send(f"/conversations/{cid}", "hi") for _ in range(3)]
    named = {"from_client": "alice", "timestamp": sent[0][1]}
    await lean.ok("PUT", f"/conversations/{cid}/messages/{sent[0][0]}/recall", named)
    await lean.ok("DELETE", f"/conversations/{cid}/messages/{sent[1][0]}", named | {"timestamp": sent[1][1]})
    async with session(lean.served, "bob") as bob:
        await bob.take(2)
        assert await unread(lean, "bob") == 3
        mark = {"conversation": {"kind": "group", "id": cid}, "until": sent[2][1]}
        assert await bob.ask(type="read", **mark) == {"type": "ok"}
    assert await unread(lean, "bob") == 0


async def test_who_joins_has_read_what_was_before(lean: Lean) -> None:
    cid = await lean.conversation("alice")
    await lean.send(f"/conversations/{cid}", "before", sender="dan")
    await lean.ok("POST", f"/conversations/{cid}/members", {"client_ids": ["bob"]}, by=A)
    assert (await unread(lean, "alice", cid), await unread(lean, "bob", cid)) == (1, 0)
    await lean.send(f"/conversations/{cid}", "after", sender="dan")
    assert (await unread(lean, "alice"), await unread(lean, "bob")) == (2, 1)
    await lean.ok("DELETE", f"/conversations/{cid}/members", {"client_ids": ["alice"]}, by=A)
    assert (await unread(lean, "alice"), await unread(lean, "alice", cid)) == (0, 0)


async def test_chatrooms_have_no_unread(lean: Lean) -> None:
    rid = await lean.chatroom()
    async with lean.broker.connect(app="shop", user="bob") as bob:
        await bob.join(rid)
        await lean.send(f"/chatrooms/{rid}", "hi")
        assert (await unread(lean, "bob"), await unread(lean, "bob", rid)) == (0, 0)


async def test_an_id_is_looked_for_in_every_kind(lean: Lean) -> None:
    await lean.broker.submit(CreateConversation(app="shop", conversation=service("news")))
    assert await unread(lean, "bob", "news") == 0
    await lean.broker.submit(CreateConversation(app="shop", conversation=group("news"), members=("bob",)))
    await lean.send("/conversations/news", "hi")
    assert await unread(lean, "bob", "news") == 1
    for path in (f"/clients/bob/unread-count?conv_id={NOBODY}", f"{OLD}/bob/{NOBODY}"):
        assert await lean.bad("GET", path, by=A) == (404, 4303)
    assert await lean.bad("GET", f"/clients/bob/unread-count?conv_id={'x' * 257}", by=A) == (404, 4303)


async def test_what_is_wrong(lean: Lean) -> None:
    long = "x" * 65
    for path in (f"/clients/{long}/unread-count", f"{OLD}/{long}", f"{OLD}/{long}/{NOBODY}"):
        assert await lean.bad("GET", path, by=A) == (400, 4103)
        assert await lean.bad("GET", path, by={}) == (401, 401)
    await lean.broker.submit(CreateConversation(app="shop", conversation=group("g"), members=("bob",)))
    await lean.broker.submit(MarkRead(app="shop", user="bob", conversation=group("g"), until_ms=UnixMs(1)))
    assert await lean.ok("GET", f"{OLD}/bob") == {"count": 0}  # the master key may, too
