"""A data directory of views 1 is brought to views 2 when a broker opens it, or by `rebuild`: all of it or nothing."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from postroom.core.errors import Corruption, UnknownFormat
from postroom.core.ids import MessageId, UnixMs
from postroom.core.model import Rules, peer
from postroom.core.ports import Snapshot
from postroom.core.queries import CountMessages, FindMessages
from postroom.core.rows import Header, Kept
from postroom.core.runtime.reading import current_body, read_messages, resolve
from postroom.core.search import Search
from postroom.storage.backup import backup
from postroom.storage.engine import BASE, LIVE
from postroom.storage.errors import NotEnoughRoom
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.environment import data_file
from postroom.storage.lmdb.space import Space
from postroom.storage.reading import Reader
from postroom.storage.rebuild import rebuild
from postroom.storage.upgrade import upgraded_clock, upgraded_timeline
from postroom.storage.verify import Progress, verify
from tests.support import views1
from tests.support.machine import START_MS
from tests.support.office import assert_sound, run, send
from tests.support.rows import engine_of, replayed, rows

TO_BOB = {
    views1.PLAIN: "plain",
    views1.EDITED: "new text",
    views1.LATER_EDITED: "le new",
    views1.IN_LOG: "in log",
}
"""What a query for everything sent to bob gives."""


def quietly(_: object) -> None:
    """Nobody looks."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A directory of views 1."""
    views1.written_directory(tmp_path / "data")
    return tmp_path / "data"


def found(snapshot: Snapshot, **what: object) -> dict[MessageId, str]:
    """What a query gives, oldest first."""
    search = Search(FindMessages(app="demo", **what), snapshot.views.position, Rules().history_horizon(START_MS))  # type: ignore[arg-type]
    assert not search.go_on(snapshot.views)
    return {message.id: message.body.decode() for message in read_messages(snapshot, search.ids, UnixMs(-1))}


def opened(directory: Path) -> None:
    """A broker's store opens it."""
    LmdbStore(directory).close()


def rebuilt(directory: Path) -> None:
    """Somebody rebuilds it."""
    rebuild(directory, progress=quietly)


# Before.


@pytest.mark.parametrize(
    "reads",
    [
        lambda directory: Reader(directory),
        lambda directory: verify(directory, progress=quietly),
        lambda directory: backup(directory, directory.with_name("copy"), progress=quietly),
    ],
    ids=["reader", "verify", "backup"],
)
def test_whoever_only_reads_says_what_to_do_and_changes_nothing(old: Path, reads: Callable[[Path], object]) -> None:
    before = data_file(old).read_bytes()
    with pytest.raises(UnknownFormat, match=r"format 1, views 1; .*`postroom serve`, or run `postroom rebuild`"):
        reads(old)
    assert data_file(old).read_bytes() == before
    assert not old.with_name("copy").exists()


# After.


@pytest.mark.parametrize("brings", [opened, rebuilt])
def test_everything_that_was_kept_is_found(old: Path, brings: Callable[[Path], None]) -> None:
    brings(old)
    assert verify(old, progress=quietly).problems == ()
    store = LmdbStore(old)
    with store.snapshot() as snapshot:
        assert found(snapshot, conversations=(peer("bob"),)) == TO_BOB
        assert found(snapshot, receiver="bob") == TO_BOB
        assert found(snapshot, sender="alice") == TO_BOB
        assert found(snapshot, sender="bob") == found(snapshot, receiver="alice") == {views1.ANSWER: "answer"}
        kept = {place.id: (place.at_ms, row) for place, row in snapshot.views.oldest_kept("demo")}
        assert list(kept) == sorted(kept)
        assert set(kept) == {
            *TO_BOB,
            views1.RECALLED,
            views1.LATER_RECALLED,
            views1.ANSWER,
            views1.IN_LOG_RECALLED,
        }
        to_bob = Kept(peer("bob"), "alice", queued=True)
        assert kept[views1.PLAIN] == (START_MS, to_bob)
        assert kept[views1.LATER_EDITED] == (START_MS, msgspec.structs.replace(to_bob, queued=False))
        assert kept[views1.LATER_RECALLED] == (START_MS, msgspec.structs.replace(to_bob, recalled=True))
        assert kept[views1.RECALLED][1].recalled
        assert kept[views1.ANSWER] == (START_MS, Kept(peer("alice"), "bob"))
        assert kept[views1.IN_LOG] == (START_MS + 1_000, to_bob)
        for id in kept:
            body = current_body(snapshot, id)
            assert body is not None
            assert body.header.id == id
        search = Search(CountMessages(app="demo", conversations=(peer("bob"),)), snapshot.views.position, START_MS - 1)  # type: ignore[arg-type]
        search.go_on(snapshot.views)
        assert search.count == len(TO_BOB)
    store.close()


def test_base_and_log_tell_what_live_says(old: Path) -> None:
    before = views1.tables(old)
    opened(old)
    after = views1.tables(old)
    for name in ("log", "bodies", "base-queues", "live-queues"):
        assert after[name] == before[name], name
    assert after["meta"] == [(b"versions", msgspec.msgpack.encode([1, 2]))]
    # Totals are written with all their fields once something is counted.
    for name, kinds in (("base", (b"h", b"t", b"c")), ("live", (b"h", b"t", b"c", b"a"))):
        assert [row for row in after[name] if row[0][:1] not in kinds] == [
            row for row in before[name] if row[0][:1] not in kinds
        ]
    assert dict(after["base"])[b"c"] == dict(before["base"])[b"c"] + bytes(8)
    assert {len(key) for key, _ in after["base"] if key[:1] == b"t"} == {49}
    store = LmdbStore(old)
    with store.snapshot() as snapshot:
        assert replayed(snapshot) == rows(engine_of(snapshot), LIVE)
    assert_sound(store)
    store.close()


def test_opening_and_rebuilding_come_to_the_same(old: Path, tmp_path: Path) -> None:
    views1.written_directory(tmp_path / "other")
    opened(old)
    rebuilt(tmp_path / "other")
    assert views1.tables(old) == views1.tables(tmp_path / "other")
    before = data_file(old).read_bytes()
    opened(old)
    assert data_file(old).read_bytes() == before, "the second time there is nothing to do"


def test_what_waits_is_what_waited(old: Path) -> None:
    opened(old)
    store = LmdbStore(old)
    with store.snapshot() as snapshot:
        waiting = [
            (entry.seq, *resolve(snapshot, "demo", "bob", entry)) for entry in snapshot.views.entries("demo", "bob")
        ]
        dedup = snapshot.views.dedup("demo", "alice", "k1")
        assert snapshot.views.awaited(views1.LATER_EDITED) == ("alice", "k1")
    assert [(seq, type, body.payload.decode()) for seq, body, type in waiting] == [
        (2, "message", "new text"),
        (3, "edited", "new text"),
        (4, "recalled", ""),
        (5, "recalled", ""),
        (6, "recalled", ""),
        (9, "deleted", ""),
        (10, "message", "q"),
        (11, "message", "in log"),
    ]
    assert dedup is not None
    assert dedup.id == views1.LATER_EDITED
    store.close()


def test_a_broker_goes_on_with_it(old: Path) -> None:
    """Messages, an age at which history ends, and the end of the log that the old version wrote."""

    async def live_on(broker: object) -> None:
        await send(broker, "new", history=True)  # type: ignore[arg-type]

    trio.run(run, old, live_on)
    store = LmdbStore(old)
    with store.snapshot() as snapshot:
        assert list(found(snapshot, receiver="bob").values()) == [*TO_BOB.values(), "new"]
        assert snapshot.views.epoch == 2
        assert snapshot.views.epoch_position > views1.IN_LOG_RECALLED
    with store.transaction() as transaction:
        transaction.trim(transaction.views.clock_ms + 1, 1_000)
    with store.snapshot() as snapshot:
        assert rows(engine_of(snapshot), BASE) == rows(engine_of(snapshot), LIVE)
    store.close()
    assert verify(old, progress=quietly).problems == ()


def test_a_directory_in_which_nothing_happened(tmp_path: Path) -> None:
    every = frozenset({"log", "bodies", "live", "base", "live-queues", "base-queues"})
    views1.written_directory(tmp_path / "data", without=every)
    opened(tmp_path / "data")
    assert verify(tmp_path / "data", progress=quietly).problems == ()


# All of it or nothing.


class Planned(Exception):
    """What a test breaks the work off with."""


@pytest.mark.parametrize("stage", ["bringing base up to date", "copying base", "applying the log"])
def test_broken_off_it_leaves_the_old_directory(old: Path, stage: str) -> None:
    before, size = views1.tables(old), data_file(old).stat().st_size

    def progress(told: Progress) -> None:
        if told.stage == stage:
            raise Planned

    with pytest.raises(Planned):
        rebuild(old, progress=progress)
    assert views1.tables(old) == before
    assert data_file(old).stat().st_size == size
    opened(old)
    assert verify(old, progress=quietly).problems == ()


def test_without_room_nothing_is_changed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = views1.tables(old)
    with monkeypatch.context() as patched:
        patched.setattr(Space, "room", lambda *_: 0)
        with pytest.raises(NotEnoughRoom, match="bytes are needed"):
            LmdbStore(old)
    assert views1.tables(old) == before
    opened(old)  # and the refusal let go of everything


def test_a_damaged_body_is_named_and_nothing_is_changed(old: Path) -> None:
    with views1.raw(old) as (transaction, databases):
        key = int(views1.PLAIN).to_bytes(8)
        value = transaction.get(key, db=databases["bodies"])
        transaction.put(key, value[:-1] + bytes([value[-1] ^ 1]), db=databases["bodies"])
    before = views1.tables(old)
    with pytest.raises(Corruption, match=f"body {views1.PLAIN}: CRC"):
        LmdbStore(old)
    assert views1.tables(old) == before


def test_a_damaged_clock_row_is_named(old: Path) -> None:
    with views1.raw(old) as (transaction, databases):
        transaction.put(b"c", b"x", db=databases["base"])
    with pytest.raises(Corruption, match="base: its clock row"):
        LmdbStore(old)


# Row by row.


def test_a_clock_row() -> None:
    of_old = (9).to_bytes(8) + (1_000).to_bytes(8) + (3).to_bytes(4)
    assert upgraded_clock(of_old) == of_old + bytes(8)


@pytest.mark.parametrize("type", ["message", "edited", "recalled"])
def test_a_timeline_row(type: str) -> None:
    header = Header(
        type=type,  # type: ignore[arg-type]
        app="demo",
        id=MessageId(5),
        conversation=peer("bob"),
        sender="alice",
        lane="low",
        format="text",
        at_ms=START_MS,
        queue=True,
        history=True,
        via="embedded",
    )
    old, made = upgraded_timeline(header)
    # The digest of ("demo", "peer", "0", "alice", "bob"), as version 1 worked it out.
    digest = bytes.fromhex("a4a7614280539e7e295c9b14842107c0")
    place = START_MS.to_bytes(8) + (5).to_bytes(8)
    assert old == b"t" + digest + place
    assert [key[:1] for key, _ in made] == [b"h", b"t", b"t", b"t"]
    assert [value[:1] for _, value in made[1:]] == [b"\1" if type == "recalled" else b"\0"] * 3
    assert all(key.endswith(place) for key, _ in made)
    answer = msgspec.structs.replace(header, conversation=peer("alice"), sender="bob")
    assert upgraded_timeline(answer)[0] == old, "a timeline of two was the same from either side"
    assert upgraded_timeline(answer)[1] != made
