"""A program with a broker in it that tells, line by line, what it was promised; its parent kills it.

`python -m tests.support.victim DIRECTORY SEED ROUND [OPTIONS]`, the keys to try again on stdin. Each line is one write, made
when the promise is already given, so a line that arrived is a promise that counts.
"""

import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from postroom.core import (
    Broker,
    DeleteMessage,
    EditMessage,
    Options,
    RecallMessage,
    Receipt,
    Refusal,
    Rules,
    SendMessage,
    Session,
    StorageFailure,
    group,
    open_broker,
    peer,
    service,
)
from postroom.core.commands import AddMembers, CreateConversation
from postroom.core.errors import ConversationExists, ShuttingDown
from postroom.core.ids import MessageId, Position

APP: Final = "demo"
USERS: Final = 12
GROUPS: Final = {
    "g0": ("u0", "u1", "u2"),
    "g1": tuple(f"u{number}" for number in range(4, 9)),
    "g2": tuple(f"u{number}" for number in range(USERS)),
}
"""Groups and their members."""
SUBSCRIBERS: Final = tuple(f"u{number}" for number in range(0, USERS, 2))
"""Of the one service."""
RULES: Final = {APP: Rules(queue_messages=10_000)}
"""A cap that no round reaches: what is missing was lost, not evicted."""


def spec(key: str) -> SendMessage:
    """What is sent under a key, the same in every process."""
    chance = random.Random(key)
    kept = chance.random()
    to = peer(f"u{chance.randrange(USERS)}")
    if chance.random() < 0.2:
        to = group(chance.choice(tuple(GROUPS)))
    elif chance.random() < 0.2:
        to = service("s0")
    return SendMessage(
        app=APP,
        sender=f"p{key.split('.')[1]}",
        to=to,
        body=key.encode() + b" " * chance.choice((0, 40, 400, 2_000, 9_000)),
        queue=kept < 0.9,
        history=kept < 0.4 or kept > 0.95 or to.kind != "peer",
        lane=chance.choice(("high", "normal", "low")),
        dedup=key if chance.random() < 0.6 else None,
        wait_ack_ms=chance.choice((None, None, None, 30)) if to.kind == "peer" else None,
    )


def recipients(command: SendMessage) -> tuple[str, ...]:
    """For whom it is kept until they acknowledge it."""
    if command.to.kind == "service":
        return SUBSCRIBERS
    return GROUPS[command.to.id] if command.to.kind == "group" else (command.to.id,)


def say(*words: object) -> None:
    """One line, one write."""
    os.write(1, msgspec.json.encode(words) + b"\n")


Task = Callable[[], Awaitable[None]]


class Victim:
    """The load. Each task goes on until the broker closes."""

    def __init__(self, broker: Broker, seed: str) -> None:
        self._broker = broker
        self._seed = seed
        self._sent: list[MessageId] = []
        self.receiving = [partial(self._receive, f"u{number % 7}", number) for number in range(8)]
        """One user has two sessions, and some users none."""
        self.sending: list[Task] = [partial(self._produce, number) for number in range(3)]
        self.sending += [self._produce_many, *(partial(self._change, number) for number in range(3))]

    async def retry(self, keys: list[str]) -> None:
        """Once more what an earlier process was not answered."""
        for key in keys:
            await self._send(key)

    async def run(self, task: Task) -> None:
        """One of them."""
        with suppress(_Closed):
            await task()

    async def _send(self, *keys: str) -> None:
        for key in keys:
            say("try", key)
        try:
            if len(keys) == 1:
                outcomes: Sequence[Receipt | Refusal] = [await self._broker.submit(spec(keys[0]))]
            else:
                outcomes = await self._broker.submit_many([spec(key) for key in keys])
        except Refusal as refusal:
            outcomes = [refusal]
        except StorageFailure:
            raise _Closed from None
        for key, outcome in zip(keys, outcomes, strict=True):
            if isinstance(outcome, Refusal):
                say("refused", key, outcome.code)
            else:
                say("sent", key, outcome.id, outcome.duplicate)
                self._sent.append(outcome.id)
        if any(isinstance(outcome, ShuttingDown) for outcome in outcomes):
            raise _Closed

    async def _produce(self, number: int) -> None:
        for count in range(100_000):
            await self._send(f"{self._seed}.{number}.{count}")

    async def _produce_many(self) -> None:
        for count in range(100_000):
            await self._send(*(f"{self._seed}.many.{count}-{index}" for index in range(16)))

    async def _receive(self, user: str, number: int) -> None:
        chance = random.Random(f"{self._seed} {user} {number}")
        while True:
            say("enter", user, number)
            try:
                async with self._broker.connect(app=APP, user=user) as session:
                    say("login", session.id, number)
                    with trio.move_on_after(chance.random() * 0.3):
                        await self._read(session, chance)
            except (ShuttingDown, StorageFailure):
                raise _Closed from None
            say("logout", session.id, user)
            await trio.sleep(chance.random() * 0.05)

    async def _read(self, session: Session, chance: random.Random) -> None:
        through, seen = Position(0), set[MessageId]()
        async for frame in session:
            text = frame.body[:80].decode().rstrip()
            say("got", session.id, session.user, frame.position, frame.id, frame.type, frame.queued, text)
            if frame.type in ("acked", "dropped"):
                continue
            if frame.seq is None and frame.id in seen:
                continue  # without a number, its ack would name the first frame of this id
            if frame.queued:
                through = frame.position
            seen.add(frame.id)
            if chance.random() < 0.8:
                continue
            say("acking", session.id, session.user, through)
            if chance.random() < 0.2:
                session.ack_soon(frame)
            else:
                await session.ack(frame)
                say("acked", session.id, session.user, through)

    async def _change(self, number: int) -> None:
        """Some are changed again and again, most once or never; each task has messages of its own."""
        chance = random.Random(f"{self._seed} changes {number}")
        for count in range(100_000):
            await trio.sleep(0.002)
            mine = [id for id in self._sent[-64:] if id % 3 == number]
            if not mine:
                continue
            id, what, text = chance.choice(mine), chance.choice(("edit", "edit", "recall", "delete")), f"edit {count}"
            command: EditMessage | RecallMessage | DeleteMessage = DeleteMessage(app=APP, id=id, by="mod")
            if what == "edit":
                command = EditMessage(app=APP, id=id, by="mod", body=text.encode())
            elif what == "recall":
                command = RecallMessage(app=APP, id=id, by="mod")
            say("change", what, id, text)
            try:
                await self._broker.submit(command)
            except (ShuttingDown, StorageFailure):
                raise _Closed from None
            except Refusal as refusal:
                say("unchanged", what, id, refusal.code)
            else:
                say("changed", what, id, text)


class _Closed(Exception):
    """The broker takes nothing any more."""


async def main(directory: Path, seed: str, options: Options, retries: list[str]) -> None:
    """Run until killed; on SIGTERM or SIGINT, close the broker under the load."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            async with open_broker(directory, rules=RULES, options=options) as broker:
                for name, members in GROUPS.items():
                    with suppress(ConversationExists):
                        await broker.submit(CreateConversation(app=APP, conversation=group(name), members=members))
                with suppress(ConversationExists):
                    await broker.submit(CreateConversation(app=APP, conversation=service("s0")))
                await broker.submit(AddMembers(app=APP, conversation=service("s0"), users=SUBSCRIBERS))
                say("up")
                victim = Victim(broker, seed)
                tasks: list[Task] = [partial(victim.retry, retries), *victim.sending, *victim.receiving]
                for task in tasks:
                    nursery.start_soon(victim.run, task)
                async for _ in signals:
                    break
                say("leaving")
            say("closed")
    say("down")


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[3], type=dict[str, Any]) if len(sys.argv) > 3 else {}
    trio.run(
        main, Path(sys.argv[1]), sys.argv[2], Options(**given), msgspec.json.decode(sys.stdin.buffer.read() or b"[]")
    )
