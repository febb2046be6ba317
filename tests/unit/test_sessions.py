"""Epochs, logins, logouts and acks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.commands import EndStaleSessions, ExpireDedup, SendMessage
from postroom.core.errors import TooManySessions
from postroom.core.events import Acked, DedupExpired, EpochStarted, LoggedIn, LoggedOut, QueueExpired
from postroom.core.ids import ExpiryMs, Position
from postroom.core.limits import SESSIONS_PER_USER_MAX, SWEEP_STEP
from postroom.core.model import peer
from postroom.core.rows import SessionRow

from ..support.desk import Desk
from ..support.machine import START_MS

DAY_MS = 86_400_000


def events_of(desk: Desk, kind: type) -> list:
    """All events of a kind."""
    return [event for event in desk.events if isinstance(event, kind)]


def sessions(desk: Desk, user: str = "bob") -> list[int]:
    """The user's session rows."""
    with desk.store.snapshot() as snapshot:
        return [row.session for row in snapshot.views.sessions("demo", user)]


# Logins.


def test_a_session_is_named_by_the_position_of_its_login() -> None:
    desk = Desk()
    welcome = desk.login()
    assert welcome.session == desk.records[-1].position
    assert sessions(desk) == [welcome.session]


def test_a_welcome_counts_what_waits_and_what_was_missed() -> None:
    desk = Desk(queue_messages=2)
    for _ in range(5):
        desk.send()
    assert (desk.login().queued, desk.login().missed) == (2, 3)


def test_a_stranger_is_welcome() -> None:
    desk = Desk()
    welcome = desk.login("nobody")
    assert (welcome.queued, welcome.missed) == (0, 0)


def test_a_login_accounts_for_what_is_expired_first() -> None:
    desk = Desk(queue_ttl_ms=10_000)
    desk.send()
    desk.send()
    desk.clock.run(9_000)
    desk.send()
    desk.clock.run(2_000)
    welcome = desk.login()
    assert (welcome.queued, welcome.missed) == (1, 2)
    assert [type(event) for event in desk.events[-2:]] == [QueueExpired, LoggedIn]
    assert welcome.session == desk.records[-1].position == desk.records[-2].position + 1
    assert desk.terms().expired == 2


def test_missed_is_repeated_until_an_ack() -> None:
    desk = Desk(queue_messages=1, queue_ttl_ms=10_000)
    desk.send()
    desk.send()
    assert [desk.login().missed, desk.login().missed] == [1, 1]
    desk.clock.run(11_000)
    assert desk.login().missed == 2
    desk.ack(desk.send())
    assert desk.login().missed == 0
    desk.send()
    desk.send()
    assert desk.login().missed == 1


def test_an_ack_of_nothing_takes_note_of_what_was_missed() -> None:
    desk = Desk(queue_ttl_ms=1_000)
    desk.send()
    desk.clock.run(3_000)
    assert desk.login().missed == 1
    assert desk.ack(0) is not None
    assert desk.login().missed == 0
    assert desk.ack(0) is None


def test_withdrawn_is_not_missed() -> None:
    desk = Desk()
    desk.delete(desk.send())
    assert desk.login().missed == 0


def test_the_first_session_of_a_user_says_so() -> None:
    desk = Desk()
    first, second = desk.login().session, desk.login().session
    desk.logout(first)
    desk.logout(second)
    desk.login()
    assert [event.first for event in events_of(desk, LoggedIn)] == [True, False, True]
    assert [event.last for event in events_of(desk, LoggedOut)] == [False, True]


def test_a_user_may_have_so_many_sessions() -> None:
    desk = Desk()
    opened = [desk.login().session for _ in range(SESSIONS_PER_USER_MAX)]
    records = len(desk.records)
    with pytest.raises(TooManySessions):
        desk.login()
    assert len(desk.records) == records
    desk.login("carol")
    desk.logout(opened[3])
    desk.login()


def test_sessions_of_earlier_processes_take_no_place() -> None:
    desk = Desk()
    for _ in range(SESSIONS_PER_USER_MAX):
        desk.login()
    desk.restart()
    desk.login()
    assert len(sessions(desk)) == 1


# Logouts and epochs.


def test_a_session_ends_once() -> None:
    desk = Desk()
    session = desk.login().session
    assert len(desk.logout(session).events) == 1
    assert desk.logout(session).events == ()
    assert desk.logout(session, "carol").events == ()


def test_nobody_ends_another_users_session() -> None:
    desk = Desk()
    session = desk.login().session
    assert desk.logout(session, "carol").events == ()
    assert desk.logout(session, app="other").events == ()
    assert sessions(desk) == [session]


def test_each_process_starts_the_next_epoch() -> None:
    desk = Desk()
    desk.restart()
    desk.restart()
    assert events_of(desk, EpochStarted) == [EpochStarted(epoch=1), EpochStarted(epoch=2)]
    with desk.store.snapshot() as snapshot:
        assert snapshot.views.epoch == 2


def test_a_login_ends_the_users_stale_sessions_first() -> None:
    desk = Desk()
    stale = [desk.login().session, desk.login().session]
    desk.restart()
    before = len(desk.records)
    fresh = desk.login()
    ends = desk.events[before:-1]
    assert ends == [
        LoggedOut(app="demo", user="bob", session=stale[0], last=False, at_ms=START_MS),
        LoggedOut(app="demo", user="bob", session=stale[1], last=True, at_ms=START_MS),
    ]
    login = desk.events[-1]
    assert isinstance(login, LoggedIn)
    assert login.first
    assert sessions(desk) == [fresh.session]


def test_stale_sessions_are_ended_and_open_ones_are_not() -> None:
    desk = Desk()
    for user in ("bob", "bob", "carol"):
        desk.login(user)
    desk.restart()
    fresh = desk.login("dave").session
    ended = desk.end_stale().events
    assert [(event.user, event.last) for event in ended if isinstance(event, LoggedOut)].count(("bob", True)) == 1
    assert len(ended) == 3
    assert sessions(desk) == sessions(desk, "carol") == []
    assert sessions(desk, "dave") == [fresh]
    assert desk.end_stale().events == ()


def test_stale_sessions_of_several_epochs_end_together() -> None:
    desk = Desk()
    desk.login()
    desk.restart()
    desk.login("carol")
    desk.restart()
    desk.restart()
    assert len(desk.end_stale().events) == 2


def test_ending_stale_sessions_works_in_steps() -> None:
    desk = Desk()
    with desk.store.transaction() as transaction:
        for number in range(SWEEP_STEP + 5):
            transaction.views.put_session("demo", f"u{number}", SessionRow(Position(number + 1), 0))
    desk.restart()
    assert len(desk.end_stale().events) == SWEEP_STEP
    assert len(desk.end_stale().events) == 5
    assert desk.end_stale().events == ()


def test_a_step_may_end_within_one_users_sessions() -> None:
    desk = Desk()
    opened = [desk.login().session for _ in range(3)]
    desk.restart()
    ends = [event for _ in range(3) for event in desk.run(EndStaleSessions(limit=1)).events]
    assert ends == [
        LoggedOut(app="demo", user="bob", session=session, last=session == opened[-1], at_ms=START_MS)
        for session in opened
    ]


# Acks.


def test_an_ack_takes_a_prefix() -> None:
    desk = Desk()
    ids = [desk.send(text) for text in "abcd"]
    event = desk.ack(ids[1])
    assert event == Acked(
        app="demo", user="bob", session=Position(1), through=Position(ids[1]), count=2, id=ids[1], seq=2
    )
    assert desk.seqs() == [3, 4]
    assert desk.terms().acked == 2


def test_an_ack_between_two_entries_takes_what_is_before_it() -> None:
    desk = Desk()
    desk.send("a")
    between = desk.login("carol").session
    desk.send("b")
    event = desk.ack(between)
    assert event is not None
    assert (event.count, event.seq) == (1, 1)


def test_an_ack_is_idempotent_and_never_runs_back() -> None:
    desk = Desk()
    ids = [desk.send() for _ in range(3)]
    desk.ack(ids[1])
    records = len(desk.records)
    assert desk.ack(ids[1]) is None
    assert desk.ack(ids[0]) is None
    assert len(desk.records) == records
    assert desk.seqs() == [3]


def test_an_ack_of_somebody_without_a_queue_writes_nothing() -> None:
    desk = Desk()
    desk.login()
    assert desk.ack(desk.records[-1].position) is None


def test_an_ack_of_an_empty_queue_still_says_what_was_seen() -> None:
    """A session may have shown what left the queue before its ack came, so changes of it are told from then on."""
    desk = Desk(queue_messages=1)
    id = desk.send("a", history=True)
    desk.delete(desk.send("b"))
    desk.ack(0)  # of the eviction
    event = desk.ack(desk.records[-1].position)
    assert event is not None
    assert (event.count, event.id, event.seq) == (0, 0, 0)
    desk.edit(id, "new")
    assert [shown.type for shown in desk.shown()] == ["edited"]


def test_an_ack_of_less_does_not_forget_what_was_acknowledged() -> None:
    desk = Desk(queue_messages=1)
    id = desk.send("a", history=True)
    desk.ack(id)
    desk.send("b")
    desk.send("c")
    assert desk.ack(0) is not None  # of the eviction
    desk.edit(id, "new")
    assert [shown.type for shown in desk.shown()] == ["edited"]


def test_an_ack_of_a_change_names_the_message() -> None:
    desk = Desk()
    desk.login()
    id = desk.send(history=True)
    desk.edit(id, "new")
    event = desk.ack(desk.records[-1].position)
    assert event is not None
    assert (event.count, event.id, event.seq) == (2, id, 2)


def test_an_expired_entry_that_was_handled_counts_as_acknowledged() -> None:
    desk = Desk(queue_ttl_ms=1_000)
    id = desk.send()
    desk.clock.run(3_000)
    desk.ack(id)
    assert (desk.terms().acked, desk.terms().expired) == (1, 0)


@given(st.lists(st.integers(0, 9), max_size=8))
def test_acks_in_any_order_end_where_the_greatest_does(through: list[int]) -> None:
    desk = Desk()
    ids = [desk.send() for _ in range(8)]
    for index in through:
        desk.ack(ids[index] if index < 8 else 0)
    reached = max((index + 1 for index in through if index < 8), default=0)
    assert desk.seqs() == list(range(reached + 1, 9))
    assert desk.terms().acked == reached


# Dedup outcomes that are over.


def test_dedup_outcomes_are_forgotten_when_they_are_over() -> None:
    desk = Desk()
    first = desk.send(dedup="k1")
    ends_ms = desk.clock.expiry_ms + DAY_MS
    desk.clock.run(60_000)
    desk.send(dedup="k2")
    assert desk.run(ExpireDedup()).events == ()
    desk.clock.run(DAY_MS - 60_000)
    assert desk.run(ExpireDedup()).events == (
        DedupExpired(expires_ms=ExpiryMs(ends_ms), position=Position(first), count=1),
    )
    assert desk.run(ExpireDedup()).events == ()
    with desk.store.snapshot() as snapshot:
        assert snapshot.views.dedup("demo", "alice", "k1") is None
        assert snapshot.views.dedup("demo", "alice", "k2") is not None


def test_forgetting_works_in_steps() -> None:
    desk = Desk()
    desk.begin()
    for number in range(SWEEP_STEP + 2):
        desk.run(SendMessage(app="demo", sender="alice", to=peer("bob"), body=b"", dedup=str(number)))
    desk.commit()
    desk.clock.run(DAY_MS)
    counts = [sum(event.count for event in desk.run(ExpireDedup()).events) for _ in range(3)]
    assert counts == [SWEEP_STEP, 2, 0]


def test_a_key_used_again_is_not_forgotten_with_its_first_outcome() -> None:
    desk = Desk()
    desk.send("a", dedup="k1")
    desk.clock.run(DAY_MS)
    again = desk.send("b", dedup="k1")
    assert desk.run(ExpireDedup()).events == ()
    assert desk.send("b", dedup="k1") == again
