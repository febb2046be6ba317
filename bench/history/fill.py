"""Filling the store with messages that are kept, as fast as the broker takes them."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import click

from postroom.core import Broker, Delivery, Receipt, SendMessage
from postroom.core.commands import CreateConversation
from postroom.core.ids import UnixMs

from ..failure import BenchFailure
from ..together import together
from .settings import APP, BIG, MEMBER, SMALL, Settings

PRODUCERS: Final = 4
BATCH: Final = 1_024
"""About what a commit takes."""
TELL_S: Final = 5.0
"""How often somebody who waits is told how far it is."""


class _Ear:
    """A sink that takes everything and keeps nothing."""

    def offer(self, delivery: Delivery) -> bool:
        """Take it."""
        return True

    def close(self, reason: str) -> None:
        """Nothing to do."""


class Fill:
    """Fills one broker. Its progress goes to stderr."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._count = self._in_stage = 0
        self._newest_ms = UnixMs(0)
        self._began = self._told = 0.0

    async def first_stage(self) -> UnixMs:
        """The member is in both rooms for as long as it lasts. The time of its last message. Raises BenchFailure."""
        await self._create(self._settings.first_groups())
        async with self._broker.connect(app=APP, user=MEMBER, sink=_Ear()) as session:
            for to in (BIG, SMALL):
                await session.join(to.id)
            await self._submit(self._settings.first_stage())
        return self._newest_ms

    async def second_stage(self) -> None:
        """Nothing of it has the time of the first stage's last message. Raises BenchFailure."""
        while time.time_ns() // 1_000_000 <= self._newest_ms:
            time.sleep(0.001)  # noqa: ASYNC251 - nobody else is at work
        await self._create(self._settings.second_groups())
        await self._submit(self._settings.second_stage())

    async def _create(self, groups: Iterator[CreateConversation]) -> None:
        while commands := list(islice(groups, BATCH)):
            for outcome in await self._broker.submit_many(commands):
                if not isinstance(outcome, Receipt):
                    raise BenchFailure(f"a group was refused: {outcome}")

    async def _submit(self, messages: Iterator[SendMessage]) -> None:
        async def producer() -> None:
            while commands := list(islice(messages, BATCH)):
                self._took(await self._broker.submit_many(commands))

        self._in_stage = 0
        self._began = self._told = time.perf_counter()
        await together(producer, PRODUCERS, what="a send")
        self._tell()

    def _took(self, outcomes: Sequence[Receipt | Exception]) -> None:
        for outcome in outcomes:
            if not isinstance(outcome, Receipt):
                raise BenchFailure(f"a message was refused: {outcome}")
            self._newest_ms = max(self._newest_ms, outcome.at_ms)
        self._count += len(outcomes)
        self._in_stage += len(outcomes)
        if time.perf_counter() - self._told >= TELL_S:
            self._tell()

    def _tell(self) -> None:
        self._told = time.perf_counter()
        rate = self._in_stage / (self._told - self._began)
        click.echo(f"filled: {self._count:,} of {self._settings.messages:,} messages, {rate:,.0f}/s", err=True)
