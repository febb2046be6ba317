"""Day quotas: so many commands of a name a day, by the app's day, whatever becomes of them."""

from typing import Any

import pytest

from postroom.core.commands import (
    CreateConversation,
    EditBroadcast,
    EditMessage,
    RecallMessage,
    SendBroadcast,
    SendMessage,
)
from postroom.core.errors import QuotaExceeded, Refusal
from postroom.core.events.quotas import QuotaUsed
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId
from postroom.core.model import Quota, Receipt, peer, service

from ..support.desk import APP, Desk
from ..support.machine import START_MS

NEWS = service("news")


@pytest.fixture
def desk() -> Desk:
    """An app with a service."""
    desk = Desk()
    desk.run(CreateConversation(app=APP, conversation=NEWS))
    return desk


def sent(**fields: Any) -> SendBroadcast:
    """A broadcast with some fields of it."""
    return SendBroadcast(**{"app": APP, "sender": "desk", "conversation": NEWS, "body": b"hi", **fields})


def broadcast(desk: Desk, text: str = "hi", **fields: Any) -> MessageId:
    """Sent by the service; the id."""
    return desk.receipt(desk.run(sent(body=text.encode(), **fields))).id


def texts(desk: Desk) -> list[str]:
    """Every text in the store."""
    return [text for _, text in desk.kept()]


TWO = Quota(name="q", per_day=2)


def left(desk: Desk, **fields: Any) -> int | None:
    """Send within the quota; how long to wait, if it is used up."""
    try:
        broadcast(desk, **{"quota": TWO, **fields})
    except QuotaExceeded as refusal:
        return refusal.retry_after_ms
    return None


def test_so_many_a_day(desk: Desk) -> None:
    desk.clock.run(DAY_MS - START_MS % DAY_MS - 1_000)  # a second before midnight
    assert [left(desk), left(desk), left(desk)] == [None, None, 1_000]
    assert left(desk, quota=Quota(name="other", per_day=1)) is None
    assert left(desk, quota=Quota(name="q", per_day=3)) is None
    desk.clock.run(999)
    assert left(desk) == 1
    desk.clock.run(1)
    assert [left(desk), left(desk), left(desk)] == [None, None, DAY_MS]
    days = [(event.day, event.count) for event in desk.events if isinstance(event, QuotaUsed) and event.name == "q"]
    first = days[0][0]
    assert days == [(first, 1), (first, 2), (first, 3), (first + 1, 1), (first + 1, 2)]


def test_the_day_is_the_apps(desk: Desk) -> None:
    desk.configure(day_offset_ms=8 * 3_600_000)
    desk.clock.run(DAY_MS - START_MS % DAY_MS)  # midnight in Greenwich, eight in the morning there
    assert [left(desk), left(desk), left(desk)] == [None, None, 16 * 3_600_000]
    desk.configure(day_offset_ms=-8 * 3_600_000)  # the day before; but days only move on
    assert left(desk) == 32 * 3_600_000


def test_the_event_stands_in_front_and_ids_follow_it(desk: Desk) -> None:
    for send in (
        sent(quota=TWO),
        SendMessage(app=APP, sender="a", to=peer("bob"), body=b"hi", queue=True, quota=TWO),
    ):
        decision = desk.run(send)
        used, record = desk.records[-2:]
        assert isinstance(used.event, QuotaUsed)
        assert desk.receipt(decision).id == record.position
    assert [shown.payload for shown in desk.shown()] == ["hi"]


def test_an_edit_is_one_too(desk: Desk) -> None:
    id, message = broadcast(desk), desk.send(history=True)
    desk.run(EditBroadcast(app=APP, id=id, by="a", body=b"ho", quota=TWO))
    desk.run(EditMessage(app=APP, id=message, by="a", body=b"ho", quota=TWO))
    for change in (
        EditBroadcast(app=APP, id=id, by="a", body=b"no", quota=TWO),
        EditMessage(app=APP, id=message, by="a", body=b"no", quota=TWO),
        EditMessage(app=APP, id=MessageId(7), by="a", body=b"no", quota=TWO),
    ):
        with pytest.raises(QuotaExceeded):
            desk.run(change)
    assert sorted(texts(desk)) == ["ho", "ho"]


def test_neither_a_refusal_nor_a_repeat_counts(desk: Desk) -> None:
    one = Quota(name="q", per_day=1)
    for command in (
        sent(conversation=service("weather"), quota=one),
        EditBroadcast(app=APP, id=MessageId(7), by="a", body=b"", quota=one),
    ):
        with pytest.raises(Refusal) as refused:
            desk.run(command)
        assert not isinstance(refused.value, QuotaExceeded)
    id = broadcast(desk, quota=one, dedup="k")
    repeat = desk.run(sent(quota=one, dedup="k"))
    assert repeat.events == ()
    assert repeat.result == Receipt(id=id, at_ms=START_MS, duplicate=True)
    with pytest.raises(QuotaExceeded):  # and what the command would have been refused with otherwise does not matter
        broadcast(desk, "ho", quota=one, dedup="k")
    recalled = desk.send(history=True)
    desk.recall(recalled)
    result = desk.run(RecallMessage(app=APP, id=recalled, by="a", quota=one))
    assert result.events == ()


def test_a_new_process_goes_on_counting(desk: Desk) -> None:
    assert left(desk) is None
    desk.restart()
    assert [left(desk), left(desk) is None] == [None, False]
