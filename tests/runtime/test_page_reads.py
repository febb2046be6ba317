"""Where a page of a queue is read: by the loop while the store lies in memory, in a thread while its disk is waited for."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from postroom.core.ports import Snapshot
from postroom.core.runtime import snapshots
from postroom.core.runtime.snapshots import WARM_READS, PageReads
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore


class Disk:
    """Counts what a thread waited for."""

    def __init__(self) -> None:
        self.waited = 0


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that is waited for when a test says so."""
    one = Disk()
    monkeypatch.setattr(snapshots, "_waits_for_disk", lambda: one.waited)
    return one


@pytest.fixture
async def reads(tmp_path: Path, disk: Disk) -> AsyncIterator[PageReads]:
    """Reads of a store on disk, of which it is known that it lies in memory."""
    store = LmdbStore(tmp_path)
    reads = PageReads(store, trio.CapacityLimiter(2))
    for _ in range(WARM_READS):
        assert await where(reads) != threading.get_ident()
    yield reads
    store.close()


async def where(reads: PageReads, disk: Disk | None = None) -> int:
    """The thread of a read; with a disk, of one that waits for it."""

    def read(snapshot: Snapshot) -> int:
        assert snapshot.views.position == 0
        if disk is not None:
            disk.waited += 1
        return threading.get_ident()

    return await reads.read(read)


async def test_what_lies_in_memory_is_read_by_the_loop(reads: PageReads, disk: Disk) -> None:
    assert {await where(reads) for _ in range(10)} == {threading.get_ident()}


async def test_after_a_wait_for_the_disk_threads_read_until_it_is_not_waited_for_any_more(
    reads: PageReads, disk: Disk
) -> None:
    assert await where(reads, disk) == threading.get_ident()
    for _ in range(WARM_READS - 1):
        assert await where(reads) != threading.get_ident()
    assert await where(reads, disk) != threading.get_ident()
    for _ in range(WARM_READS):
        assert await where(reads) != threading.get_ident()
    assert await where(reads) == threading.get_ident()


async def test_of_many_who_come_to_a_cold_store_at_once_the_loop_reads_for_one(reads: PageReads, disk: Disk) -> None:
    found: list[int] = []

    async def reader() -> None:
        found.append(await where(reads, disk))

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(reader)
    assert found.count(threading.get_ident()) == 1


async def test_where_faults_are_not_counted_threads_read(reads: PageReads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_THREAD", None)
    assert await where(reads) == threading.get_ident()  # the last one of which it was thought
    for _ in range(WARM_READS + 1):
        assert await where(reads) != threading.get_ident()


async def test_a_store_without_a_disk_is_read_by_the_loop() -> None:
    reads = PageReads(MemoryStore(), trio.CapacityLimiter(2))
    assert {await where(reads) for _ in range(3)} == {threading.get_ident()}


async def test_others_have_a_turn_between_two_pages(reads: PageReads, disk: Disk) -> None:
    turns = 0
    seen: list[int] = []

    async def reader() -> None:
        await where(reads)
        seen.append(turns)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(reader)
        while len(seen) < 20:
            turns += 1
            await trio.lowlevel.checkpoint()
    assert len(set(seen)) == 20


async def test_what_was_just_written_is_not_waited_for(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    before = snapshots._waits_for_disk()
    with store.snapshot() as snapshot:
        assert snapshot.views.position == 0
    assert snapshots._waits_for_disk() == before
    store.close()
