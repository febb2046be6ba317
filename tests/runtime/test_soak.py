"""Everything at once on a disk with threads: senders, changes, sessions that come, acknowledge, stall and go, trimming."""

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio

from postroom.core import Broker, Delivery, EditMessage, Options, RecallMessage, open_broker
from postroom.core.errors import UnknownMessage
from postroom.core.limits import PAGE_BYTES
from postroom.core.model import LANES, Rules
from postroom.storage.lmdb import LmdbStore
from tests.support.office import Tray, assert_sound, message, queue

USERS = ("bob", "cy")
SENDERS = ("ann", "dan", "eve")
EACH = 60
OPTIONS = Options(session_buffer_bytes=PAGE_BYTES, log_retention_ms=1, sweep_every_s=0.02)
RULES = {"demo": Rules(queue_messages=10_000)}


class Story:
    """What was sent to one user, and what their sessions saw."""

    def __init__(self) -> None:
        self.sent: dict[int, str] = {}
        self.seen: set[int] = set()
        self.acked_seq = 0
        self.done = trio.Event()


async def write(broker: Broker, sender: str, stories: dict[str, Story], random: Random) -> None:
    """Send to everybody, now and then changing what was sent; queued frames and others."""
    for number in range(EACH):
        user = random.choice(USERS)
        size = random.choice([0, 100, 20_000])
        if random.random() < 0.3:
            await broker.submit(message("typing", user, sender=sender, queue=False, lane=random.choice(LANES)))
        wait = 1 if random.random() < 0.1 else None
        sent = message(
            f"{sender}{number}" + "x" * size,
            user,
            sender=sender,
            lane=random.choice(LANES),
            history=random.random() < 0.3,
            dedup=f"{number}" if random.random() < 0.5 else None,
            wait_ack_ms=wait,
        )
        receipt = await broker.submit(sent)
        stories[user].sent[receipt.id] = f"{sender}{number}"
        if random.random() < 0.3:
            edit = EditMessage(app="demo", id=receipt.id, by=sender, body=b"edited")
            recall = RecallMessage(app="demo", id=receipt.id, by=sender)
            with suppress(UnknownMessage):  # collected meanwhile
                await broker.submit(random.choice([edit, recall]))


def check(frames: list[Delivery], story: Story, first_seq: int) -> None:
    """One session's frames: queued ones in order, each once, none of them acknowledged before the session began."""
    queued = [frame for frame in frames if frame.queued and frame.type != "acked"]
    assert [frame.position for frame in queued] == sorted({frame.position for frame in queued})
    assert [frame.seq for frame in queued] == sorted({frame.seq or 0 for frame in queued})
    assert all((frame.seq or 0) > first_seq for frame in queued)
    for frame in frames:
        if frame.type == "message" and frame.queued:
            name = story.sent.get(frame.id)
            assert name is None or frame.body == b"edited" or frame.body.decode().startswith(name)
        if frame.type == "recalled":
            assert frame.body == b""
    story.seen.update(frame.id for frame in queued)


async def come_and_go(broker: Broker, user: str, story: Story, random: Random) -> None:
    """One session after the other: some read, some stall, most acknowledge something before they leave."""
    while not story.done.is_set():
        tray = Tray(room=random.choice([0, 3, 1_000]))
        before = story.acked_seq
        async with broker.connect(app="demo", user=user, sink=tray) as session:
            for _ in range(random.randrange(40)):
                await trio.lowlevel.checkpoint()
                tray.room += random.randrange(3)
                session.resume()
            frames = [frame for frame in tray.frames if frame.queued and frame.type != "acked"]
            if frames and random.random() < 0.7:
                frame = random.choice(frames)
                if random.random() < 0.5:
                    await session.ack(frame)
                    story.acked_seq = max(story.acked_seq, frame.seq or 0)
                else:
                    session.ack_soon(frame)
        check(tray.frames, story, before)


async def collect(broker: Broker, user: str, story: Story) -> None:
    """At last somebody takes everything."""
    with broker.snapshot() as snapshot:
        waiting = snapshot.views.queue_ends("demo", user).count
    async with broker.connect(app="demo", user=user) as session:
        assert session.welcome.queued == waiting
        frames = [await anext(session) for _ in range(waiting)]
        if frames:
            await session.ack(frames[-1])
    check(frames, story, story.acked_seq)


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_and_nothing_comes_twice_in_a_session(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    stories = {user: Story() for user in USERS}
    with trio.fail_after(60):
        async with open_broker(tmp_path, options=OPTIONS, rules=RULES) as broker:
            async with trio.open_nursery() as readers:
                for user, story in stories.items():
                    for _ in range(2):
                        readers.start_soon(come_and_go, broker, user, story, Random(random.random()))
                async with trio.open_nursery() as writers:
                    for sender in SENDERS:
                        writers.start_soon(write, broker, sender, stories, Random(random.random()))
                for story in stories.values():
                    story.done.set()
            for user, story in stories.items():
                await collect(broker, user, story)
                assert set(story.sent) <= story.seen, f"seed {seed}"
            statistics = broker.statistics()
            assert statistics.waiters == sum(statistics.sessions.values()) == 0
        assert broker._inbox._bytes == len(broker._inbox) == 0
    store = LmdbStore(tmp_path)
    assert_sound(store)
    assert queue(store) == queue(store, "cy") == []
    store.close()
