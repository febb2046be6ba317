"""Bans, silences, roles and blocks through a whole broker: who is told nothing more, what is found, what a restart leaves."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from postroom.core import Broker, SendMessage, group, room
from postroom.core.commands import (
    AddMembers,
    BanUsers,
    BlockConversation,
    CreateConversation,
    SetRole,
    SilenceUsers,
    UnbanUsers,
)
from postroom.core.errors import Banned, InvalidCommand, Silenced, UnknownConversation
from postroom.core.events import RoomLeft
from postroom.core.events.lists import SilencesExpired
from postroom.core.model import Blocked, Conversation, Listed, RoleInfo, service
from postroom.core.queries import FindBlocked, FindListed, FindMembers, FindRoles, GetConversation
from postroom.core.runtime.options import Options
from postroom.storage.lmdb import LmdbStore
from postroom.storage.verify import verify
from tests.support.office import APP, HandClock, Tray, events, open_office, run

G, R = group("g"), room("r")


def say(to: Conversation, sender: str, *, speaks: bool = True) -> SendMessage:
    return SendMessage(app=APP, sender=sender, to=to, body=b"hi", history=True, speaks=speaks)


async def listed(broker: Broker, conversation: Conversation = G, **fields: object) -> Listed:
    query = FindListed(app=APP, conversation=conversation, **{"list": "banned", **fields})  # type: ignore[arg-type]
    return await broker.ask(query)


async def test_who_is_banned_hears_nothing_more_of_the_room() -> None:
    bob, ann = Tray(), Tray()
    async with open_office() as (broker, store):
        async with (
            broker.connect(app=APP, user="bob", sink=bob) as session,
            broker.connect(app=APP, user="ann", sink=ann) as other,
        ):
            await session.join(R.id)
            await other.join(R.id)
            await broker.submit(say(R, "cy"))
            await broker.submit(BanUsers(app=APP, conversation=R, users=("bob",)))
            await broker.submit(say(R, "cy"))
            assert (len(bob.frames), len(ann.frames)) == (1, 2)
            assert await broker.ask(FindMembers(app=APP, room=R.id)) == ("ann",)
            with pytest.raises(Banned):
                await session.join(R.id)
            with pytest.raises(Banned):
                await broker.submit(say(R, "bob"))
            await session.leave(R.id)  # nothing happens
            await broker.submit(UnbanUsers(app=APP, conversation=R, users=("bob",)))
            await session.join(R.id)
            await broker.submit(say(R, "cy"))
            assert len(bob.frames) == 2
        assert sum(isinstance(event, RoomLeft) for event in events(store)) == 3


async def test_a_ban_in_the_same_batch_as_a_join_is_before_or_after_it() -> None:
    bob = Tray()
    async with open_office() as (broker, _), broker.connect(app=APP, user="bob", sink=bob) as session:
        await broker.submit(CreateConversation(app=APP, conversation=R))
        refused = []

        async def enter() -> None:
            try:
                await session.join(R.id)
            except Banned as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            nursery.start_soon(broker.submit, BanUsers(app=APP, conversation=R, users=("bob",)))
        assert await broker.ask(FindMembers(app=APP, room=R.id)) == ()
        await broker.submit(say(R, "cy"))
        assert bob.frames == []


async def test_lists_are_found_page_by_page() -> None:
    async with open_office() as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=G))
        assert await listed(broker) == Listed(users=(), next=None)
        users = tuple(f"u{number}" for number in range(25))
        for first in (0, 5, 10, 15, 20):
            await broker.submit(BanUsers(app=APP, conversation=G, users=users[first : first + 5]))
        page = await listed(broker, limit=12)
        assert page.users == users[:12]
        await broker.submit(UnbanUsers(app=APP, conversation=G, users=users[11:14]))  # the last of the page, too
        page = await listed(broker, limit=8, after=page.next)
        assert page.users == users[14:22]
        page = await listed(broker, limit=3, after=page.next)
        assert page == Listed(users=users[22:], next=None)
        assert (await listed(broker, list="silenced")).users == ()
        with pytest.raises(UnknownConversation):
            await listed(broker, group("h"))


async def test_roles_are_found_in_their_order() -> None:
    async with open_office() as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=G))
        for user, role in (("zoe", "owner"), ("abe", "member"), ("mel", "manager"), ("abe", "manager")):
            await broker.submit(SetRole(app=APP, conversation=G, user=user, role=role))  # type: ignore[arg-type]
        zoe, abe, mel = RoleInfo("zoe", "owner"), RoleInfo("abe", "manager"), RoleInfo("mel", "manager")
        assert await broker.ask(FindRoles(app=APP, conversation=G)) == (zoe, abe, mel)
        assert await broker.ask(FindRoles(app=APP, conversation=G, role="manager", offset=1, limit=1)) == (mel,)
        assert await broker.ask(FindRoles(app=APP, conversation=G, offset=3)) == ()
        with pytest.raises(UnknownConversation):
            await broker.ask(FindRoles(app=APP, conversation=R))


async def test_what_a_user_blocks_is_found() -> None:
    conversations = (G, R, service("s"), group("h"))
    async with open_office() as (broker, _):
        for conversation in conversations:
            await broker.submit(CreateConversation(app=APP, conversation=conversation))
        for conversation in conversations[::-1]:
            await broker.submit(BlockConversation(app=APP, conversation=conversation, user="bob"))
        page = await broker.ask(FindBlocked(app=APP, user="bob", limit=3))
        assert page.conversations == conversations[:3]
        page = await broker.ask(FindBlocked(app=APP, user="bob", limit=3, after=page.next))
        assert page == Blocked(conversations=conversations[3:], next=None)
        assert await broker.ask(FindBlocked(app=APP, user="ann")) == Blocked(conversations=(), next=None)


@pytest.mark.parametrize(
    "query",
    [
        FindListed(app=APP, conversation=G, list="members"),  # type: ignore[arg-type]
        FindListed(app=APP, conversation=G, list="banned", after="0" * 23),
        FindListed(app=APP, conversation=G, list="banned", after="é"),
        FindListed(app=APP, conversation=G, list="banned", limit=0),
        FindListed(app=APP, conversation=group(""), list="banned"),
        FindRoles(app=APP, conversation=G, limit=1_001),
        FindRoles(app=APP, conversation=G, offset=-1),
        FindRoles(app=APP, conversation=G, role="king"),  # type: ignore[arg-type]
        FindBlocked(app=APP, user=""),
        FindBlocked(app=APP, user="bob", after="-1"),
        FindBlocked(app=APP, user="bob", after="f" * 15),
        FindBlocked(app=APP, user="bob", limit=1_001),
    ],
    ids=str,
)
async def test_questions_of_the_wrong_form(query: FindListed) -> None:
    async with open_office() as (broker, _):
        with pytest.raises(InvalidCommand):
            await broker.ask(query)


@pytest.mark.parametrize("after", ["00000000000000", "ffffffffffffff"])
async def test_a_place_that_is_none_is_somewhere(after: str) -> None:
    async with open_office() as (broker, _):
        assert (await broker.ask(FindBlocked(app=APP, user="bob", after=after))).conversations == ()


async def test_the_sweeper_forgets_what_is_over(autojump_clock: MockClock) -> None:
    async with open_office(clock=HandClock(), options=Options(sweep_every_s=60)) as (broker, store):
        await broker.submit(CreateConversation(app=APP, conversation=R))
        await broker.submit(SilenceUsers(app=APP, conversation=R, users=("bob",), ttl_ms=30_000))
        await broker.submit(SilenceUsers(app=APP, conversation=R, users=("cy",), ttl_ms=300_000))
        with pytest.raises(Silenced) as refused:
            await broker.submit(say(R, "bob"))
        assert refused.value.retry_after_ms == 30_000
        await trio.sleep(30)
        await broker.submit(say(R, "bob"))
        assert not any(isinstance(event, SilencesExpired) for event in events(store))
        await trio.sleep(35)
        assert [event.count for event in events(store) if isinstance(event, SilencesExpired)] == [1]
        with pytest.raises(Silenced):
            await broker.submit(say(R, "cy"))


async def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    async def before(broker: Broker) -> None:
        await broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob")))
        await broker.submit(BanUsers(app=APP, conversation=G, users=("bob",)))
        await broker.submit(SilenceUsers(app=APP, conversation=G, users=("ann",), ttl_ms=86_400_000))
        await broker.submit(SilenceUsers(app=APP, conversation=G, users=("cy",)))
        await broker.submit(SetRole(app=APP, conversation=G, user="ann", role="owner"))
        await broker.submit(BlockConversation(app=APP, conversation=G, user="dan"))

    async def after(broker: Broker) -> None:
        info = await broker.ask(GetConversation(app=APP, conversation=G))
        assert info is not None
        assert info.members == ("ann",)
        assert ((await listed(broker)).users, (await listed(broker, list="silenced")).users) == (("bob",), ("cy",))
        for user in ("bob", "dan"):
            with pytest.raises(Banned):
                await broker.submit(AddMembers(app=APP, conversation=G, users=(user,)))
        for user in ("ann", "cy"):
            with pytest.raises(Silenced):
                await broker.submit(say(G, user))
        assert await broker.ask(FindRoles(app=APP, conversation=G)) == (RoleInfo("ann", "owner"),)

    async def in_turn(*bodies: Callable[[Broker], Awaitable[None]]) -> None:
        for body in bodies:
            store = LmdbStore(tmp_path / "data")
            try:
                await run(store, body)
            finally:
                store.close()

    await in_turn(before, after)
    assert verify(tmp_path / "data", scratch=tmp_path, progress=lambda _: None).problems == ()
