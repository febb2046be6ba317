"""One conversation through two dialects: what one sends and changes, the other finds."""

from collections.abc import AsyncIterator

import pytest
import trio

from postroom.core import room
from postroom.transports.leancloud.ids import pair_id
from tests.support.anyrtc import count as counted_by_anyrtc
from tests.support.anyrtc import find as found_by_anyrtc
from tests.support.anyrtc import say
from tests.support.leancloud import A, Lean, leancloud
from tests.support.web import basic

pytestmark = pytest.mark.usefixtures("host")

BASIC = {"Authorization": basic()}


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def test_a_room_through_both_dialects(lean: Lean) -> None:
    served = lean.served
    spoken = {"channel_name": "lobby", "payload": "by anyRTC", "enable_historical_messaging": True}
    assert (await say(served, spoken, user="carol", headers=BASIC)).status_code == 200
    assert await lean.texts("/chatrooms/lobby/messages") == ["by anyRTC"]
    await lean.send("/chatrooms/lobby", "by LeanCloud", "alice")
    served.client.headers.update(BASIC)
    when = {"start_time": 1, "end_time": 4_102_444_800}
    found = await found_by_anyrtc(served, {"destination": "lobby", **when})
    assert [(each["src"], each["payload"]) for each in found] == [("carol", "by anyRTC"), ("alice", "by LeanCloud")]
    # Taken back here, it is not there any more.
    record = (await lean.ok("GET", "/chatrooms/lobby/messages"))[1]
    which = {"from_client": "carol", "timestamp": record["timestamp"]}
    await lean.ok("PUT", f"/chatrooms/lobby/messages/{record['msg-id']}/recall", which)
    assert await counted_by_anyrtc(served, "destination=lobby&start_time=1&end_time=4102444800") == 1
    (row,) = (await lean.ok("GET", "/chatrooms", by=A))["results"]
    assert (row["objectId"], row["tr"]) == (room("lobby").id, True)


async def test_who_is_in_a_room_hears_both_dialects(lean: Lean) -> None:
    """And what one dialect changes is changed in the other."""
    served, when = lean.served, {"start_time": 1, "end_time": 4_102_444_800}
    async with served.broker.connect(app="shop", user="bob") as bob:
        await bob.join("lobby")
        assert await lean.ok("GET", "/chatrooms/lobby/members") == {"result": ["bob"]}
        for text in ("one", "two"):
            spoken = {"channel_name": "lobby", "payload": text, "enable_historical_messaging": True}
            assert (await say(served, spoken, user="carol", headers=BASIC)).status_code == 200
        await lean.send("/chatrooms/lobby", "three", "alice", priority="low")
        with trio.fail_after(20):
            heard = [await anext(bob) for _ in range(3)]
        assert [(each.via, each.sender, each.body) for each in heard] == [
            ("anyrtc", "carol", b"one"),
            ("anyrtc", "carol", b"two"),
            ("leancloud", "alice", b"three"),
        ]
        first, second, _ = await lean.ok("GET", "/chatrooms/lobby/messages", params={"reversed": "true"})
        which = {"from_client": "carol", "timestamp": first["timestamp"]}
        await lean.ok("PUT", f"/chatrooms/lobby/messages/{first['msg-id']}", which | {"message": "one, edited"})
        with trio.fail_after(20):
            edited = await anext(bob)
        assert (edited.type, edited.body) == ("edited", b"one, edited")
        query = {"from_client": "carol", "timestamp": second["timestamp"]}
        await lean.ok("DELETE", f"/chatrooms/lobby/messages/{second['msg-id']}", params=query)
    served.client.headers.update(BASIC)
    for search in ({"destination": "lobby"}, {"destination": "bob"}):
        found = await found_by_anyrtc(served, search | when)
        assert [(each["src"], each["payload"]) for each in found] == [("carol", "one, edited"), ("alice", "three")]


async def test_messages_of_two_users_are_in_the_history_of_the_app(lean: Lean) -> None:
    wire = {"destination": "bob", "payload": "hi", "enable_historical_messaging": True}
    assert (await lean.served.send(wire, user="alice", headers=BASIC)).status_code == 200
    for path in ("/messages", "/clients/alice/messages"):
        (record,) = await lean.ok("GET", path)
        assert (record["from"], record["to"], record["data"]) == ("alice", "bob", "hi")
        assert record["conv-id"] == pair_id("alice", "bob")
    assert await lean.bad("GET", f"/conversations/{record['conv-id']}/messages") == (404, 4303)
    assert await lean.ok("GET", "/all-conversations", by=A) == {"results": []}
