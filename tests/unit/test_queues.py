"""One queue: its cap, its numbers, its expiry, and the account of every copy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.commands import ExpireQueue
from postroom.core.domain import apply
from postroom.core.errors import QueueFull
from postroom.core.events import MessageSent, QueueExpired

from ..support.desk import Desk, Shown

DAY_MS = 86_400_000


def sent(desk: Desk) -> MessageSent:
    """The event of the newest send."""
    event = desk.events[-1]
    assert isinstance(event, MessageSent)
    return event


def texts(desk: Desk) -> list[str]:
    """What waits for bob."""
    return [shown.payload for shown in desk.shown()]


# The cap.


def test_a_full_queue_drops_its_oldest_and_says_so() -> None:
    desk = Desk(queue_messages=2)
    for text in ("one", "two", "three"):
        desk.send(text)
    assert desk.shown() == [Shown(2, "message", "two"), Shown(3, "message", "three")]
    assert (sent(desk).queued[0].evicted, sent(desk).queued[0].expired) == (1, 0)
    assert desk.terms()._asdict() == dict(accepted=3, acked=0, queued=2, evicted=1, expired=0, withdrawn=0)


def test_the_default_cap_is_two_hundred_for_seven_days() -> None:
    desk = Desk()
    for _ in range(201):
        desk.send()
    assert len(desk.queue("demo", "bob")) == 200
    desk.clock.run(7 * DAY_MS - 1)
    assert desk.sweep().events == ()
    desk.clock.run(1_000)
    assert len(desk.sweep().events) == 1
    assert desk.queue("demo", "bob") == []


def test_what_is_dropped_takes_its_body_along() -> None:
    desk = Desk(queue_messages=1)
    desk.send("old")
    desk.send("new")
    assert desk.kept() == [("message", "new")]


def test_what_is_dropped_is_still_in_history() -> None:
    desk = Desk(queue_messages=1)
    desk.send("old", history=True)
    desk.send("new")
    assert sorted(desk.kept()) == [("message", "new"), ("message", "old")]
    assert texts(desk) == ["new"]


def test_a_queue_that_refuses_leaves_everything_as_it_was() -> None:
    desk = Desk(queue_messages=2, overflow="refuse")
    desk.send("one")
    desk.send("two")
    with pytest.raises(QueueFull):
        desk.send("three", history=True, dedup="k")
    assert texts(desk) == ["one", "two"]
    assert desk.kept() == [("message", "one"), ("message", "two")]
    assert desk.terms().accepted == 2
    assert len(desk.records) == 2


def test_expired_at_the_front_makes_room_where_the_queue_refuses() -> None:
    desk = Desk(queue_messages=2, overflow="refuse", queue_ttl_ms=10_000)
    desk.send("one")
    desk.clock.run(5_000)
    desk.send("two")
    desk.clock.run(6_000)
    desk.send("three")
    assert texts(desk) == ["two", "three"]
    assert (sent(desk).queued[0].evicted, sent(desk).queued[0].expired) == (0, 1)
    with pytest.raises(QueueFull):
        desk.send("four")
    assert desk.terms().expired == 1


def test_a_drop_past_its_expiry_counts_as_expired() -> None:
    desk = Desk(queue_messages=2, queue_ttl_ms=10_000)
    desk.send("one")
    desk.clock.run(11_000)
    desk.send("two")
    desk.send("three")
    assert (sent(desk).queued[0].evicted, sent(desk).queued[0].expired) == (0, 1)
    desk.send("four")
    assert (sent(desk).queued[0].evicted, sent(desk).queued[0].expired) == (1, 0)
    assert desk.terms()._asdict() == dict(accepted=4, acked=0, queued=2, evicted=1, expired=1, withdrawn=0)


def test_a_cap_made_smaller_is_kept_with_the_next_send() -> None:
    desk = Desk(queue_messages=5)
    for text in "abcde":
        desk.send(text)
    desk.configure(queue_messages=2)
    assert texts(desk) == list("abcde")
    desk.send("f")
    assert texts(desk) == ["e", "f"]
    assert sent(desk).queued[0].evicted == 4
    desk.terms()


def test_a_cap_made_smaller_refuses_until_there_is_room() -> None:
    desk = Desk(queue_messages=3)
    ids = [desk.send(text) for text in "abc"]
    desk.configure(queue_messages=2, overflow="refuse")
    desk.ack(ids[0])
    with pytest.raises(QueueFull):
        desk.send("d")
    desk.ack(ids[1])
    desk.send("e")
    assert texts(desk) == ["c", "e"]


def test_a_smaller_cap_drops_expired_before_evicted() -> None:
    desk = Desk(queue_messages=4, queue_ttl_ms=10_000)
    desk.send("a")
    desk.send("b")
    desk.clock.run(11_000)
    desk.send("c")
    desk.send("d")
    desk.configure(queue_messages=2)
    desk.send("e")
    assert (sent(desk).queued[0].evicted, sent(desk).queued[0].expired) == (1, 2)
    assert texts(desk) == ["d", "e"]
    desk.terms()


def test_what_the_log_says_happened_does_not_follow_the_config() -> None:
    """The event carries what cap and TTL decided; the same log gives the same queue under any other."""
    desk = Desk(queue_messages=1, queue_ttl_ms=1_000)
    desk.send("a")
    desk.send("b")
    twin = Desk(queue_messages=100)
    with twin.store.transaction() as transaction:
        for record in desk.records:
            apply(transaction.views, record)
    assert twin.queue("demo", "bob") == desk.queue("demo", "bob")


# Numbers.


def test_numbers_run_on_over_everything_that_leaves() -> None:
    desk = Desk(queue_messages=3, queue_ttl_ms=10_000)
    first = desk.send()  # 1
    desk.ack(first)
    second = desk.send()  # 2
    desk.delete(second)
    desk.send()  # 3
    desk.clock.run(11_000)
    desk.sweep()
    for _ in range(4):
        desk.send()  # 4 is evicted by 7
    assert desk.seqs() == [5, 6, 7]
    desk.configure(queue_messages=3, overflow="refuse")
    with pytest.raises(QueueFull):
        desk.send()  # takes no number
    desk.configure(queue_messages=4)
    desk.send()
    assert desk.seqs() == [5, 6, 7, 8]
    desk.ack(desk.records[-1].position)
    assert desk.seqs() == []
    desk.send()
    assert desk.seqs() == [9]
    assert desk.terms()._asdict() == dict(accepted=9, acked=5, queued=1, evicted=1, expired=1, withdrawn=1)


def test_a_refused_notice_takes_a_number_and_counts_as_evicted() -> None:
    """The message itself would be refused; a copy among others goes without, and the recipient can see the gap."""
    desk = Desk(queue_messages=1, overflow="refuse")
    desk.login()
    id = desk.send("one", history=True)
    desk.edit(id, "changed")
    assert desk.seqs() == [1]
    assert desk.shown() == [Shown(1, "message", "changed")]
    assert desk.terms()._asdict() == dict(accepted=2, acked=0, queued=1, evicted=1, expired=0, withdrawn=0)
    desk.ack(id)
    desk.send("two")
    assert desk.seqs() == [3]
    assert desk.login().missed == 0  # told before, with the ack


def test_each_recipient_and_app_counts_for_itself() -> None:
    desk = Desk()
    desk.send(to="bob")
    desk.send(to="carol")
    desk.send(to="bob", app="other")
    desk.send(to="bob")
    assert desk.seqs() == [1, 2]
    assert desk.seqs("carol") == [1]
    assert desk.seqs(app="other") == [1]
    assert desk.totals().accepted == 3
    assert desk.totals("other").accepted == 1


def test_names_do_not_run_into_one_another() -> None:
    desk = Desk()
    desk.send(to="bc", app="a")
    assert desk.queue("ab", "c") == []


# Expiry.


def test_expiry_never_falls_along_the_queue_when_the_wall_steps_back() -> None:
    desk = Desk(queue_ttl_ms=DAY_MS)
    desk.send("noon")
    desk.clock.jump(8 * DAY_MS)
    desk.send("next week")
    desk.clock.jump(-8 * DAY_MS)
    desk.send("noon again")
    expiries = [entry.expires_s for entry in desk.queue("demo", "bob")]
    assert expiries == sorted(expiries)
    desk.clock.run(DAY_MS + 1_000)
    assert desk.sweep().events == (QueueExpired(app="demo", user="bob", count=1),)
    assert texts(desk) == ["next week", "noon again"]


def test_a_shorter_ttl_does_not_overtake_what_waits() -> None:
    desk = Desk(queue_ttl_ms=DAY_MS)
    desk.send()
    desk.configure(queue_ttl_ms=1_000)
    desk.send()
    first, second = desk.queue("demo", "bob")
    assert first.expires_s == second.expires_s


def test_an_entry_lives_until_its_expiry_and_not_beyond_the_second() -> None:
    desk = Desk(queue_ttl_ms=1_000)
    desk.clock.run(1)
    desk.send()
    desk.clock.run(999)
    assert desk.login().queued == 1
    desk.clock.run(1_000)
    assert desk.login().queued == 0


def test_sweeping_an_empty_or_fresh_queue_writes_nothing() -> None:
    desk = Desk()
    assert desk.sweep("nobody").events == ()
    desk.send()
    assert desk.sweep().events == ()


def test_sweeping_twice_counts_once() -> None:
    desk = Desk(queue_ttl_ms=1_000)
    desk.send()
    desk.send()
    desk.clock.run(3_000)
    desk.sweep()
    assert desk.sweep().events == ()
    assert desk.terms().expired == 2
    assert desk.kept() == []


def test_sweeping_works_in_steps() -> None:
    desk = Desk(queue_ttl_ms=1_000)
    for _ in range(5):
        desk.send()
    desk.clock.run(3_000)
    steps = [desk.run(ExpireQueue(app="demo", user="bob", limit=2)).events for _ in range(4)]
    assert [[event.count for event in step] for step in steps] == [[2], [2], [1], []]
    assert desk.terms().expired == 5


def test_expiry_leaves_history_alone() -> None:
    desk = Desk(queue_ttl_ms=1_000)
    desk.send("kept", history=True)
    desk.clock.run(3_000)
    desk.sweep()
    assert desk.kept() == [("message", "kept")]


def test_owners_of_queues_are_found_one_after_the_other() -> None:
    desk = Desk()
    for user in ("bob", "carol", "dave"):
        desk.send(to=user)
        desk.send(to=user)
    desk.ack(desk.send(to="dave"), "dave")
    found, after = [], b""
    while True:
        with desk.store.snapshot() as snapshot:
            row = next(snapshot.views.queue_owners(after=after), None)
        if row is None:
            break
        after, app, user, first = row
        found.append((app, user))
        assert first == desk.queue(app, user)[0]
    assert sorted(found) == [("demo", "bob"), ("demo", "carol")]


# Which messages queue.


def test_a_message_for_history_alone_does_not_queue() -> None:
    desk = Desk()
    desk.send(queue=False, history=True)
    assert desk.queue("demo", "bob") == []
    assert desk.kept() == [("message", "hi")]
    assert desk.terms().accepted == 0


def test_a_transient_message_is_an_event_without_a_body() -> None:
    desk = Desk()
    desk.send(queue=False)
    assert len(desk.records) == 1
    assert desk.kept() == []
    assert desk.queue("demo", "bob") == []


def test_a_queue_only_body_ends_with_its_entry_and_a_kept_one_does_not() -> None:
    desk = Desk()
    desk.ack(desk.send("queue"))
    desk.ack(desk.send("both", history=True))
    assert desk.kept() == [("message", "both")]


@given(st.lists(st.sampled_from(["send", "ack", "sweep", "wait", "smaller", "larger"]), max_size=40))
def test_the_account_balances(story: list[str]) -> None:
    desk, cap = Desk(queue_messages=3, queue_ttl_ms=2_000), 3
    for step in story:
        match step:
            case "send":
                desk.send()
            case "ack":
                desk.ack(max((entry.position for entry in desk.queue("demo", "bob")[:2]), default=0))
            case "sweep":
                desk.sweep()
            case "wait":
                desk.clock.run(1_500)
            case _:
                cap = max(1, cap + (-1 if step == "smaller" else 1))
                desk.configure(queue_messages=cap, queue_ttl_ms=2_000)
        terms, totals = desk.terms(), desk.totals()
        assert terms._asdict() == {name: getattr(totals, name) for name in terms._fields}
