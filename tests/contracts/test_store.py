"""What every store does, memory or disk: one suite for the ports `Store`, `Transaction`, `Snapshot` and `Views`."""

from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from threading import Thread

import lmdb
import msgspec
import pytest

from postroom.core.commands import Ack, DeleteMessage, Login, SendMessage, StartEpoch
from postroom.core.errors import Corruption, StorageFailure, StoreInUse, UnknownFormat
from postroom.core.events import EpochStarted, Record
from postroom.core.ids import POSITION_MAX, ExpiryMs, MessageId, Place, Position, UnixMs
from postroom.core.limits import MIB
from postroom.core.model import Conversation, Feed, PresenceEvent, Rules, UserList, group, peer, room
from postroom.core.ports import FIRST_PLACE, LAST_PLACE, Snapshot, Store, Transaction
from postroom.core.rows import (
    Body,
    ChangedRow,
    ConversationRow,
    DayUsers,
    DedupRow,
    Entry,
    Gap,
    Header,
    Kept,
    QueueEnds,
    ResultRow,
    RoleRow,
    SessionRow,
    Stay,
    Totals,
    UnreadRow,
    UserRow,
)
from postroom.storage.checking.compare import differences
from postroom.storage.engine import BASE, LIVE, Engine
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.environment import Versions, open_databases, open_environment
from postroom.storage.memory import MemoryStore
from tests.support.machine import Machine
from tests.support.rows import engine_of

LISTS: tuple[UserList, ...] = ("members", "muted", "silenced", "banned")
Opener = Callable[[], Store]


@pytest.fixture(params=["memory", "lmdb"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store each time, and closes it in the end."""
    opened: list[Store] = []
    memory = MemoryStore()

    def open_store() -> Store:
        store: Store = memory if request.param == "memory" else LmdbStore(tmp_path / "data")
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> Store:
    """An empty store."""
    return opener()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LmdbStore]:
    """An empty store on disk."""
    store = LmdbStore(tmp_path / "data")
    yield store
    store.close()


class Planned(Exception):
    """What a test breaks a transaction off with."""


def epoch(position: int, clock_ms: int = 1_000) -> Record:
    """The least record there is."""
    return Record(Position(position), ExpiryMs(clock_ms), EpochStarted(epoch=position))


def body(position: int, payload: bytes = b"text") -> Body:
    """A message's body."""
    header = Header(
        type="message",
        app="demo",
        id=MessageId(position),
        conversation=peer("bob"),
        sender="alice",
        lane="normal",
        format="text",
        at_ms=UnixMs(1),
        queue=True,
        history=False,
        via="embedded",
    )
    return Body(header, payload)


def place(number: int) -> Place:
    """A place in the history: two messages a millisecond."""
    return Place(UnixMs(number // 2), MessageId(number))


def entry(position: int, seq: int, *, owns_body: bool = False) -> Entry:
    """An entry that expires sometime."""
    return Entry(Position(position), seq, 200_000_000 + seq, owns_body)


def record(position: int) -> ConversationRow:
    """A group's."""
    at_ms = UnixMs(position)
    return ConversationRow(Position(position), "group", f"g{position}", at_ms, at_ms, True, b'{"a":1}', 2, 1)


def write_everything(transaction: Transaction, position: int) -> None:
    """A row of each kind."""
    views, at = transaction.views, Position(position)
    transaction.append(epoch(position))
    transaction.put_body(at, body(position))
    views.start_epoch(position, at)
    totals = views.count("demo")
    totals.accepted += 2
    totals.evicted += 1
    totals.queued += 1
    totals.newest_at_ms = UnixMs(position)
    views.put_user(UserRow("demo", "bob", next_seq=position))
    views.put_entry("demo", "bob", entry(position, position, owns_body=True))
    views.put_session("demo", "bob", SessionRow(at, position))
    views.put_dedup("demo", "alice", "k", DedupRow(b"d", MessageId(position), UnixMs(1), ExpiryMs(position)))
    views.put_changed(MessageId(position), ChangedRow(at, (at,)))
    views.put_change(at, MessageId(position))
    views.put_kept("demo", place(position), Kept(room("r"), "alice", queued=True))
    views.put_stay("demo", "bob", Stay("r", place(position)))
    views.put_stay("demo", "bob", Stay("s", place(position), place(position + 10)))
    views.put_gap(Gap("demo", f"r{position}", MessageId(position), UnixMs(position)))
    views.put_presence("demo", "users", position, PresenceEvent("login", UnixMs(position), "bob"))
    views.put_presence("demo", "rooms", position, PresenceEvent("join", UnixMs(position), "bob", "r"))
    views.put_result("demo", f"h{position}", ResultRow((MessageId(position),), ExpiryMs(position), at))
    row = record(position)
    views.put_conversation("demo", row)
    views.list_users("demo", row, "members", ("bob", "carol"), at)
    views.list_users("demo", row, "muted", ("bob",), at)
    views.list_users("demo", row, "silenced", ("bob",), at)
    views.list_users("demo", row, "banned", ("bob",), at)
    views.put_silence("demo", at, "bob", ExpiryMs(position))
    views.put_role("demo", at, RoleRow("bob", "owner", at))
    views.put_block("demo", "bob", row)
    views.put_unique("demo", row, ("bob", "carol"))
    views.put_conversation("demo", record(position + 100))
    views.remove_conversation("demo", record(position + 100))
    views.advance(epoch(position))


def break_off(transaction: Transaction) -> None:
    """Write, remove and trim, and fail."""
    write_everything(transaction, 2)
    transaction.delete_body(Position(1))
    transaction.views.remove_entries("demo", "bob", [entry(1, 1, owns_body=True)])
    transaction.views.remove_session("demo", "bob", Position(1))
    transaction.views.remove_dedup(ExpiryMs(2), Position(2))
    transaction.views.remove_changed(MessageId(1))
    transaction.views.remove_change(Position(1))
    transaction.views.remove_kept("demo", place(1), Kept(room("r"), "alice", queued=True))
    transaction.views.put_kept("demo", place(2), Kept(room("r"), "alice", queued=True, recalled=True))
    transaction.views.remove_open_stay("demo", "bob", Stay("r", place(1)))
    transaction.views.remove_oldest_stays("demo", 2)
    transaction.views.put_gap(Gap("demo", "r1", MessageId(7), UnixMs(7)))
    transaction.views.remove_gap("demo", "r2")
    transaction.views.remove_presence("demo", "users", 1)
    transaction.views.remove_presence("demo", "rooms", 2)
    transaction.views.remove_result("demo", "h1")
    transaction.views.end_result(ExpiryMs(2), Position(2))
    transaction.views.unlist_users("demo", record(1), "members", ("bob",))
    transaction.views.list_users("demo", record(1), "members", ("ann", "bob"), Position(9))
    transaction.views.put_conversation("demo", msgspec.structs.replace(record(1), attributes=b'{"b":1}'))
    transaction.views.remove_unique("demo", record(1), ("bob", "carol"))
    transaction.views.remove_conversation("demo", record(2))
    transaction.views.remove_deleted("demo", record(101))
    transaction.trim(ExpiryMs(10_000), 10)
    raise Planned


def seen(snapshot: Snapshot) -> tuple[object, ...]:
    """Everything that can be read of what `write_everything` wrote."""
    views = snapshot.views
    engine = engine_of(snapshot)
    return (
        views.position,
        views.clock_ms,
        views.epoch,
        views.epoch_position,
        msgspec.structs.astuple(views.totals("demo")),
        views.user("demo", "bob"),
        views.queue_ends("demo", "bob"),
        list(views.entries("demo", "bob")),
        list(views.sessions("demo", "bob")),
        views.dedup("demo", "alice", "k"),
        list(views.dedup_ends()),
        [views.changed(MessageId(position)) for position in range(4)],
        [views.change(Position(position)) for position in range(4)],
        [snapshot.bodies.body(Position(position)) for position in range(4)],
        [views.kept("demo", place(number)) for number in range(4)],
        list(views.oldest_kept("demo")),
        list(views.timeline("demo", room("r"), None, recalled=True)),
        list(views.timeline("demo", room("r"), "alice")),
        list(views.timeline("demo", None, "alice")),
        (list(views.members("demo", "r")), views.open_stay("demo", "r", "bob")),
        (views.open_stays("demo", "bob"), list(views.stays("demo", "bob")), list(views.ended_stays("demo"))),
        [views.gap("demo", f"r{number}") for number in range(4)],
        list(views.gaps()),
        (list(views.feed("demo", "users")), list(views.feed("demo", "rooms"))),
        [views.result("demo", f"h{number}") for number in range(4)],
        list(views.result_ends()),
        [views.conversation("demo", group(f"g{number}")) for number in range(4)],
        list(views.deleted_conversations("demo")),
        [views.is_deleted("demo", group(f"g{number}")) for number in (1, 2, 101, 102)],
        [list(views.listed(Position(number), users)) for number in range(4) for users in LISTS],
        list(views.conversations("demo", "group")),
        [list(views.conversations_of("demo", user)) for user in ("ann", "bob", "carol")],
        [list(views.conversations_with("demo", key, b"1")) for key in ("a", "b")],
        views.unique_group("demo", ("carol", "bob")),
        list(snapshot.log()),
        list(engine.scan("live", b"")),
    )


def filled(store: Store) -> Machine:
    """A store in which things happened: messages, overflow, an edit's worth of sessions, acks."""
    machine = Machine(store, Rules(queue_messages=3))
    machine.run(StartEpoch())
    for number in range(5):
        for name in ("bob", "carol"):
            machine.run(send(name, f"text {number} for {name}", key=f"{name}{number}"))
        machine.clock.run(1_000)
    login = machine.run(Login(app="demo", user="bob"))
    through = login.events[-1].session  # type: ignore[union-attr]
    machine.run(Ack(app="demo", user="bob", session=through, through=machine.queue("demo", "bob")[1].position))
    return machine


def send(to: str, text: str, key: str | None = None) -> SendMessage:
    """A kept message."""
    return SendMessage(app="demo", sender="alice", to=peer(to), body=text.encode(), queue=True, history=True, dedup=key)


# One transaction.


def test_what_is_written_can_be_read_in_the_transaction_and_after_it(store: Store) -> None:
    with store.transaction() as transaction:
        write_everything(transaction, 1)
        inside = seen(transaction)[:-1]  # type: ignore[arg-type]  # what is written at the end is not in the table yet
    with store.snapshot() as snapshot:
        outside = seen(snapshot)
    assert inside == outside[:-1]
    assert outside[0] == 1
    assert outside[3] == 1
    assert outside[4] == msgspec.structs.astuple(Totals(UnixMs(1), accepted=2, queued=1, evicted=1))
    assert outside[13] == [None, body(1), None, None]
    assert None not in outside
    assert all(outside[14:-1])


def test_an_exception_undoes_everything(store: Store) -> None:
    with store.transaction() as transaction:
        write_everything(transaction, 1)
    with store.snapshot() as snapshot:
        before = seen(snapshot)
    with pytest.raises(Planned), store.transaction() as transaction:
        break_off(transaction)
    with store.snapshot() as snapshot:
        assert seen(snapshot) == before
    with store.transaction() as transaction:  # and it can be written again
        write_everything(transaction, 2)
    with store.snapshot() as snapshot:
        assert snapshot.views.position == 2
        assert snapshot.views.totals("demo").accepted == 4


def test_a_transaction_that_wrote_nothing_changes_nothing(store: Store) -> None:
    with store.transaction() as transaction:
        write_everything(transaction, 1)
    with store.snapshot() as snapshot:
        before = seen(snapshot)
    with store.transaction() as transaction:
        transaction.views.totals("demo")
    with store.snapshot() as snapshot:
        assert seen(snapshot) == before


@pytest.mark.parametrize("position", [1, 4, 5])
def test_the_log_only_grows_at_its_end(store: Store, position: int) -> None:
    with store.transaction() as transaction:
        for earlier in (1, 3, 5):
            transaction.append(epoch(earlier))
    with pytest.raises(Corruption), store.transaction() as transaction:
        transaction.append(epoch(position))
    with store.snapshot() as snapshot:
        assert [record.position for record in snapshot.log()] == [1, 3, 5]
        assert [record.position for record in snapshot.log(after=Position(1))] == [3, 5]
        assert [record.position for record in snapshot.log(after=Position(2))] == [3, 5]
        assert list(snapshot.log(after=Position(5))) == []
    assert store.statistics().log_records == 3


def test_bodies(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.put_body(Position(1), body(1, b""))
        transaction.put_body(Position(3), body(3, bytes(range(256)) * 1024))
        transaction.delete_body(Position(1))
        transaction.delete_body(Position(2))
    with store.snapshot() as snapshot:
        assert snapshot.bodies.body(Position(1)) is None
        assert snapshot.bodies.header(Position(1)) is None
        assert snapshot.bodies.body(Position(3)) == body(3, bytes(range(256)) * 1024)
        assert snapshot.bodies.header(Position(3)) == body(3).header
    with pytest.raises(Corruption), store.transaction() as transaction:
        transaction.put_body(Position(2), body(2))


# Views.


def test_a_fresh_store_is_empty(store: Store) -> None:
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert (views.position, views.clock_ms, views.epoch, views.epoch_position) == (0, 0, 0, 0)
        assert msgspec.structs.astuple(views.totals("demo")) == (0,) * 13
        assert views.user("demo", "bob") is None
        assert views.queue_ends("demo", "bob") == QueueEnds(0, None)
        assert views.entry("demo", "bob", Position(1)) is None
        assert list(views.queue_owners()) == []
        assert list(views.sessions("demo", "bob")) == []
        assert views.kept("demo", place(1)) is None
        assert list(views.oldest_kept("demo")) == []
        assert list(views.timeline("demo", peer("bob"), None)) == []
        assert list(views.timeline("demo", peer("bob"), "alice", newest_first=True)) == []
        assert views.open_stay("demo", "r", "bob") is None
        assert list(views.members("demo", "r")) == []
        assert views.open_stays("demo", "bob") == list(views.stays("demo", "bob")) == []
        assert list(views.ended_stays("demo")) == []
        assert views.gap("demo", "r") is None
        assert list(views.gaps()) == []
        assert views.epoch_after(Position(0)) is None
        assert list(views.feed("demo", "users")) == list(views.feed("demo", "rooms")) == []
        assert views.result("demo", "h") is None
        assert list(views.result_ends()) == []
        assert list(snapshot.log()) == []


def test_a_queue_is_in_order_and_its_owner_s_alone(store: Store) -> None:
    written = [entry(5, 2), entry(2, 1, owns_body=True), entry(1 << 52, 3)]
    with store.transaction() as transaction:
        for one in written:
            transaction.views.put_entry("demo", "bob", one)
        transaction.views.put_entry("demob", "ob", entry(3, 1))
        transaction.views.put_entry("other", "bob", entry(4, 1))
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert list(views.entries("demo", "bob")) == [written[1], written[0], written[2]]
        assert list(views.entries("demo", "bob", after=Position(2))) == [written[0], written[2]]
        assert views.queue_ends("demo", "bob") == QueueEnds(3, written[2])
        assert views.entry("demo", "bob", Position(5)) == written[0]
        assert views.entry("demo", "bob", Position(4)) is None
        assert list(views.entries("demob", "ob")) == [entry(3, 1)]
    with store.transaction() as transaction:
        transaction.views.remove_entries("demo", "bob", [written[1], written[2]])
        assert list(transaction.views.entries("demo", "bob")) == [written[0]]
        transaction.views.remove_entries("demo", "bob", [written[0], written[0]])
        assert transaction.views.queue_ends("demo", "bob") == QueueEnds(0, None)


def test_owners_of_queues_can_be_walked_from_where_one_stopped(store: Store) -> None:
    names = [f"user {number}" for number in range(10)]
    with store.transaction() as transaction:
        for number, name in enumerate(names, 1):
            transaction.views.put_user(UserRow("demo", name))
            transaction.views.put_entry("demo", name, entry(number, 1))
            transaction.views.put_entry("demo", name, entry(number + 100, 2))
    walked, after = [], b""
    while True:
        with store.snapshot() as snapshot:
            first = next(iter(snapshot.views.queue_owners(after=after)), None)
        if first is None:
            break
        after = first[0]
        walked.append((first[2], first[3].position))
    assert sorted(walked) == sorted((name, number) for number, name in enumerate(names, 1))


def test_sessions_by_user_and_by_epoch(store: Store) -> None:
    with store.transaction() as transaction:
        views = transaction.views
        views.start_epoch(2, Position(7))
        for user, session, of in (("bob", 30, 2), ("bob", 10, 1), ("carol", 20, 1), ("bob", 5, 2)):
            views.put_session("demo", user, SessionRow(Position(session), of))
        transaction.append(epoch(40))
        views.advance(epoch(40))
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert list(views.sessions("demo", "bob")) == [(5, 2), (10, 1), (30, 2)]
        assert {(app, user, row) for app, user, row in views.stale_sessions()} == {
            ("demo", "bob", (10, 1)),
            ("demo", "carol", (20, 1)),
        }
    with store.transaction() as transaction:
        transaction.views.remove_session("demo", "bob", Position(10))
        assert [user for _, user, _ in transaction.views.stale_sessions()] == ["carol"]
        with pytest.raises(AssertionError):
            transaction.views.remove_session("demo", "bob", Position(10))


def test_what_was_imported(store: Store) -> None:
    first, second, third = (Place(UnixMs(at_ms), MessageId(id)) for at_ms, id in ((7, 9), (8, 2), (8, 5)))
    with store.transaction() as transaction:
        views = transaction.views
        for alias, place in (("one", first), ("two", second), ("three", third)):
            views.put_alias("demo", alias, place)
        views.outlive("demo", "three", third)
        views.outlive("demo", "one", first)
        views.put_imported("demo", room("r"), Position(5))
    with store.snapshot() as snapshot:
        assert snapshot.views.alias("demo", "two") == second
        assert snapshot.views.alias("other", "two") is None
        assert list(snapshot.views.outlived_aliases("demo")) == [first, third]
        assert list(snapshot.views.outlived_aliases("other")) == []
        assert snapshot.views.was_imported("demo", "r")
        assert not snapshot.views.was_imported("other", "r")
    with store.transaction() as transaction:
        transaction.views.remove_outlived_aliases("demo", 1)
        transaction.views.remove_alias("demo", "two")
        with pytest.raises(AssertionError):
            transaction.views.remove_outlived_aliases("demo", 2)
    with store.snapshot() as snapshot:
        assert [snapshot.views.alias("demo", alias) for alias in ("one", "two", "three")] == [None, None, third]


def test_kicks_and_days_of_users(store: Store) -> None:
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert views.kicked_ms("demo", "bob") is None
        assert (views.login_day("demo", "bob"), views.day_users("demo")) == (0, DayUsers(0, 0))
    with store.transaction() as transaction:
        changed = transaction.views
        for at_ms, day in ((7, 1), (9, 20_717)):
            changed.put_kicked("demo", "bob", UnixMs(at_ms))
            changed.put_login_day("demo", "bob", day)
            changed.put_day_users("demo", DayUsers(day, at_ms))
        assert changed.kicked_ms("demo", "bob") == 9
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert views.kicked_ms("demo", "bob") == 9
        assert (views.login_day("demo", "bob"), views.day_users("demo")) == (20_717, DayUsers(20_717, 9))
        for app, user in (("demo", "carol"), ("other", "bob")):
            assert views.kicked_ms(app, user) is None
            assert views.login_day(app, user) == 0
        assert views.day_users("other") == DayUsers(0, 0)


def test_dedup_outcomes_and_their_ends(store: Store) -> None:
    def row(id: int, expires: int, *, confirmed: bool = False) -> DedupRow:
        return DedupRow(b"d", MessageId(id), UnixMs(1), ExpiryMs(expires), confirmed)

    with store.transaction() as transaction:
        views = transaction.views
        views.put_dedup("demo", "alice", "k1", row(1, 300))
        views.put_dedup("demo", "alice", "k2", row(2, 100))
        views.put_dedup("demo", "bob", "k1", row(3, 200))
        views.put_dedup("demo", "alice", "k1", row(1, 300, confirmed=True))
        views.put_dedup("demo", "alice", "k2", row(4, 400))
    with store.snapshot() as snapshot:
        assert snapshot.views.dedup("demo", "alice", "k1") == row(1, 300, confirmed=True)
        assert list(snapshot.views.dedup_ends()) == [(200, 3), (300, 1), (400, 4)]
    with store.transaction() as transaction:
        transaction.views.remove_dedup(ExpiryMs(300), Position(1))
        assert transaction.views.dedup("demo", "alice", "k1") is None
        assert transaction.views.dedup("demo", "bob", "k1") == row(3, 200)


# Views: history.


def kept_by(sender: str, to: Conversation, *, recalled: bool = False) -> Kept:
    """A kept message."""
    return Kept(to, sender, recalled=recalled)


MESSAGES = {
    1: kept_by("alice", peer("bob")),
    2: kept_by("bob", peer("alice")),
    3: kept_by("carol", peer("bob")),
    4: kept_by("alice", peer("bob"), recalled=True),
    5: kept_by("alice", group("bob")),
    6: kept_by("alice", room("bob")),
    7: kept_by("bob", room("bob")),
    8: kept_by("alice", Conversation("room", "bob", 1)),
    9: kept_by("alice", peer("bob")),
}
"""Messages by number, in conversations that are easily mixed up."""


@pytest.fixture
def kept(store: Store) -> Store:
    """A store with these messages, and some of another app."""
    with store.transaction() as transaction:
        for number in (5, 3, 9, 1, 7, 2, 8, 4, 6):
            transaction.views.put_kept("demo", place(number), MESSAGES[number])
        transaction.views.put_kept("demob", place(2), kept_by("alice", peer("bob")))
        transaction.views.put_kept("other", place(3), kept_by("alice", peer("bob")))
    return store


def numbers(store: Store, *of: object, **how: object) -> list[int]:
    """The messages of a timeline that are shown."""
    with store.snapshot() as snapshot:
        rows = list(snapshot.views.timeline("demo", *of, **how))  # type: ignore[arg-type]
        assert [at for at, _ in rows] == sorted((at for at, _ in rows), reverse=bool(how.get("newest_first")))
        return [at.id for at, shown in rows if shown]


def test_kept_messages_are_found_in_every_timeline_that_shows_them(kept: Store) -> None:
    assert numbers(kept, peer("bob"), None) == [1, 3, 9]
    assert numbers(kept, peer("bob"), "alice") == [1, 9]
    assert numbers(kept, peer("bob"), "carol") == [3]
    assert numbers(kept, peer("bob"), "bob") == []
    assert numbers(kept, peer("alice"), None) == [2]
    assert numbers(kept, group("bob"), None) == [5]
    assert numbers(kept, room("bob"), None) == [6, 7]
    assert numbers(kept, Conversation("room", "bob", 1), None) == [8]
    assert numbers(kept, None, "alice") == [1, 5, 6, 8, 9]
    assert numbers(kept, None, "bob") == [2, 7]
    assert numbers(kept, peer("dave"), None) == numbers(kept, None, "dave") == []


def test_what_is_recalled_is_not_shown_unless_it_is_asked_for(kept: Store) -> None:
    assert numbers(kept, peer("bob"), None, recalled=True) == [1, 3, 4, 9]
    assert numbers(kept, peer("bob"), "alice", recalled=True) == [1, 4, 9]
    assert numbers(kept, None, "alice", recalled=True) == [1, 4, 5, 6, 8, 9]
    with kept.snapshot() as snapshot:
        assert list(snapshot.views.timeline("demo", peer("bob"), "alice")) == [
            (place(1), True),
            (place(4), False),
            (place(9), True),
        ]


def test_a_sender_can_be_left_out_of_a_conversation(kept: Store) -> None:
    assert numbers(kept, room("bob"), None, other_than="alice") == [7]
    assert numbers(kept, room("bob"), None, other_than="bob") == [6]
    assert numbers(kept, peer("bob"), None, other_than="alice", recalled=True) == [3]
    assert numbers(kept, room("bob"), None, other_than="dave") == [6, 7]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("first", range(11))
@pytest.mark.parametrize("last", [0, 1, 2, 3, 8, 9, 10])
def test_a_timeline_between_two_places_both_included(kept: Store, first: int, last: int, newest_first: bool) -> None:
    between = [number for number in (1, 3, 9) if first <= number <= last]
    found = numbers(kept, peer("bob"), None, first=place(first), last=place(last), newest_first=newest_first)
    assert found == (between[::-1] if newest_first else between)


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_first_and_the_last_place_there_can_be(store: Store, newest_first: bool) -> None:
    ends = [Place(UnixMs(0), MessageId(1)), Place(UnixMs((1 << 63) - 1), MessageId(POSITION_MAX))]
    with store.transaction() as transaction:
        for at in ends:
            transaction.views.put_kept("demo", at, kept_by("alice", peer("bob")))
    with store.snapshot() as snapshot:
        for of in ((peer("bob"), None), (peer("bob"), "alice"), (None, "alice")):
            found = [at for at, _ in snapshot.views.timeline("demo", *of, newest_first=newest_first)]
            assert found == (ends[::-1] if newest_first else ends)
            within = snapshot.views.timeline("demo", *of, first=FIRST_PLACE, last=LAST_PLACE, newest_first=newest_first)
            assert [at for at, _ in within] == found


def test_kept_messages_by_age_and_one_by_one(kept: Store) -> None:
    with kept.snapshot() as snapshot:
        assert list(snapshot.views.oldest_kept("demo")) == [(place(number), MESSAGES[number]) for number in MESSAGES]
        assert [at.id for at, _ in snapshot.views.oldest_kept("demob")] == [2]
        assert snapshot.views.kept("demo", place(4)) == MESSAGES[4]
        assert snapshot.views.kept("demo", Place(UnixMs(3), MessageId(4))) is None
        assert snapshot.views.kept("other", place(4)) is None


def test_what_is_said_of_a_kept_message_can_be_replaced_and_taken_out(kept: Store) -> None:
    recalled = msgspec.structs.replace(MESSAGES[9], recalled=True)
    with kept.transaction() as transaction:
        transaction.views.put_kept("demo", place(9), recalled)
        assert transaction.views.kept("demo", place(9)) == recalled
    assert numbers(kept, peer("bob"), None) == [1, 3]
    assert numbers(kept, None, "alice") == [1, 5, 6, 8]
    with kept.transaction() as transaction:
        for number, row in {**MESSAGES, 9: recalled}.items():
            transaction.views.remove_kept("demo", place(number), row)
        assert list(transaction.views.oldest_kept("demo")) == []
    with kept.snapshot() as snapshot:
        engine = engine_of(snapshot)
        assert [len(list(engine.scan("live", kind, kind))) for kind in (b"h", b"t")] == [2, 6]


# Views: rooms.


def stay(name: str, since: int, until: int | None = None) -> Stay:
    """A stay from place to place."""
    return Stay(name, place(since), None if until is None else place(until))


def test_members_and_stays(store: Store) -> None:
    with store.transaction() as transaction:
        views = transaction.views
        views.put_stay("demo", "bob", stay("r", 20))
        views.put_stay("demo", "carol", stay("r", 21))
        views.put_stay("demo", "bob", stay("s", 22))
        views.put_stay("demo", "bob", stay("r", 2, 9))
        views.put_stay("demo", "bob", stay("r", 10, 12))
        views.put_stay("demo", "bob", stay("s", 1, 11))
        views.put_stay("other", "bob", stay("r", 3))
        assert views.open_stay("demo", "r", "bob") == stay("r", 20)
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert sorted(views.members("demo", "r")) == ["bob", "carol"]
        assert list(views.members("demo", "s")) == list(views.members("other", "r")) == ["bob"]
        assert list(views.members("demo", "t")) == list(views.members("demob", "r")) == []
        assert views.open_stay("demo", "s", "bob") == stay("s", 22)
        assert views.open_stay("demo", "s", "carol") is None
        assert views.open_stay("other", "s", "bob") is None
        assert views.open_stays("demo", "bob") == [stay("r", 20), stay("s", 22)]
        assert views.open_stays("demo", "carol") == [stay("r", 21)]
        ended = [stay("r", 2, 9), stay("s", 1, 11), stay("r", 10, 12)]
        assert list(views.stays("demo", "bob")) == [*ended, stay("r", 20), stay("s", 22)]
        assert list(views.stays("demo", "bob", since_ms=UnixMs(5)))[:2] == ended[1:]
        assert list(views.stays("demo", "bob", since_ms=UnixMs(6)))[:1] == ended[2:]
        assert list(views.stays("demo", "bob", since_ms=UnixMs(7))) == views.open_stays("demo", "bob")
        assert list(views.stays("other", "bob")) == [stay("r", 3)]
        assert list(views.ended_stays("demo")) == [4, 5, 6]
        assert list(views.ended_stays("other")) == []


def test_stays_end_and_are_forgotten(store: Store) -> None:
    with store.transaction() as transaction:
        views = transaction.views
        views.put_stay("demo", "bob", stay("r", 1))
        views.put_stay("demo", "bob", stay("s", 2))
        for user, until in (("bob", 8), ("carol", 6), ("dave", 10)):
            views.put_stay("demo", user, stay("r", 3, until))
        views.put_stay("other", "bob", stay("r", 3, 4))
    with store.transaction() as transaction:
        views = transaction.views
        views.remove_open_stay("demo", "bob", stay("r", 1))
        assert views.open_stay("demo", "r", "bob") is None
        assert views.open_stays("demo", "bob") == [stay("s", 2)]
        views.remove_oldest_stays("demo", 2)
        assert list(views.ended_stays("demo")) == [5]
        assert list(views.stays("demo", "bob")) == [stay("s", 2)]
        assert list(views.stays("demo", "carol")) == []
        assert list(views.stays("demo", "dave")) == [stay("r", 3, 10)]
        with pytest.raises(AssertionError):
            views.remove_oldest_stays("demo", 2)
    with store.snapshot() as snapshot:
        assert list(snapshot.views.ended_stays("other")) == [2]
        counts = [len(list(engine_of(snapshot).scan("live", kind, kind))) for kind in (b"r", b"i", b"j")]
        assert counts == [1, 3, 2]


def test_gaps(store: Store) -> None:
    with store.transaction() as transaction:
        views = transaction.views
        for name, id in (("r", 3), ("s", 4), ("r", 5)):
            views.put_gap(gap(name, id))
        views.put_gap(gap("r", 9, "other"))
        views.remove_gap("demo", "t")
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert (views.gap("demo", "r"), views.gap("demo", "s"), views.gap("demo", "t")) == (
            gap("r", 5),
            gap("s", 4),
            None,
        )
        found = list(views.gaps())
        assert sorted((each.app, each.room, each.id) for _, each in found) == [
            ("demo", "r", 5),
            ("demo", "s", 4),
            ("other", "r", 9),
        ]
        for index, (place, _) in enumerate(found):
            assert list(views.gaps(after=place)) == found[index + 1 :]
    with store.transaction() as transaction:
        transaction.views.remove_gap("demo", "r")
        assert [(each.app, each.room) for _, each in transaction.views.gaps() if each.app == "demo"] == [("demo", "s")]
        assert transaction.views.gap("other", "r") == gap("r", 9, "other")


def test_where_epochs_began(store: Store) -> None:
    with store.transaction() as transaction:
        for number, position in enumerate((5, 9, 12), 1):
            transaction.views.start_epoch(number, Position(position))
    with store.snapshot() as snapshot:
        views = snapshot.views
        after = [views.epoch_after(Position(position)) for position in (0, 4, 5, 8, 9, 11, 12, 13)]
        assert after == [5, 5, 9, 9, 12, 12, None, None]


def gap(name: str, id: int, app: str = "demo") -> Gap:
    """A message that was not kept."""
    return Gap(app, name, MessageId(id), UnixMs(id))


# Views: presence and results.


def test_a_fresh_store_knows_no_conversation(store: Store) -> None:
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert views.conversation("demo", group("g")) is None
        assert list(views.conversations("demo", "group")) == list(views.conversations_of("demo", "bob")) == []
        assert list(views.conversations_with("demo", "a", b"1")) == list(views.listed(Position(1), "members")) == []
        assert views.unique_group("demo", ()) is None
        assert not views.is_listed("demo", Position(1), "members", "bob")


def test_a_deleted_conversation_is_known_by_its_name_alone(store: Store) -> None:
    row = msgspec.structs.replace(record(1), attributes=b'{"a":[1,2,1.0],"b":null}')
    many = msgspec.structs.replace(record(2), attributes=b'{"a":[%s]}' % b",".join(b"%d" % n for n in range(1_001)))
    with store.transaction() as transaction:
        for each in (row, many, record(3)):
            transaction.views.put_conversation("demo", each)
        for each in (row, many):
            transaction.views.remove_conversation("demo", each)
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert views.conversation("demo", group("g1")) is None
        assert list(views.conversations("demo", "group")) == [(3, "g3")]
        assert [number for number, _ in views.conversations_with("demo", "a", b"1")] == [3]
        assert sorted(each.id for each in views.deleted_conversations("demo")) == ["g1", "g2"]
        assert list(views.deleted_conversations("other")) == []
        assert views.is_deleted("demo", group("g1"))
        assert views.deleted("demo", group("g1")) == msgspec.structs.replace(row, unique=False, attributes=b"")
        for app, name in (("demo", room("g1")), ("demo", group("g3")), ("other", group("g1"))):
            assert not views.is_deleted(app, name)
    with store.transaction() as transaction:
        for each in (row, many):
            transaction.views.remove_deleted("demo", each)
        transaction.views.put_conversation("demo", msgspec.structs.replace(row, number=Position(9)))
    with store.snapshot() as snapshot:
        assert list(snapshot.views.deleted_conversations("demo")) == []
        assert [number for number, _ in snapshot.views.conversations("demo", "group")] == [3, 9]


def test_conversations_are_found_in_the_order_of_their_creation(store: Store) -> None:
    with store.transaction() as transaction:
        for number in (3, 1, 2):
            row = msgspec.structs.replace(record(number), attributes=b'{"a":[1,2,1.0],"b":null}')
            transaction.views.put_conversation("demo", row)
            transaction.views.list_users("demo", row, "members", ("bob",), Position(number))
            transaction.views.put_unique("demo", row, ("bob", "carol"))
        transaction.views.put_conversation("other", record(4))
        transaction.views.put_conversation("demo", msgspec.structs.replace(record(5), kind="room"))
    with store.snapshot() as snapshot:
        views, numbered = snapshot.views, [(number, group(f"g{number}")) for number in (1, 2, 3)]
        assert list(views.conversations("demo", "group")) == [(number, f"g{number}") for number in (1, 2, 3)]
        assert list(views.conversations("demo", "group", after=Position(1))) == [(2, "g2"), (3, "g3")]
        assert list(views.conversations("demo", "room")) == [(5, "g5")]
        assert list(views.conversations_of("demo", "bob")) == numbered
        assert list(views.conversations_of("demo", "bob", after=Position(2))) == numbered[2:]
        assert list(views.conversations_with("demo", "a", b"2")) == numbered
        assert list(views.conversations("demo", "group", before=Position(3))) == [(2, "g2"), (1, "g1")]
        assert list(views.conversations_of("demo", "bob", before=Position(9))) == numbered[::-1]
        for before in (0, 1):
            assert list(views.conversations_of("demo", "bob", before=Position(before))) == []
        assert list(views.conversations_with("demo", "a", b"1", before=Position(6))) == [
            (5, room("g5")),
            *numbered[::-1],
        ]
        assert list(views.conversations_with("demo", "b", b"null", after=Position(1))) == numbered[1:]
        assert list(views.conversations_with("demo", "a", b"1")) == [*numbered, (5, room("g5"))]
        assert views.unique_group("demo", ("carol", "bob")) == "g1"
        assert views.conversation("demo", group("g4")) is None


def test_a_list_keeps_its_order(store: Store) -> None:
    row = record(1)
    with store.transaction() as transaction:
        views = transaction.views
        views.put_conversation("demo", row)
        views.list_users("demo", row, "members", [f"u{number}" for number in range(300)], Position(5))
        views.list_users("demo", row, "members", ("zoe", "abe"), Position(6))
        views.list_users("demo", row, "muted", ("abe",), Position(6))
        views.unlist_users("demo", row, "members", [f"u{number}" for number in range(299)])
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert list(views.listed(row.number, "members")) == ["u299", "zoe", "abe"]
        assert list(views.listed(row.number, "muted")) == ["abe"]
        assert [views.is_listed("demo", row.number, "members", user) for user in ("abe", "u0")] == [True, False]
        assert [views.is_listed("demo", row.number, "muted", user) for user in ("abe", "zoe")] == [True, False]
        assert not views.is_listed("other", row.number, "members", "abe")


def test_a_list_is_read_page_by_page(store: Store) -> None:
    row = record(1)
    with store.transaction() as transaction:
        transaction.views.list_users("demo", row, "banned", ("zoe", "abe", "bob"), Position(5))
        transaction.views.list_users("demo", row, "banned", ("cy",), Position(6))
        transaction.views.list_users("demo", row, "silenced", ("dan",), Position(7))
    with store.snapshot() as snapshot:
        rows = list(snapshot.views.listed_after(row.number, "banned", b""))
        assert [user for _, user in rows] == ["zoe", "abe", "bob", "cy"]
        assert list(snapshot.views.listed_after(row.number, "banned", rows[1][0])) == rows[2:]
        assert list(snapshot.views.listed_after(row.number, "banned", rows[3][0])) == []
        assert list(snapshot.views.listed_after(Position(2), "banned", b"")) == []
    with store.transaction() as transaction:
        transaction.views.unlist_users("demo", row, "banned", ("abe", "bob"))
        # The place of somebody who is gone is still a place.
        assert list(transaction.views.listed_after(row.number, "banned", rows[1][0])) == rows[3:]


def test_silences_for_a_while_and_their_ends(store: Store) -> None:
    with store.transaction() as transaction:
        views = transaction.views
        for number, user, until in ((1, "bob", 300), (2, "bob", 100), (1, "cy", 200), (1, "bob", 250), (3, "cy", 400)):
            views.put_silence("demo", Position(number), user, ExpiryMs(until))
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert list(views.silence_ends()) == [100, 200, 250, 400]
        assert views.silence("demo", Position(1), "bob") == 250
        assert views.silence("demo", Position(1), "dan") is views.silence("other", Position(1), "bob") is None
    with store.transaction() as transaction:
        views = transaction.views
        views.remove_silence("demo", Position(1), "cy")
        views.remove_oldest_silences(2)
        assert list(views.silence_ends()) == [400]
        assert [views.silence("demo", Position(n), "bob") for n in (1, 2)] == [None, None]
        assert views.silence("demo", Position(3), "cy") == 400


def test_roles_and_blocks(store: Store) -> None:
    with store.transaction() as transaction:
        views = transaction.views
        for role in (RoleRow("bob", "member", Position(1)), RoleRow("bob", "owner", Position(1))):
            views.put_role("demo", Position(1), role)
        views.put_role("demo", Position(1), RoleRow("cy", "member", Position(2)))
        for number in (300, 2):
            views.put_block("demo", "bob", record(number))
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert views.role("demo", Position(1), "bob") == RoleRow("bob", "owner", Position(1))
        assert views.role("demo", Position(2), "bob") is None
        assert {row.user for row in views.roles(Position(1))} == {"bob", "cy"}
        assert list(views.blocked("demo", "bob")) == [(2, record(2).conversation), (300, record(300).conversation)]
        assert [number for number, _ in views.blocked("demo", "bob", after=Position(2))] == [300]
        assert list(views.blocked("other", "bob")) == list(views.blocked("demo", "cy")) == []
        assert [views.is_blocked("demo", "bob", Position(n)) for n in (2, 3)] == [True, False]
    with store.transaction() as transaction:
        views = transaction.views
        views.remove_role("demo", Position(1), "bob")
        views.remove_block("demo", "bob", Position(2))
        assert [row.user for row in views.roles(Position(1))] == ["cy"]
        assert not views.is_blocked("demo", "bob", Position(2))


def test_what_users_have_read(store: Store) -> None:
    member, guest = UnreadRow("group", "g", 3, 1), UnreadRow("service", "s", extra=2, guest=True)
    with store.transaction() as transaction:
        views = transaction.views
        for number in (9, 7, 300):
            views.put_unread("demo", "bob", Position(number), member)
        views.put_unread("demo", "bob", Position(8), guest)
        views.put_unread("demo", "cy", Position(8), guest)
        views.put_unread("other", "bob", Position(10), member)
        views.remove_unread("demo", "bob", Position(9))
        views.remove_unread("demo", "bob", Position(9))
    with store.snapshot() as snapshot:
        views = snapshot.views
        assert views.unread("demo", "bob", Position(7)) == member
        assert views.unread("demo", "bob", Position(9)) is None
        assert list(views.unread_rows("demo", "bob")) == [(7, member), (8, guest), (300, member)]
        assert list(views.unread_rows("demo", "bob", after=Position(7))) == [(8, guest), (300, member)]
        assert list(views.unread_rows("demo", "eve")) == []
        assert sorted(views.guests(Position(8))) == ["bob", "cy"]
        assert list(views.guests(Position(7))) == []
    with store.transaction() as transaction:
        transaction.views.remove_unread("demo", "bob", Position(8))
    with store.snapshot() as snapshot:
        assert list(snapshot.views.guests(Position(8))) == ["cy"]
        assert snapshot.views.unread("demo", "bob", Position(8)) is None


@pytest.mark.parametrize("feed", ["users", "rooms"])
def test_a_feed_is_in_order_and_its_own(store: Store, feed: Feed) -> None:
    def event(number: int) -> PresenceEvent:
        return PresenceEvent("login", UnixMs(number), f"user {number}")

    other: Feed = "rooms" if feed == "users" else "users"
    with store.transaction() as transaction:
        for number in (300, 2, 1, 1 << 40):
            transaction.views.put_presence("demo", feed, number, event(number))
        transaction.views.put_presence("demo", other, 4, event(4))
        transaction.views.put_presence("other", feed, 5, event(5))
    with store.snapshot() as snapshot:
        assert list(snapshot.views.feed("demo", feed)) == [event(number) for number in (1, 2, 300, 1 << 40)]
        assert list(snapshot.views.feed("demo", other)) == [event(4)]
        assert list(snapshot.views.feed("demob", feed)) == []
    with store.transaction() as transaction:
        for number in (1, 300, 301):
            transaction.views.remove_presence("demo", feed, number)
        assert list(transaction.views.feed("demo", feed)) == [event(2), event(1 << 40)]
        assert list(transaction.views.feed("other", feed)) == [event(5)]


def test_results_and_their_ends(store: Store) -> None:
    def row(position: int, expires: int) -> ResultRow:
        return ResultRow((MessageId(7), MessageId(8)), ExpiryMs(expires), Position(position))

    with store.transaction() as transaction:
        views = transaction.views
        for app, handle, position, expires in (("demo", "1", 1, 300), ("demo", "2", 2, 100), ("other", "1", 3, 100)):
            views.put_result(app, handle, row(position, expires))
    with store.snapshot() as snapshot:
        assert snapshot.views.result("demo", "1") == row(1, 300)
        assert snapshot.views.result("other", "1") == row(3, 100)
        assert snapshot.views.result("other", "2") is None
        assert list(snapshot.views.result_ends()) == [(100, 2), (100, 3), (300, 1)]
    with store.transaction() as transaction:
        views = transaction.views
        views.remove_result("demo", "2")
        assert views.result("demo", "2") is None
        assert views.end_result(ExpiryMs(100), Position(3)) == "other"
        assert views.result("other", "1") is None
        assert list(views.result_ends()) == [(300, 1)]
        with pytest.raises(AssertionError):
            views.remove_result("demo", "2")
        with pytest.raises(AssertionError):
            views.end_result(ExpiryMs(100), Position(3))


# What both engines do with keys.

KEYS = (b"b", b"ba", b"bb", b"bb\0", b"bb\xff", b"c", b"d\xff\xff")


def keys_from(engine: Engine, start: bytes, prefix: bytes) -> tuple[list[bytes], list[bytes]]:
    """Upwards and downwards."""
    found = list(engine.scan("base", start, prefix)), list(engine.scan_back("base", start, prefix))
    assert all(value == b"of " + key for rows in found for key, value in rows)
    return [key for key, _ in found[0]], [key for key, _ in found[1]]


@pytest.mark.parametrize("prefix", [b"", b"a", b"b", b"bb", b"bb\0", b"c", b"d\xff", b"e", b"bbb"])
@pytest.mark.parametrize(
    "start",
    [b"\0", b"a", b"b", b"b\0", b"ba", b"bab", b"bb", b"bb\0", b"bb\1", b"bc", b"c", b"d", b"d\xff\xff", b"\xff"],
)
def test_keys_are_walked_both_ways_from_anywhere(store: Store, start: bytes, prefix: bytes) -> None:
    """Start before and behind every key, at one and between two; a walk ends with the first key that has not the prefix."""
    with store.transaction() as transaction:
        engine = engine_of(transaction)
        for key in KEYS:
            engine.put("base", key, b"of " + key)
        inside = keys_from(engine, start, prefix)
    with store.snapshot() as snapshot:
        up, down = keys_from(engine_of(snapshot), start, prefix)
    assert inside == (up, down)
    assert up == list(takewhile(lambda key: key.startswith(prefix), (key for key in KEYS if key >= start)))
    assert down == list(takewhile(lambda key: key.startswith(prefix), (key for key in KEYS[::-1] if key <= start)))


@pytest.mark.parametrize("start", [b"", b"\0", b"x", b"\xff" * 20])
def test_an_empty_table_is_walked_as_well(store: Store, start: bytes) -> None:
    with store.snapshot() as snapshot:
        assert keys_from(engine_of(snapshot), start or b"\0", b"") == ([], [])
    with store.transaction() as transaction:  # emptied again
        engine = engine_of(transaction)
        engine.put("base", b"b", b"of b")
        engine.delete("base", b"b")
        assert keys_from(engine, start or b"\0", b"b") == ([], [])


def test_a_table_with_one_key(store: Store) -> None:
    with store.transaction() as transaction:
        engine_of(transaction).put("base", b"b", b"of b")
    with store.snapshot() as snapshot:
        engine = engine_of(snapshot)
        assert keys_from(engine, b"a", b"") == ([b"b"], [])
        assert keys_from(engine, b"b", b"") == ([b"b"], [b"b"])
        assert keys_from(engine, b"c", b"") == ([], [b"b"])


def test_a_walk_back_may_be_broken_off(store: Store) -> None:
    with store.transaction() as transaction:
        engine = engine_of(transaction)
        for key in KEYS:
            engine.put("base", key, b"of " + key)
        walk = engine.scan_back("base", b"\xff")
        assert next(walk) == (KEYS[-1], b"of " + KEYS[-1])
        walk.close()  # type: ignore[attr-defined]
        engine.put("base", b"e", b"of e")
        assert next(engine.scan_back("base", b"\xff")) == (b"e", b"of e")


# Views: the clock.


def test_the_clock_of_the_views_never_steps_back(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.views.advance(epoch(1, clock_ms=500))
        transaction.views.advance(epoch(2, clock_ms=400))
        assert (transaction.views.position, transaction.views.clock_ms) == (2, 500)
        with pytest.raises(AssertionError):
            transaction.views.advance(epoch(2))


# Trimming.


def test_trimming_folds_the_oldest_into_base(store: Store) -> None:
    machine = filled(store)
    with store.snapshot() as snapshot:
        before, records = seen(snapshot), list(snapshot.log())
    cut = records[6].clock_ms
    assert machine.trim(cut, 2) == 2
    assert machine.trim(cut, 1_000) == sum(record.clock_ms < cut for record in records) - 2
    assert machine.trim(cut, 1_000) == 0
    with store.snapshot() as snapshot:
        assert list(snapshot.log()) == [record for record in records if record.clock_ms >= cut]
        assert seen(snapshot)[:-2] == before[:-2]  # live is as it was
    assert store.statistics().log_records == sum(record.clock_ms >= cut for record in records)


def test_with_all_of_the_log_trimmed_base_is_live(store: Store) -> None:
    machine = filled(store)
    machine.run(DeleteMessage(app="demo", id=MessageId(machine.queue("demo", "carol")[1].position), by="alice"))
    while machine.trim(ExpiryMs(1 << 50), 4):
        pass
    with store.snapshot() as snapshot:
        assert list(differences(engine_of(snapshot), BASE, LIVE)) == []
        assert list(snapshot.log()) == []
    last = machine.records[-1].position
    machine.run(send("bob", "goes on"))
    assert machine.records[-1].position > last


# The store.


def test_a_store_opened_again_is_as_it_was_left(opener: Opener) -> None:
    store = opener()
    filled(store)
    with store.snapshot() as snapshot:
        before = seen(snapshot)
    store.close()
    store.close()
    with opener().snapshot() as snapshot:
        assert seen(snapshot) == before


def test_what_a_store_says_of_itself(store: Store) -> None:
    filled(store)
    store.maintain()
    statistics = store.statistics()
    assert statistics.log_records == 13
    assert statistics.reserve_bytes == store.reserve_bytes
    assert store.room(MIB) >= MIB
    assert store.durable == isinstance(store, LmdbStore)


def test_room_is_taken_ahead(disk: LmdbStore, tmp_path: Path) -> None:
    wanted = 80 * MIB
    room = disk.room(wanted)
    statistics = disk.statistics()
    assert room >= wanted + disk.reserve_bytes
    assert statistics.file_bytes == (tmp_path / "data" / "data.mdb").stat().st_size
    assert statistics.file_bytes - statistics.used_bytes == room
    assert disk.room(1) == room


def test_a_snapshot_is_isolated_on_any_thread(disk: LmdbStore) -> None:
    machine = filled(disk)
    told: list[object] = []

    def read() -> None:
        with disk.snapshot() as other:
            told.append(other.views.position)

    with disk.snapshot() as snapshot:
        before = seen(snapshot)
        machine.run(send("bob", "later"))
        reader = Thread(target=read)
        reader.start()
        reader.join()
        assert seen(snapshot) == before
    assert told == [machine.records[-1].position]


def test_the_second_opener_is_refused(disk: LmdbStore, tmp_path: Path) -> None:
    with pytest.raises(StoreInUse, match="in use"):
        LmdbStore(tmp_path / "data")
    disk.close()
    LmdbStore(tmp_path / "data").close()


@pytest.mark.parametrize("versions", [Versions(format=2), Versions(views=99), "something else"])
def test_an_unknown_format_is_refused_and_left_alone(tmp_path: Path, versions: object) -> None:
    LmdbStore(tmp_path).close()
    rewrite_versions(tmp_path, versions)
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(UnknownFormat):
        LmdbStore(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == before
    rewrite_versions(tmp_path, Versions())
    LmdbStore(tmp_path).close()  # the refusal let go of everything


def test_what_cannot_be_a_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailure, match="file"):
        LmdbStore(tmp_path / "file")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "data.mdb").write_bytes(b"no LMDB file at all" * 1_000)
    with pytest.raises(StorageFailure, match="damaged"):
        LmdbStore(tmp_path / "damaged")


def test_a_transaction_that_lmdb_fails_is_a_storage_failure(disk: LmdbStore) -> None:
    with pytest.raises(StorageFailure, match="planned"), disk.transaction():
        raise lmdb.DiskError("planned")


def rewrite_versions(directory: Path, versions: object) -> None:
    """Put another version record."""
    environment = open_environment(directory)
    try:
        meta = environment.open_db(b"meta", create=False)
        with environment.begin(write=True) as raw:
            raw.put(b"versions", msgspec.msgpack.encode(versions), db=meta)
    finally:
        environment.close()


def test_handles_of_a_reader_stay_good(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    environment = open_environment(tmp_path, readonly=True)
    databases = open_databases(environment, create=False)
    with environment.begin() as raw:
        assert {raw.stat(handle)["entries"] for name, handle in databases.items() if name != "meta"} == {0}
    environment.close()
