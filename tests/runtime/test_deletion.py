"""Conversations deleted under a whole broker: who still gets what, and what the sweeper does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from postroom.core import Broker, Message, Options, Receipt, SendMessage, group, peer, room, service
from postroom.core.commands import AddMembers, BlockConversation, CreateConversation, DeleteConversation, DeleteMessage
from postroom.core.errors import ConversationExists, Overloaded, UnknownConversation
from postroom.core.events.deletion import ConversationSwept, CopiesWithdrawn
from postroom.core.ids import MessageId
from postroom.core.limits import PAGE_ENTRIES, SWEEP_STEP
from postroom.core.model import Conversation, Rules
from postroom.core.queries import (
    CollectMessages,
    CountConversations,
    CountMessages,
    FindMembers,
    FindMessages,
    GetConversation,
    ReserveMessages,
)
from tests.support.office import APP, Pages, Replays, Tray, events, open_office, queue, send, settle_down

G, R = group("g"), room("r")


@asynccontextmanager
async def house(**how: Any) -> AsyncIterator[tuple[Broker, Any]]:
    """The group of ann, bob and cy, and a room."""
    async with open_office(**how) as (broker, store):
        await broker.submit(CreateConversation(app=APP, conversation=G, members=("ann", "bob", "cy")))
        await broker.submit(CreateConversation(app=APP, conversation=R))
        yield broker, store


async def say(broker: Broker, text: str = "hi", to: Conversation = G, *, queue: bool = True) -> MessageId:
    kept = queue or to.kind == "room"
    command = SendMessage(
        app=APP, sender="ann", to=to, body=text.encode(), queue=queue and to.kind == "group", history=kept
    )
    return (await broker.submit(command)).id


async def delete(broker: Broker, conversation: Conversation = G) -> None:
    await broker.submit(DeleteConversation(app=APP, conversation=conversation, by="eve"))


@pytest.mark.parametrize("queued", [True, False])
async def test_what_a_session_has_not_handed_out_is_dropped(queued: bool) -> None:
    async with house() as (broker, _):
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await say(broker, "gone", queue=queued)
            await send(broker, "mail", "bob")
            await say(broker, "gone, too", queue=queued)
            await delete(broker)
            tray.room = 10
            session.resume()
            assert tray.texts() == ["mail"]
            await session.ack(tray.frames[0])


async def test_word_of_a_message_deleted_before_still_comes() -> None:
    async with house() as (broker, _):
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            id = await say(broker)
            await broker.submit(DeleteMessage(app=APP, id=id, by="ann"))
            await delete(broker)
            tray.room = 10
            session.resume()
            assert tray.texts() == ["deleted"]


async def test_a_page_on_its_way_arrives_without_it() -> None:
    async with house() as (broker, _):
        await say(broker, "gone")
        await send(broker, "mail", "bob")
        pages, tray = Pages(broker), Tray()
        pages.stop()
        async with broker.connect(app=APP, user="bob", sink=tray):
            await settle_down()
            assert pages.asked == 1
            await delete(broker)
            await send(broker, "later", "bob")
            pages.go()
            await settle_down()
            assert tray.texts() == ["mail", "later"]


async def test_who_comes_before_the_sweeper_gets_nothing_of_it() -> None:
    """More of it than a page, too; the welcome counts what is queued until it is swept."""
    async with house() as (broker, store):
        for number in range(PAGE_ENTRIES + 5):
            await say(broker, f"{number}")
        await send(broker, "mail", "bob")
        await delete(broker)
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await settle_down()
            assert session.welcome.queued == PAGE_ENTRIES + 6
            assert tray.texts() == ["mail"]
            await session.ack(tray.frames[0])
        assert queue(store, "bob") == []


async def test_a_replay_on_its_way_does_not_arrive() -> None:
    async with house() as (broker, _):
        since = await say(broker, "first", R)
        await say(broker, "gone", R)
        replays, tray = Replays(broker), Tray()
        replays.stop()
        async with broker.connect(app=APP, user="bob", sink=tray) as session, trio.open_nursery() as nursery:
            joined = []

            async def join() -> None:
                joined.append(await session.join("r", since=since))

            nursery.start_soon(join)
            await settle_down()
            assert replays.asked == 1
            await delete(broker, R)
            replays.go()
            await settle_down()
            assert tray.texts() == []
            assert [each.recovered for each in joined] == [False]
            with pytest.raises(Overloaded):
                await session.join("r")


async def test_a_replay_read_after_it_finds_nothing() -> None:
    async with house() as (broker, _):
        since = await say(broker, "first", R)
        await say(broker, "gone", R)
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            entered = await broker._host.join(session, "r", replays=False)
            await delete(broker, R)
            missed = await broker._host.read_missed(APP, "bob", "r", since, entered, 1_000_000)
            assert (missed.deliveries, missed.complete) == ([], False)


async def test_a_room_is_empty_and_silent() -> None:
    async with house() as (broker, _):
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await session.join("r")
            await say(broker, "before", R)
            assert await broker.ask(FindMembers(app=APP, room="r")) == ("bob",)
            await delete(broker, R)
            assert await broker.ask(FindMembers(app=APP, room="r")) == ()
            with pytest.raises(Overloaded):
                await say(broker, "after", R)
            assert tray.texts() == ["before"]
            assert await broker.ask(CountMessages(app=APP, receiver="bob")) == 0


QUESTIONS: list[dict[str, Any]] = [
    {"everything": True},
    {"sender": "ann"},
    {"conversations": (G,)},
    {"conversations": (G, R)},
    {"conversations": (G, peer("bob"))},
    {"sender": "ann", "conversations": (G, R, peer("bob"))},
    {"receiver": "bob"},
]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("which", QUESTIONS, ids=str)
async def test_nobody_finds_its_messages(which: dict[str, Any], newest_first: bool) -> None:
    async with house() as (broker, _):
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await session.join("r")
            for _ in range(3):
                await say(broker, "group")
                await say(broker, "room", R)
                await send(broker, "peer", "bob", sender="ann", history=True)

            async def found() -> set[str]:
                messages: tuple[Message, ...] = await broker.ask(
                    FindMessages(app=APP, newest_first=newest_first, recalled=True, **which)
                )
                assert await broker.ask(CountMessages(app=APP, **which)) == len(messages)
                return {message.body.decode() for message in messages}

            before = await found()
            assert before
            await delete(broker)
            assert await found() == before - {"group"}
            await delete(broker, R)
            assert await found() == before - {"group", "room"}


async def test_a_result_set_aside_before_is_collected_without_them() -> None:
    async with house() as (broker, _):
        await say(broker, "group")
        await send(broker, "peer", "bob", sender="ann", history=True)
        find = FindMessages(app=APP, sender="ann")
        handle = await broker.ask(ReserveMessages(app=APP, find=find, ttl_ms=60_000))
        await delete(broker)
        messages = await broker.ask(CollectMessages(app=APP, handle=handle))
        assert [message.body for message in messages] == [b"peer"]


async def test_nobody_finds_its_record() -> None:
    async with house() as (broker, _):
        await delete(broker)
        assert await broker.ask(GetConversation(app=APP, conversation=G)) is None
        for kinds, count in ((("group",), 0), (("group", "room"), 1)):
            assert await broker.ask(CountConversations(app=APP, kinds=kinds)) == count
        with pytest.raises(UnknownConversation):
            await say(broker)


async def test_the_sweeper_clears_what_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with house(options=Options(sweep_every_s=5)) as (broker, store):
        await say(broker, "gone")
        await say(broker, "gone", R)
        await send(broker, "mail", "bob")
        await delete(broker)
        await delete(broker, R)
        with pytest.raises(ConversationExists):
            await broker.submit(CreateConversation(app=APP, conversation=G))
        await trio.sleep(6)
        assert queue(store, "bob") == ["mail"]
        assert queue(store, "cy") == []
        happened = events(store)
        assert sum(isinstance(event, CopiesWithdrawn) for event in happened) == 1
        free = [
            event.conversation for event in happened if isinstance(event, ConversationSwept) and event.what == "record"
        ]
        assert free in ([G, R], [R, G])
        await broker.submit(CreateConversation(app=APP, conversation=G, members=("bob",)))
        await say(broker, "again")
        await say(broker, "again", R)
        assert queue(store, "bob") == ["mail", "again"]


async def test_the_sweeper_clears_more_than_it_looks_at_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with house(options=Options(sweep_every_s=5)) as (broker, store):
        many = [group(f"g{number}") for number in range(SWEEP_STEP + 1)]
        await broker.submit_many([CreateConversation(app=APP, conversation=each) for each in many])
        await broker.submit_many([DeleteConversation(app=APP, conversation=each, by="eve") for each in many])
        await trio.sleep(6)
        with store.snapshot() as snapshot:
            assert list(snapshot.views.deleted_conversations(APP)) == []


async def test_the_sweeper_finds_who_blocks_it(autojump_clock: trio.testing.MockClock) -> None:
    """Among more blocks than it looks at in one go."""
    async with house(options=Options(sweep_every_s=5)) as (broker, store):
        users = [f"u{number}" for number in range(SWEEP_STEP + 500)]
        block = [BlockConversation(app=APP, conversation=G, user=user) for user in users]
        await broker.submit_many([*block, BlockConversation(app=APP, conversation=R, user="bob")])
        await delete(broker)
        await trio.sleep(6)
        with store.snapshot() as snapshot:
            assert list(snapshot.views.deleted_conversations(APP)) == []
            assert [each[2] for each in snapshot.views.blocks()] == ["bob"]
        swept = [event for event in events(store) if isinstance(event, ConversationSwept) and event.what == "blocks"]
        assert sorted(user for event in swept for user in event.users) == sorted(users)


async def test_whoever_subscribed_to_a_service_of_this_name_before_is_told_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    s = service("s")

    async def say_to_it(text: str) -> None:
        await broker.submit(SendMessage(app=APP, sender="ann", to=s, body=text.encode(), queue=True, history=True))

    async with house(options=Options(sweep_every_s=5)) as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=s))
        await broker.submit(AddMembers(app=APP, conversation=s, users=("bob", "cy")))
        trays = {user: Tray() for user in ("bob", "cy")}
        async with broker.connect(app=APP, user="bob", sink=trays["bob"]):
            await say_to_it("before")
            await delete(broker, s)
            async with broker.connect(app=APP, user="cy", sink=trays["cy"]):
                await trio.sleep(6)
                await broker.submit(CreateConversation(app=APP, conversation=s))
                await broker.submit(AddMembers(app=APP, conversation=s, users=("ann",)))
                await say_to_it("after")
                await settle_down()
        assert {user: tray.texts() for user, tray in trays.items()} == {"bob": ["before"], "cy": []}


async def test_it_keeps_its_place_among_commands_about_records() -> None:
    async with house() as (broker, store):
        outcomes = await broker.submit_many(
            [
                CreateConversation(app=APP, conversation=group("h"), members=("bob",)),
                SendMessage(app=APP, sender="ann", to=group("h"), body=b"hi", queue=True, history=True),
                DeleteConversation(app=APP, conversation=group("h"), by="eve"),
                SendMessage(app=APP, sender="ann", to=group("h"), body=b"no", queue=True, history=True),
            ]
        )
        assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, Receipt, UnknownConversation]
        assert queue(store, "bob") == ["hi"]


async def test_another_app_is_left_alone() -> None:
    async with house(rules={APP: Rules(), "other": Rules()}) as (broker, _):
        await broker.submit(CreateConversation(app="other", conversation=G, members=("bob",)))
        tray = Tray(room=0)
        async with broker.connect(app="other", user="bob", sink=tray) as session:
            command = SendMessage(app="other", sender="ann", to=G, body=b"theirs", queue=True, history=True)
            await broker.submit(command)
            await delete(broker)
            tray.room = 10
            session.resume()
            assert tray.texts() == ["theirs"]
            assert await broker.ask(CountMessages(app="other", everything=True)) == 1
