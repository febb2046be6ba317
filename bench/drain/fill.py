"""Queueing the messages, before the server has the store."""

from itertools import islice
from pathlib import Path
from typing import Final

import click

from postroom.core import Receipt, Rules, open_broker
from postroom.storage.lmdb import LmdbStore

from ..failure import BenchFailure
from ..sessions.app import APP
from ..together import together
from .settings import Settings

PRODUCERS: Final = 4
BATCH: Final = 1_024
"""About what a commit takes."""


async def fill(settings: Settings, data: Path) -> None:
    """Raises BenchFailure."""
    messages = settings.messages()
    count = settings.groups * settings.users * settings.queued
    click.echo(f"queueing: {count:,} messages", err=True)
    async with open_broker(LmdbStore(data), rules={APP: Rules()}) as broker:

        async def producer() -> None:
            while commands := list(islice(messages, BATCH)):
                for outcome in await broker.submit_many(commands):
                    if not isinstance(outcome, Receipt):
                        raise BenchFailure(f"a message was refused: {outcome}")

        await together(producer, PRODUCERS, what="a send")
