"""The conformance checks of anyRTC's contract over a real socket: the history, and what survives a restart."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from postroom.core import DeleteMessage, EditMessage, RecallMessage, SendMessage, peer, room
from postroom.core.ids import MessageId
from postroom.core.runtime.clock import SystemClock
from postroom.storage.lmdb import LmdbStore
from postroom.transports.config import AppConfig, HistoryConfig
from tests.support.anyrtc import (
    BAD,
    CHANNEL,
    DEAD,
    HISTORY,
    SENT,
    code,
    count,
    events,
    fetch,
    find,
    location,
    payloads,
    query,
    say,
)
from tests.support.native_client import BOB, session
from tests.support.serving import BASE, Served, StoppedClock, as_written, config_of, serving
from tests.support.web import APP, APP_ID, NOW_MS, PEER, RTC

pytestmark = pytest.mark.usefixtures("host")

NOW_S = NOW_MS // 1000
WINDOW = {"start_time": NOW_S - 60, "end_time": NOW_S + 60}
TO_B = {"source": "userA", "destination": "userB", **WINDOW}
TIMES = f"start_time={NOW_S - 60}&end_time={NOW_S + 60}"
DAY_MS = 86_400_000


@pytest.fixture
def clock() -> StoppedClock:
    """It is NOW."""
    return StoppedClock()


@pytest.fixture
async def served(clock: StoppedClock) -> AsyncIterator[Served]:
    """A server by that clock."""
    async with serving(clock=clock) as server:
        yield server


def settings(**changes: Any) -> AppConfig:
    """The app with other settings."""
    return msgspec.structs.replace(APP, anyrtc=msgspec.structs.replace(RTC, **changes))


async def keep(served: Served, *texts: str, user: str = "userA", to: str = "userB") -> None:
    """Peer messages for the history."""
    for text in texts:
        wire = {"destination": to, "payload": text, "enable_historical_messaging": True}
        assert code(await served.send(wire, user=user)) == SENT


async def keep_in(served: Served, channel: str, *texts: str, user: str = "userA") -> None:
    """Channel messages for the history."""
    for text in texts:
        wire = {"channel_name": channel, "payload": text, "enable_historical_messaging": True}
        assert code(await say(served, wire, user=user)) == SENT


async def three_kept(served: Served) -> None:
    """Three, and one that is not kept."""
    await keep(served, "1", "2")
    assert code(await served.send(PEER | {"payload": "not kept"})) == SENT
    await keep(served, "3")


async def test_c33_a_query_says_where_its_result_waits(served: Served) -> None:
    await three_kept(served)
    reply = await query(served, TO_B)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    said = reply.json()
    assert set(said) == {"result", "offset", "limit", "order", "location", "request_id"}
    assert (said["result"], said["offset"], said["limit"], said["order"]) == ("success", 0, 20, "asc")
    assert re.fullmatch(r"~/rtm/message/history/query/[0-9]{18,}", said["location"])


async def test_c34_a_result_is_there_once(served: Served, clock: StoppedClock) -> None:
    for number in range(1, 4):
        clock.pass_ms(7)
        await keep(served, str(number))
    waits = await location(served, TO_B)
    reply = await fetch(served, waits)
    assert code(reply) == (200, "ok")
    assert set(reply.json()) == {"code", "messages", "request_id", "result"}
    about = {"src": "userA", "dst": "userB", "message_type": "peer_message"}
    assert reply.json()["messages"] == [
        about | {"payload": str(number), "ms": NOW_MS + 7 * number} for number in range(1, 4)
    ]
    for _ in range(2):
        gone = await fetch(served, waits)
        assert code(gone) == DEAD
        assert gone.json()["messages"] == []


def iso(seconds: int, form: str = "milliseconds") -> str:
    """As Agora's clients write it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=form).replace("+00:00", "Z")


async def test_c35_times_in_the_forms_that_clients_send(served: Served) -> None:
    await three_kept(served)
    start, end = NOW_S - 60, NOW_S + 60
    for form in (
        lambda s: s,
        str,
        iso,
        lambda s: iso(s, "seconds"),
        lambda s: iso(s, "microseconds"),
        lambda s: iso(s, "seconds").replace("Z", "+00:00"),
        lambda s: iso(s + 8 * 3600, "seconds").replace("Z", "+08:00"),
        lambda s: iso(s - 5400, "milliseconds").replace("Z", "-0130"),
        lambda s: s * 1000,
        lambda s: str(s * 1000),
    ):
        filter = TO_B | {"start_time": form(start), "end_time": form(end)}
        assert payloads(await find(served, filter)) == ["1", "2", "3"], filter
        in_query = {name: str(value).replace("+", "%2B") for name, value in filter.items()}
        assert await count(served, "&".join(f"{name}={value}" for name, value in in_query.items())) == 3
        quoted = "&".join(f'{name}="{value}"' for name, value in in_query.items())
        assert await count(served, quoted) == 3


def without(given: dict[str, Any]) -> dict[str, Any]:
    """The members that are not left out."""
    return {name: value for name, value in given.items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "of_filter", "wrong"),
    [
        ({"limit": 20}, {}, None),
        ({"limit": 50}, {}, None),
        ({"limit": 100}, {}, None),
        ({"limit": None, "offset": None, "order": None}, {}, None),
        ({"offSet": 5, "other": {}}, {"other": []}, None),
        ({}, {"source": ""}, None),
        ({}, {"destination": None}, None),
        ({"limit": 30}, {}, "limit"),
        ({"limit": 0}, {}, "limit"),
        ({"limit": "20"}, {}, "limit"),
        ({"limit": True}, {}, "limit"),
        ({"limit": 20.0}, {}, "limit"),
        ({"offset": -1}, {}, "offset"),
        ({"offset": "0"}, {}, "offset"),
        ({"offset": False}, {}, "offset"),
        ({"order": "up"}, {}, "order"),
        ({"order": "DESC"}, {}, "order"),
        ({"order": 1}, {}, "order"),
        ({"filter": ...}, {}, "filter"),
        ({"filter": None}, {}, "filter"),
        ({"filter": []}, {}, "filter"),
        ({}, {"start_time": ...}, "filter.start_time"),
        ({}, {"start_time": None}, "filter.start_time"),
        ({}, {"start_time": True}, "filter.start_time"),
        ({}, {"start_time": 1.5}, "filter.start_time"),
        ({}, {"start_time": "soon"}, "start_time"),
        ({}, {"start_time": NOW_S + 61}, "start_time"),
        ({}, {"end_time": ...}, "filter.end_time"),
        ({}, {"end_time": -1}, "end_time"),
        ({}, {"end_time": ""}, "end_time"),
        ({}, {"source": ..., "destination": ...}, "filter"),
        ({}, {"source": "", "destination": None}, "filter"),
        ({}, {"source": 5}, "filter.source"),
        ({}, {"source": "x" * 65}, "source"),
        ({}, {"destination": "a/b"}, "destination"),
        ({}, {"destination": ["userB"]}, "filter.destination"),
    ],
)
async def test_c36_what_a_query_may_say(
    served: Served, changes: dict[str, Any], of_filter: dict[str, Any], wrong: str | None
) -> None:
    wire = without({"filter": without(TO_B | of_filter), **changes})
    reply = await served.call("POST", f"{HISTORY}/query", wire)
    if wrong is None:
        assert reply.status_code == 200
        echoed = {"offset": 0, "limit": wire.get("limit") or 20, "order": "asc"}
        assert {name: reply.json()[name] for name in echoed} == echoed
    else:
        assert code(reply) == BAD
        assert reply.json()["message"].split(":")[0] == wrong


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"null", b"\xff", b'{"filter":' * 2_000])
async def test_what_is_no_query(served: Served, body: bytes) -> None:
    assert code(await served.call("POST", f"{HISTORY}/query", body)) == BAD


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (f"source=userA&{TIMES}", None),
        (f"SOURCE=userA&{TIMES}", "filter"),
        (TIMES, "filter"),
        (f'source=""&destination=&{TIMES}', "filter"),
        ("source=userA", "start_time"),
        ("source=userA&start_time=1", "end_time"),
        ("source=userA&start_time=&end_time=2", "start_time"),
        ("source=userA&start_time=2&end_time=1", "start_time"),
        ("source=userA&start_time=1.5&end_time=2", "start_time"),
        ("source=userA&start_time=1&end_time=-2", "end_time"),
        ("source=userA&start_time=1&end_time=true", "end_time"),
        (f"source={'x' * 65}&{TIMES}", "source"),
        (f"destination=%E7%94%A8&{TIMES}", "destination"),
        (f"destination=%ff&{TIMES}", "query"),
    ],
)
async def test_what_a_count_may_say(served: Served, asked: str, wrong: str | None) -> None:
    reply = await served.call("GET", f"{HISTORY}/count?{asked}")
    if wrong is None:
        assert code(reply) == (200, "ok")
    else:
        assert code(reply) == BAD
        assert reply.json()["message"].split(":")[0] == wrong


async def test_c37_a_page_backwards(served: Served) -> None:
    await keep(served, *(str(number) for number in range(1, 26)))
    assert payloads(await find(served, TO_B, offset=20, limit=20, order="desc")) == ["5", "4", "3", "2", "1"]
    forwards = [payloads(await find(served, TO_B, offset=offset)) for offset in (0, 20, 25, 10**18)]
    assert forwards == [[str(number) for number in range(1, 21)], ["21", "22", "23", "24", "25"], [], []]
    assert await count(served, f"source=userA&destination=userB&{TIMES}") == 25


async def test_c38_the_filter_table(served: Served) -> None:
    """Each row, with a channel that has userA in it when userC posts and does not when userD does."""
    await keep(served, "A to B")
    await keep_in(served, "channelA", "A to channelA")
    await keep(served, "B to A", user="userB", to="userA")
    async with served.broker.connect(app="shop", user="userA") as session:
        await session.join("channelA")
        await keep_in(served, "channelA", "C to channelA", user="userC")
        await keep_in(served, "channelA", "A to channelA again")
        await keep_in(served, "channelB", "C to channelB", user="userC")
        await session.leave("channelA")
        await keep_in(served, "channelA", "D to channelA", user="userD")

    async def found(**names: str) -> list[str]:
        messages = await find(served, names | WINDOW)
        in_query = "&".join(f"{name}={value}" for name, value in names.items())
        assert await count(served, f"{in_query}&{TIMES}") == len(messages)
        backwards = await find(served, names | WINDOW, order="desc")
        assert backwards == messages[::-1]
        return payloads(messages)

    assert await found(destination="userA") == ["B to A", "C to channelA"]
    assert await found(destination="channelA") == [
        "A to channelA",
        "C to channelA",
        "A to channelA again",
        "D to channelA",
    ]
    assert await found(source="userA") == ["A to B", "A to channelA", "A to channelA again"]
    assert await found(source="userA", destination="userB") == ["A to B"]
    assert await found(source="userA", destination="channelA") == ["A to channelA", "A to channelA again"]
    assert code(await query(served, WINDOW)) == BAD
    assert await found(source="channelA", destination="userA") == []
    assert await found(source="channelA", destination="channelA") == []
    assert await found(source="channelA") == []
    (of_channel,) = [each for each in await find(served, {"destination": "userA", **WINDOW}) if each["src"] == "userC"]
    assert (of_channel["dst"], of_channel["message_type"]) == ("channelA", "channel_message")


async def test_a_name_of_a_user_and_of_a_channel_is_both(served: Served) -> None:
    await keep(served, "to user x", to="x")
    await keep_in(served, "x", "to channel x")
    assert payloads(await find(served, {"destination": "x", **WINDOW})) == ["to user x", "to channel x"]
    kinds = [each["message_type"] for each in await find(served, {"source": "userA", "destination": "x", **WINDOW})]
    assert kinds == ["peer_message", "channel_message"]


async def test_c39_quotes_round_the_values_of_a_count(served: Served) -> None:
    await three_kept(served)
    await keep(served, "C to B", user="userC")
    expected = len(await find(served, {"destination": "userB", **WINDOW}))
    assert expected == 4
    for pair in ('destination="userB"', "destination=userB", "destination=%22userB%22"):
        for start in ("?&", "?", "?&&", "??&"):
            reply = await as_written(served, "GET", f"{HISTORY}/count{start}{pair}&{TIMES}")
            assert code(reply) == (200, "ok")
            assert (reply.json()["result"], reply.json()["count"]) == ("success", expected)
    both = await as_written(served, "GET", f'{HISTORY}/count?source="userA"&destination="userB"&{TIMES}&')
    assert both.json()["count"] == 3
    blanks = f"source=+userA%20&destination=%20userB&start_time={NOW_S - 60}%20&end_time=+{NOW_S + 60}"
    assert await count(served, blanks) == 3
    for wrong in ('destination="userB', 'destination=userB"', 'destination=""userB""', "destination=a%2Fb"):
        assert code(await as_written(served, "GET", f"{HISTORY}/count?{wrong}&{TIMES}")) == BAD


async def test_c40_a_handle_is_of_one_app() -> None:
    other_id = "0123456789abcdef0123456789abcdef"
    other = AppConfig(name="other", session_secret="s" * 32, anyrtc=msgspec.structs.replace(RTC, app_id=other_id))
    async with serving(config_of(APP, other), clock=StoppedClock()) as served:
        await three_kept(served)
        waits = await location(served, TO_B)
        for _ in range(2):
            assert code(await fetch(served, waits, BASE.replace(APP_ID, other_id))) == DEAD
        assert payloads((await fetch(served, waits)).json()["messages"]) == ["1", "2", "3"]


async def test_c43_what_survives_a_restart(tmp_path: Path) -> None:
    """By the machine's clock, on a disk."""
    now_s = SystemClock().wall_ms() // 1000
    filter = {"source": "userA", "destination": "userB", "start_time": now_s - 60, "end_time": now_s + 600}
    async with serving(store=LmdbStore(tmp_path / "data")) as served:
        await three_kept(served)
        async with served.broker.connect(app="shop", user="u1") as session:
            await session.join("channelA")
            await keep_in(served, "channelA", "while u1 was there")
        used, unused = await location(served, filter), await location(served, filter)
        before = (await fetch(served, used)).json()["messages"]
    async with serving(store=LmdbStore(tmp_path / "data")) as served:
        assert payloads(before) == ["1", "2", "3"]
        assert await find(served, filter) == before
        assert payloads(await find(served, filter | {"source": None, "destination": "u1"})) == ["while u1 was there"]
        assert await count(served, "&".join(f"{name}={value}" for name, value in filter.items())) == 3
        assert code(await fetch(served, used)) == DEAD
        assert (await fetch(served, unused)).json()["messages"] == before
        assert [(each["type"], each["user_id"]) for each in await events(served, "user")] == [
            ("Login", "u1"),
            ("Logout", "u1"),
        ]
        assert [(each["type"], each["group_id"]) for each in await events(served, "channel")] == [
            ("Join", "channelA"),
            ("Leave", "channelA"),
        ]
    async with serving(store=LmdbStore(tmp_path / "data")) as served:
        assert code(await fetch(served, unused)) == DEAD
        assert await events(served, "user") == await events(served, "channel") == []


# Times (anyRTC 8.2, 8.4).


async def at_milliseconds(served: Served, clock: StoppedClock) -> None:
    """One message at 0, 1, 500, 999, 1000 and 1999 ms of the second after NOW, named so."""
    clock.pass_ms(1_000)
    at = 0
    for ms in (0, 1, 500, 999, 1_000, 1_999):
        clock.pass_ms(ms - at)
        at = ms
        await keep(served, str(ms))


def fraction(ms: int) -> str:
    """The time so long after that second began."""
    return datetime.fromtimestamp(NOW_S + 1, UTC).strftime("%Y-%m-%dT%H:%M:") + f"21.{ms:03}Z"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (NOW_S + 1, NOW_S + 1, ["0", "1", "500", "999"]),  # one whole second
        (NOW_S + 1, NOW_S + 2, ["0", "1", "500", "999", "1000", "1999"]),
        (NOW_S + 2, NOW_S + 2, ["1000", "1999"]),
        (NOW_S - 60, NOW_S, []),
        (NOW_S + 3, NOW_S + 60, []),
        (str(NOW_S + 1), str(NOW_S + 1), ["0", "1", "500", "999"]),
        (NOW_MS + 1_001, NOW_MS + 1_500, ["1", "500"]),  # milliseconds, both ends included
        (NOW_MS + 1_500, NOW_MS + 1_500, ["500"]),
        (NOW_MS + 1_501, NOW_MS + 1_998, []),
        (NOW_MS + 1_999, NOW_S + 1, ["999"]),
        (fraction(1), fraction(500), ["1", "500"]),
        (fraction(500), NOW_S + 2, ["500", "999", "1000", "1999"]),
        (NOW_S + 1, fraction(0), ["0"]),
    ],
)
async def test_both_ends_belong_to_the_range(
    served: Served, clock: StoppedClock, start: int | str, end: int | str, expected: list[str]
) -> None:
    await at_milliseconds(served, clock)
    assert payloads(await find(served, TO_B | {"start_time": start, "end_time": end})) == expected
    assert await count(served, f"source=userA&start_time={start}&end_time={end}") == len(expected)


async def test_a_message_of_this_second_is_found_by_now(served: Served, clock: StoppedClock) -> None:
    clock.pass_ms(999)
    await keep(served, "just now")
    assert payloads(await find(served, TO_B | {"end_time": NOW_S})) == ["just now"]


async def test_what_is_older_than_its_days_is_not_there(clock: StoppedClock) -> None:
    everything = TO_B | {"start_time": 0, "end_time": NOW_S + 400 * 86_400}
    counted = "&".join(f"{name}={value}" for name, value in everything.items())
    async with serving(config_of(settings(history_days=2)), clock=clock) as served:
        await keep(served, "old")
        clock.pass_ms(DAY_MS)
        await keep(served, "newer")
        clock.pass_ms(DAY_MS)
        assert payloads(await find(served, everything)) == ["old", "newer"]
        clock.pass_ms(1)
        assert payloads(await find(served, everything)) == ["newer"]
        assert await count(served, counted) == 1
        assert await find(served, TO_B | {"start_time": 0, "end_time": 1}) == []  # no error


async def test_what_the_app_keeps_no_longer_is_not_there(clock: StoppedClock) -> None:
    """Swept or not: an app may keep less than its dialect would show."""
    short = msgspec.structs.replace(APP, history=HistoryConfig(days=1))
    everything = TO_B | {"start_time": 0, "end_time": NOW_S + 400 * 86_400}
    async with serving(config_of(short), clock=clock) as served:
        await keep(served, "old")
        clock.pass_ms(DAY_MS - 1)
        assert payloads(await find(served, everything)) == ["old"]
        clock.pass_ms(1)
        assert await find(served, everything) == []
        assert await count(served, "&".join(f"{name}={value}" for name, value in everything.items())) == 0


async def test_a_handle_is_good_for_ten_minutes(served: Served, clock: StoppedClock) -> None:
    await three_kept(served)
    kept, late = await location(served, TO_B), await location(served, TO_B)
    clock.pass_ms(600_000 - 1)
    assert code(await fetch(served, kept)) == (200, "ok")
    clock.pass_ms(1)
    assert code(await fetch(served, late)) == DEAD


async def test_how_long_a_handle_is_good_is_configured(clock: StoppedClock) -> None:
    async with serving(config_of(settings(handle_ttl_s=2)), clock=clock) as served:
        kept, late = await location(served, TO_B), await location(served, TO_B)
        clock.pass_ms(1_999)
        assert code(await fetch(served, kept)) == (200, "ok")
        clock.pass_ms(1)
        assert code(await fetch(served, late)) == DEAD


# Results (anyRTC 8.7, 8.8).


async def test_a_result_is_what_there_was_when_it_was_asked_for(served: Served) -> None:
    await three_kept(served)
    waits = await location(served, TO_B)
    await keep(served, "4")
    assert payloads((await fetch(served, waits)).json()["messages"]) == ["1", "2", "3"]
    assert payloads(await find(served, TO_B)) == ["1", "2", "3", "4"]


async def test_of_many_that_fetch_a_result_one_gets_it(served: Served) -> None:
    await three_kept(served)
    waits = await location(served, TO_B)
    answers: list[tuple[int, str]] = []

    async def get() -> None:
        answers.append(code(await fetch(served, waits)))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(get)
    assert sorted(answers) == [(200, "ok")] + [DEAD] * 9


@pytest.mark.parametrize("handle", ["", "4711", "MjIzMDA3OjEyODA5MzkyOQ==", "a%2Fb", "%F0%9F%93%AE", "x" * 3_000])
async def test_a_handle_that_nobody_was_given(tmp_path: Path, handle: str) -> None:
    """Also where the store has keys of a bounded size."""
    async with serving(store=LmdbStore(tmp_path / "data")) as served:
        assert code(await served.call("GET", f"{HISTORY}/query/{handle}")) == DEAD


async def test_a_result_that_is_empty_is_a_result(served: Served) -> None:
    waits = await location(served, TO_B)
    assert (await fetch(served, waits)).json()["messages"] == []
    assert code(await fetch(served, waits)) == DEAD


async def test_what_was_taken_back_meanwhile_is_not_in_it(served: Served) -> None:
    await three_kept(served)
    waits = await location(served, TO_B)

    def ids() -> list[MessageId]:
        with served.broker.snapshot() as snapshot:
            return [place.id for place, _ in snapshot.views.oldest_kept("shop")]

    first, second, third = ids()
    await served.broker.submit(EditMessage(app="shop", id=first, by="userA", body=b"one"))
    await served.broker.submit(RecallMessage(app="shop", id=second, by="userA"))
    await served.broker.submit(DeleteMessage(app="shop", id=third, by="admin"))
    assert payloads((await fetch(served, waits)).json()["messages"]) == ["one"]
    assert payloads(await find(served, TO_B)) == ["one"]
    assert await count(served, f"source=userA&{TIMES}") == 1


# Settings.


async def test_limits_of_a_page_may_be_lenient(clock: StoppedClock) -> None:
    async with serving(config_of(settings(lenient_history_limit=True)), clock=clock) as served:
        await keep(served, "1", "2", "3")
        assert payloads(await find(served, TO_B, limit=2)) == ["1", "2"]
        assert code(await query(served, TO_B, limit=101)) == BAD


async def test_names_may_be_numbers(clock: StoppedClock) -> None:
    async with serving(config_of(settings(lenient_ids=True)), clock=clock) as served:
        for destination in (1001, "1001"):
            wire = {"destination": destination, "payload": "hi", "enable_historical_messaging": True}
            assert code(await served.send(wire)) == SENT
        assert code(await say(served, CHANNEL | {"channel_name": 1001, "enable_historical_messaging": True})) == SENT
        found = await find(served, {"destination": 1001, **WINDOW})
        assert [each["dst"] for each in found] == ["1001"] * 3


# What other doors brought in.


async def test_a_json_body_sent_natively_shows_as_its_text(served: Served) -> None:
    async with session(served, "alice") as alice:
        await alice.say_raw(
            '{"type":"send","ref":1,"to":{"kind":"peer","id":"bob"},"payload":{"lat": 52.520},"history":true}'
        )
        assert (await alice.next())["type"] == "ok"
        assert (await alice.send(BOB, "text", history=True))["type"] == "ok"
        assert (await alice.send(BOB, "not kept"))["type"] == "ok"
        to_room = {"kind": "room", "id": "channelA"}
        assert (await alice.send(to_room, ["in", "a", "room"], history=True))["type"] == "ok"
    found = await find(served, {"source": "alice", **WINDOW})
    assert payloads(found) == ['{"lat": 52.520}', "text", '["in", "a", "room"]']
    assert [(each["dst"], each["message_type"]) for each in found] == [
        ("bob", "peer_message"),
        ("bob", "peer_message"),
        ("channelA", "channel_message"),
    ]
    assert payloads(await find(served, {"destination": "channelA", **WINDOW})) == ['["in", "a", "room"]']


async def test_a_member_over_the_wire_has_received_what_the_channel_got(served: Served) -> None:
    async with session(served, "u1") as u1:
        await u1.ask(type="join", room="channelA")
        await keep_in(served, "channelA", "Hello")
        assert (await u1.next())["payload"] == "Hello"
    assert payloads(await find(served, {"destination": "u1", **WINDOW})) == ["Hello"]


async def test_names_and_texts_beyond_anyrtcs_own_are_shown(served: Served) -> None:
    for body, to in ((b"", peer("\u7528\u6237")), ("\u4e2d\u6587\u0000\u2028".encode(), room("r/1"))):
        command = SendMessage(app="shop", sender="alice", to=to, body=body, history=True)
        await served.broker.submit(command)
    found = await find(served, {"source": "alice", **WINDOW})
    assert [(each["dst"], each["payload"]) for each in found] == [
        ("\u7528\u6237", ""),
        ("r/1", "\u4e2d\u6587\u0000\u2028"),
    ]


async def test_history_does_not_depend_on_delivery(served: Served) -> None:
    for offline in (True, False):
        wire = PEER | {"enable_offline_messaging": offline, "enable_historical_messaging": True}
        assert code(await served.send(wire, query="wait_for_ack=true")) == (200, "message_offline")
    assert len(await find(served, TO_B)) == 2
