"""What every store does, memory or disk: one suite for the ports `Store`, `Transaction`, `Snapshot` and `Views`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import lmdb
import msgspec
import pytest

from postroom.core.commands import Ack, DeleteMessage, Login, SendMessage, StartEpoch
from postroom.core.errors import Corruption, StorageFailure, StoreInUse, UnknownFormat
from postroom.core.events import EpochStarted, Record
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.limits import MIB
from postroom.core.model import Rules, group, peer
from postroom.core.ports import Snapshot, Store, Transaction
from postroom.core.rows import Body, ChangedRow, DedupRow, Entry, Header, QueueEnds, SessionRow, Totals, UserRow
from postroom.storage.checking.compare import differences
from postroom.storage.engine import BASE, LIVE
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.environment import Versions, open_databases, open_environment
from postroom.storage.memory import MemoryStore
from tests.support.machine import Machine
from tests.support.rows import engine_of

Opener = Callable[[], Store]
CONVERSATIONS = (peer("bob"), group("bob"))


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


def entry(position: int, seq: int, *, owns_body: bool = False) -> Entry:
    """An entry that expires sometime."""
    return Entry(Position(position), seq, 200_000_000 + seq, owns_body)


def write_everything(transaction: Transaction, position: int) -> None:
    """A row of each kind."""
    views, at = transaction.views, Position(position)
    transaction.append(epoch(position))
    transaction.put_body(at, body(position))
    views.start_epoch(position)
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
    views.put_timeline("demo", peer("bob"), "alice", UnixMs(1), MessageId(position))
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
    transaction.views.remove_timeline("demo", peer("bob"), "alice", UnixMs(1), MessageId(1))
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
    assert outside[3] == msgspec.structs.astuple(Totals(UnixMs(1), accepted=2, queued=1, evicted=1))
    assert outside[12] == [None, body(1), None, None]


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
        assert (views.position, views.clock_ms, views.epoch) == (0, 0, 0)
        assert msgspec.structs.astuple(views.totals("demo")) == (0,) * 7
        assert views.user("demo", "bob") is None
        assert views.queue_ends("demo", "bob") == QueueEnds(0, None)
        assert views.entry("demo", "bob", Position(1)) is None
        assert list(views.queue_owners()) == []
        assert list(views.sessions("demo", "bob")) == []
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
        views.start_epoch(2)
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


def test_a_timeline_of_two_is_the_same_from_either_side(store: Store) -> None:
    with store.transaction() as transaction:
        for conversation in CONVERSATIONS:
            transaction.views.put_timeline("demo", conversation, "alice", UnixMs(1), MessageId(2))
        transaction.views.remove_timeline("demo", peer("alice"), "bob", UnixMs(1), MessageId(2))
    with store.snapshot() as snapshot:
        assert len(list(engine_of(snapshot).scan("live", b"t", b"t"))) == 1


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
