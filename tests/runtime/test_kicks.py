"""Kicks and counts of users through the whole broker: sessions end, and tokens are refused, in the order of the log."""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from postroom.core import BrokerThread, Kicked, Rules, open_broker
from postroom.core.commands import Kick
from postroom.core.errors import InvalidCommand, TokenRevoked, UnknownApp
from postroom.core.events import LoggedOut, RoomLeft, UserKicked
from postroom.core.ids import UnixMs
from postroom.core.model import UserCount
from postroom.core.queries import AppUsers, FindOnline
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from postroom.storage.verify import verify
from tests.support.machine import START_MS
from tests.support.office import (
    Commits,
    HandClock,
    Tray,
    assert_sound,
    events,
    open_office,
    queue,
    send,
    settle_down,
    take,
    texts,
)

DAY_MS = 86_400_000
KICK = Kick(app="demo", user="bob", reason="spam")


async def count(broker: Any, app: str = "demo") -> tuple[int, int]:
    """Online, and today."""
    users = await broker.ask(AppUsers(app=app))
    assert isinstance(users, UserCount)
    return users.online, users.today


async def test_every_session_of_the_user_is_told_and_nobody_elses() -> None:
    async with open_office() as (broker, store):
        trays = [Tray(), Tray(), Tray(), Tray()]
        async with (
            broker.connect(app="demo", user="bob", sink=trays[0]) as session,
            broker.connect(app="demo", user="bob", sink=trays[1]),
            broker.connect(app="demo", user="carol", sink=trays[2]),
            broker.connect(app="other", user="bob", sink=trays[3]),
        ):
            assert session.kick_reason == ""
            receipt = await broker.submit(KICK)
            assert [tray.closed for tray in trays] == [["kicked"], ["kicked"], [], []]
            assert session.kick_reason == "spam"
            await broker.submit(KICK)
            assert trays[0].closed == ["kicked"]  # once
            await send(broker, "later")
            assert trays[0].frames == []
            assert not any(isinstance(event, LoggedOut) for event in events(store))
        assert receipt.at_ms <= (await broker.submit(KICK)).at_ms
        assert len([event for event in events(store) if isinstance(event, LoggedOut)]) == 4
        assert queue(store) == ["later"]


async def test_an_iteration_ends_with_an_error_that_says_so() -> None:
    async with open_office() as (broker, store):
        await send(broker, "0")
        async with broker.connect(app="demo", user="bob") as session:
            assert texts(await take(session, 1)) == ["0"]
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    with pytest.raises(Kicked, match="kicked: spam") as caught:
                        await anext(session)
                    assert caught.value.reason == "spam"

                nursery.start_soon(wait)
                await settle_down()
                await broker.submit(KICK)
            with pytest.raises(Kicked):
                await anext(session)
        assert queue(store) == ["0"]
        async with broker.connect(app="demo", user="bob") as again:
            assert texts(await take(again, 1)) == ["0"]


async def test_what_was_handed_out_before_can_still_be_acknowledged() -> None:
    async with open_office() as (broker, store):
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray) as session:
            await send(broker, "0")
            await broker.submit(KICK)
            await session.ack(tray.frames[0])
        assert queue(store) == []


async def test_the_user_leaves_their_rooms_with_the_last_session() -> None:
    async with open_office() as (broker, store):
        async with broker.connect(app="demo", user="bob", sink=Tray()) as session:
            await session.join("r")
            await broker.submit(KICK)
        assert [event.room for event in events(store) if isinstance(event, RoomLeft)] == ["r"]
        assert broker.statistics().rooms == 0


async def test_a_login_that_was_decided_before_the_kick_is_closed_and_one_after_it_refused(
    mock_clock: MockClock,
) -> None:
    """Both wait for the same commit: the order of the log decides."""
    async with open_office(clock=HandClock()) as (broker, store):
        commits, before, after = Commits(broker), Tray(), Tray()
        commits.stop()
        token_ms = UnixMs(START_MS - 1)
        refused: list[str] = []

        async def connect(tray: Tray) -> None:
            try:
                async with broker.connect(app="demo", user="bob", sink=tray, token_ms=token_ms):
                    await trio.lowlevel.checkpoint()
            except TokenRevoked as refusal:
                refused.append(refusal.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, broker, "holds the first commit")
            await settle_down()
            nursery.start_soon(connect, before)
            await settle_down()
            nursery.start_soon(broker.submit, KICK)
            await settle_down()
            nursery.start_soon(connect, after)
            await settle_down()
            commits.go()
        assert (before.closed, after.closed, refused) == (["kicked"], [], ["token_revoked"])
        kinds = [type(event).__name__ for event in events(store)]
        assert kinds[-3:] == ["LoggedIn", "UserKicked", "LoggedOut"]


async def test_a_session_that_needs_no_token_may_come_back(mock_clock: MockClock) -> None:
    async with open_office(clock=HandClock()) as (broker, _):
        await broker.submit(KICK)
        async with broker.connect(app="demo", user="bob", sink=Tray()):
            pass
        with pytest.raises(TokenRevoked):
            async with broker.connect(app="demo", user="bob", token_ms=UnixMs(START_MS - 1)):
                pass
        assert broker.statistics().refusals["demo", "token_revoked"] == 1


async def test_what_is_refused() -> None:
    async with open_office(rules={"demo": Rules()}) as (broker, store):
        with pytest.raises(UnknownApp):
            await broker.submit(Kick(app="other", user="bob"))
        with pytest.raises(UnknownApp):
            await broker.ask(AppUsers(app="other"))
        with pytest.raises(InvalidCommand):
            await broker.submit(Kick(app="demo", user="bob", reason="x" * 65))
        assert not any(isinstance(event, UserKicked) for event in events(store))


async def test_users_online_and_today(mock_clock: MockClock) -> None:
    clock = HandClock()
    async with open_office(clock=clock) as (broker, _):
        assert await count(broker) == (0, 0)
        async with broker.connect(app="demo", user="bob", sink=Tray()):
            assert await count(broker) == (1, 1)
            async with (
                broker.connect(app="demo", user="bob", sink=Tray()),
                broker.connect(app="demo", user="carol", sink=Tray()),
            ):
                assert await count(broker) == (2, 2)
                assert await count(broker, "other") == (0, 0)
            assert await count(broker) == (1, 2)
            clock.jump(DAY_MS)
            assert await count(broker) == (1, 0)  # bob is there, and did not log in
        async with broker.connect(app="demo", user="bob", sink=Tray()):
            await broker.submit(KICK)
            assert await count(broker) == (1, 1)  # until the owner leaves
            assert await broker.ask(FindOnline(app="demo", users=("bob",))) == ("bob",)
        assert await count(broker) == (0, 1)
        assert await broker.ask(FindOnline(app="demo", users=("bob",))) == ()


async def test_the_day_of_an_app_is_its_own(mock_clock: MockClock) -> None:
    """It is 14:13 in UTC."""
    rules = {"demo": Rules(day_offset_ms=9 * 3_600_000), "other": Rules()}
    clock = HandClock()
    async with open_office(clock=clock, rules=rules) as (broker, _):
        for app in rules:
            async with broker.connect(app=app, user="bob", sink=Tray()):
                pass
        clock.jump(3_600_000)
        assert [await count(broker, app) for app in rules] == [(0, 0), (0, 1)]


async def test_a_clock_that_was_ahead_keeps_its_day(mock_clock: MockClock) -> None:
    clock = HandClock()
    async with open_office(clock=clock) as (broker, _):
        clock.jump(3 * DAY_MS)
        async with broker.connect(app="demo", user="bob", sink=Tray()):
            clock.jump(-3 * DAY_MS)
            assert await count(broker) == (1, 1)
        async with broker.connect(app="demo", user="carol", sink=Tray()):
            assert await count(broker) == (1, 2)


async def test_on_disk_over_restarts(tmp_path: Path) -> None:
    async with open_broker(LmdbStore(tmp_path / "data")) as broker:
        tray = Tray()
        async with broker.connect(app="demo", user="bob", sink=tray, token_ms=UnixMs(1)):
            kicked = await broker.submit(KICK)
            assert tray.closed == ["kicked"]
        assert await count(broker) == (0, 1)
    async with open_broker(LmdbStore(tmp_path / "data")) as broker:
        assert await count(broker) == (0, 1)
        with pytest.raises(TokenRevoked):
            async with broker.connect(app="demo", user="bob", token_ms=kicked.at_ms):
                pass
        token_ms = UnixMs(kicked.at_ms + 1)
        async with broker.connect(app="demo", user="bob", sink=Tray(), token_ms=token_ms):
            assert await count(broker) == (1, 1)
    assert verify(tmp_path / "data", progress=lambda _: None).problems == ()


async def test_a_shutdown_after_the_kick_changes_nothing_for_it() -> None:
    tray = Tray()
    async with open_office() as (broker, _), broker.connect(app="demo", user="bob", sink=tray):
        await broker.submit(KICK)
        broker.close_sessions()
        assert tray.closed == ["kicked"]


def test_from_synchronous_code() -> None:
    store = MemoryStore()
    with BrokerThread(store) as broker, broker.connect(app="demo", user="bob") as session:
        assert broker.ask(AppUsers(app="demo")).result() == UserCount(online=1, today=1)
        kicked = broker.submit(KICK).result()
        with pytest.raises(Kicked, match="spam"):
            next(session)
        with pytest.raises(Kicked):
            session.receive().result()
        with pytest.raises(TokenRevoked), broker.connect(app="demo", user="bob", token_ms=kicked.at_ms):
            pass
        with broker.connect(app="demo", user="bob"):
            pass
    assert_sound(store)
