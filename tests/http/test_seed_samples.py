"""The sample calls of anyRTC's own documentation, with host, app id and credentials replaced: answered as printed there.

As printed: the same members of the same types, and no others but `request_id` (and `result`, of a message to somebody
offline), which the documentation leaves out here and there and every client takes (K2, K8 of the contract).
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import msgspec
import pytest
import trio

from postroom.core import SendMessage, peer, room
from tests.support.anyrtc import receiving
from tests.support.rtm_tokens import VECTORS
from tests.support.serving import Served, StoppedClock, as_written, config_of, serving
from tests.support.web import APP, RTC, basic

pytestmark = pytest.mark.usefixtures("host")

START_S, END_S = 1_433_088_000, 1_433_433_600
"""The times of the samples, four days of 2015."""
TYPE = {"Content-type": "application/json;charset=utf-8"}
BASIC = {"Authorization": basic()}
TOKEN = {"x-ar-token": VECTORS["P3"], "x-ar-uid": "userA"}
HISTORY = "/rtm/message/history"


@pytest.fixture
def clock() -> StoppedClock:
    """It is within the times of the samples, which are still kept then."""
    return StoppedClock(1000 * (START_S + END_S) // 2)


@pytest.fixture
async def served(clock: StoppedClock) -> AsyncIterator[Served]:
    """A server of those days."""
    async with serving(clock=clock) as server:
        yield server


@pytest.fixture(params=[BASIC, TOKEN], ids=["basic", "token"])
def credentials(request: pytest.FixtureRequest) -> dict[str, str]:
    """Both ways that the documentation has."""
    found: dict[str, str] = request.param
    return found


async def post(served: Served, credentials: Mapping[str, str], target: str, wire: object) -> httpx.Response:
    """A sample with a body, which is printed over several lines."""
    body = msgspec.json.format(msgspec.json.encode(wire), indent=4)
    return await as_written(served, "POST", target, {**TYPE, **credentials}, body)


async def get(served: Served, credentials: Mapping[str, str], target: str) -> httpx.Response:
    """A sample without one."""
    return await as_written(served, "GET", target, credentials)


def as_printed(reply: httpx.Response, printed: dict[str, Any], *more: str) -> dict[str, Any]:
    """The answer's body; fails if it is another than the printed one but for values, and for `more` members."""
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    assert shape(said) == shape(printed | dict.fromkeys(more, "text"))
    return said


def shape(value: object) -> object:
    """Members and types; of a list those of all its items, which must be alike."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        shapes = [shape(inner) for inner in value]
        assert all(each == shapes[0] for each in shapes)
        return shapes[:1]
    return type(value)


# Messages.

PEER = {
    "destination": "userB",
    "enable_offline_messaging": False,
    "enable_historical_messaging": False,
    "payload": "Hello",
}
CHANNEL = {"channel_name": "channelA", "enable_historical_messaging": False, "payload": "Hello"}


async def test_a_peer_message_is_delivered(served: Served, credentials: dict[str, str]) -> None:
    printed = {"code": "message_delivered", "result": "success", "request_id": "123"}
    async with receiving(served, "userB", acking=True) as got:
        reply = await post(served, credentials, "/rtm/users/userA/peer_messages?wait_for_ack=true", PEER)
        said = as_printed(reply, printed)
        assert (said["code"], said["result"]) == ("message_delivered", "success")
        assert [(each.sender, each.body) for each in got] == [("userA", b"Hello")]


async def test_a_peer_message_to_somebody_offline(served: Served, credentials: dict[str, str]) -> None:
    printed = {"code": "message_offline", "request_id": "123"}
    target = "/rtm/users/userA/peer_messages?wait_for_ack=true"
    said = as_printed(await post(served, credentials, target, PEER), printed, "result")
    assert (said["code"], said["result"]) == ("message_offline", "success")
    exact = msgspec.structs.replace(APP, anyrtc=msgspec.structs.replace(RTC, omit_result_when_offline=True))
    async with serving(config_of(exact)) as to_the_letter:
        assert as_printed(await post(to_the_letter, credentials, target, PEER), printed)["code"] == "message_offline"


@pytest.mark.parametrize("query", ["", "?wait_for_ack=false"])
async def test_a_peer_message_is_sent(served: Served, credentials: dict[str, str], query: str) -> None:
    printed = {"code": "message_sent", "result": "success", "request_id": "123"}
    with trio.fail_after(3):
        async with receiving(served, "userB", acking=False) as got:
            said = as_printed(await post(served, credentials, f"/rtm/users/userA/peer_messages{query}", PEER), printed)
            assert (said["code"], said["result"]) == ("message_sent", "success")
            await got.arrived.wait()
            assert got[0].body == b"Hello"


async def test_a_channel_message(served: Served, credentials: dict[str, str]) -> None:
    """Its code is printed with a blank in the sample and without one in the table of codes (K1)."""
    printed = {"code": "message sent", "request_id": "123", "result": "success"}
    async with served.broker.connect(app="shop", user="u1") as u1:
        await u1.join("channelA")
        said = as_printed(await post(served, credentials, "/rtm/users/userA/channel_messages", CHANNEL), printed)
        assert (said["code"], said["result"]) == ("message_sent", "success")
        delivery = await anext(u1)
        assert (delivery.sender, delivery.body, delivery.conversation) == ("userA", b"Hello", room("channelA"))


# Events.


async def test_events_of_users(served: Served, clock: StoppedClock, credentials: dict[str, str]) -> None:
    happened = {"ms": 1_476_095_418_189, "type": "Login", "user_id": "web923909240"}
    printed = {"result": "success", "request_id": "123434011673489545879347", "events": [happened]}
    clock.pass_ms(happened["ms"] - clock.wall_ms())  # type: ignore[operator]
    async with served.broker.connect(app="shop", user="web923909240"):
        said = as_printed(await get(served, credentials, "/rtm/vendor/user_events"), printed)
        assert (said["result"], said["events"]) == ("success", [happened])


async def test_events_of_channels(served: Served, clock: StoppedClock, credentials: dict[str, str]) -> None:
    happened = {"group_id": "example_channel_id", "ms": 1_476_095_418_189, "type": "Join", "user_id": "userA"}
    printed = {"result": "success", "request_id": "123434011673489545879347", "events": [happened]}
    clock.pass_ms(happened["ms"] - clock.wall_ms())  # type: ignore[operator]
    async with served.broker.connect(app="shop", user="userA") as session:
        await session.join("example_channel_id")
        said = as_printed(await get(served, credentials, "/rtm/vendor/channel_events"), printed)
        assert (said["result"], said["events"]) == ("success", [happened])


# History.


async def test_one_message_of_the_history(served: Served, clock: StoppedClock, credentials: dict[str, str]) -> None:
    kept = {"dst": "dst", "message_type": "peer_message", "ms": 1_587_009_745_719, "payload": "123", "src": "src"}
    printed = {
        "code": "ok",
        "messages": [kept],
        "request_id": "125877_12008901591665642856",
        "result": "success",
    }
    clock.pass_ms(kept["ms"] - clock.wall_ms())  # type: ignore[operator]
    wire = {"destination": "dst", "payload": "123", "enable_historical_messaging": True}
    assert (await post(served, BASIC, "/rtm/users/src/peer_messages", wire)).status_code == 200
    filter = {"source": "src", "destination": "dst", "start_time": 1_587_009_745, "end_time": 1_587_009_745}
    asked = await post(served, credentials, f"{HISTORY}/query", {"filter": filter})
    handle = asked.json()["location"].removeprefix("~/rtm/message/history/query/")
    said = as_printed(await get(served, credentials, f"{HISTORY}/query/{handle}"), printed)
    assert (said["code"], said["messages"], said["result"]) == ("ok", [kept], "success")


@pytest.fixture
async def busy(served: Served) -> Served:
    """The server after a lively day: what everybody of the samples has sent and received."""

    def sent(sender: str, to: Any, number: int) -> SendMessage:
        return SendMessage(
            app="shop", sender=sender, to=to, body=f"{sender} {to.id} {number}".encode(), history=True, via="anyrtc"
        )

    async with served.broker.connect(app="shop", user="userA") as userA:
        await userA.join("channelA")
        for number in range(1, 124):
            await served.broker.submit_many(
                [
                    sent("userA", peer("userB"), number),
                    sent("userA", room("channelA"), number),
                    sent("userC", peer("userA"), number),
                    sent("userD", room("channelA"), number),
                ]
            )
    return served


SAMPLES = [
    ({"destination": "userA"}, 'count?&destination="userA"', ["userC userA", "userD channelA"]),
    ({"destination": "channelA"}, 'count?&destination="channelA"', ["userA channelA", "userD channelA"]),
    ({"source": "userA"}, 'count?source="userA"', ["userA userB", "userA channelA"]),
    ({"source": "userA", "destination": "userB"}, 'count?source="userA"&destination="userB"', ["userA userB"]),
    (
        {"source": "userA", "destination": "channelA"},
        'count?source="userA"&destination="channelA"',
        ["userA channelA"],
    ),
]
"""Filter and count of each row of the documented table, and which messages it means."""


@pytest.mark.parametrize(("names", "_", "meant"), SAMPLES, ids=lambda value: str(value) if type(value) is dict else "")
async def test_the_hundred_and_first_message_and_on(
    busy: Served, credentials: dict[str, str], names: dict[str, str], _: str, meant: list[str]
) -> None:
    """All five filters, with the offset, limit and order of the samples."""
    wire = {
        "filter": names | {"start_time": START_S, "end_time": END_S},
        "offset": 100,
        "limit": 20,
        "order": "asc",
    }
    printed = {
        "result": "success",
        "offset": 100,
        "limit": 20,
        "order": "asc",
        "location": "~/rtm/message/history/query/123456123456",
    }
    said = as_printed(await post(busy, credentials, f"{HISTORY}/query", wire), printed, "request_id")
    assert {name: said[name] for name in ("result", "offset", "limit", "order")} == {
        "result": "success",
        "offset": 100,
        "limit": 20,
        "order": "asc",
    }
    handle = said["location"].removeprefix("~/rtm/message/history/query/")
    assert handle.isdecimal()
    found = (await get(busy, credentials, f"{HISTORY}/query/{handle}")).json()
    expected = [f"{each} {number}" for number in range(1, 124) for each in meant][100:120]
    assert [each["payload"] for each in found["messages"]] == expected
    gone = (await get(busy, credentials, f"{HISTORY}/query/{handle}")).json()
    assert gone["code"] == "resource not exist"


@pytest.mark.parametrize(("_", "target", "meant"), SAMPLES, ids=lambda value: value if type(value) is str else "")
async def test_counts(
    busy: Served, credentials: dict[str, str], _: dict[str, str], target: str, meant: list[str]
) -> None:
    """All five, in the printed form of their URLs: with quotes, and some with an empty pair in front."""
    printed = {"result": "success", "code": "ok", "count": 123}
    reply = await get(busy, credentials, f"{HISTORY}/{target}&start_time={START_S}&end_time={END_S}")
    said = as_printed(reply, printed, "request_id")
    assert (said["result"], said["code"], said["count"]) == ("success", "ok", 123 * len(meant))
