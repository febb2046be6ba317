"""Broadcasts: who gets one, until when, what an edit or a deletion does."""

from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    CreateConversation,
    DeleteBroadcast,
    DeleteMessage,
    EditBroadcast,
    EditMessage,
    ExpireBroadcasts,
    RecallMessage,
    SendBroadcast,
    SendMessage,
)
from postroom.core.domain.broadcasts import valid
from postroom.core.errors import (
    BroadcastsFull,
    DedupMismatch,
    InvalidCommand,
    UnknownConversation,
    UnknownMessage,
)
from postroom.core.events import LoggedIn
from postroom.core.events.broadcasts import BroadcastSent, BroadcastsExpired
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId, UnixMs
from postroom.core.limits import BODY_BYTES_MAX, PUSH_BYTES_MAX
from postroom.core.model import Conversation, Quota, Receipt, group, peer, service
from postroom.core.runtime.broadcasts import read_broadcasts
from postroom.storage import keys

from ..support.desk import APP, Desk
from ..support.machine import START_MS
from ..support.rows import engine_of

NEWS = service("news")


@pytest.fixture
def desk() -> Desk:
    """An app with a service."""
    desk = Desk()
    desk.run(CreateConversation(app=APP, conversation=NEWS))
    return desk


def broadcast(desk: Desk, text: str = "hi", **fields: Any) -> MessageId:
    """Sent by the service; the id."""
    command = SendBroadcast(**{"app": APP, "sender": "desk", "conversation": NEWS, "body": text.encode(), **fields})
    return desk.receipt(desk.run(command)).id


def live(desk: Desk) -> list[MessageId]:
    """What is delivered now, oldest first."""
    return desk.read(lambda snapshot: [id for id, _ in valid(snapshot.views, APP, desk.clock.wall_ms)])


def texts(desk: Desk) -> list[str]:
    """Every text in the store."""
    return [text for _, text in desk.kept()]


def begins(desk: Desk, user: str) -> int:
    """Where a user's broadcasts begin."""
    return desk.read(lambda snapshot: snapshot.views.broadcasts_from(APP, user))


def test_it_is_kept_once_and_in_nobodys_queue_or_history(desk: Desk) -> None:
    desk.login("bob")
    before = desk.totals()
    id = broadcast(desk)
    assert texts(desk) == ["hi"]
    assert live(desk) == [id]
    assert desk.queue(APP, "bob") == []
    assert desk.totals().accepted == before.accepted
    assert desk.read(lambda snapshot: list(snapshot.views.oldest_kept(APP))) == []


def test_the_receipt_is_as_of_messages(desk: Desk) -> None:
    desk.clock.run(5)
    event = desk.run(SendBroadcast(app=APP, sender="desk", conversation=NEWS, body=b"hi")).events[-1]
    assert isinstance(event, BroadcastSent)
    assert (event.id, event.at_ms) == (desk.records[-1].position, START_MS + 5)


def test_nobody_created_the_service(desk: Desk) -> None:
    with pytest.raises(UnknownConversation):
        broadcast(desk, conversation=service("weather"))


def test_a_transient_one_is_not_kept(desk: Desk) -> None:
    id = broadcast(desk, transient=True, valid_until_ms=UnixMs(7))
    assert texts(desk) == []
    assert live(desk) == []
    with pytest.raises(UnknownMessage):
        desk.run(EditBroadcast(app=APP, id=id, by="desk", body=b"ho"))


def test_it_is_over_by_wall_time_and_a_clock_that_is_set_back_shows_it_again(desk: Desk) -> None:
    id = broadcast(desk, valid_until_ms=UnixMs(START_MS + 1_000))
    desk.clock.run(999)
    assert live(desk) == [id]
    desk.clock.run(1)
    assert live(desk) == []
    desk.clock.jump(-1)
    assert live(desk) == [id]


def test_one_that_would_be_over_already_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidCommand, match="valid_until_ms"):
        broadcast(desk, valid_until_ms=START_MS)


def test_an_edit_leaves_no_old_text(desk: Desk) -> None:
    id = broadcast(desk, push=b"look")
    for text in (b"ho", b"hey"):
        receipt = desk.run(EditBroadcast(app=APP, id=id, by="ann", body=text, format="text")).result
        assert isinstance(receipt, Receipt)
        assert receipt.id == id
    assert desk.kept() == [("edited", "hey")]
    row = desk.read(lambda snapshot: snapshot.views.broadcast(APP, id))
    assert row is not None
    header = desk.header(row.body)
    assert header is not None
    assert (header.by, header.push, header.queue, header.history) == ("ann", b"", True, False)


def test_a_deletion_leaves_nothing(desk: Desk) -> None:
    id, other = broadcast(desk), broadcast(desk, "other")
    desk.run(DeleteBroadcast(app=APP, id=id, by="ann"))
    assert live(desk) == [other]
    assert texts(desk) == ["other"]
    with pytest.raises(UnknownMessage):
        desk.run(DeleteBroadcast(app=APP, id=id, by="ann"))


@pytest.mark.parametrize(
    "names",
    [
        {"conversation": service("weather")},
        {"sender": "ann"},
        {"sent_ms": UnixMs(START_MS + 1)},
        {"app": "other"},
        {"id": MessageId(7)},
        {"id": MessageId(-1)},
        {"id": MessageId(1 << 60)},
    ],
)
def test_a_change_names_one_that_there_is(desk: Desk, names: dict[str, Any]) -> None:
    id = broadcast(desk)
    right = {"app": APP, "id": id, "by": "ann", "conversation": NEWS, "sender": "desk", "sent_ms": START_MS}
    for kind, more in ((EditBroadcast, {"body": b"ho"}), (DeleteBroadcast, {})):
        with pytest.raises(UnknownMessage):
            desk.run(kind(**right | more | names))
    assert texts(desk) == ["hi"]
    desk.run(EditBroadcast(**right, body=b"ho"))


def test_a_broadcast_is_no_message_and_a_message_no_broadcast(desk: Desk) -> None:
    id, message = broadcast(desk), desk.send(history=True)
    for change in (
        EditMessage(app=APP, id=id, by="ann", body=b"ho"),
        RecallMessage(app=APP, id=id, by="ann"),
        DeleteMessage(app=APP, id=id, by="ann"),
        EditBroadcast(app=APP, id=message, by="ann", body=b"ho"),
        DeleteBroadcast(app=APP, id=message, by="ann"),
    ):
        with pytest.raises(UnknownMessage):
            desk.run(change)


def test_a_first_login_begins_with_the_newest_that_is_valid(desk: Desk) -> None:
    broadcast(desk)
    newest = broadcast(desk, valid_until_ms=UnixMs(START_MS + 1_000))
    broadcast(desk, valid_until_ms=UnixMs(START_MS + 10))
    desk.clock.run(10)
    desk.login("bob")
    assert begins(desk, "bob") == newest
    desk.clock.run(1_000)
    broadcast(desk)
    desk.login("bob")
    assert begins(desk, "bob") == newest
    assert [event.broadcasts_from for event in desk.events if isinstance(event, LoggedIn)] == [newest, 0]


def test_a_first_login_begins_with_itself_if_none_is_valid(desk: Desk) -> None:
    session = desk.login("bob").session
    assert begins(desk, "bob") == session
    assert begins(desk, "ann") == 0


def test_who_logged_in_before_there_were_broadcasts_gets_all(desk: Desk) -> None:
    """Their day was noted, and nothing else."""
    with desk.store.transaction() as transaction:
        transaction.views.put_login_day(APP, "bob", 9)
    broadcast(desk)
    desk.login("bob")
    assert begins(desk, "bob") == 1


def test_a_retry_is_answered_and_sends_nothing(desk: Desk) -> None:
    id = broadcast(desk, dedup="k")
    result = desk.run(SendBroadcast(app=APP, sender="desk", conversation=NEWS, body=b"hi", dedup="k"))
    assert result.events == ()
    assert result.result == Receipt(id=id, at_ms=START_MS, duplicate=True)
    with pytest.raises(DedupMismatch):
        broadcast(desk, "ho", dedup="k")
    with pytest.raises(DedupMismatch):
        desk.send("hi", dedup="k", sender="desk")
    desk.clock.run(DAY_MS)
    assert broadcast(desk, "ho", dedup="k") > id


def test_it_is_forgotten_when_it_is_over_and_the_history_does_not_go_back_so_far(desk: Desk) -> None:
    desk.configure(history_ttl_ms=2 * DAY_MS)
    first = broadcast(desk, valid_until_ms=UnixMs(START_MS + 1_000))
    late = broadcast(desk, "late", valid_until_ms=UnixMs(START_MS + 3 * DAY_MS))
    never = broadcast(desk, "never")
    for run_ms, forgotten in ((1_000, ()), (2 * DAY_MS - 1_001, ()), (1, (first,)), (DAY_MS, (late,)), (DAY_MS, ())):
        desk.clock.run(run_ms)
        events = desk.run(ExpireBroadcasts(app=APP)).events
        assert events == ((BroadcastsExpired(app=APP, ids=forgotten),) if forgotten else ())
    assert live(desk) == [never]
    assert texts(desk) == ["never"]


def test_a_clock_that_jumped_ahead_forgets_nothing(desk: Desk) -> None:
    desk.configure(history_ttl_ms=DAY_MS)
    id = broadcast(desk, valid_until_ms=UnixMs(START_MS + 1_000))
    desk.clock.jump(9 * DAY_MS)
    assert live(desk) == []
    assert desk.run(ExpireBroadcasts(app=APP)).events == ()
    desk.clock.jump(-9 * DAY_MS)
    assert live(desk) == [id]


def test_forgetting_goes_in_steps(desk: Desk) -> None:
    desk.configure(history_ttl_ms=1)
    for number in range(60):
        broadcast(desk, str(number), valid_until_ms=UnixMs(START_MS + 1))
    desk.clock.run(2)
    counts = [[len(event.ids) for event in desk.run(ExpireBroadcasts(app=APP, limit=40)).events] for _ in range(3)]  # type: ignore[union-attr]
    assert counts == [[25, 15], [20], []]
    assert texts(desk) == []


def test_there_are_so_many_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.core.domain.broadcasts.BROADCASTS_MAX", 3)
    first = broadcast(desk)
    second = broadcast(desk, valid_until_ms=UnixMs(START_MS + 1_000))
    third = broadcast(desk)
    with pytest.raises(BroadcastsFull):
        broadcast(desk)
    broadcast(desk, transient=True)
    desk.clock.run(1_000)
    fourth = broadcast(desk)
    assert BroadcastsExpired(app=APP, ids=(second,)) in desk.events
    assert live(desk) == [first, third, fourth]
    assert len(texts(desk)) == 3


def test_a_clock_that_jumped_ahead_makes_no_room(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.core.domain.broadcasts.BROADCASTS_MAX", 1)
    id = broadcast(desk, valid_until_ms=UnixMs(START_MS + 1_000))
    desk.clock.jump(9 * DAY_MS)
    with pytest.raises(BroadcastsFull):
        broadcast(desk)
    desk.clock.jump(-9 * DAY_MS)
    assert live(desk) == [id]
    desk.clock.run(1_000)
    again = broadcast(desk)
    assert live(desk) == [again]


def test_one_whose_service_is_gone_is_gone(desk: Desk) -> None:
    """Whoever deletes a service deletes its record at once; another one may get the name."""
    other = service("weather")
    desk.run(CreateConversation(app=APP, conversation=other))
    id, stays = broadcast(desk), broadcast(desk, "stays", conversation=other)
    with desk.store.transaction() as transaction:
        engine_of(transaction).delete("live", keys.conversation_key(APP, "service", "news"))
    assert live(desk) == [stays]
    found = desk.read(lambda snapshot: read_broadcasts(snapshot, APP, (id, stays)))
    assert [each.id for each in found] == [stays]  # whoever looked for them before it was
    desk.run(CreateConversation(app=APP, conversation=NEWS))
    again = broadcast(desk, "again")
    assert live(desk) == [stays, again]
    for change in (EditBroadcast(app=APP, id=id, by="a", body=b""), DeleteBroadcast(app=APP, id=id, by="a")):
        with pytest.raises(UnknownMessage):
            desk.run(change)
    assert desk.run(ExpireBroadcasts(app=APP)).events == (BroadcastsExpired(app=APP, ids=(id,)),)
    assert texts(desk) == ["stays", "again"]


def sent(**fields: Any) -> SendBroadcast:
    """A broadcast with some fields of it."""
    return SendBroadcast(**{"app": APP, "sender": "desk", "conversation": NEWS, "body": b"hi", **fields})


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (sent(sender=""), "sender"),
        (sent(conversation=group("g")), "conversation"),
        (sent(conversation=peer("bob")), "conversation"),
        (sent(conversation=Conversation("service", "news", 1)), "conversation"),
        (sent(body=b"x" * (BODY_BYTES_MAX + 1)), "body"),
        (sent(body=b"{", format="json"), "body"),
        (sent(push=b"x" * (PUSH_BYTES_MAX + 1)), "push"),
        (sent(dedup=""), "dedup"),
        (sent(via=""), "via"),
        (sent(quota=Quota(name="", per_day=1)), "quota"),
        (sent(quota=Quota(name="q", per_day=0)), "quota"),
        (EditBroadcast(app=APP, id=MessageId(1), by="", body=b""), "by"),
        (EditBroadcast(app=APP, id=MessageId(1), by="a", body=b"\xff"), "body"),
        (DeleteBroadcast(app=APP, id=MessageId(1), by="a", quota=Quota(name="q", per_day=0)), "quota"),
        (EditMessage(app=APP, id=MessageId(1), by="a", body=b"", quota=Quota(name="q", per_day=0)), "quota"),
        (
            SendMessage(app=APP, sender="a", to=peer("b"), body=b"", quota=Quota(name="q", per_day=0)),
            "quota",
        ),
    ],
)
def test_its_form(command: Any, named: str) -> None:
    with pytest.raises(InvalidCommand, match=named):
        check(command)
    check(sent(push=b"x" * PUSH_BYTES_MAX, dedup="k", quota=Quota(name="q", per_day=1)))
