"""What rooms and queries may take at once: turns for others, places for queries, rows of a replay, changes held back."""

from typing import Any

import pytest
import trio

from postroom.core import Broker, Delivery, SendMessage, room
from postroom.core.errors import Overloaded
from postroom.core.ids import MessageId, Position
from postroom.core.queries import CountMessages
from postroom.core.runtime import fanout as fanout_of_runtime
from postroom.core.runtime import history as history_of_runtime
from postroom.core.runtime import reading as reading_of_runtime
from postroom.core.runtime.buffer import FrameBuffer
from postroom.storage.room_views import RoomViews

from ..support.office import APP, Tray, open_office

DEN = room("den")


def speech(text: str, sender: str = "alice") -> SendMessage:
    """Kept, to the den."""
    return SendMessage(app=APP, sender=sender, to=DEN, body=text.encode(), history=True)


async def test_a_batch_to_a_large_room_lets_others_have_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout_of_runtime, "OFFERS_AT_ONCE_MAX", 5)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += bool(0 < len(tray.frames) < 40)

    tray = Tray()
    async with open_office() as (broker, _), trio.open_nursery() as nursery:
        async with broker.connect(app=APP, user="bob", sink=tray) as session:
            await session.join("den")
            nursery.start_soon(count)
            await broker.submit_many([speech(f"{number}") for number in range(40)])
            assert tray.texts() == [f"{number}" for number in range(40)]
            assert turns >= 40 // 5 - 2  # one in each pass but the first and the last, which may be without frames
        nursery.cancel_scope.cancel()


async def test_so_many_queries_are_under_way_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_of_runtime, "QUERIES_MAX", 2)
    answers: list[Any] = []

    async def ask(broker: Broker) -> None:
        try:
            answers.append(await broker.ask(CountMessages(app=APP, conversations=(DEN,))))
        except Overloaded as refusal:
            answers.append(refusal.code)

    async with open_office() as (broker, _):
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask, broker)
        assert sorted(map(str, answers)) == ["0"] * 4 + ["overloaded"] * 2


async def test_a_logout_looks_for_its_rooms_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    open_stays = RoomViews.open_stays

    def counted(self: RoomViews, app: str, user: str) -> Any:
        nonlocal looked
        looked += 1
        return open_stays(self, app, user)

    async with open_office() as (broker, store):
        async with broker.connect(app=APP, user="bob", sink=Tray()) as session:
            for number in range(30):
                await session.join(f"room {number}")
            monkeypatch.setattr(RoomViews, "open_stays", counted)
        assert looked == 1
        with store.snapshot() as snapshot:
            assert open_stays(snapshot.views, APP, "bob") == []


async def test_a_replay_looks_at_so_much_and_says_that_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_of_runtime, "RECOVERED_PASSED_MAX", 5)
    async with open_office() as (broker, _):
        await broker.submit(speech("early"))
        for count, recovered in ((4, True), (5, False)):
            for _ in range(count):
                await broker.submit(speech("mine", sender="bob"))
            tray = Tray()
            async with broker.connect(app=APP, user="bob", sink=tray) as session:
                joined = await session.join("den", MessageId(0))
                assert (joined.recovered, tray.texts()) == (recovered, ["early"] * recovered)


def test_changes_of_what_is_on_its_way_are_within_the_budget() -> None:
    """One that there is no room for must not let the old text out."""

    def frame(type: Any, id: int, position: int, body: bytes = b"") -> Delivery:
        return Delivery(type=type, id=MessageId(id), conversation=DEN, body=body, position=Position(position))

    buffer = FrameBuffer(2_000, lambda: None)
    buffer.hold_back(DEN)
    coming = [frame("message", 1, 1, b"old"), frame("message", 2, 2, b"old")]
    for position in range(3, 100):  # of one message only the newest change is kept
        buffer.revise(frame("edited", 1, position, b"new %d" % position))
    frames, fits = buffer.fitting(DEN, coming)
    assert fits
    assert [each.body for each in frames] == [b"new 99", b"old"]
    buffer.revise(frame("edited", 2, 200, b"x" * 2_000))
    assert buffer.fitting(DEN, coming) == ([], False)
    buffer.release(DEN, [])
    assert buffer.bytes == 0
    assert buffer.idle
