"""kill -9 at any moment, and what is on disk then.

This proves process death, not power loss: what the process wrote stays in the page cache, whether or not it was synced. That
a synced commit outlives the power is LMDB's and the disk's promise, and is tested nowhere here.
"""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

import pytest
import trio

from postroom.core import Broker, Options, SendMessage, open_broker, peer
from postroom.core.errors import StoreInUse
from postroom.core.model import Rules
from postroom.storage.backup import backup
from postroom.storage.engine import BASE, LIVE
from postroom.storage.lmdb import LmdbStore
from postroom.storage.reading import Reader
from postroom.storage.rebuild import rebuild
from tests.support import views1
from tests.support.damage import send
from tests.support.machine import Machine
from tests.support.rows import rows
from tests.support.victim import APP, RULES, USERS
from tests.support.witness import PATIENCE_S, Child, Witness, check, waiting_in_streams

SEED = int(os.environ.get("POSTROOM_SEED") or (1 if os.environ.get("CI") == "true" else random.randrange(10**6)))
HOLDER = """
import os, signal, sys, time
from pathlib import Path
from postroom.storage.reading import Reader

directory = Path(sys.argv[1])
while not (directory / "lock.mdb").exists():
    time.sleep(0.01)
time.sleep(0.2)
with Reader(directory) as reader:
    if sys.argv[2] == "snapshot":
        held = reader.environment.begin()
    os.write(1, b'["holding"]\\n')
    signal.pause()
"""
"""Opens a data directory for reading as soon as there is one, and holds a snapshot if it is told so."""
HELD_BYTES = 50 * 4 * 4096
"""What fifty commits cost at least when no page can be used again: less would prove nothing."""
TOOL = """
import os, signal, sys
from pathlib import Path
from postroom.storage.{name} import {name}

def progress(at):
    os.write(1, b'["at"]\\n')
    if (at.stage, at.done) == (sys.argv[1], int(sys.argv[2])):
        os.write(1, b'["there"]\\n')
        signal.pause()

{name}(*map(Path, sys.argv[3:]), progress=progress)
"""
"""Rebuilds or backs up, and stands still at one step of it."""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where copies are checked."""
    place = tmp_path / "scratch"
    place.mkdir()
    return place


@contextmanager
def repeatable() -> Iterator[None]:
    """Whoever sees it fail learns how to see it again."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"run it again with POSTROOM_SEED={SEED}")
        raise


# The broker.


def test_nothing_answered_is_lost_and_nothing_acknowledged_comes_back(tmp_path: Path, scratch: Path) -> None:
    witness = Witness(tmp_path / "data", scratch, SEED)
    with repeatable():
        for _ in range(5):
            witness.round()
        for word in ("sent", "acked", "changed", "logout", "kept"):
            assert witness.counted[word] > 20, f"hardly anything was put to the test: {witness.counted}"
        trio.run(collect_all, tmp_path / "data")
        check(tmp_path / "data", scratch)


async def collect_all(directory: Path) -> None:
    """Every user gets what waits, in order and once; acknowledged, it is gone, and nobody is left logged in."""
    with trio.fail_after(PATIENCE_S):
        async with open_broker(directory, rules=RULES) as broker:
            for user in (f"u{number}" for number in range(USERS)):
                with broker.snapshot() as snapshot:
                    queued = [(entry.position, entry.seq) for entry in snapshot.views.entries(APP, user)]
                    streamed = [(entry.position, None) for entry in waiting_in_streams(snapshot, user)]
                    waiting = sorted([*queued, *streamed], key=itemgetter(0))
                async with broker.connect(app=APP, user=user) as session:
                    assert session.welcome.queued == len(waiting)
                    frames = [await anext(session) for _ in waiting]
                    assert [(frame.position, frame.seq) for frame in frames] == waiting
                    if frames:
                        await session.ack(frames[-1])
                async with broker.connect(app=APP, user=user) as session:
                    assert (session.welcome.queued, session.welcome.missed) == (0, 0)
        with Reader(directory) as reader, reader.snapshot() as snapshot:
            assert [snapshot.views.sessions(APP, f"u{number}") for number in range(USERS)] == [[]] * USERS
            assert snapshot.views.all_totals()[APP].queued == 0


def test_killed_while_it_trims(tmp_path: Path, scratch: Path) -> None:
    witness = Witness(tmp_path / "data", scratch, SEED, {"log_retention_ms": 100, "sweep_every_s": 0.01})
    with repeatable():
        trimmed = [witness.round().base_position for _ in range(3)]
        assert 0 < trimmed[0] < trimmed[1] < trimmed[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_leaves_in_good_order(tmp_path: Path, scratch: Path, number: signal.Signals) -> None:
    witness = Witness(tmp_path / "data", scratch, SEED)
    with repeatable(), witness.start() as child:
        child.read_until("acked")
        child.kill(number)
        assert child.end() == (0, "")
        assert child.said("closed") == 1
        assert child.lines[-1] == ["down"]
        witness.hear(child.lines)
        witness.check()
        said = [line[1] for line in child.lines if line[0] in ("sent", "refused")]
        assert len(said) == len(set(said)), "something was answered twice"
        # Whoever had a command in it was answered; who came later may be told that it is closed.
        tried = {line[1] for line in child.lines[: child.lines.index(["leaving"])] if line[0] == "try"}
        assert not tried.intersection(witness.unanswered)
        with Reader(tmp_path / "data") as reader, reader.snapshot() as snapshot:
            assert [snapshot.views.sessions(APP, f"u{user}") for user in range(USERS)] == [[]] * USERS


# The tools.


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with some rows of everything, the older half of its log trimmed."""
    machine = Machine(LmdbStore(tmp_path / "data"), Rules(queue_messages=20))
    machine.begin()
    for count in range(700):
        send(machine, f"user{count % 40}", f"number {count}", history=count % 3 == 0, dedup=f"k{count}")
        machine.clock.run(10)
    machine.commit()
    machine.trim(machine.clock.expiry_ms, 350)
    machine.store.close()
    return tmp_path / "data"


def everything(directory: Path) -> object:
    """All rows of live and base."""
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return rows(snapshot.engine, LIVE), rows(snapshot.engine, BASE)


def kill_at(name: str, stage: str, done: int, *places: Path) -> None:
    """Run a tool up to one step and kill it there."""
    with Child(["-c", TOOL.format(name=name), stage, str(done), *map(str, places)]) as child:
        child.read_until("there")
        child.kill()
        assert child.end() == (-signal.SIGKILL, "")


def test_a_rebuild_that_is_killed_changed_nothing(data: Path, scratch: Path) -> None:
    before = everything(data)
    with Reader(data) as reader, reader.snapshot() as snapshot:
        base = snapshot.engine.count("base") + snapshot.engine.count("base-queues")
    for stage, done in (
        ("copying base", 256),
        ("copying base", base),
        ("applying the log", 256),
        ("applying the log", 350),
    ):
        kill_at("rebuild", stage, done, data)
        assert everything(data) == before
    check(data, scratch)
    rebuild(data, progress=lambda _: None)
    assert everything(data) == before
    check(data, scratch)


def test_an_upgrade_that_is_killed_leaves_the_old_directory(tmp_path: Path, scratch: Path) -> None:
    """It is the same work whether a broker or `rebuild` opens the directory."""
    data = tmp_path / "data"
    views1.written_directory(data)
    before = views1.tables(data)
    bodies, log = len(before["bodies"]), len(before["log"])
    for stage, done in (("bringing base up to date", bodies), ("applying the log", log)):
        kill_at("rebuild", stage, done, data)
        assert views1.tables(data) == before
    LmdbStore(data).close()
    assert check(data, scratch).kept > 0


def test_a_backup_that_is_killed_leaves_the_data_alone_and_can_be_made_again(data: Path, scratch: Path) -> None:
    before = everything(data)
    destination = data.with_name("backup")
    with Reader(data) as reader, reader.snapshot() as snapshot:
        log, bodies = snapshot.engine.count("log"), snapshot.engine.count("bodies")
    for done in (log, log + bodies):
        kill_at("backup", "copying", done, data, destination)
        assert not destination.exists()
        assert everything(data) == before
    check(data, scratch)
    backup(data, destination, progress=lambda _: None)
    assert everything(destination) == before
    check(destination, scratch)


# Two processes.


def test_the_second_broker_on_a_directory_is_refused_and_the_first_one_does_not_notice(
    tmp_path: Path, scratch: Path
) -> None:
    witness = Witness(tmp_path / "data", scratch, SEED)
    with repeatable(), witness.start() as child:
        child.read_until("sent")
        for _ in range(3):
            with pytest.raises(StoreInUse, match="in use by another postroom process"):
                LmdbStore(tmp_path / "data")
        with Child(["-m", "tests.support.victim", str(tmp_path / "data"), "second"]) as second:
            while second.read(0.05):
                child.read(0.05)
            status, complaint = second.end()
            assert (status, second.lines) == (1, [])
            assert "StoreInUse: " in complaint
        child.read_until("sent", 20)
        child.kill(signal.SIGTERM)
        assert child.end() == (0, "")
        witness.hear(child.lines)
        witness.check()


async def churn(broker: Broker) -> int:
    """Fifty commits that leave little behind; by how much the used part of the file grew."""
    used = broker.statistics().store.used_bytes
    for count in range(50):
        await broker.submit(SendMessage(app=APP, sender="alice", to=peer("bob"), body=b"%d" % count))
    return broker.statistics().store.used_bytes - used


async def test_a_reader_that_is_killed_while_a_broker_runs_does_not_make_the_file_grow_for_ever(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with trio.fail_after(PATIENCE_S):
        store = LmdbStore(directory)
        async with open_broker(store, options=Options(sweep_every_s=0.05)) as broker:
            await churn(broker)
            with Child(["-c", HOLDER, str(directory), "snapshot"]) as reader:
                reader.read_until("holding")
                held = await churn(broker)
                reader.kill()
            assert held > HELD_BYTES
            await swept(store)
            assert await churn(broker) < held // 8


async def test_nor_does_one_that_was_killed_before_the_broker_started(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with trio.fail_after(PATIENCE_S), Child(["-c", HOLDER, str(directory), "nothing"]) as bystander:
        async with open_broker(directory) as broker:
            await churn(broker)
            # It has the table of readers open for as long as this takes, so that nobody makes it anew.
            bystander.read_until("holding")
            with Child(["-c", HOLDER, str(directory), "snapshot"]) as reader:
                reader.read_until("holding")
                assert await churn(broker) > HELD_BYTES
                reader.kill()
        store = LmdbStore(directory)
        async with open_broker(store, options=Options(sweep_every_s=3600)) as broker:
            await swept(store)
            assert await churn(broker) < HELD_BYTES // 8


async def swept(store: LmdbStore) -> None:
    """Wait until no dead process is in LMDB's table of readers."""
    while store._environment.readers().count("\n") > 1:  # noqa: ASYNC110 - the table tells nobody
        await trio.sleep(0.01)
