"""Edits, recalls and deletes as sessions see them: offline, buffered, sent, acknowledged, and while pages are read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from postroom.core import Broker, DeleteMessage, Delivery, EditMessage, Options, RecallMessage
from postroom.core.ids import MessageId
from postroom.core.limits import PAGE_BYTES
from tests.support.office import Pages, Tray, open_office, queue, send, send_all, settle_down, texts

Change = Literal["edited", "recalled", "deleted"]
CHANGES: tuple[Change, ...] = ("edited", "recalled", "deleted")
SMALL = Options(session_buffer_bytes=PAGE_BYTES)


def change(what: Change, id: MessageId, text: str = "new") -> Any:
    """The command."""
    if what == "edited":
        return EditMessage(app="demo", id=id, by="alice", body=text.encode())
    return {"recalled": RecallMessage, "deleted": DeleteMessage}[what](app="demo", id=id, by="alice")


def seen(frames: list[Delivery]) -> list[tuple[str, str, int | None]]:
    """Type, text and seq."""
    return [(frame.type, frame.body.decode(), frame.seq) for frame in frames]


@asynccontextmanager
async def bob(broker: Broker, room: int = 1_000) -> AsyncIterator[Tray]:
    """A session of his."""
    tray = Tray(room)
    async with broker.connect(app="demo", user="bob", sink=tray) as tray.session:
        await settle_down()
        yield tray


async def resumed(tray: Tray) -> list[Delivery]:
    """What comes now that there is room."""
    assert tray.session is not None
    before = len(tray.frames)
    tray.room = 1_000
    tray.session.resume()
    await settle_down()
    return tray.frames[before:]


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("what", CHANGES)
async def test_before_anybody_saw_it(what: Change, history: bool) -> None:
    """Offline: in its own place, with its own number; nothing of a deleted one."""
    async with open_office() as (broker, _):
        await send(broker, "0")
        id = (await send(broker, "old", history=history)).id
        await send(broker, "2")
        await broker.submit(change(what, id))
        async with bob(broker) as tray:
            middle = {"edited": [("message", "new", 2)], "recalled": [("recalled", "", 2)], "deleted": []}[what]
            assert seen(tray.frames) == [("message", "0", 1), *middle, ("message", "2", 3)]
            assert tray.session is not None
            assert tray.session.welcome.queued == len(tray.frames)
        assert broker.statistics().totals["demo"].withdrawn == (what == "deleted")


@pytest.mark.parametrize("what", CHANGES)
async def test_in_the_buffer_of_a_slow_session(what: Change) -> None:
    """It never shows the old text, and is told of the change besides."""
    async with open_office() as (broker, store), bob(broker, room=1) as tray:
        await send(broker, "0")
        id = (await send(broker, "old")).id
        await send(broker, "2")
        await broker.submit(change(what, id))
        middle = {"edited": [("message", "new", 2)], "recalled": [("recalled", "", 2)], "deleted": []}[what]
        news = (what, "new" if what == "edited" else "", 4)
        assert seen(await resumed(tray)) == [*middle, ("message", "2", 3), news]
        assert tray.session is not None
        await tray.session.ack(tray.frames[-1])
        assert queue(store) == []


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("what", CHANGES)
async def test_sent_but_not_acknowledged(what: Change, history: bool) -> None:
    async with open_office() as (broker, store):
        async with bob(broker) as tray:
            id = (await send(broker, "old", history=history)).id
            await broker.submit(change(what, id))
            text = "new" if what == "edited" else ""
            assert seen(tray.frames) == [("message", "old", 1), (what, text, 2)]
            assert (tray.frames[1].id, tray.frames[1].queued, tray.frames[1].by) == (id, True, "alice")
        # Whoever logs in next finds the message as it is now, and the change again.
        async with bob(broker) as tray:
            first = {"edited": [("message", "new", 1)], "recalled": [("recalled", "", 1)], "deleted": []}[what]
            assert seen(tray.frames) == [*first, (what, text, 2)]
            assert tray.session is not None
            await tray.session.ack(tray.frames[-1])
        assert queue(store) == []


@pytest.mark.parametrize("what", CHANGES)
async def test_acknowledged(what: Change) -> None:
    """Then, and then only, the change alone."""
    async with open_office() as (broker, _):
        async with bob(broker) as tray:
            id = (await send(broker, "old", history=True)).id
            assert tray.session is not None
            await tray.session.ack(tray.frames[0])
        await broker.submit(change(what, id))
        async with bob(broker) as tray:
            assert seen(tray.frames) == [(what, "new" if what == "edited" else "", 2)]


@pytest.mark.parametrize("what", CHANGES)
async def test_online_and_acknowledged(what: Change) -> None:
    async with open_office() as (broker, store), bob(broker) as tray:
        id = (await send(broker, "old", history=True)).id
        assert tray.session is not None
        await tray.session.ack(tray.frames[0])
        await broker.submit(change(what, id))
        assert seen(tray.frames[1:]) == [(what, "new" if what == "edited" else "", 2)]
        await tray.session.ack(tray.frames[1])
        assert queue(store) == []


@pytest.mark.parametrize("what", CHANGES)
async def test_unqueued_with_history_reaches_who_is_online(what: Change) -> None:
    async with open_office() as (broker, _), bob(broker, room=0) as tray:
        id = (await send(broker, "old", queue=False, history=True)).id
        await broker.submit(change(what, id))
        first = {"edited": [("message", "new")], "recalled": [("recalled", "")], "deleted": []}[what]
        text = "new" if what == "edited" else ""
        assert [frame[:2] for frame in seen(await resumed(tray))] == [*first, (what, text)]
        assert not any(frame.queued for frame in tray.frames)


@pytest.mark.parametrize("what", CHANGES)
async def test_while_the_page_with_it_is_read(what: Change) -> None:
    async with open_office() as (broker, store):
        await send(broker, "0")
        id = (await send(broker, "old")).id
        pages = Pages(broker)
        pages.stop()
        async with bob(broker) as tray:
            assert (pages.asked, tray.frames) == (1, [])
            await broker.submit(change(what, id))
            pages.go()
            await settle_down()
            middle = {"edited": [("message", "new", 2)], "recalled": [("recalled", "", 2)], "deleted": []}[what]
            news = (what, "new" if what == "edited" else "", 3)
            assert seen(tray.frames) == [("message", "0", 1), *middle, news]
            assert tray.session is not None
            await tray.session.ack(tray.frames[-1])
        assert queue(store) == []


@pytest.mark.parametrize("what", CHANGES)
async def test_while_a_later_page_is_still_on_disk(what: Change) -> None:
    async with open_office(options=SMALL) as (broker, _):
        await send_all(broker, ["x" * 200_000, "x" * 200_000, "x" * 200_000])
        id = (await send(broker, "old")).id
        async with bob(broker, room=1) as tray:
            assert tray.session is not None
            assert tray.session._buffer.reading
            await broker.submit(change(what, id))
            middle = {"edited": [("message", "new", 4)], "recalled": [("recalled", "", 4)], "deleted": []}[what]
            news = (what, "new" if what == "edited" else "", 5)
            assert seen(await resumed(tray))[2:] == [*middle, news]


async def test_many_changes_while_a_page_is_on_its_way() -> None:
    async with open_office() as (broker, _):
        ids = [(await send(broker, f"old{number}")).id for number in range(4)]
        pages = Pages(broker)
        pages.stop()
        async with bob(broker) as tray:
            await broker.submit(change("edited", ids[0], "first"))
            await broker.submit(change("edited", ids[0], "second"))
            await broker.submit(change("edited", ids[1], "first"))
            await broker.submit(change("recalled", ids[1]))
            await broker.submit(change("edited", ids[2], "first"))
            await broker.submit(change("deleted", ids[2]))
            pages.go()
            await settle_down()
            assert [frame[:2] for frame in seen(tray.frames)[:3]] == [
                ("message", "second"),
                ("recalled", ""),
                ("message", "old3"),
            ]
            # All of them are told; whatever text is shown is the newest one.
            assert not {"first", "old0", "old1", "old2"} & set(texts(tray.frames))


@pytest.mark.parametrize("what", CHANGES)
async def test_a_message_changed_twice_while_it_waits(what: Change) -> None:
    async with open_office() as (broker, store):
        async with bob(broker, room=0) as tray:
            id = (await send(broker, "old")).id
            await broker.submit(change("edited", id, "first"))
            await broker.submit(change(what, id))
            text = "new" if what == "edited" else ""
            frames = seen(await resumed(tray))
            assert frames[-1][:2] == (what, text)
            assert "first" not in texts(tray.frames)
            assert "old" not in texts(tray.frames)
            assert tray.session is not None
            await tray.session.ack(tray.frames[-1])
        assert queue(store) == []
        async with bob(broker) as tray:
            assert tray.frames == []


async def test_acks_of_a_message_and_of_its_edit_by_id_name_the_oldest_first() -> None:
    async with open_office() as (broker, store), bob(broker) as tray:
        id = (await send(broker, "old")).id
        await send(broker, "between")
        await broker.submit(change("edited", id))
        assert tray.session is not None
        await tray.session.ack_id(id)
        assert queue(store) == ["between", "new"]
        await tray.session.ack_id(id)
        assert queue(store) == []
