"""A run of `subscribers`: one broker with three services, the rounds, the report."""

import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import trio

from postroom.core import Broker, Delivery, Receipt, open_broker, service
from postroom.core.commands import AddMembers, CreateConversation
from postroom.core.limits import MEMBERS_MAX
from postroom.storage.lmdb import LmdbStore

from .. import result
from ..figures import Slice
from ..result import OURS, Result
from ..rounds import FsyncProbe, Side, interleave
from ..scratch import scratch
from ..together import together
from .settings import APP, Settings

FEW: Final = "few"
ONLINE: Final = "online"
_JOINING_TASKS: Final = 4


class SubscribersResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `subscribers`. Its operations are messages; `recipients` is how many they are for."""

    few: int
    """Subscribers of the first baseline."""
    online: int
    """Of the second: how many of as many have a session open."""
    taken_per_s: float
    """Frames that these took a second."""


class Sends:
    """Implements `rounds.Side`: producers that send to one service."""

    def __init__(self, broker: Broker, settings: Settings, name: str) -> None:
        self._broker = broker
        self._producers = settings.producers
        self._message = settings.message(name)

    async def run(self, seconds: float) -> Slice:
        """One slice: what every producer managed, one call after the other."""
        latencies: list[float] = []
        began = time.perf_counter()
        await together(lambda: self._send(began + seconds, latencies), self._producers, what="a send")
        return Slice(len(latencies), time.perf_counter() - began, latencies)

    async def _send(self, end: float, latencies: list[float]) -> None:
        began = time.perf_counter()
        while began < end:
            await self._broker.submit(self._message)
            ended = time.perf_counter()
            latencies.append((ended - began) * 1000)
            began = ended


class Taking:
    """A session's sink that takes every frame and keeps none."""

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts

    def offer(self, delivery: Delivery) -> bool:
        """Count it."""
        self._counts[0] += 1
        return True

    def close(self, reason: str) -> None:
        """Nothing is left to do."""


def run(settings: Settings, seconds: float, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError, StorageFailure."""
    with scratch(directory) as place:
        measured = trio.run(_measure, settings, seconds, place)
    headline = (
        f"{settings.producers:,} producers, {settings.payload_bytes:,} bytes each to {settings.subscribers:,} subscribers, "
        f"none online; few: to {settings.few:,}; online: {settings.online:,} of as many"
    )
    result.report(measured, headline, as_json=as_json)


async def _measure(settings: Settings, seconds: float, place: Path) -> SubscribersResult:
    taken = [0]
    async with open_broker(place / "broker") as broker, AsyncExitStack() as sessions:
        everybody = settings.names()
        for name, users in ((OURS, settings.subscribers), (FEW, settings.few), (ONLINE, settings.subscribers)):
            # Whoever is online subscribes to one service only.
            prefix = "on-" if name == ONLINE else ""
            await _subscribe(broker, name, [prefix + user for user in everybody[:users]])
        for user in everybody[: settings.online]:
            await sessions.enter_async_context(broker.connect(app=APP, user=f"on-{user}", sink=Taking(taken)))
        sides: dict[str, Side] = {name: Sends(broker, settings, name) for name in (OURS, FEW, ONLINE)}
        with FsyncProbe(place) as probe:
            began = time.perf_counter()
            series = await interleave(sides, probe, seconds)
            elapsed = time.perf_counter() - began
    return SubscribersResult(
        bench="subscribers",
        payload_bytes=settings.payload_bytes,
        concurrency=settings.producers,
        durability="fsync" if LmdbStore.durable else "memory",
        recipients=settings.subscribers,
        history=True,
        seed=settings.seed,
        few=settings.few,
        online=settings.online,
        taken_per_s=round(taken[0] / elapsed, 1),
        **result.common(series, probe, place, None),
    )


async def _subscribe(broker: Broker, name: str, users: list[str]) -> None:
    """A service, and who subscribes to it, some hundreds a command."""
    await broker.submit(CreateConversation(app=APP, conversation=service(name)))
    parts: Iterable[list[str]] = (users[first : first + MEMBERS_MAX] for first in range(0, len(users), MEMBERS_MAX))
    commands = [AddMembers(app=APP, conversation=service(name), users=tuple(part)) for part in parts]
    for first in range(0, len(commands), _JOINING_TASKS):
        for outcome in await broker.submit_many(commands[first : first + _JOINING_TASKS]):
            if not isinstance(outcome, Receipt):
                raise outcome
