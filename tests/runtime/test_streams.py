"""Streams through a whole broker: who is told, in which frame, from where on, and what an ack covers."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from postroom.core import Broker, DeleteMessage, EditMessage, RecallMessage, Receipt, group, service
from postroom.core.commands import AddMembers, BanUsers, CreateConversation, RemoveMembers, SendMessage
from postroom.core.errors import UnknownConversation
from postroom.core.events import Acked
from postroom.core.limits import GROUP_COPIES_MAX, PAGE_BYTES, PAGE_ENTRIES
from postroom.core.model import Conversation, Rules, Subscription
from postroom.core.queries import CountMembers, FindMessages, FindSubscribers, FindSubscriptions, GetConversation
from postroom.core.runtime.options import Options
from tests.support.office import APP, Pages, Tray, events, message, open_office, send, settle_down, take, texts

S = service("news")
T = service("more")
CROWD = tuple(f"m{number}" for number in range(GROUP_COPIES_MAX + 1))


def say(text: str = "hi", to: Conversation = S, **fields: Any) -> SendMessage:
    """Queued and kept unless said otherwise."""
    fields = {"queue": True, "history": True, **fields}
    return SendMessage(app=APP, to=to, body=text.encode(), **{"sender": "press", **fields})


async def subscribe(broker: Broker, *users: str, to: Conversation = S) -> None:
    await broker.submit(AddMembers(app=APP, conversation=to, users=users))


async def unsubscribe(broker: Broker, *users: str, of: Conversation = S) -> None:
    await broker.submit(RemoveMembers(app=APP, conversation=of, users=users))


@asynccontextmanager
async def newsroom(*online: str, rules: Rules | None = None) -> AsyncIterator[tuple[Broker, Any, list[Tray]]]:
    """Two services, to the first of which ann and bob subscribe; a session for each name that is given."""
    apps = {APP: rules} if rules is not None else None
    async with open_office(rules=apps) as (broker, store), AsyncExitStack() as sessions:
        for place in (S, T):
            await broker.submit(CreateConversation(app=APP, conversation=place))
        await subscribe(broker, "ann", "bob")
        trays = [Tray() for _ in online]
        for user, tray in zip(online, trays, strict=True):
            tray.session = await sessions.enter_async_context(broker.connect(app=APP, user=user, sink=tray))
        yield broker, store, trays


def acks(store: Any) -> list[tuple[str, int, int, int, int]]:
    """What each ack covered: entries, and of streams what was sent, evicted, expired."""
    found = [event for event in events(store) if isinstance(event, Acked)]
    return [(event.user, event.count, event.streamed, event.evicted, event.expired) for event in found]


async def test_all_share_one_frame_without_a_number_of_their_own() -> None:
    async with newsroom("ann", "bob", "bob", "eve") as (broker, _, (ann, bob, bob_too, eve)):
        await broker.submit(say("hi"))
        assert [tray.texts() for tray in (ann, bob, bob_too, eve)] == [["hi"], ["hi"], ["hi"], []]
        frame = ann.frames[0]
        assert frame is bob.frames[0] is bob_too.frames[0]
        assert (frame.queued, frame.seq, frame.stream, frame.conversation, frame.sender) == (True, None, 1, S, "press")


async def test_what_is_not_queued_is_told_to_who_is_here() -> None:
    async with newsroom("ann", "eve") as (broker, store, (ann, eve)):
        await broker.submit(say("now", queue=False, history=False))
        kept = await broker.submit(say("kept", queue=False))
        await broker.submit(RecallMessage(app=APP, id=kept.id, by="press"))
        assert (ann.texts(), eve.texts()) == (["now", "kept", "recalled"], [])
        assert [(frame.queued, frame.stream) for frame in ann.frames] == [(False, None)] * 3
        with store.snapshot() as snapshot:
            row = snapshot.views.conversation(APP, S)
            assert list(snapshot.views.stream(row.number)) == []


async def test_nobody_created_it() -> None:
    async with newsroom() as (broker, _, _):
        with pytest.raises(UnknownConversation):
            await broker.submit(say(to=service("none"), queue=False, history=False))


async def test_who_subscribes_and_leaves_while_online() -> None:
    async with newsroom("bob", "eve") as (broker, _, (bob, eve)):
        await broker.submit(say("1"))
        await subscribe(broker, "eve", "offline")
        await unsubscribe(broker, "bob", "stranger")
        await broker.submit(say("2"))
        await broker.submit(BanUsers(app=APP, conversation=S, users=("eve",)))
        await broker.submit(say("3"))
        assert (bob.texts(), eve.texts()) == (["1"], ["2"])


async def test_who_comes_later_is_given_both_kinds_in_one_order() -> None:
    async with newsroom() as (broker, store, _):
        await broker.submit(say("1"))
        await send(broker, "2")
        await broker.submit(say("3"))
        async with broker.connect(app=APP, user="bob") as session:
            assert (session.welcome.queued, session.welcome.missed) == (3, 0)
            frames = await take(session, 3)
            assert texts(frames) == ["1", "2", "3"]
            assert [(frame.seq, frame.stream) for frame in frames] == [(None, 1), (1, None), (None, 2)]
            await broker.submit(say("4"))
            await session.ack(frames[1])
            (late,) = await take(session, 1)
            await session.ack(late)
        assert acks(store) == [("bob", 1, 1, 0, 0), ("bob", 0, 2, 0, 0)]
        async with broker.connect(app=APP, user="bob") as session:
            assert (session.welcome.queued, session.welcome.missed) == (0, 0)


async def test_other_sessions_are_told_what_was_acknowledged_of_a_stream_alone() -> None:
    async with newsroom("bob", "bob") as (broker, _, (one, other)):
        receipt = await broker.submit(say("1"))
        assert one.session is not None
        await one.session.ack(one.frames[0])
        (_, told) = other.frames
        assert (told.type, told.id, told.seq) == ("acked", receipt.id, None)
        assert [frame.type for frame in one.frames] == ["message"]


async def test_an_ack_of_a_change_covers_the_change() -> None:
    """The message that it is about has the same id, and waits for its ack as well."""
    async with newsroom("ann") as (broker, store, (ann,)):
        sent = await broker.submit(say("hi"))
        await broker.submit(say("more"))
        await broker.submit(EditMessage(app=APP, id=sent.id, by="press", body=b"ho"))
        assert [frame.type for frame in ann.frames] == ["message", "message", "edited"]
        await ann.session.ack(ann.frames[-1])
        assert acks(store) == [("ann", 0, 3, 0, 0)]


async def test_an_ack_of_a_queue_alone_looks_at_no_stream() -> None:
    async with newsroom("bob") as (broker, store, (bob,)):
        for text in ("1", "2"):
            await send(broker, text)
        assert bob.session is not None
        looked: list[object] = []
        acknowledge = broker._writer.acknowledge

        def noting(*how: Any) -> None:
            looked.append(how[-1])
            acknowledge(*how)

        broker._writer.acknowledge = noting  # type: ignore[method-assign]
        await bob.session.ack(bob.frames[0])
        await broker.submit(say("3"))
        await bob.session.ack(bob.frames[1])
        await bob.session.ack(bob.frames[2])
        await send(broker, "4")
        await bob.session.ack(bob.frames[3])
        assert [each is not None for each in looked] == [False, True, True, False]
        assert acks(store) == [("bob", 1, 0, 0, 0), ("bob", 1, 0, 0, 0), ("bob", 0, 1, 0, 0), ("bob", 1, 0, 0, 0)]


async def test_what_a_welcome_said_was_missed_is_accounted_for_by_the_first_ack_that_covers_it() -> None:
    async with newsroom(rules=Rules(queue_messages=2)) as (broker, store, _):
        await send(broker, "first")
        for number in range(5):
            await broker.submit(say(str(number)))
        for _ in range(2):
            async with broker.connect(app=APP, user="bob") as session:
                assert (session.welcome.queued, session.welcome.missed) == (3, 3)
        async with broker.connect(app=APP, user="bob") as session:
            frames = await take(session, 3)
            assert texts(frames) == ["first", "3", "4"]
            await session.ack(frames[0])
            await session.ack(frames[2])
        assert acks(store) == [("bob", 1, 0, 0, 0), ("bob", 0, 2, 3, 0)]
        totals = broker.statistics().totals[APP]
        assert (totals.accepted, totals.acked, totals.evicted, totals.queued) == (6, 3, 3, 0)


async def test_changes_reach_who_is_here_and_who_is_not() -> None:
    async with newsroom("ann") as (broker, _, (ann,)):
        first, second = await broker.submit(say("1")), await broker.submit(say("2"))
        await broker.submit(EditMessage(app=APP, id=first.id, by="press", body=b"one"))
        await broker.submit(DeleteMessage(app=APP, id=second.id, by="press"))
        assert [(frame.type, frame.stream, frame.queued) for frame in ann.frames] == [
            ("message", 1, True),
            ("message", 2, True),
            ("edited", 1, True),
            ("deleted", 2, True),
        ]
        async with broker.connect(app=APP, user="bob") as session:
            assert session.welcome.queued == 1
            (frame,) = await take(session, 1)
        assert (frame.type, frame.body) == ("message", b"one")
        third = await broker.submit(say("3"))
        await broker.submit(DeleteMessage(app=APP, id=third.id, by="press", silent=True))
        assert ann.texts()[-1] == "3"
        found = await broker.ask(FindMessages(app=APP, conversations=(S,)))
        assert [each.body for each in found] == [b"one"]


async def test_who_acknowledges_everything_is_not_told_what_they_saw_already() -> None:
    """The change stands behind the frame that the ack names."""
    async with newsroom() as (broker, _, _):
        sent = await broker.submit(say("1"))
        await broker.submit(EditMessage(app=APP, id=sent.id, by="press", body=b"one"))
        async with broker.connect(app=APP, user="bob") as session:
            (frame,) = await take(session, 1)
            await session.ack(frame)
        async with broker.connect(app=APP, user="bob") as session:
            assert (session.welcome.queued, session.welcome.missed) == (0, 0)


@pytest.mark.parametrize("queue", [True, False])
async def test_changes_are_not_told_to_who_came_after_the_message(queue: bool) -> None:
    g = group("g")
    async with newsroom("ann", "eve") as (broker, _, (ann, eve)):
        await broker.submit(CreateConversation(app=APP, conversation=g, members=("ann", *CROWD)))
        for place in (S, g):
            first = await broker.submit(say("old", place, queue=queue))
            await subscribe(broker, "eve", to=place)
            await broker.submit(EditMessage(app=APP, id=first.id, by="press", body=b"secret"))
            await broker.submit(DeleteMessage(app=APP, id=first.id, by="press"))
            second = await broker.submit(say("new", place, queue=queue))
            await broker.submit(RecallMessage(app=APP, id=second.id, by="press"))
            assert ann.texts() == ["old", "secret", "deleted", "new", "recalled"]
            assert eve.texts() == ["new", "recalled"]
            ann.frames.clear()
            eve.frames.clear()


async def test_a_session_that_falls_behind_reads_streams_from_disk() -> None:
    async with open_office(options=Options(session_buffer_bytes=PAGE_BYTES)) as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=S))
        await subscribe(broker, "bob")
        tray = Tray(room=1)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            sent = []
            for number in range(3 * PAGE_ENTRIES):
                body = str(number) + "x" * 4_000
                sent.append(body)
                await (broker.submit(say(body)) if number % 3 else send(broker, body))
            while len(tray.frames) < len(sent):
                tray.room += 1
                session.resume()
                await settle_down()
            assert tray.texts() == sent
            await session.ack(tray.frames[-1])


async def test_what_is_sent_while_a_page_is_on_its_way_comes_once() -> None:
    async with newsroom() as (broker, _, _):
        await broker.submit(say("1"))
        pages = Pages(broker)
        pages.stop()
        tray = Tray()
        async with broker.connect(app=APP, user="bob", sink=tray):
            await settle_down()
            receipt = await broker.submit(say("2"))
            await subscribe(broker, "bob", to=T)
            await broker.submit(say("3", T))
            await broker.submit(EditMessage(app=APP, id=receipt.id, by="press", body=b"zwei"))
            pages.go()
            await settle_down()
            assert tray.texts() == ["1", "zwei", "3", "zwei"]


async def test_a_large_group_is_told_once_and_its_sender_is_not() -> None:
    g = group("g")
    async with newsroom("ann", "bob") as (broker, _, (ann, bob)):
        await broker.submit(CreateConversation(app=APP, conversation=g, members=("ann", "bob", *CROWD)))
        await broker.submit(say("1", g, sender="ann"))
        await broker.submit(say("2", g, sender="ann", sender_copy="online"))
        assert (ann.texts(), bob.texts()) == (["2"], ["1", "2"])
        assert [(frame.queued, frame.stream) for frame in (*ann.frames, *bob.frames)] == [
            (False, None),
            (True, 1),
            (True, 2),
        ]
        await broker.submit(say("3", g, sender="ann", queue=False, history=False))
        assert bob.texts() == ["1", "2", "3"]
        async with broker.connect(app=APP, user="m7") as session:
            assert texts(await take(session, 2)) == ["1", "2"]
        async with broker.connect(app=APP, user="ann") as session:
            assert session.welcome.queued == 0


async def test_a_restart_goes_on_where_the_user_was() -> None:
    async with newsroom() as (broker, store, _):
        await broker.submit(say("1"))
        await broker.submit(say("2"))
        async with broker.connect(app=APP, user="bob") as session:
            first, _ = await take(session, 2)
            await session.ack(first)
    async with open_office(store) as (broker, _), broker.connect(app=APP, user="bob") as session:
        assert session.welcome.queued == 1
        await broker.submit(say("3"))
        assert texts(await take(session, 2)) == ["2", "3"]


async def test_subscribers_and_subscriptions_page_by_page() -> None:
    async with newsroom() as (broker, _, _):
        await subscribe(broker, "cy", "ann", "dora")
        await subscribe(broker, "bob", to=T)
        info = await broker.ask(GetConversation(app=APP, conversation=S))
        assert info is not None
        assert (info.members, info.member_count) == ((), 4)
        assert await broker.ask(CountMembers(app=APP, conversation=S)) == 4
        everybody = await broker.ask(FindSubscribers(app=APP, conversation=S))
        assert [each.user for each in everybody] == ["ann", "bob", "cy", "dora"]
        assert all(each == Subscription(S, each.user, each.since_ms) and each.since_ms > 0 for each in everybody)
        page = await broker.ask(FindSubscribers(app=APP, conversation=S, after="bob", limit=1))
        assert [each.user for each in page] == ["cy"]
        assert await broker.ask(FindSubscribers(app=APP, conversation=S, after="eve")) == ()
        theirs = await broker.ask(FindSubscriptions(app=APP, user="bob"))
        assert [each.conversation for each in theirs] == [S, T]
        newest = await broker.ask(FindSubscriptions(app=APP, user="bob", newest_first=True))
        assert newest == theirs[::-1]
        assert await broker.ask(FindSubscriptions(app=APP, user="bob", after=S)) == theirs[1:]
        assert await broker.ask(FindSubscriptions(app=APP, user="bob", after=T, newest_first=True)) == theirs[:1]
        assert await broker.ask(FindSubscriptions(app=APP, user="cy", after=T)) == ()
        assert await broker.ask(FindSubscriptions(app=APP, user="nobody")) == ()
        for query in (
            FindSubscribers(app=APP, conversation=service("none")),
            CountMembers(app=APP, conversation=service("none")),
            FindSubscriptions(app=APP, user="bob", after=service("none")),
        ):
            with pytest.raises(UnknownConversation):
                await broker.ask(query)  # type: ignore[arg-type]
        await unsubscribe(broker, "ann")
        assert await broker.ask(CountMembers(app=APP, conversation=S)) == 3


async def test_a_retry_with_a_key_sends_nothing() -> None:
    async with newsroom("bob") as (broker, _, (bob,)):
        first = await broker.submit(say("1", dedup="k"))
        again = await broker.submit(say("1", dedup="k"))
        assert isinstance(again, Receipt)
        assert (again.id, again.duplicate, bob.texts()) == (first.id, True, ["1"])
        await broker.submit(message("x", "bob"))
        assert bob.frames[-1].seq == 1
