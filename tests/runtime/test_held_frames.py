"""What a session has not handed out yet follows what became of the message, whether or not anybody is told of that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from postroom.core import Broker, DeleteMessage, EditMessage, RecallMessage, group, peer, room, service
from postroom.core.commands import AddMembers, ChangeMessage, CreateConversation, RemoveMembers, SendMessage
from postroom.core.ids import MessageId
from postroom.core.limits import GROUP_COPIES_MAX
from postroom.core.model import Conversation
from tests.support.office import APP, Pages, Replays, Tray, open_office, settle_down

SMALL, LARGE, NEWS, ROOM = group("small"), group("large"), service("news"), room("r")
CROWD = tuple(f"m{number}" for number in range(GROUP_COPIES_MAX + 1))


@asynccontextmanager
async def office() -> AsyncIterator[Broker]:
    """ann, bob and cy are everywhere but in the room."""
    everybody = ("ann", "bob", "cy")
    async with open_office() as (broker, _):
        await broker.submit(CreateConversation(app=APP, conversation=SMALL, members=everybody))
        await broker.submit(CreateConversation(app=APP, conversation=LARGE, members=(*everybody, *CROWD)))
        await broker.submit(CreateConversation(app=APP, conversation=NEWS))
        await broker.submit(AddMembers(app=APP, conversation=NEWS, users=everybody))
        yield broker


async def say(broker: Broker, to: Conversation, text: str = "text", *, queue: bool = True, **fields: Any) -> MessageId:
    queue = queue and to.kind != "room"
    command = SendMessage(app=APP, sender="ann", to=to, body=text.encode(), queue=queue, history=True, **fields)
    return (await broker.submit(command)).id


async def delete(broker: Broker, id: MessageId, *recipients: str) -> None:
    await broker.submit(DeleteMessage(app=APP, id=id, by="eve", silent=True, recipients=recipients))


def change(form: str, id: MessageId) -> ChangeMessage:
    if form == "edited":
        return EditMessage(app=APP, id=id, by="eve", body=b"edited")
    return (RecallMessage if form == "recalled" else DeleteMessage)(app=APP, id=id, by="eve")


PLACES = [(to, queue) for to in (peer("bob"), SMALL, LARGE, NEWS) for queue in (True, False)]


@pytest.mark.parametrize(("to", "queue"), [*PLACES, (ROOM, False)], ids=str)
async def test_a_silent_deletion_takes_what_is_held(to: Conversation, queue: bool) -> None:
    async with office() as broker:
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await session.join("r")
            await delete(broker, await say(broker, to, queue=queue))
            await say(broker, to, "later", queue=queue)
            tray.room = 9
            session.resume()
            assert tray.texts() == ["later"]


@pytest.mark.parametrize("to", [peer("bob"), SMALL, LARGE, NEWS], ids=str)
async def test_a_silent_deletion_takes_what_a_page_brings(to: Conversation) -> None:
    async with office() as broker:
        id = await say(broker, to)
        pages, tray = Pages(broker), Tray()
        pages.stop()
        async with broker.connect(app=APP, user="bob", sink=tray):
            await settle_down()
            assert pages.asked == 1
            await delete(broker, id)
            pages.go()
            await settle_down()
            assert tray.texts() == []


async def test_a_silent_deletion_takes_what_a_replay_brings() -> None:
    async with office() as broker:
        since, gone = await say(broker, ROOM), await say(broker, ROOM)
        replays, tray = Replays(broker), Tray()
        replays.stop()
        async with broker.connect(app=APP, user="bob", sink=tray) as session, trio.open_nursery() as nursery:
            nursery.start_soon(session.join, "r", since)
            await settle_down()
            assert replays.asked == 1
            await delete(broker, gone)
            replays.go()
            await settle_down()
            assert tray.texts() == []


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("named", [True, False])
async def test_what_is_hidden_is_held_by_the_others_alone(queue: bool, named: bool) -> None:
    async with office() as broker:
        bob, cy = Tray(room=0), Tray(room=0)
        connect = partial(broker.connect, app=APP)
        async with connect(user="bob", sink=bob) as one, connect(user="cy", sink=cy) as other:
            id = await say(broker, NEWS, queue=queue, recipients=("bob", "cy") if named else ())
            await delete(broker, id, "bob")
            for tray, session in ((bob, one), (cy, other)):
                tray.room = 9
                session.resume()
            assert (bob.texts(), cy.texts()) == ([], ["text"])


@pytest.mark.parametrize("form", ["edited", "recalled", "deleted"])
async def test_that_it_was_hidden_stays_told_whatever_becomes_of_it_for_the_others(form: str) -> None:
    async with office() as broker:
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            id = await say(broker, NEWS)
            await broker.submit(DeleteMessage(app=APP, id=id, by="desk", recipients=("bob",)))
            await broker.submit(change(form, id))
            tray.room = 9
            session.resume()
            assert [(frame.type, frame.body, frame.seq) for frame in tray.frames] == [("deleted", b"", 1)]


async def test_a_sender_who_is_told_of_their_own_forgets_it_too() -> None:
    async with office() as broker:
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="ann", sink=tray) as session:
            await delete(broker, await say(broker, SMALL, sender_copy="online"))
            tray.room = 9
            session.resume()
            assert tray.texts() == []


@pytest.mark.parametrize("form", ["edited", "recalled", "deleted"])
@pytest.mark.parametrize(("to", "queue"), [*PLACES[4:], (SMALL, False), (ROOM, False)], ids=str)
async def test_who_left_is_not_handed_the_text_of_before(to: Conversation, queue: bool, form: str) -> None:
    """Nor told of the change."""
    async with office() as broker:
        tray = Tray(room=0)
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await session.join("r")
            id = await say(broker, to, queue=queue)
            if to == ROOM:
                await session.leave("r")
            else:
                await broker.submit(RemoveMembers(app=APP, conversation=to, users=("bob",)))
            await broker.submit(change(form, id))
            tray.room = 9
            session.resume()
            assert tray.texts() == ([] if form == "deleted" else [form])
