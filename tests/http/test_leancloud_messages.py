"""The conformance checks of LeanCloud's contract over a real socket: messages, their changes, the history (LeanCloud 11)."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import trio

from postroom.core import SendMessage, Session, group
from postroom.core.buckets import Rate
from postroom.transports.config import Limits
from tests.support.leancloud import APP, LEANCLOUD, NOBODY, RECORD, A, Lean, leancloud
from tests.support.serving import StoppedClock
from tests.support.web import NOW_MS, basic

pytestmark = pytest.mark.usefixtures("host")

BASIC = {"Authorization": basic()}


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """A server that knows nobody yet."""
    async with leancloud() as server:
        yield server


async def next_of(session: Session, count: int = 1) -> list[tuple[str, bytes]]:
    """Type and body of what a session gets next."""
    with trio.fail_after(20):
        got = [await anext(session) for _ in range(count)]
    return [(each.type, each.body) for each in got]


async def test_l11_a_member_who_wants_no_push_gets_the_messages(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    path = f"/conversations/{cid}/mutes"
    made = await lean.ok("POST", path, {"client_ids": ["bob"]}, by=A)
    assert set(made) == {"updatedAt", "objectId"}
    assert await lean.ok("GET", path, by=A) == {"result": ["bob"]}
    await lean.send(f"/conversations/{cid}", "hi")
    async with lean.broker.connect(app="shop", user="bob") as bob:
        assert bob.welcome.queued == 1
        with trio.fail_after(20):
            delivery = await anext(bob)
        assert (delivery.sender, delivery.body, delivery.conversation, delivery.via) == (
            "alice",
            b"hi",
            group(cid),
            "leancloud",
        )
    await lean.ok("DELETE", path, {"client_ids": ["bob", "nobody"]}, by=A)
    assert await lean.ok("GET", path, by=A) == {"result": []}


async def test_l12_anybody_may_send(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    said = await lean.ok("POST", f"/conversations/{cid}/messages", {"from_client": "stranger", "message": "hi"})
    assert said["msg-id"] == said["result"]["msg-id"]
    assert said["timestamp"] == said["result"]["timestamp"]
    assert type(said["timestamp"]) is int
    assert len(said["msg-id"]) == 22
    for user in ("alice", "bob"):
        async with lean.broker.connect(app="shop", user=user) as session:
            assert session.welcome.queued == 1


async def test_l13_messages_that_are_wrong(lean: Lean) -> None:
    cid = await lean.conversation("bob")
    path = f"/conversations/{cid}/messages"
    for wire, code in (
        ({"from_client": "a"}, 1),
        ({"message": "hi"}, 1),
        ({"from_client": "a", "message": 5}, 1),
        ({"from_client": "a", "message": "x" * 5_121}, 4109),
        ({"from_client": "x" * 65, "message": "hi"}, 4103),
        ({"from_client": "a", "message": "hi", "priority": "urgent"}, 1),
    ):
        assert await lean.bad("POST", path, wire) == (400, code)
    await lean.send(f"/conversations/{cid}", "ü" * 2_560)
    await lean.send(f"/conversations/{cid}", "")
    await lean.send(f"/conversations/{cid}", {"_lctype": -1, "_lctext": "hi"})
    assert await lean.texts(path) == ['{"_lctype":-1,"_lctext":"hi"}', "", "ü" * 2_560]


async def test_l14_a_message_to_nowhere(lean: Lean) -> None:
    wire = {"from_client": "a", "message": "hi"}
    assert await lean.bad("POST", f"/conversations/{NOBODY}/messages", wire) == (404, 4401)
    assert await lean.bad("POST", f"/chatrooms/{NOBODY}/messages", wire) == (404, 4401)
    cid, rid = await lean.conversation("bob"), await lean.chatroom()
    assert await lean.bad("POST", f"/chatrooms/{cid}/messages", wire) == (400, 4316)
    assert await lean.bad("POST", f"/conversations/{rid}/messages", wire) == (400, 4314)
    assert await lean.bad("GET", f"/conversations/{NOBODY}/messages") == (404, 4303)
    assert await lean.bad("GET", f"/conversations/{rid}/messages") == (400, 4314)
    assert await lean.bad("POST", "/1.1/rtm/messages", {"from_peer": "a", "conv_id": NOBODY, "message": "hi"}) == (
        404,
        4401,
    )
    assert await lean.texts("/messages") == []


async def test_l15_the_history_from_both_ends() -> None:
    clock = StoppedClock()
    async with leancloud(clock=clock) as lean:
        cid = await lean.conversation("bob")
        path = f"/conversations/{cid}/messages"
        sent: list[tuple[str, int]] = []
        for text in ("one", "two", "three"):
            clock.pass_ms(1)
            sent.append(await lean.send(f"/conversations/{cid}", text))
        (id1, t1), _, (id3, t3) = sent
        older: dict[str, object] = {"timestamp": t3, "msgid": id3, "till_timestamp": t1, "till_msgid": id1}
        newer: dict[str, object] = {
            "timestamp": t1,
            "msgid": id1,
            "till_timestamp": t3,
            "till_msgid": id3,
            "reversed": "True",
        }
        assert await lean.texts(path, **older) == ["two"]
        assert await lean.texts(path, **older, include_start="true") == ["three", "two"]
        assert await lean.texts(path, **older, include_stop="true") == ["two", "one"]
        assert await lean.texts(path, **newer) == ["two"]
        assert await lean.texts(path, **newer, include_start="true") == ["one", "two"]
        assert await lean.texts(path, **newer, include_stop="true") == ["two", "three"]
        assert await lean.texts(path, limit=1) == ["three"]
        assert await lean.texts(path, limit=1, reversed="True") == ["one"]
        assert await lean.texts(path, limit=0) == ["three", "two", "one"]
        # Without ids a bound is its whole millisecond.
        assert await lean.texts(path, timestamp=t3) == ["two", "one"]
        assert await lean.texts(path, timestamp=t3, include_start=1) == ["three", "two", "one"]
        assert await lean.texts(path, timestamp=t1, reversed="true", till_timestamp=t3) == ["two"]
        assert await lean.texts(path, timestamp=t1, till_timestamp=t3) == []
        # A known id stands for its place, another only for the time beside it.
        assert await lean.texts(path, timestamp=1, msgid=id3) == ["two", "one"]
        assert await lean.texts(path, timestamp=t3, msgid="EjRWeJq83vASNFZ4mrze8A") == ["two", "one"]
        assert await lean.bad("GET", path, params={"msgid": id3}) == (400, 1)
        (record,) = await lean.ok("GET", path, params={"limit": 1})
        assert record == {
            "timestamp": t3,
            "conv-id": cid,
            "data": "three",
            "from": "alice",
            "msg-id": id3,
            "is-conv": True,
            "is-room": False,
            "to": cid,
            "bin": False,
            "from-ip": None,
        }


async def test_messages_of_one_millisecond_are_told_apart_by_their_ids() -> None:
    async with leancloud(clock=StoppedClock()) as lean:
        cid = await lean.conversation("bob")
        path = f"/conversations/{cid}/messages"
        sent = [await lean.send(f"/conversations/{cid}", text) for text in ("one", "two", "three")]
        assert {time for _, time in sent} == {NOW_MS}
        assert await lean.texts(path, timestamp=NOW_MS) == []
        assert await lean.texts(path, timestamp=NOW_MS, msgid=sent[1][0]) == ["one"]
        assert await lean.texts(path, timestamp=NOW_MS, msgid=sent[1][0], reversed=1) == ["three"]
        assert await lean.texts(path, timestamp=NOW_MS, include_start=1) == ["three", "two", "one"]


async def test_l16_a_transient_message(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    async with lean.broker.connect(app="shop", user="bob") as bob:
        await lean.send(f"/conversations/{cid}", "typing", transient=True)
        assert await next_of(bob) == [("message", b"typing")]
    assert await lean.texts(f"/conversations/{cid}/messages") == []
    assert await lean.ok("GET", "/clients/bob/unread-count") == {"count": 0}
    async with lean.broker.connect(app="shop", user="alice") as alice:
        assert alice.welcome.queued == 0


async def test_l17_an_edit(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    path = f"/conversations/{cid}/messages"
    mid, time = await lean.send(f"/conversations/{cid}", "hi", "stranger")
    wire = {"from_client": "stranger", "message": "bye", "timestamp": time}
    assert await lean.ok("PUT", f"{path}/{mid}", wire) == {"result": {}}
    (record,) = await lean.ok("GET", path)
    assert (record["data"], record["msg-id"], record["timestamp"]) == ("bye", mid, time)
    other = await lean.conversation("bob")
    rid = await lean.chatroom()
    for where, wrong in (
        (f"{path}/{mid}", {"timestamp": time + 1}),
        (f"{path}/{mid}", {"from_client": "alice"}),
        (f"{path}/EjRWeJq83vASNFZ4mrze8A", {}),
        (f"/conversations/{other}/messages/{mid}", {}),
        (f"/chatrooms/{rid}/messages/{mid}", {}),
    ):
        assert await lean.bad("PUT", where, wire | wrong) == (404, 4404)
    assert await lean.bad("PUT", f"/conversations/{NOBODY}/messages/{mid}", wire) == (404, 4303)
    assert await lean.bad("PUT", f"/chatrooms/{cid}/messages/{mid}", wire) == (400, 4316)
    assert await lean.bad("PUT", f"{path}/{mid}", {"from_client": "stranger", "message": "x"}) == (400, 1)
    async with lean.broker.connect(app="shop", user="bob") as bob:
        assert await next_of(bob) == [("message", b"bye")]


async def test_l18_a_recall(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    path = f"/conversations/{cid}/messages"
    mid, time = await lean.send(f"/conversations/{cid}", "secret")
    wire = {"from_client": "alice", "timestamp": time}
    for _ in range(2):
        assert await lean.ok("PUT", f"{path}/{mid}/recall", wire) == {"result": {}}
    (record,) = await lean.ok("GET", path)
    assert (json.loads(record["data"]), record["msg-id"], set(record)) == ({"_lctype": -127}, mid, RECORD)
    assert await lean.bad("PUT", f"{path}/{mid}", wire | {"message": "new"}) == (404, 4404)
    async with lean.broker.connect(app="shop", user="bob") as bob:
        assert await next_of(bob) == [("recalled", b"")]


async def test_l19_a_delete_tells_nobody(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    path = f"/conversations/{cid}/messages"
    mid, time = await lean.send(f"/conversations/{cid}", "gone")
    query = {"from_client": "alice", "timestamp": time}
    async with lean.broker.connect(app="shop", user="bob") as bob:
        assert await next_of(bob) == [("message", b"gone")]
        assert await lean.ok("DELETE", f"{path}/{mid}", params=query) == {}
        assert await lean.texts(path) == []
        assert await lean.bad("DELETE", f"{path}/{mid}", params=query) == (404, 4404)
        second, time = await lean.send(f"/conversations/{cid}", "next")
        assert await next_of(bob) == [("message", b"next")]  # and nothing before it
    assert await lean.bad("DELETE", f"{path}/{second}") == (400, 1)
    assert await lean.ok("DELETE", f"{path}/{second}", {"from_client": "alice", "timestamp": time}) == {}
    async with lean.broker.connect(app="shop", user="bob") as bob:
        assert bob.welcome.queued == 0


async def test_l32_a_message_of_another_dialect_is_its_text(lean: Lean) -> None:
    """Wildfire's payloads are JSON."""
    cid = await lean.conversation("alice", "bob")
    payload = b'{"type": 1, "searchableContent": "hi"}'
    message = SendMessage(
        app="shop", sender="alice", to=group(cid), body=payload, format="json", history=True, queue=True
    )
    await lean.broker.submit(message)
    (text,) = await lean.texts(f"/conversations/{cid}/messages")
    assert json.loads(text) == json.loads(payload)


async def test_the_senders_own_devices(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    async with lean.broker.connect(app="shop", user="alice") as alice:
        await lean.send(f"/conversations/{cid}", "one")
        await lean.send(f"/conversations/{cid}", "two", no_sync=True)
        await lean.send(f"/conversations/{cid}", "three", "bob")
        assert await next_of(alice, 2) == [("message", b"one"), ("message", b"three")]
    async with lean.broker.connect(app="shop", user="alice") as alice:
        assert alice.welcome.queued == 1  # of her own nothing ever waits


async def test_a_chatroom_keeps_its_history(lean: Lean) -> None:
    rid = await lean.chatroom()
    path = f"/chatrooms/{rid}/messages"
    async with lean.broker.connect(app="shop", user="bob") as bob:
        await bob.join(rid)
        mid, time = await lean.send(f"/chatrooms/{rid}", "hi", priority="low")
        await lean.send(f"/chatrooms/{rid}", "typing", transient=True, priority="LOW")
        assert await next_of(bob, 2) == [("message", b"hi"), ("message", b"typing")]
        wire = {"from_client": "alice", "timestamp": time}
        assert await lean.ok("PUT", f"{path}/{mid}", wire | {"message": "bye"}) == {"result": {}}
        assert await next_of(bob) == [("edited", b"bye")]
        assert await lean.texts(path) == ["bye"]
        assert await lean.ok("PUT", f"{path}/{mid}/recall", wire) == {"result": {}}
        assert await next_of(bob) == [("recalled", b"")]
        assert await lean.ok("DELETE", f"{path}/{mid}", params=wire) == {}
    assert await lean.texts(path) == []


async def test_mentions_are_shown(lean: Lean) -> None:
    cid = await lean.conversation("alice", "bob")
    await lean.send(
        f"/conversations/{cid}", "hi", mention_all=True, mention_client_ids=["bob"], push_data={"alert": "x"}
    )
    (record,) = await lean.ok("GET", f"/conversations/{cid}/messages")
    assert (record["mention-all"], record["mention-pids"]) == (True, ["bob"])


async def test_an_idempotency_key_makes_a_send_safe_to_repeat(lean: Lean) -> None:
    cid = await lean.conversation("bob")
    wire = {"from_client": "alice", "message": "hi"}
    path = f"/conversations/{cid}/messages"
    one, two = [await lean.ok("POST", path, wire, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    assert one == two
    assert await lean.texts(path) == ["hi"]
    other = await lean.call("POST", path, wire | {"message": "ho"}, headers={"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["code"]) == (409, 1)


async def test_what_a_client_sent_and_what_the_app_has(lean: Lean) -> None:
    cid, rid = await lean.conversation("alice", "bob"), await lean.chatroom()
    await lean.send(f"/conversations/{cid}", "one", "alice")
    await lean.send(f"/chatrooms/{rid}", "two", "alice")
    await lean.send(f"/conversations/{cid}", "three", "bob")
    mid, time = await lean.send(f"/conversations/{cid}", "four", "alice")
    await lean.ok("PUT", f"/conversations/{cid}/messages/{mid}/recall", {"from_client": "alice", "timestamp": time})
    assert await lean.texts("/clients/alice/messages") == ['{"_lctype":-127}', "two", "one"]
    assert await lean.texts("/clients/nobody/messages") == []
    assert await lean.texts("/messages", reversed="true", limit=3) == ["one", "two", "three"]
    logs = "/1.1/rtm/messages/history"
    assert await lean.texts(logs, **{"from": "bob"}) == ["three"]
    assert await lean.texts(logs, convid=rid) == await lean.texts("/1.1/rtm/messages/logs", convid=rid) == ["two"]
    assert await lean.texts(logs, max_ts=time + 1, limit=1) == ['{"_lctype":-127}']
    assert await lean.bad("GET", logs, params={"convid": NOBODY}) == (404, 4303)


async def test_history_must_be_signed_if_the_app_says_so() -> None:
    signing = msgspec.structs.replace(APP, leancloud=msgspec.structs.replace(LEANCLOUD, sign_history=True))
    vector = {
        "client_id": "alice",
        "nonce": "n0nce1",
        "signature_ts": "1700000000000",
        "signature": "89e931e87d574ecd7bf79a6b5ae474879929bed4",
    }
    async with leancloud(signing) as lean:
        path = "/conversations/6560aa00c0ffee0000000001/messages"
        assert await lean.bad("GET", path, params=vector) == (404, 4303)  # signed, and not there
        assert await lean.bad("GET", path) == (401, 4302)
        assert await lean.bad("GET", path, params=vector | {"nonce": "other"}) == (401, 4302)
        old = {"convid": "6560aa00c0ffee0000000001"} | vector
        assert await lean.bad("GET", "/1.1/rtm/messages/history", params=old) == (401, 4302)
        old["peerid"] = old.pop("client_id")
        assert await lean.bad("GET", "/1.1/rtm/messages/history", params=old) == (404, 4303)


# Rates (LeanCloud 8).


async def test_one_call_over_the_rate_ends_all_for_a_minute() -> None:
    clock = StoppedClock()
    few = msgspec.structs.replace(APP, limits=Limits(leancloud_normal=Rate(3, 60_000, "interval", 60_000)))
    async with leancloud(few, clock=clock) as lean:
        cid = await lean.conversation("bob")
        path, wire = f"/conversations/{cid}/messages", {"from_client": "alice", "message": "hi"}

        async def send(**more: Any) -> httpx.Response:
            return await lean.call("POST", path, wire, **more)

        # Calls that fail are not counted, whatever they fail on.
        for _ in range(5):
            assert await lean.bad("POST", path, {}) == (400, 1)
            assert await lean.bad("POST", path, wire, by=A) == (403, 403)
            assert await lean.bad("POST", f"/conversations/{NOBODY}/messages", wire) == (404, 4401)
        mid, time = await lean.send(f"/conversations/{cid}", "one")
        which = {"from_client": "alice", "timestamp": time}
        await lean.ok("PUT", f"{path}/{mid}", which | {"message": "two"})
        await lean.ok("POST", "/1.1/rtm/messages", {"from_peer": "alice", "conv_id": cid, "message": "x"})
        clock.pass_ms(59_000)
        over = await send()
        assert (over.status_code, over.json()) == (429, {"code": 429, "error": "Too many requests."})
        assert over.headers["retry-after"] == "60"
        clock.pass_ms(59_999)
        assert (await send()).status_code == 429  # and no refused call makes it longer
        assert await lean.bad("PUT", f"{path}/{mid}/recall", which) == (429, 429)
        assert await lean.bad("POST", path, {}) == (400, 1)
        await lean.texts(path)
        await lean.ok("DELETE", f"{path}/{mid}", params=which)
        clock.pass_ms(1)
        assert (await send()).status_code == 200
