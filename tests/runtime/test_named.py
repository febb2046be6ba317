"""Messages of a service to users by name, through a whole broker: who is told, in which frame, and what each finds."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from postroom.core import Broker, DeleteMessage, EditMessage, Message, RecallMessage, service
from postroom.core.commands import AddMembers, Command, CreateConversation, SendMessage
from postroom.core.errors import InvalidCommand, UnknownConversation
from postroom.core.ids import MessageId
from postroom.core.model import Rules
from postroom.core.queries import CountMessages, FindMessages, GetMessage, ReserveMessages
from postroom.core.runtime.pending import Group, Pending
from postroom.core.runtime.spreading import cut
from postroom.storage.memory import MemoryStore
from tests.support.machine import Machine
from tests.support.office import APP, Tray, open_office, send, settle_down

NEWS = service("news")


def say(text: str = "hi", *users: str, **fields: Any) -> SendMessage:
    """To ben and cy, queued and kept unless said otherwise."""
    fields = {"queue": True, "history": True, "sender": "desk", "recipients": users or ("ben", "cy"), **fields}
    return SendMessage(app=APP, to=NEWS, body=text.encode(), **fields)


def changed(what: str, id: MessageId, *users: str) -> Command:
    which: dict[str, Any] = {"app": APP, "id": id, "by": "desk", "conversation": NEWS, "recipients": users}
    match what:
        case "edited":
            return EditMessage(**which, body=b"new")
        case "recalled":
            return RecallMessage(**which)
        case _:
            return DeleteMessage(**which, silent=what == "silent")


@asynccontextmanager
async def bureau(*online: str) -> AsyncIterator[tuple[Broker, list[Tray]]]:
    """A session for each name that is given."""
    async with open_office() as (broker, _), AsyncExitStack() as sessions:
        await broker.submit(CreateConversation(app=APP, conversation=NEWS))
        trays = [Tray() for _ in online]
        for user, tray in zip(online, trays, strict=True):
            tray.session = await sessions.enter_async_context(broker.connect(app=APP, user=user, sink=tray))
        yield broker, trays


async def found(broker: Broker, user: str, **fields: Any) -> tuple[Message, ...]:
    return await broker.ask(FindMessages(app=APP, conversations=(NEWS,), recipient=user, **fields))


async def test_each_copy_has_its_own_number_and_nobody_else_gets_one() -> None:
    async with bureau("ben", "cy", "eve", "desk") as (broker, (ben, cy, eve, desk)):
        await send(broker, "before", "cy")
        await broker.submit(say("hi", "ben", "cy", "dan", sender_copy="online"))
        assert [tray.texts() for tray in (ben, cy, eve, desk)] == [["hi"], ["before", "hi"], [], ["hi"]]
        assert [tray.frames[-1].seq for tray in (ben, cy, desk)] == [1, 2, None]
        assert (ben.frames[0].conversation, ben.frames[0].sender) == (NEWS, "desk")
        dan = Tray()
        async with broker.connect(app=APP, user="dan", sink=dan):
            await settle_down()
        assert dan.texts() == ["hi"]


async def test_a_transient_one_is_for_sessions_open_now() -> None:
    async with bureau("ben", "eve") as (broker, (ben, eve)):
        await broker.submit(say(queue=False, history=False))
        assert (ben.texts(), eve.texts()) == (["hi"], [])
        assert ben.frames[0].queued is False
        assert await broker.ask(CountMessages(app=APP, everything=True)) == 0
        with pytest.raises(UnknownConversation):
            await broker.submit(SendMessage(app=APP, sender="d", to=service("x"), body=b"", recipients=("ben",)))


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("what", ["edited", "recalled", "deleted", "silent"])
async def test_only_they_are_told_of_a_change_of_their_copies(queue: bool, what: str) -> None:
    async with bureau("ben", "cy") as (broker, (ben, cy)):
        id = (await broker.submit(say("hi", queue=queue))).id
        await broker.submit(changed(what, id, "ben"))
        told = [] if what == "silent" else [what]
        assert [frame.type for frame in ben.frames] == ["message", *told]
        assert [frame.type for frame in cy.frames] == ["message"]
        if told:
            frame = ben.frames[1]
            assert (frame.id, frame.body, frame.by, frame.queued) == (id, b"new" * (what == "edited"), "desk", queue)


@pytest.mark.parametrize("what", ["edited", "recalled", "deleted", "silent"])
async def test_sessions_opened_later_see_what_is_theirs(what: str) -> None:
    async with bureau() as (broker, _):
        id = (await broker.submit(say("hi"))).id
        await broker.submit(changed(what, id, "ben"))
        trays = Tray(), Tray()
        for user, tray in zip(("ben", "cy"), trays, strict=True):
            async with broker.connect(app=APP, user=user, sink=tray):
                await settle_down()
        shown = [(frame.type, frame.body) for frame in trays[0].frames]
        assert shown == {"edited": [("message", b"new")], "recalled": [("recalled", b"")]}.get(what, [])
        assert trays[1].texts() == ["hi"]


async def test_a_session_that_holds_the_message_hands_out_what_is_its_user_s() -> None:
    async with bureau("ben", "cy") as (broker, (ben, cy)):
        for tray in (ben, cy):
            tray.room = 0
        id = (await broker.submit(say("hi"))).id
        await broker.submit(changed("edited", id, "ben"))
        for tray in (ben, cy):
            tray.room = 9
            assert tray.session is not None
            tray.session.resume()
        assert (ben.texts(), cy.texts()) == (["new", "new"], ["hi"])


@pytest.mark.parametrize("queue", [True, False])
async def test_a_sender_from_whom_their_own_copy_is_hidden_is_told_nothing_more(queue: bool) -> None:
    async with bureau("desk", "cy") as (broker, (desk, cy)):
        id = (await broker.submit(say("hi", "desk", "cy", queue=queue, sender_copy="online"))).id
        await broker.submit(changed("silent", id, "desk"))
        await broker.submit(changed("edited", id))
        assert (desk.texts(), cy.texts()) == (["hi"], ["hi", "new"])


async def test_what_a_user_finds_and_what_the_service_shows() -> None:
    async with bureau() as (broker, _):
        ids = [(await broker.submit(say(text))).id for text in ("one", "two", "three", "four")]
        for what, id in zip(("edited", "recalled", "silent"), ids, strict=False):
            await broker.submit(changed(what, id, "ben"))
        ben = await found(broker, "ben", recalled=True)
        assert [(message.body, message.recalled) for message in ben] == [(b"new", False), (b"", True), (b"four", False)]
        assert [message.body for message in await found(broker, "ben", newest_first=True, limit=2)] == [b"four", b"new"]
        assert [message.body for message in await found(broker, "cy")] == [b"one", b"two", b"three", b"four"]
        assert await found(broker, "eve") == ()
        every = await broker.ask(FindMessages(app=APP, everything=True))
        assert [message.body for message in every] == [b"one", b"two", b"three", b"four"]
        assert await broker.ask(FindMessages(app=APP, conversations=(NEWS,))) == ()
        message = await broker.ask(GetMessage(app=APP, id=ids[0], conversation=NEWS))
        assert message is not None
        assert (message.body, message.recipients, message.conversation) == (b"one", ("ben", "cy"), NEWS)
        assert await broker.ask(GetMessage(app=APP, id=ids[0], conversation=service("other"))) is None
        assert await broker.ask(GetMessage(app=APP, id=MessageId(-1), conversation=NEWS)) is None


@pytest.mark.parametrize(
    "query",
    [
        FindMessages(app=APP, conversations=(NEWS,), recipient=""),
        FindMessages(app=APP, conversations=(NEWS, service("x")), recipient="ben"),
        FindMessages(app=APP, recipient="ben", everything=True),
        FindMessages(app=APP, conversations=(NEWS,), recipient="ben", sender="desk"),
        FindMessages(app=APP, conversations=(NEWS,), recipient="ben", receiver="ben"),
        ReserveMessages(app=APP, find=FindMessages(app=APP, conversations=(NEWS,), recipient="ben"), ttl_ms=1_000),
        GetMessage(app=APP, id=MessageId(1), conversation=service("")),
    ],
)
async def test_questions_of_the_wrong_form(query: Any) -> None:
    async with bureau() as (broker, _):
        with pytest.raises(InvalidCommand):
            await broker.ask(query)


def test_what_a_change_has_to_do_with() -> None:
    """Each queue and timeline; of some copies, only theirs."""
    machine = Machine(MemoryStore())
    machine.run(CreateConversation(app=APP, conversation=NEWS))
    many = tuple(f"u{number}" for number in range(300))
    id = machine.run(say("hi", *many)).result.id  # type: ignore[union-attr]
    machine.run(changed("edited", id, *many[:100]))
    small, large = (Pending(changed("edited", id, *users), Rules(), Group()) for users in (many[:1], ()))
    alone = small.rows
    assert alone == large.rows
    cut([small, large], machine.store)
    assert (small.rows - alone, large.rows - alone) == (5 + 3, 5 * 300 + 3 * (300 + 100))
    assert Pending(say("hi", *many), Rules(), Group()).rows > 8 * 300


# What a service sent its subscribers.


@asynccontextmanager
async def press(*online: str) -> AsyncIterator[tuple[Broker, list[Tray]]]:
    """The same; ben and cy subscribe."""
    async with bureau(*online) as (broker, trays):
        await broker.submit(AddMembers(app=APP, conversation=NEWS, users=("ben", "cy")))
        yield broker, trays


def tell(text: str = "hi", **fields: Any) -> SendMessage:
    """To all who subscribe."""
    return SendMessage(
        app=APP, sender="desk", to=NEWS, body=text.encode(), **{"queue": True, "history": True, **fields}
    )


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("what", ["edited", "recalled", "deleted", "silent"])
async def test_only_that_subscriber_is_told(queue: bool, what: str) -> None:
    async with press("ben", "cy", "eve") as (broker, (ben, cy, eve)):
        id = (await broker.submit(tell(queue=queue))).id
        await broker.submit(changed(what, id, "ben"))
        told = [] if what == "silent" else [what]
        assert [frame.type for frame in ben.frames] == ["message", *told]
        assert ([frame.type for frame in cy.frames], eve.frames) == (["message"], [])
        if told:
            assert (ben.frames[1].queued, ben.frames[1].stream, ben.frames[1].seq is None) == (queue, None, not queue)


@pytest.mark.parametrize("queue", [True, False])
async def test_whom_it_is_hidden_from_is_told_nothing_of_it_later(queue: bool) -> None:
    async with press("ben", "cy") as (broker, (ben, cy)):
        id = (await broker.submit(tell(queue=queue))).id
        await broker.submit(changed("silent", id, "ben"))
        await broker.submit(changed("edited", id))
        assert [frame.type for frame in ben.frames] == ["message"]
        assert [frame.type for frame in cy.frames] == ["message", "edited"]


@pytest.mark.parametrize("what", ["edited", "recalled", "deleted"])
async def test_a_subscriber_who_comes_later_sees_what_is_theirs(what: str) -> None:
    async with press() as (broker, _):
        id = (await broker.submit(tell("one"))).id
        await broker.submit(tell("two"))
        await broker.submit(changed(what, id, "ben"))
        ben, cy = Tray(), Tray()
        for user, tray in (("ben", ben), ("cy", cy)):
            async with broker.connect(app=APP, user=user, sink=tray) as session:
                await settle_down()
                await session.ack(tray.frames[-1])
        shown = {"edited": ["new"], "recalled": ["recalled"]}.get(what, [])
        assert (ben.texts(), cy.texts()) == ([*shown, "two"], ["one", "two"])
        assert [message.body for message in await found(broker, "cy")] == [b"one", b"two"]
        assert len(await found(broker, "ben", recalled=True)) == len(ben.frames)
        message = await broker.ask(GetMessage(app=APP, id=id, conversation=NEWS))
        assert message is not None
        assert (message.body, message.recipients) == (b"one", ())


async def test_named_messages_are_no_subscriber_s() -> None:
    async with press("ben", "cy") as (broker, (ben, cy)):
        for queue, history in ((True, True), (False, True), (False, False)):
            id = (await broker.submit(say("for eve", "eve", queue=queue, history=history))).id
            if history:
                await broker.submit(changed("edited", id))
        assert (ben.frames, cy.frames) == ([], [])
