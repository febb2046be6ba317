"""Silences, bans, roles and blocks of LeanCloud's contract over a real socket (LeanCloud 6.7, 9, 11)."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postroom.core import SendMessage, group, room
from postroom.core.commands import CreateConversation
from postroom.core.errors import Banned, Silenced
from postroom.core.model import Conversation, service
from postroom.storage.lmdb import LmdbStore
from tests.support.leancloud import APP, FORM, NOBODY, A, Lean, leancloud

pytestmark = pytest.mark.usefixtures("host")

KINDS = ("conversations", "chatrooms")


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def made(lean: Lean, kind: str) -> str:
    """The path of a new one; a conversation has alice, bob and carol."""
    id = await (lean.conversation("alice", "bob", "carol") if kind == "conversations" else lean.chatroom())
    return f"/{kind}/{id}"


def names(path: str) -> Conversation:
    """What a path names."""
    _, kind, id = path.split("/")
    return group(id) if kind == "conversations" else room(id)


async def speak(lean: Lean, path: str, user: str) -> None:
    """As a native client does."""
    await lean.broker.submit(SendMessage(app=APP.name, sender=user, to=names(path), body=b"hi", speaks=True))


# Checks 20 to 22.


async def test_l20_silenced_for_a_while(lean: Lean) -> None:
    for kind in KINDS:
        path = await made(lean, kind)
        for ttl in (86_401, 0, -1, None, "soon", 1.5):
            assert await lean.bad("POST", f"{path}/temporary-silenceds", {"client_id": "bob", "ttl": ttl}) == (400, 1)
        assert await lean.ok("POST", f"{path}/temporary-silenceds", {"client_id": "bob", "ttl": 60}) == {}
        await lean.send(path, "on his behalf", "bob")
        with pytest.raises(Silenced) as refused:
            await speak(lean, path, "bob")
        assert 55_000 < (refused.value.retry_after_ms or 0) <= 60_000
        for _ in range(2):
            assert await lean.ok("DELETE", f"{path}/temporary-silenceds", params={"client_id": "bob"}) == {}
            await speak(lean, path, "bob")


async def test_l21_banned_from_a_conversation(lean: Lean) -> None:
    path = await made(lean, "conversations")
    assert await lean.ok("POST", f"{path}/blacklists", {"client_ids": ["carol"]}) == {}
    assert await lean.ok("GET", f"{path}/members", by=A) == {"result": ["alice", "bob"]}
    assert await lean.bad("POST", f"{path}/members", {"client_ids": ["dave", "carol"]}, by=A) == (400, 4548)
    assert await lean.ok("GET", f"{path}/members", by=A) == {"result": ["alice", "bob"]}
    # The vendor's own samples ask with a body.
    assert await lean.ok("GET", f"{path}/blacklists", {"client_ids": ["x"]}) == {"client_ids": ["carol"]}
    assert await lean.ok("DELETE", f"{path}/blacklists", {"client_ids": ["carol"]}, headers=FORM) == {}
    await lean.ok("POST", f"{path}/members", {"client_ids": ["carol"]}, by=A)
    assert await lean.ok("GET", f"{path}/members", by=A) == {"result": ["alice", "bob", "carol"]}


async def test_l22_silenced_for_good_page_by_page(lean: Lean) -> None:
    for kind in KINDS:
        path = f"{await made(lean, kind)}/permanent-silenceds"
        ids = [f"u{number}" for number in range(12)]
        assert await lean.ok("POST", path, {"client_ids": ids}) == {}
        page = await lean.ok("GET", path)
        assert page["client_ids"] == ids[:10]
        assert await lean.ok("GET", path, params={"next": page["next"]}) == {"client_ids": ids[10:]}
        assert await lean.ok("GET", path, params={"limit": 12}) == {"client_ids": ids}
        assert (await lean.ok("GET", path, params={"limit": 1_001}))["client_ids"] == ids[:10]
        for wrong in ("1", "0" * 23, "é"):
            assert await lean.bad("GET", path, params={"next": wrong}) == (400, 1)
        assert await lean.ok("DELETE", path, {"client_ids": [*ids[1:], "stranger"]}) == {}
        assert await lean.ok("GET", path) == {"client_ids": ["u0"]}


# Bans and silences.


@pytest.mark.parametrize("kind", KINDS)
async def test_who_is_banned_or_silenced_does_not_talk(lean: Lean, kind: str) -> None:
    path = await made(lean, kind)
    await lean.ok("POST", f"{path}/blacklists", {"client_ids": ["carol"]})
    await lean.ok("POST", f"{path}/permanent-silenceds", {"client_ids": ["bob"]})
    with pytest.raises(Banned):
        await speak(lean, path, "carol")
    with pytest.raises(Silenced):
        await speak(lean, path, "bob")
    await lean.send(path, "on her behalf", "carol")
    assert await lean.ok("GET", f"{path}/blacklists") == {"client_ids": ["carol"]}
    assert await lean.ok("GET", f"{path}/permanent-silenceds") == {"client_ids": ["bob"]}


async def test_who_is_banned_does_not_come_into_a_chatroom(lean: Lean) -> None:
    path = await made(lean, "chatrooms")
    async with lean.broker.connect(app=APP.name, user="carol") as session:
        await session.join(names(path).id)
        assert await lean.ok("GET", f"{path}/members") == {"result": ["carol"]}
        await lean.ok("POST", f"{path}/blacklists", {"client_ids": ["carol"]})
        assert await lean.ok("GET", f"{path}/members") == {"result": []}
        with pytest.raises(Banned):
            await session.join(names(path).id)


async def test_full_lists_refuse_all_of_a_call(lean: Lean) -> None:
    path = await made(lean, "conversations")
    ids = [f"u{number}" for number in range(501)]
    for calls, code in (("blacklists", 4543), ("permanent-silenceds", 4561)):
        assert await lean.bad("POST", f"{path}/{calls}", {"client_ids": ids}) == (400, code)
        await lean.ok("POST", f"{path}/{calls}", {"client_ids": ids[:499]})
        assert await lean.bad("POST", f"{path}/{calls}", {"client_ids": ids[499:]}) == (400, code)
        page = await lean.ok("GET", f"{path}/{calls}", params={"limit": 1_000})
        assert page == {"client_ids": ids[:499]}


async def test_what_a_room_takes_at_once(lean: Lean) -> None:
    path = await made(lean, "chatrooms")
    ids = [f"u{number}" for number in range(501)]
    for calls in ("blacklists", "permanent-silenceds"):
        assert await lean.bad("POST", f"{path}/{calls}", {"client_ids": ids}) == (400, 1)
        for some in (ids[:500], ids[500:]):
            await lean.ok("POST", f"{path}/{calls}", {"client_ids": some})


# Roles.


@pytest.mark.parametrize("kind", KINDS)
async def test_roles(lean: Lean, kind: str) -> None:
    path = f"{await made(lean, kind)}/member-infos"
    alice = await lean.ok("POST", path, {"clientId": "alice", "role": "Owner"})
    assert set(alice) == {"updatedAt", "objectId"}
    assert re.fullmatch("[0-9a-f]{24}", alice["objectId"])
    bob = await lean.ok("POST", path, {"client_id": "bob", "role": "Manager"})
    rows = [
        {"clientId": "alice", "objectId": alice["objectId"], "role": "Owner"},
        {"clientId": "bob", "objectId": bob["objectId"], "role": "Manager"},
    ]
    assert await lean.ok("GET", path) == {"results": rows}
    assert await lean.ok("GET", path, params={"skip": 1, "limit": 5}) == {"results": rows[1:]}
    assert await lean.ok("GET", path, params={"role": "Owner"}) == {"results": rows[:1]}
    # One record a client.
    assert (await lean.ok("POST", path, {"clientId": "bob", "role": "Member"}))["objectId"] == bob["objectId"]
    one = f"{path}/{bob['objectId']}"
    assert (await lean.ok("PUT", one, {"role": "Manager", "clientId": "bob"}))["objectId"] == bob["objectId"]
    assert (await lean.ok("PUT", one, {}))["objectId"] == bob["objectId"]
    assert await lean.ok("GET", path) == {"results": rows}
    assert await lean.ok("DELETE", one, b"null") == {}
    assert await lean.ok("GET", path) == {"results": rows[:1]}
    assert await lean.bad("DELETE", one) == (404, 101)
    assert await lean.bad("PUT", one, {"role": "Member"}) == (404, 101)


async def test_roles_that_cannot_be(lean: Lean) -> None:
    path = f"{await made(lean, 'conversations')}/member-infos"
    alice = await lean.ok("POST", path, {"clientId": "alice", "role": "Owner"})
    one = f"{path}/{alice['objectId']}"
    for method, where, wire in (
        ("POST", path, {"clientId": "alice", "role": "Member"}),
        ("PUT", one, {"role": "Manager"}),
        ("DELETE", one, None),
    ):
        assert await lean.bad(method, where, wire) == (400, 4324)
    for role in ("King", "owner", ""):
        assert await lean.bad("POST", path, {"clientId": "bob", "role": role}) == (400, 4321)
    assert await lean.bad("PUT", one, {"role": "King"}) == (400, 4321)
    assert await lean.bad("PUT", one, {"clientId": "bob"}) == (400, 1)
    assert await lean.bad("GET", path, params={"role": "King"}) == (400, 4321)
    assert await lean.bad("POST", path, {"role": "Owner"}) == (400, 1)
    assert await lean.bad("POST", path, {"clientId": "bob"}) == (400, 1)
    await lean.ok("POST", path, {"clientId": "bob", "role": "Owner"})
    assert await lean.ok("DELETE", one) == {}


async def test_the_same_client_has_another_record_elsewhere(lean: Lean) -> None:
    ids = set()
    for kind in ("conversations", "conversations", "chatrooms"):
        path = f"{await made(lean, kind)}/member-infos"
        ids.add((await lean.ok("POST", path, {"clientId": "alice", "role": "Owner"}))["objectId"])
    assert len(ids) == 3


# Blocks.


async def test_what_a_client_blocks(lean: Lean) -> None:
    conversation, other = await lean.conversation("alice"), await lean.conversation("alice", "bob")
    chatroom = await lean.chatroom()
    for id in (other, chatroom, conversation, other):
        assert await lean.ok("POST", "/clients/bob/blacklists", {"conv_id": id}) == {}
    wire = {"client_ids": ["bob"]}
    assert await lean.bad("POST", f"/conversations/{conversation}/members", wire, by=A) == (400, 4548)
    assert await lean.ok("GET", f"/conversations/{other}/members", by=A) == {"result": ["alice", "bob"]}
    page = await lean.ok("GET", "/clients/bob/blacklists", params={"limit": 2})
    assert page["conv_ids"] == [conversation, other]
    assert await lean.ok("GET", "/clients/bob/blacklists", params={"next": page["next"]}) == {"conv_ids": [chatroom]}
    assert await lean.ok("GET", "/clients/alice/blacklists") == {"conv_ids": []}
    for _ in range(2):
        assert await lean.ok("DELETE", "/clients/bob/blacklists", {"conv_id": conversation}, headers=FORM) == {}
    await lean.ok("POST", f"/conversations/{conversation}/members", wire, by=A)
    assert await lean.bad("POST", "/clients/bob/blacklists", {"conv_id": NOBODY}) == (404, 4303)
    assert await lean.bad("POST", "/clients/bob/blacklists", {}) == (400, 1)
    assert await lean.bad("POST", f"/clients/{'x' * 65}/blacklists", {"conv_id": other}) == (400, 4103)


# Whatever it is.


CALLS = (
    ("POST", "temporary-silenceds", {"client_id": "bob", "ttl": 60}),
    ("DELETE", "temporary-silenceds", {"client_id": "bob"}),
    *(
        (method, path, {"client_ids": ["bob"]})
        for path in ("permanent-silenceds", "blacklists")
        for method in ("POST", "DELETE", "GET")
    ),
    ("POST", "member-infos", {"clientId": "bob", "role": "Owner"}),
    ("GET", "member-infos", None),
    ("PUT", "member-infos/x", {"role": "Owner"}),
    ("DELETE", "member-infos/x", None),
)


@pytest.mark.parametrize(("method", "call", "wire"), CALLS)
async def test_of_a_conversation_that_is_not_there(lean: Lean, method: str, call: str, wire: object) -> None:
    conversation, chatroom = await lean.conversation(), await lean.chatroom()
    for kind, id, refusal in (
        ("conversations", NOBODY, (404, 4303)),
        ("chatrooms", NOBODY, (404, 4303)),
        ("conversations", chatroom, (400, 4314)),
        ("chatrooms", conversation, (400, 4316)),
    ):
        assert await lean.bad(method, f"/{kind}/{id}/{call}", wire) == refusal
    assert await lean.bad(method, f"/conversations/{conversation}/{call}", wire, by=A) == (403, 403)


@pytest.mark.parametrize(
    "wire", [{}, {"client_ids": "x" * 65}, {"client_ids": [1]}, {"client_ids": [""]}, {"client_ids": {}}]
)
async def test_lists_of_the_wrong_form(lean: Lean, wire: object) -> None:
    path = await made(lean, "conversations")
    for call in ("permanent-silenceds", "blacklists"):
        for method in ("POST", "DELETE"):
            status, code = await lean.bad(method, f"{path}/{call}", wire)
            assert (status, code) in ((400, 1), (400, 4103))


async def test_an_empty_list_is_nothing(lean: Lean) -> None:
    path = await made(lean, "conversations")
    assert await lean.ok("POST", f"{path}/blacklists", {"client_ids": []}) == {}
    assert await lean.ok("GET", f"{path}/blacklists") == {"client_ids": []}


# 1.1.


async def test_the_old_call_is_a_silence_for_a_while(lean: Lean) -> None:
    silences = "/1.1/rtm/conversation/blacklist"
    for kind in KINDS:
        path = await made(lean, kind)
        wire = {"client_id": "bob", "conv_id": names(path).id, "ttl": 60}
        assert await lean.ok("POST", silences, wire) == {}
        with pytest.raises(Silenced):
            await speak(lean, path, "bob")
        assert await lean.bad("POST", silences, wire | {"ttl": 86_401}) == (400, 1)
        assert await lean.bad("POST", silences, wire | {"conv_id": NOBODY}) == (404, 4303)
        assert await lean.ok("DELETE", silences, params={"client_id": "bob", "conv_id": names(path).id}) == {}
        await speak(lean, path, "bob")
    await lean.broker.submit(CreateConversation(app=APP.name, conversation=service("s")))
    assert await lean.bad("POST", silences, {"client_id": "bob", "conv_id": "s", "ttl": 60}) == (400, 1)


async def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "data")
    async with leancloud(store=store) as lean:
        path = await made(lean, "conversations")
        await lean.ok("POST", f"{path}/blacklists", {"client_ids": ["carol"]})
        info = await lean.ok("POST", f"{path}/member-infos", {"clientId": "bob", "role": "Owner"})
        await lean.ok("POST", "/clients/dave/blacklists", {"conv_id": names(path).id})
    store.close()
    store = LmdbStore(tmp_path / "data")
    async with leancloud(store=store) as lean:
        assert await lean.ok("GET", f"{path}/blacklists") == {"client_ids": ["carol"]}
        rows = [{"clientId": "bob", "objectId": info["objectId"], "role": "Owner"}]
        assert await lean.ok("GET", f"{path}/member-infos") == {"results": rows}
        assert await lean.ok("GET", "/clients/dave/blacklists") == {"conv_ids": [names(path).id]}
    store.close()
