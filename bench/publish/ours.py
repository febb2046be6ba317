"""Our side: producers that send through a broker in this process."""

import itertools
import time
from collections.abc import Awaitable, Callable, Iterator

import trio

from postroom.core import Broker, Receipt, SendMessage

from ..failure import BenchFailure
from ..figures import Slice
from ..together import together
from .settings import Settings

BEHIND_MAX_S = 5.0
"""How far a fixed rate may run ahead of the broker before the run is given up."""
PRELOAD_TASKS = 4
PRELOAD_BATCH = 1_024

Send = Callable[[list[SendMessage]], Awaitable[None]]


class BrokerSide:
    """Implements `rounds.Side`."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._names = settings.names()
        self._body = settings.body()
        self._picks = settings.picks()
        self._send: Send = self._send_one if settings.batch == 1 else self._send_many
        self._batches = self._commands = 0.0
        self.sent = 0
        """Messages that are on disk by now."""

    @property
    def batch_mean(self) -> float:
        """How many commands a commit held in the slices so far."""
        return self._commands / self._batches

    async def preload(self) -> None:
        """Put messages into every queue."""
        everybody = range(len(self._names))
        recipients = (number for _ in range(self._settings.queued_per_recipient) for number in everybody)

        async def sender() -> None:
            while commands := self._commands_to(recipients, PRELOAD_BATCH):
                await self._send_many(commands)

        await together(sender, PRELOAD_TASKS, what="a send")

    async def run(self, seconds: float) -> Slice:
        """One slice: with a rate, what was due in it; else what every producer managed, one call after the other."""
        before = self._broker.statistics().batch_commands
        latencies: list[float] = []
        began = time.perf_counter()
        rate = self._settings.rate
        if rate is None:
            await together(lambda: self._closed(began + seconds, latencies), self._settings.producers, what="a send")
        else:
            every = self._settings.batch / rate
            due = itertools.takewhile(
                lambda at: at < began + seconds, (began + every * number for number in itertools.count())
            )
            await together(lambda: self._fixed(due, latencies), self._settings.producers, what="a send")
        elapsed = time.perf_counter() - began
        after = self._broker.statistics().batch_commands
        self._batches += after.count - before.count
        self._commands += after.sum - before.sum
        return Slice(len(latencies) * self._settings.batch, elapsed, latencies)

    async def _closed(self, end: float, latencies: list[float]) -> None:
        """A producer that sends again as soon as it was answered."""
        began = time.perf_counter()
        while began < end:
            await self._send(self._commands_to(self._picks, self._settings.batch))
            ended = time.perf_counter()
            latencies.append((ended - began) * 1000)
            began = ended

    async def _fixed(self, due: Iterator[float], latencies: list[float]) -> None:
        """A producer that takes the next call of the schedule whenever it is free."""
        for at in due:
            early = at - time.perf_counter()
            if early > 0:
                await trio.sleep(early)
            elif early < -BEHIND_MAX_S:
                raise BenchFailure(f"{-early:.0f} s behind the schedule: --rate is more than this machine does")
            await self._send(self._commands_to(self._picks, self._settings.batch))
            latencies.append((time.perf_counter() - at) * 1000)

    def _commands_to(self, recipients: Iterator[int], count: int) -> list[SendMessage]:
        names, body, message = self._names, self._body, self._settings.message
        return [message(names[number], body) for number in itertools.islice(recipients, count)]

    async def _send_one(self, commands: list[SendMessage]) -> None:
        await self._broker.submit(commands[0])
        self.sent += 1

    async def _send_many(self, commands: list[SendMessage]) -> None:
        for outcome in await self._broker.submit_many(commands):
            if not isinstance(outcome, Receipt):
                raise outcome
        self.sent += len(commands)
