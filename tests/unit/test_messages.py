"""Messages: what a change does in every state of delivery, and that a text taken back is gone from the store."""

import re

import pytest

from postroom.core.commands import ExpireHistory, SendMessage
from postroom.core.domain import Decision
from postroom.core.errors import DedupMismatch, MessageIsRecalled, QueueFull, UnknownMessage
from postroom.core.events import HistoryExpired, MessageDeleted, MessageEdited
from postroom.core.ids import MessageId, Position
from postroom.core.model import Receipt, peer
from postroom.core.rows import Header

from ..support.desk import Desk, Shown
from ..support.rows import engine_of, values

DAY_MS = 86_400_000


def is_gone(desk: Desk, text: str) -> bool:
    """Whether no table of the store has the text: log, bodies and views."""
    with desk.store.snapshot() as snapshot:
        return not any(re.search(text.encode(), value) for value in values(engine_of(snapshot)))


def unknown(desk: Desk, id: int) -> bool:
    """Whether nobody can change the message any more."""
    records = len(desk.records)
    for change in (desk.recall, desk.delete, lambda id: desk.edit(id, "never")):
        with pytest.raises(UnknownMessage):
            change(MessageId(id))
    return len(desk.records) == records


def view_rows(desk: Desk) -> int:
    """How many rows the live views have."""
    with desk.store.snapshot() as snapshot:
        return engine_of(snapshot).count("live")


# Sending.


def test_the_header_says_everything_but_the_text() -> None:
    desk = Desk()
    id = desk.send("{}", history=True, lane="high", format="json", via="http")
    assert desk.header(id) == Header(
        type="message",
        app="demo",
        id=id,
        conversation=peer("bob"),
        sender="alice",
        lane="high",
        format="json",
        at_ms=desk.clock.wall_ms,
        queue=True,
        history=True,
        via="http",
    )


def test_the_time_of_a_message_never_runs_back_within_an_app() -> None:
    desk = Desk()

    def at(app: str) -> int:
        command = SendMessage(app=app, sender="alice", to=peer("bob"), body=b"")
        return desk.receipt(desk.run(command)).at_ms

    noon = desk.clock.wall_ms
    assert at("demo") == noon
    desk.clock.jump(-DAY_MS)
    assert at("demo") == noon
    assert at("other") == noon - DAY_MS
    desk.clock.jump(2 * DAY_MS)
    assert at("demo") == noon + DAY_MS


def test_changes_move_the_time_of_the_app_as_messages_do() -> None:
    desk = Desk()
    id = desk.send(history=True)
    desk.clock.run(DAY_MS)
    changed = desk.edit(id, "b")
    desk.clock.jump(-DAY_MS)
    assert desk.recall(id).at_ms == desk.delete(id).at_ms == changed.at_ms == desk.totals().newest_at_ms


def test_a_message_to_oneself_waits_like_any_other() -> None:
    desk = Desk()
    desk.send("note", to="alice")
    assert desk.shown("alice") == [Shown(1, "message", "note")]


# Waiting for the recipient.


@pytest.mark.parametrize(("online", "wait_ack_ms", "wait"), [(True, 100, "pending"), (False, 100, "offline")])
def test_a_wait_is_pending_while_a_session_is_open(online: bool, wait_ack_ms: int, wait: str) -> None:
    desk = Desk()
    desk.restart()
    if online:
        desk.login()
    command = SendMessage(app="demo", sender="alice", to=peer("bob"), body=b"", wait_ack_ms=wait_ack_ms)
    assert desk.run(command).wait == wait


def test_a_session_of_an_earlier_process_is_nobody_to_wait_for() -> None:
    desk = Desk()
    desk.login()
    desk.restart()
    command = SendMessage(app="demo", sender="alice", to=peer("bob"), body=b"", wait_ack_ms=100)
    assert desk.run(command).wait == "offline"


# Dedup.


def keyed(text: str = "hi", key: str = "k1", sender: str = "alice", app: str = "demo", **flags: object) -> SendMessage:
    """A send with a dedup key."""
    fields = {"queue": True, **flags}
    return SendMessage(app=app, sender=sender, to=peer("bob"), body=text.encode(), dedup=key, **fields)


def repeat(desk: Desk, command: SendMessage) -> Decision:
    """It wrote nothing."""
    decision = desk.run(command)
    assert decision.events == ()
    assert desk.receipt(decision).duplicate
    return decision


def test_a_retry_gets_the_first_outcome_and_sends_nothing() -> None:
    desk = Desk()
    first = desk.receipt(desk.run(keyed()))
    desk.clock.run(60_000)
    assert repeat(desk, keyed()).result == Receipt(id=first.id, at_ms=first.at_ms, duplicate=True)
    assert desk.seqs() == [1]


@pytest.mark.parametrize(
    "other",
    [
        keyed("other"),
        keyed(queue=False),
        keyed(history=True),
        keyed(lane="high"),
        keyed("hi", format="json"),
        SendMessage(app="demo", sender="alice", to=peer("carol"), body=b"hi", queue=True, dedup="k1"),
    ],
)
def test_the_same_key_with_another_command_is_refused(other: SendMessage) -> None:
    desk = Desk()
    desk.run(keyed())
    with pytest.raises(DedupMismatch):
        desk.run(other)
    assert len(desk.records) == 1


def test_a_retry_may_come_another_way_and_wait_longer() -> None:
    desk = Desk()
    desk.run(keyed())
    repeat(desk, keyed(via="http", wait_ack_ms=1_000))


@pytest.mark.parametrize("other", [keyed(sender="eve"), keyed(app="other"), keyed(key="k2")])
def test_another_sender_app_or_key_is_another_message(other: SendMessage) -> None:
    desk = Desk()
    desk.run(keyed())
    assert not desk.receipt(desk.run(other)).duplicate


def test_after_24_hours_the_key_is_new() -> None:
    desk = Desk()
    first = desk.receipt(desk.run(keyed()))
    desk.clock.run(DAY_MS - 1)
    repeat(desk, keyed())
    desk.clock.run(1)
    again = desk.receipt(desk.run(keyed("other")))
    assert again.id != first.id
    assert not again.duplicate
    repeat(desk, keyed("other"))


def test_a_wall_clock_that_jumps_does_not_end_the_24_hours() -> None:
    desk = Desk()
    desk.run(keyed())
    desk.clock.jump(8 * DAY_MS)
    repeat(desk, keyed())


def test_a_refused_send_left_no_outcome() -> None:
    desk = Desk(queue_messages=1, overflow="refuse")
    waiting = desk.send()
    with pytest.raises(QueueFull):
        desk.run(keyed())
    desk.ack(waiting)
    assert not desk.receipt(desk.run(keyed())).duplicate


def test_a_transient_message_is_sent_once_too() -> None:
    desk = Desk()
    desk.run(keyed(queue=False))
    repeat(desk, keyed(queue=False))


def test_a_retry_of_what_was_deleted_sends_nothing() -> None:
    desk = Desk()
    desk.delete(desk.receipt(desk.run(keyed())).id)
    repeat(desk, keyed())


def test_a_retry_finds_whether_the_recipient_acknowledged() -> None:
    desk = Desk()
    desk.login()
    waits = keyed(wait_ack_ms=1_000)
    first = desk.run(waits)
    id = desk.receipt(first).id
    assert first.wait == "pending"
    assert repeat(desk, waits).wait == "pending"
    desk.ack(id)
    assert repeat(desk, waits).wait == "delivered"


def test_a_retry_finds_that_an_unqueued_message_was_acknowledged() -> None:
    desk = Desk()
    desk.login()
    waits = keyed(wait_ack_ms=1_000, queue=False)
    id = desk.receipt(desk.run(waits)).id
    desk.ack(0, confirmed=(id,))
    assert repeat(desk, waits).wait == "delivered"


def test_what_was_evicted_was_not_acknowledged_by_an_ack_beyond_it() -> None:
    desk = Desk(queue_messages=1)
    desk.login()
    waits = keyed(wait_ack_ms=1_000)
    desk.run(waits)
    desk.ack(desk.send("newer"))
    assert repeat(desk, waits).wait == "pending"


def test_an_ack_after_the_wait_is_noted_for_the_retry() -> None:
    desk = Desk()
    waits = keyed(wait_ack_ms=1_000)
    first = desk.run(waits)
    assert first.wait == "offline"
    desk.login()
    desk.ack(desk.receipt(first).id)
    assert repeat(desk, waits).wait == "delivered"


def test_a_retry_while_the_recipient_is_offline_says_so() -> None:
    desk = Desk()
    desk.run(keyed(wait_ack_ms=1_000))
    assert repeat(desk, keyed(wait_ack_ms=1_000)).wait == "offline"


def test_a_confirmation_does_not_reach_the_next_message_under_its_key() -> None:
    desk = Desk()
    old = desk.receipt(desk.run(keyed())).id
    desk.clock.run(DAY_MS)
    desk.run(keyed(wait_ack_ms=1_000))
    desk.ack(old)
    assert repeat(desk, keyed(wait_ack_ms=1_000)).wait == "offline"


# Queued, recipient offline.


@pytest.mark.parametrize("history", [False, True])
def test_queued_offline_an_edit_changes_the_copy_in_its_place(history: bool) -> None:
    desk = Desk()
    id = desk.send("old text", history=history)
    desk.send("next")
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(1, "message", "new text"), Shown(2, "message", "next")]
    assert is_gone(desk, "old text")
    assert desk.terms().accepted == 2


@pytest.mark.parametrize("history", [False, True])
def test_queued_offline_a_recall_stays_in_its_place_without_the_text(history: bool) -> None:
    desk = Desk()
    id = desk.send("old text", history=history)
    desk.recall(id)
    assert desk.shown() == [Shown(1, "recalled", "")]
    assert is_gone(desk, "old text")
    assert desk.terms()._asdict() == dict(accepted=1, acked=0, queued=1, evicted=0, expired=0, withdrawn=0)


@pytest.mark.parametrize("history", [False, True])
def test_queued_offline_a_delete_withdraws_the_copy_and_tells_nobody(history: bool) -> None:
    desk = Desk()
    id = desk.send("old text", history=history)
    desk.delete(id)
    assert desk.shown() == []
    assert desk.kept() == []
    assert is_gone(desk, "old text")
    assert desk.terms()._asdict() == dict(accepted=1, acked=0, queued=0, evicted=0, expired=0, withdrawn=1)
    assert unknown(desk, id)
    assert desk.login().missed == 0


# Queued, recipient online and silent.


@pytest.mark.parametrize("history", [False, True])
def test_online_unacknowledged_an_edit_is_told_besides(history: bool) -> None:
    desk = Desk()
    desk.login()
    id = desk.send("old text", history=history)
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(1, "message", "new text"), Shown(2, "edited", "new text")]
    assert is_gone(desk, "old text")
    desk.edit(id, "newest text")
    assert [shown.payload for shown in desk.shown()] == ["newest text"] * 3
    assert is_gone(desk, "new text")
    assert desk.terms().accepted == 3


def test_online_unacknowledged_a_recall_is_told_besides() -> None:
    desk = Desk()
    desk.login()
    id = desk.send("old text")
    desk.recall(id)
    assert desk.shown() == [Shown(1, "recalled", ""), Shown(2, "recalled", "")]
    assert is_gone(desk, "old text")


@pytest.mark.parametrize("history", [False, True])
def test_online_unacknowledged_a_delete_leaves_a_notice(history: bool) -> None:
    desk = Desk()
    desk.login()
    id = desk.send("old text", history=history)
    desk.edit(id, "new text")
    desk.delete(id)
    assert desk.shown() == [Shown(3, "deleted", "")]
    assert is_gone(desk, "old text")
    assert is_gone(desk, "new text")
    assert desk.terms()._asdict() == dict(accepted=3, acked=0, queued=1, evicted=0, expired=0, withdrawn=2)
    assert unknown(desk, id)
    desk.ack(desk.records[-1].position)
    assert desk.kept() == []


@pytest.mark.parametrize("overflow", ["oldest", "refuse"])
@pytest.mark.parametrize("others", [0, 2])
def test_a_notice_needs_no_room_but_that_of_the_copy_it_replaces(overflow: str, others: int) -> None:
    """A queue full with the deleted message in it: its place is free by the time the notice comes."""
    desk = Desk(queue_messages=others + 1, overflow=overflow)
    desk.login()
    for text in ("a", "b")[:others]:
        desk.send(text)
    desk.delete(desk.send("old text"))
    kept = [Shown(number, "message", text) for number, text in ((1, "a"), (2, "b"))[:others]]
    assert desk.shown() == [*kept, Shown(others + 2, "deleted", "")]
    assert desk.terms().evicted == 0
    assert desk.totals().queued == others + 1


def test_an_entry_withdrawn_after_its_expiry_is_not_counted_as_expired_too() -> None:
    desk = Desk(queue_messages=1, queue_ttl_ms=1_000)
    desk.login()
    id = desk.send(history=True)
    desk.clock.run(3_000)
    desk.delete(id)
    assert desk.terms()._asdict() == dict(accepted=2, acked=0, queued=1, evicted=0, expired=0, withdrawn=1)


def test_an_edit_may_push_out_the_message_that_it_edits() -> None:
    desk = Desk(queue_messages=1)
    desk.login()
    id = desk.send("old text")
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(2, "edited", "new text")]
    assert desk.kept() == [("edited", "new text")]
    desk.edit(id, "newest text")
    assert desk.shown() == [Shown(3, "edited", "newest text")]
    desk.ack(desk.records[-1].position)
    assert desk.kept() == []
    assert unknown(desk, id)


def test_a_refused_notice_leaves_the_change_in_the_old_place() -> None:
    desk = Desk(queue_messages=1, overflow="refuse")
    desk.login()
    id = desk.send("old text")
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(1, "message", "new text")]
    assert is_gone(desk, "old text")
    desk.ack(id)
    assert desk.kept() == []


def test_a_body_lasts_as_long_as_the_newest_entry_about_it() -> None:
    desk = Desk()
    desk.login()
    id = desk.send("old text")
    desk.edit(id, "new text")
    desk.ack(id)
    assert desk.shown() == [Shown(2, "edited", "new text")]
    desk.ack(desk.queue("demo", "bob")[0].position)
    assert desk.kept() == []
    assert unknown(desk, id)


def test_a_body_edited_twice_lasts_as_long_as_the_last_notice() -> None:
    desk = Desk()
    desk.login()
    id = desk.send("old text")
    desk.edit(id, "new text")
    between = desk.records[-1].position
    desk.edit(id, "newest text")
    desk.ack(between)
    assert desk.shown() == [Shown(3, "edited", "newest text")]
    desk.ack(desk.queue("demo", "bob")[0].position)
    assert desk.kept() == []


def test_what_the_deletion_itself_takes_out_is_not_what_expired() -> None:
    """A cap made smaller, the expired message deleted: the one that is pushed out for the notice had time left."""
    desk = Desk(queue_messages=2, queue_ttl_ms=10_000)
    desk.login()
    id = desk.send("old text", history=True)
    desk.clock.run(9_000)
    desk.send("next")
    desk.clock.run(2_000)
    desk.configure(queue_messages=1, queue_ttl_ms=10_000)
    desk.delete(id)
    assert desk.shown() == [Shown(3, "deleted", "")]
    assert desk.terms()._asdict() == dict(accepted=3, acked=0, queued=1, evicted=1, expired=0, withdrawn=1)


def test_history_of_a_deleted_message_leaves_no_row() -> None:
    desk = Desk()
    desk.login("carol")
    before = view_rows(desk)
    id = desk.send(queue=False, history=True)
    desk.edit(id, "new text")
    desk.delete(id)
    assert view_rows(desk) == before  # the app's totals were there already


# Of age.


def forget(desk: Desk, limit: int = 1_000) -> list[HistoryExpired]:
    """Messages past the retention leave the history."""
    events = desk.run(ExpireHistory(app="demo", limit=limit)).events
    return [event for event in events if isinstance(event, HistoryExpired)]


def test_past_the_retention_a_kept_message_is_not_there_swept_or_not() -> None:
    desk = Desk(history_ttl_ms=10_000)
    id = desk.send("old text", queue=False, history=True)
    desk.clock.run(9_999)
    desk.edit(id, "new text")
    desk.clock.run(1)
    assert unknown(desk, id)
    assert desk.kept() == [("edited", "new text")]
    (event,) = forget(desk)
    assert (event.id, event.count) == (id, 1)
    assert desk.kept() == []
    assert desk.totals().forgotten == id
    assert forget(desk) == []
    assert unknown(desk, id)


def test_a_copy_that_still_waits_keeps_its_text_and_owns_it() -> None:
    desk = Desk(history_ttl_ms=10_000, queue_ttl_ms=60_000)
    id = desk.send("text", history=True)
    desk.clock.run(10_000)
    assert len(forget(desk)) == 1
    assert desk.shown() == [Shown(1, "message", "text")]
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(1, "message", "new text")]
    desk.ack(id)
    assert desk.kept() == []
    assert unknown(desk, id)


def test_of_a_message_and_its_changes_the_newest_copy_gets_the_text() -> None:
    desk = Desk(history_ttl_ms=10_000, queue_ttl_ms=60_000)
    desk.login()
    id = desk.send("text", history=True)
    desk.edit(id, "new text")
    desk.clock.run(10_000)
    forget(desk)
    assert [entry.owns_body for entry in desk.queue("demo", "bob")] == [False, True]
    desk.recall(id)
    assert [entry.owns_body for entry in desk.queue("demo", "bob")] == [False, False, True]
    desk.ack(desk.queue("demo", "bob")[1].position)
    assert desk.shown() == [Shown(3, "recalled", "")]
    desk.ack(desk.queue("demo", "bob")[0].position)
    assert desk.kept() == []


def test_what_has_left_the_history_does_not_come_back_with_a_longer_retention() -> None:
    """Its copy was all that was left of it, and that is over."""
    desk = Desk(history_ttl_ms=1_000, queue_ttl_ms=60_000)
    id = desk.send("text", history=True)
    desk.clock.run(2_000)
    forget(desk)
    desk.configure(queue_ttl_ms=60_000)
    desk.clock.run(57_999)
    desk.edit(id, "new text")
    desk.clock.run(1)
    assert unknown(desk, id)


def test_history_is_forgotten_in_steps_and_parts() -> None:
    desk = Desk(history_ttl_ms=10_000)
    ids = [desk.send(f"{number}", f"user {number % 7}", queue=False, history=True) for number in range(60)]
    desk.send("of another app", app="other", queue=False, history=True)
    desk.clock.run(10_000)
    young = desk.send("young", queue=False, history=True)
    assert [(event.id, event.count) for event in forget(desk, 30)] == [(ids[24], 25), (ids[29], 5)]
    assert [(event.id, event.count) for event in forget(desk)] == [(ids[54], 25), (ids[59], 5)]
    assert forget(desk) == []
    assert [text for _, text in desk.kept()] == ["of another app", "young"]
    assert desk.read(lambda snapshot: [place.id for place, _ in snapshot.views.oldest_kept("demo")]) == [young]


def test_for_ever_is_for_ever() -> None:
    desk = Desk(history_ttl_ms=None)
    id = desk.send("text", queue=False, history=True)
    desk.clock.run(5_000 * 86_400_000)
    assert forget(desk) == []
    desk.edit(id, "new text")


# Acknowledged.


def test_acknowledged_with_history_each_change_is_an_entry_of_its_own() -> None:
    desk = Desk()
    id = desk.send("old text", history=True)
    desk.ack(id)
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(2, "edited", "new text")]
    desk.recall(id)
    assert desk.shown() == [Shown(2, "recalled", ""), Shown(3, "recalled", "")]
    desk.delete(id)
    assert desk.shown() == [Shown(4, "deleted", "")]
    assert desk.terms()._asdict() == dict(accepted=4, acked=1, queued=1, evicted=0, expired=0, withdrawn=2)
    assert desk.kept() == [("deleted", "")]


def test_acknowledged_without_history_nothing_is_left_to_change() -> None:
    desk = Desk()
    id = desk.send("old text")
    desk.ack(id)
    assert is_gone(desk, "old text")
    assert unknown(desk, id)


def test_acknowledging_a_change_keeps_what_history_keeps() -> None:
    desk = Desk()
    id = desk.send("old text", history=True)
    desk.ack(id)
    desk.edit(id, "new text")
    desk.ack(desk.records[-1].position)
    assert desk.kept() == [("edited", "new text")]
    desk.edit(id, "newest text")
    assert desk.kept() == [("edited", "newest text")]


# Evicted, expired, never queued.


def test_evicted_without_history_is_unknown() -> None:
    desk = Desk(queue_messages=1)
    id = desk.send()
    desk.send()
    assert unknown(desk, id)


def test_evicted_with_history_can_be_changed_and_nobody_waits_for_it() -> None:
    desk = Desk(queue_messages=1)
    id = desk.send("old text", history=True)
    desk.send("next")
    desk.edit(id, "new text")
    desk.delete(id)
    assert desk.shown() == [Shown(2, "message", "next")]
    assert desk.terms().withdrawn == 0


@pytest.mark.parametrize("swept", [False, True])
def test_expired_without_history_is_unknown_swept_or_not(swept: bool) -> None:
    desk = Desk(queue_ttl_ms=1_000)
    desk.login()
    id = desk.send()
    desk.clock.run(3_000)
    if swept:
        desk.sweep()
    assert unknown(desk, id)
    desk.sweep()
    assert desk.terms().expired == 1
    assert desk.kept() == []


def test_an_edit_that_waits_longer_keeps_the_message_known() -> None:
    desk = Desk(queue_ttl_ms=2_000)
    desk.login()
    id = desk.send("old text")
    desk.clock.run(1_500)
    desk.edit(id, "new text")
    desk.clock.run(1_500)
    desk.edit(id, "newest text")
    assert [shown.payload for shown in desk.shown()] == ["newest text"] * 3
    desk.clock.run(60_000)
    desk.sweep()
    assert desk.kept() == []


def test_a_transient_message_is_unknown() -> None:
    desk = Desk()
    desk.login()
    assert unknown(desk, desk.send(queue=False))


def test_a_message_for_history_alone_is_changed_without_an_entry() -> None:
    desk = Desk()
    desk.login()
    id = desk.send("old text", queue=False, history=True)
    desk.edit(id, "new text")
    assert desk.kept() == [("edited", "new text")]
    desk.delete(id)
    assert desk.kept() == []
    assert desk.shown() == []


@pytest.mark.parametrize("id", [0, -1, 1, 1 << 53, 1 << 64, 10**30])
def test_an_id_that_never_was_is_unknown(id: int) -> None:
    desk = Desk()
    desk.send()
    assert unknown(desk, id)


def test_another_apps_message_is_unknown() -> None:
    desk = Desk()
    id = desk.send(history=True, app="other")
    assert unknown(desk, id)
    assert desk.shown(app="other") != []


def test_the_position_of_a_change_is_no_message() -> None:
    desk = Desk()
    desk.login()
    id = desk.send(history=True)
    desk.edit(id, "new")
    assert unknown(desk, desk.records[-1].position)
    desk.delete(id)
    assert unknown(desk, desk.records[-1].position)


# One change after another.


def test_a_recalled_message_has_no_text_to_edit() -> None:
    desk = Desk()
    id = desk.send("old text", history=True)
    desk.recall(id)
    with pytest.raises(MessageIsRecalled):
        desk.edit(id, "new text")
    assert is_gone(desk, "new text")


def test_a_recall_repeated_writes_nothing_and_says_so() -> None:
    desk = Desk()
    desk.login()
    id = desk.send(history=True)
    assert not desk.recall(id).duplicate
    records = len(desk.records)
    assert desk.recall(id).duplicate
    assert len(desk.records) == records


def test_a_recalled_message_can_be_deleted() -> None:
    desk = Desk()
    id = desk.send(history=True)
    desk.recall(id)
    desk.delete(id)
    assert desk.shown() == []
    assert desk.kept() == []
    assert unknown(desk, id)


def test_edited_then_recalled_loses_both_texts() -> None:
    desk = Desk()
    id = desk.send("old text", history=True)
    desk.edit(id, "new text")
    desk.recall(id)
    assert is_gone(desk, "old text")
    assert is_gone(desk, "new text")
    assert desk.kept() == [("recalled", "")]


def test_an_edit_keeps_the_header_and_takes_its_own_format() -> None:
    desk = Desk()
    id = desk.send("{}", history=True, lane="high", format="json", via="http")
    before = desk.header(id)
    desk.clock.run(5_000)
    desk.edit(id, "text")
    after = desk.header(desk.records[-1].position)
    assert before is not None
    assert after is not None
    same = ("app", "id", "conversation", "sender", "lane", "at_ms", "queue", "history", "via")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert (after.type, after.by, after.format) == ("edited", "alice", "text")


# A user that logs out between.


def test_who_logged_out_without_an_ack_sees_the_change_in_its_place_alone() -> None:
    desk = Desk()
    session = desk.login().session
    id = desk.send("old text")
    desk.logout(session)
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(1, "message", "new text")]


def test_a_session_of_an_earlier_process_is_told_nothing() -> None:
    desk = Desk()
    desk.login()
    id = desk.send("old text")
    desk.restart()
    desk.edit(id, "new text")
    assert desk.shown() == [Shown(1, "message", "new text")]


def test_edited_online_then_edited_offline_shows_one_text_everywhere() -> None:
    desk = Desk()
    session = desk.login().session
    id = desk.send("old text")
    desk.edit(id, "new text")
    desk.logout(session)
    desk.edit(id, "newest text")
    assert desk.shown() == [Shown(1, "message", "newest text"), Shown(2, "edited", "newest text")]
    assert desk.kept() == [("edited", "newest text")]
    desk.ack(desk.records[-1].position)
    assert desk.kept() == []


# What the events say.


def test_no_event_carries_a_text() -> None:
    desk = Desk()
    desk.login()
    id = desk.send("secret words", history=True)
    desk.edit(id, "other words")
    assert not any("words" in repr(event) for event in desk.events)


def test_a_delete_names_the_entries_it_withdraws_and_where_history_forgets() -> None:
    desk = Desk()
    desk.login()
    id = desk.send(history=True)
    sent_ms = desk.clock.wall_ms
    desk.clock.run(1_000)
    desk.edit(id, "new")
    edit = desk.records[-1].position
    desk.delete(id)
    event = desk.events[-1]
    assert isinstance(event, MessageDeleted)
    assert [(copies.user, copies.positions) for copies in event.withdrawn] == [("bob", (Position(id), edit))]
    assert (event.timeline, event.sender, event.sent_ms) == (peer("bob"), "alice", sent_ms)


def test_a_change_is_stamped_with_its_own_time() -> None:
    desk = Desk()
    id = desk.send(history=True)
    desk.clock.run(1_000)
    receipt = desk.edit(id, "new")
    event = desk.events[-1]
    assert isinstance(event, MessageEdited)
    assert event.at_ms == receipt.at_ms == desk.clock.wall_ms
