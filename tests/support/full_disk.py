"""A broker on a disk that is full, in a process of its own.

`python -m tests.support.full_disk STORY PLACE SCRATCH BYTES [injected]`: PLACE is a disk of so many bytes. Where the machine
has none to give, "injected" makes the allocator refuse what such a disk would, and then the file must not grow by itself.
"""

import errno
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import trio

from postroom.core import (
    Broker,
    DeleteMessage,
    EditMessage,
    Options,
    RecallMessage,
    Receipt,
    Rules,
    SendMessage,
    open_broker,
    peer,
    room,
)
from postroom.core.commands import ExpireDedup
from postroom.core.errors import NoSpace
from postroom.core.events import MessageSent
from postroom.core.expiry import DAY_MS
from postroom.core.ids import MessageId, MonotonicMs, Position, UnixMs
from postroom.core.limits import BODY_BYTES_MAX, KIB, ROOMS_PER_USER_MAX
from postroom.core.queries import TakePresence
from postroom.core.runtime.clock import SystemClock
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.environment import data_file

from .machine import Machine
from .witness import check

APP: Final = "demo"
RULES: Final = {APP: Rules(queue_messages=10_000)}
"""A cap that nothing here reaches: what is missing was lost, not evicted."""


class Disk:
    """A small disk with a data directory on it, and a ballast that makes it as full as it gets."""

    def __init__(self, place: Path, scratch: Path, size: int, *, injected: bool) -> None:
        self.data = place / "data"
        self._ballast = place / "ballast"
        self._scratch = scratch
        self._injected = injected
        self._size = size
        self._given = 0
        if injected:
            self._allocate = os.posix_fallocate
            os.posix_fallocate = self._refuse
            os.fstatvfs = lambda _: SimpleNamespace(f_blocks=size // 4096, f_frsize=4096)  # type: ignore[assignment,return-value]

    def fill(self) -> None:
        """Nobody gets another byte."""
        if self._injected:
            self._size = self._given
            return
        with self._ballast.open("wb") as file:
            size = 0
            for step in (1 << 20, 1 << 12):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), size, step)
                        size += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self, size: int) -> None:
        """Space returns."""
        self._size += size
        self._ballast.unlink(missing_ok=True)

    def check(self) -> None:
        """`postroom verify` finds nothing, and nothing was written where nothing was allocated."""
        check(self.data, self._scratch)
        if self._injected:
            assert data_file(self.data).stat().st_size <= self._given

    def _refuse(self, descriptor: int, start: int, length: int) -> None:
        if start + length > self._size:
            raise OSError(errno.ENOSPC, "injected")
        self._allocate(descriptor, start, length)
        self._given = max(self._given, start + length)


class Clock(SystemClock):
    """The machine's, and days that pass at once."""

    passed_ms = 0

    def wall_ms(self) -> UnixMs:
        return UnixMs(super().wall_ms() + self.passed_ms)

    def monotonic_ms(self) -> MonotonicMs:
        return MonotonicMs(super().monotonic_ms() + self.passed_ms)


class Ledger:
    """What was answered, and who acknowledged what."""

    def __init__(self) -> None:
        self._sent: dict[MessageId, SendMessage] = {}
        self._through: Counter[str] = Counter()
        self._count = 0
        self.deleted: set[MessageId] = set()
        self.changed: set[MessageId] = set()
        self.acks = 0

    def ids(self, *, history: bool) -> list[MessageId]:
        """Of what was answered."""
        return [id for id, command in self._sent.items() if command.history == history]

    def message(self, user: str, size: int, *, history: bool = False) -> SendMessage:
        """One whose text nobody else has."""
        self._count += 1
        body = f"{self._count:012} ".encode().ljust(size, b"x")
        return SendMessage(app=APP, sender="alice", to=peer(user), body=body, queue=True, history=history)

    async def send(self, broker: Broker, commands: Sequence[SendMessage]) -> int:
        """Try; how many were answered. The rest is refused because the disk is full, and for no other reason."""
        outcomes = await broker.submit_many(commands)
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, Receipt):
                self._sent[outcome.id] = command
            else:
                assert isinstance(outcome, NoSpace), outcome
        return sum(isinstance(outcome, Receipt) for outcome in outcomes)

    async def send_until_full(self, broker: Broker, users: Sequence[str], size: int, many: int) -> int:
        """Until not one of so many is taken any more; how many were."""
        sent = 0
        while taken := await self.send(
            broker, [self.message(users[index % len(users)], size, history=index % 5 == 0) for index in range(many)]
        ):
            sent += taken
        return sent

    async def collect(self, broker: Broker, user: str, acks: int = 1) -> None:
        """Read everything that waits for a user, acknowledging so many times."""
        async with broker.connect(app=APP, user=user) as session:
            waiting = session.welcome.queued
            every = -(-waiting // acks) if acks else waiting + 1
            for number in range(1, waiting + 1):
                frame = await anext(session)
                if acks and (number % every == 0 or number == waiting):
                    await session.ack(frame)
                    self._through[user] = frame.position
                    self.acks += 1

    def audit(self, broker: Broker) -> None:
        """All that was answered is there, unless it was acknowledged or deleted; what was refused wrote nothing."""
        with broker.snapshot() as snapshot:
            logged = {record.event.id for record in snapshot.log() if isinstance(record.event, MessageSent)}
            assert logged == self._sent.keys()
            for user in {command.to.id for command in self._sent.values()}:
                waiting = {entry.position for entry in snapshot.views.entries(APP, user)}
                for id, command in self._sent.items():
                    if command.to.id == user and id not in self.deleted:
                        assert (id in waiting) == (id > self._through[user]), (id, user)
            for id, command in self._sent.items():
                if id in self.deleted or id in self.changed:
                    continue
                if command.history or id > self._through[command.to.id]:
                    body = snapshot.bodies.body(Position(id))
                    assert body is not None
                    assert body.payload == command.body
            totals = snapshot.views.all_totals()[APP]
            rest = totals.acked + totals.queued + totals.evicted + totals.expired + totals.withdrawn
            assert totals.accepted == rest
            assert (totals.evicted, totals.expired) == (0, 0)


async def full(broker: Broker, ledger: Ledger) -> None:
    """Not even the smallest message is taken any more, and it says so."""
    while await ledger.send(broker, [ledger.message("bob", 13)]):
        pass
    assert broker.statistics().full


async def verify(disk: Disk) -> None:
    """Beside the broker."""
    await trio.to_thread.run_sync(disk.check)


# The stories.


async def giving_back(disk: Disk) -> None:
    """Full to refusal: whoever gives room back is served, first a restart; then space returns."""
    ledger, users = Ledger(), [f"u{number}" for number in range(100)]
    async with open_broker(disk.data, rules=RULES) as broker:
        disk.fill()
        assert await ledger.send_until_full(broker, users, 1_500, 200) > 1_000
        await full(broker, ledger)
        await ledger.collect(broker, "u0", acks=0)
        ledger.audit(broker)
        await verify(disk)
    async with open_broker(disk.data, rules=RULES) as broker:
        await full(broker, ledger)
        changes: dict[type[RecallMessage | DeleteMessage], list[MessageId]] = {
            RecallMessage: ledger.ids(history=True)[:100],
            DeleteMessage: ledger.ids(history=True)[100:200],
        }
        ledger.changed.update(changes[RecallMessage])
        ledger.deleted.update(changes[DeleteMessage])

        async def collect(some: Sequence[str]) -> None:
            for user in some:
                await ledger.collect(broker, user, acks=4)

        async def change(kind: type[RecallMessage | DeleteMessage]) -> None:
            for id in changes[kind]:
                await broker.submit(kind(app=APP, id=id, by="alice"))

        async with trio.open_nursery() as nursery:
            for first in range(8):
                nursery.start_soon(collect, users[first::8])
            for kind in changes:
                nursery.start_soon(change, kind)
        assert ledger.acks > 300
        ledger.audit(broker)
        # What they gave back is written again.
        assert await ledger.send_until_full(broker, users, 1_500, 200) > 1_000
        await full(broker, ledger)
        ledger.audit(broker)
        await verify(disk)
        disk.empty(8 << 20)
        assert await ledger.send(broker, [ledger.message(user, 1_500) for user in users]) == len(users)
        assert not broker.statistics().full
        ledger.audit(broker)
    disk.check()


async def large_bodies(disk: Disk) -> None:
    """Bodies of every size, a thousand at once, up to the last byte."""
    ledger, users = Ledger(), ["ann", "bob", "cem"]
    async with open_broker(disk.data, rules=RULES) as broker:
        disk.fill()
        for size, many in ((BODY_BYTES_MAX, 40), (32 * KIB, 1_000), (3 * KIB, 200), (1, 1_000)):
            await ledger.send_until_full(broker, users, size, many)
            assert await ledger.send(broker, [ledger.message("bob", BODY_BYTES_MAX)]) == 0
        await full(broker, ledger)
        ledger.audit(broker)
        for id in ledger.ids(history=True)[:10]:
            command = EditMessage(app=APP, id=id, by="alice", body=b"y" * BODY_BYTES_MAX)
            try:
                await broker.submit(command)
            except NoSpace:
                continue
            raise AssertionError("there was room for a new text of 256 KiB")
        for user in users:
            await ledger.collect(broker, user, acks=3)
        ledger.audit(broker)
        await verify(disk)
        disk.empty(8 << 20)
        assert await ledger.send(broker, [ledger.message("bob", BODY_BYTES_MAX)]) == 1
        for id in ledger.ids(history=True)[:3]:
            await broker.submit(EditMessage(app=APP, id=id, by="alice", body=b"y" * BODY_BYTES_MAX))
    disk.check()


async def worst_cases(disk: Disk) -> None:
    """What writes most for its size, with bodies and outcomes that each lie on another page."""
    chance = random.Random(5)
    crowd, singles = [f"u{number}" for number in range(10)], [f"s{number}" for number in range(100)]
    machine = Machine(LmdbStore(disk.data), RULES[APP])
    ids = []
    for count in range(12_000):
        if count % 1_000 == 0:
            machine.begin()
        to = singles[count // 120] if count % 120 == 119 else crowd[count % 10]
        decision = machine.run(
            SendMessage(
                app=APP,
                sender="alice",
                to=peer(to),
                body=b"z" * 150,
                queue=True,
                dedup=f"k{count}" if count % 3 else None,
            )
        )
        assert isinstance(decision.result, Receipt)
        ids.append(decision.result.id)
        if count % 1_000 == 999:
            machine.commit()
    machine.begin()
    for id in chance.sample(ids, 3_000):
        machine.run(EditMessage(app=APP, id=id, by="alice", body=b"edited"))
    machine.commit()
    machine.clock.run(2 * DAY_MS)
    machine.run(ExpireDedup())  # one event that ends a thousand outcomes, to be trimmed later
    machine.store.close()

    clock = Clock()
    clock.passed_ms = machine.clock.wall_ms - SystemClock().wall_ms()
    options = Options(sweep_every_s=0.05, log_retention_ms=6 * DAY_MS)
    # The cap was lowered: the next message to each pushes out more than a thousand, which no estimate knows of.
    ledger = Ledger()
    async with open_broker(disk.data, rules={APP: Rules(queue_messages=100)}, clock=clock) as broker:
        disk.fill()
        for size in (BODY_BYTES_MAX, 1_500):
            await ledger.send_until_full(broker, ["bulk"], size, 30)
        await full(broker, ledger)
        outcomes = Counter[str]()
        for user in crowd[:4]:
            outcomes[await outcome(partial(broker.submit, ledger.message(user, 10)))] += 1
        print("a lowered cap on a full disk:", dict(outcomes))
    async with open_broker(disk.data, rules=RULES, options=options, clock=clock) as broker:
        await full(broker, ledger)
        # Acks of more than a thousand entries, several at once, and a hundred sessions that acknowledge one each.
        async with trio.open_nursery() as nursery:
            for user in (*crowd[4:7], *singles):
                nursery.start_soon(ledger.collect, broker, user)
        assert ledger.acks == 103
        # A week passes: logins find more than a thousand to expire, the sweeper outcomes by the thousand and all of the log.
        clock.passed_ms += 8 * DAY_MS
        for user in crowd[7:]:
            while await outcome(partial(ledger.collect, broker, user)) == "no_space":  # noqa: ASYNC110 - the sweeper tells nobody
                await trio.sleep(0.02)
        while broker.statistics().store.log_records > 100 or list(read_dedup(broker)):  # noqa: ASYNC110 - nor does trimming
            await trio.sleep(0.02)
        assert {name for name in crowd if queue(broker, name)} == set()
        assert await ledger.send(broker, [ledger.message(user, 100) for user in crowd]) == 10
        for user in crowd:
            await ledger.collect(broker, user)
    disk.check()


async def rooms_and_history(disk: Disk) -> None:
    """Users in as many rooms as there may be log out, feeds are taken, and a history of thousands grows old."""
    rules = {APP: Rules(queue_messages=10_000, history_ttl_ms=4 * DAY_MS)}
    chance, names = random.Random(7), [f"r{number}" for number in range(ROOMS_PER_USER_MAX)]
    machine = Machine(LmdbStore(disk.data), rules[APP])
    machine.begin()
    ids = []
    for count in range(2_000):
        to = room(chance.choice(names)) if count % 2 else peer(f"p{count % 97}")
        receipt = machine.run(
            SendMessage(app=APP, sender=f"s{count % 89}", to=to, body=b"z" * 200, history=True, queue=count % 4 == 0)
        ).result
        assert isinstance(receipt, Receipt)
        ids.append(receipt.id)
    for id in chance.sample(ids, 300):
        machine.run(EditMessage(app=APP, id=id, by="alice", body=b"edited"))
    machine.commit()
    machine.store.close()

    clock = Clock()
    clock.passed_ms = machine.clock.wall_ms - SystemClock().wall_ms()
    ledger, leave = Ledger(), trio.Event()
    async with open_broker(disk.data, rules=rules, clock=clock) as broker:
        async with trio.open_nursery() as nursery:
            for user in ("ann", "bob", "cem"):
                await nursery.start(stay, broker, user, names, leave)
            for name in names:  # so that every stay is remembered, and every room has lost something
                for history in (True, False):
                    command = SendMessage(app=APP, sender="dan", to=room(name), body=b"hi", history=history)
                    await broker.submit(command)
            disk.fill()
            for size in (BODY_BYTES_MAX, 1_500):
                await ledger.send_until_full(broker, ["bulk"], size, 30)
            await full(broker, ledger)
            leave.set()
        assert [count_rows(broker, kind) for kind in ("sessions", "open stays")] == [0, 0]
        assert count_rows(broker, "ended stays") == 3 * len(names)
        await full(broker, ledger)
        taken = 0
        while events := await broker.ask(TakePresence(app=APP, feed="rooms", limit=50)):
            taken += len(events)
        assert taken == 6 * len(names)
        await verify(disk)
    options = Options(sweep_every_s=0.05, log_retention_ms=6 * DAY_MS)
    async with open_broker(disk.data, rules=rules, options=options, clock=clock) as broker:
        await full(broker, ledger)
        clock.passed_ms += 32 * DAY_MS
        while any(count_rows(broker, kind) for kind in ("kept", "ended stays", "gaps")):  # noqa: ASYNC110 - the sweeper tells nobody
            await trio.sleep(0.02)
        while broker.statistics().store.log_records > 300:  # noqa: ASYNC110 - nor does trimming
            await trio.sleep(0.02)
        assert await ledger.send(broker, [ledger.message("bob", 100)]) == 1
        await ledger.collect(broker, "bob")
    disk.check()


async def stay(
    broker: Broker,
    user: str,
    names: Sequence[str],
    leave: trio.Event,
    *,
    task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be in these rooms until it is time to go."""
    async with broker.connect(app=APP, user=user) as session:
        for name in names:
            await session.join(name)
        task_status.started()
        await leave.wait()


def count_rows(broker: Broker, kind: str) -> int:
    """How much there is of something."""
    with broker.snapshot() as snapshot:
        views, users = snapshot.views, ("ann", "bob", "cem")
        found = {
            "kept": lambda: list(views.oldest_kept(APP)),
            "ended stays": lambda: list(views.ended_stays(APP)),
            "gaps": lambda: list(views.gaps()),
            "sessions": lambda: [row for user in users for row in views.sessions(APP, user)],
            "open stays": lambda: [stay for user in users for stay in views.open_stays(APP, user)],
        }
        return len(found[kind]())


async def outcome(attempt: Callable[[], Awaitable[object]]) -> str:
    """Done, or refused because the disk is full; nothing else."""
    try:
        await attempt()
    except NoSpace as refusal:
        return refusal.code
    return "done"


def queue(broker: Broker, user: str) -> list[Position]:
    """What waits for a user."""
    with broker.snapshot() as snapshot:
        return [entry.position for entry in snapshot.views.entries(APP, user)]


def read_dedup(broker: Broker) -> list[object]:
    """Outcomes kept for retries."""
    with broker.snapshot() as snapshot:
        return list(snapshot.views.dedup_ends())


STORIES: Final = {story.__name__: story for story in (giving_back, large_bodies, worst_cases, rooms_and_history)}


async def main(story: Callable[[Disk], Awaitable[None]], disk: Disk) -> None:
    """One story, which must come to an end."""
    with trio.fail_after(120):
        await story(disk)
    print("and that is all")


if __name__ == "__main__":
    name, place, scratch, size, *rest = sys.argv[1:]
    trio.run(main, STORIES[name], Disk(Path(place), Path(scratch), int(size), injected=rest == ["injected"]))
