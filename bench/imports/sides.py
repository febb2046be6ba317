"""The two that are compared: the importer with its broker, and a loop that puts the same rows straight into LMDB."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import lmdb
import msgspec
import trio

from postroom.core import Broker
from postroom.core.events import MessageImported, Record
from postroom.core.ids import ExpiryMs, Place, Position, UnixMs, message_at, next_position
from postroom.core.model import group
from postroom.core.rows import Body, Header, Kept, Totals
from postroom.storage import keys
from postroom.storage.history_views import kept_rows
from postroom.storage.lmdb.environment import open_databases, open_environment
from postroom.storage.records import encode_body, encode_record
from postroom.transports.leancloud.importing import ExportFile, Importer
from postroom.transports.leancloud.importing.taking import BATCH

from ..failure import BenchFailure
from ..figures import Slice
from .settings import APP

Page = Sequence[dict[str, Any]]


class Taking:
    """Ours: a file after the other."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def conversations(self, path: Path) -> None:
        """Those that the messages are of; not measured. Raises BenchFailure."""
        await self._take(path)

    async def page(self, path: Path, messages: int) -> Slice:
        """Raises BenchFailure."""
        began = time.perf_counter()
        taken = await self._take(path)
        seconds = time.perf_counter() - began
        if taken != messages:
            raise BenchFailure(f"{taken} messages of {messages} were imported")
        return Slice(messages, seconds, [seconds * 1000])

    async def _take(self, path: Path) -> int:
        report = await Importer(self._broker, APP, [ExportFile(path)]).run()
        if report.refusals:
            raise BenchFailure(f"refused: {report.refused[0].reason}")
        return report.messages.imported


class RawRows:
    """The baseline: rows as long as ours under the same keys, with nothing parsed, decided or awaited."""

    def __init__(self, directory: Path) -> None:
        self._environment = open_environment(directory)
        self._databases = open_databases(self._environment, create=True)
        self._position = next_position(Position(0), UnixMs(time.time_ns() // 1_000_000))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()

    async def page(self, page: Page) -> Slice:
        """Raises BenchFailure."""
        rows = [self._rows(record) for record in page]
        began = time.perf_counter()
        try:
            await trio.to_thread.run_sync(self._put, rows)
        except lmdb.Error as error:
            raise BenchFailure(f"the raw loop: {error}") from error
        seconds = time.perf_counter() - began
        return Slice(len(page), seconds, [seconds * 1000])

    def _rows(
        self, record: dict[str, Any]
    ) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes], list[tuple[bytes, bytes]]]:
        """Log, body and views of a message, made by the broker's own functions, so that they change with them."""
        position = self._position = Position(self._position + 1)
        id, at_ms = message_at(position), UnixMs(record["timestamp"])
        conversation, sender, alias = group(record["conv-id"]), record["from"], record["msg-id"]
        event = MessageImported(app=APP, id=id, conversation=conversation, sender=sender, at_ms=at_ms, alias=alias)
        header = Header(
            type="message",
            app=APP,
            id=id,
            conversation=conversation,
            sender=sender,
            lane="normal",
            format="text",
            at_ms=at_ms,
            queue=False,
            history=True,
            via="leancloud",
        )
        place = Place(at_ms, id)
        views = [*kept_rows(APP, place, Kept(conversation, sender, alias=alias))]
        views.append((keys.alias_key(APP, alias), keys.PAIR.pack(*place)))
        body = encode_body(position, Body(header, record["data"].encode()))
        return encode_record(Record(position, ExpiryMs(at_ms), event)), body, views

    def _put(self, rows: list[Any]) -> None:
        log, bodies, live = (self._databases[name] for name in ("log", "bodies", "live"))
        clock = keys.CLOCK_ROW.pack(self._position, 0, 1, 0)
        totals = msgspec.msgpack.encode((APP, Totals()))
        for first in range(0, len(rows), BATCH):
            with self._environment.begin(write=True) as transaction:
                put = transaction.put
                for record, body, views in rows[first : first + BATCH]:
                    put(record[0], record[1], db=log, append=True)
                    put(body[0], body[1], db=bodies, append=True)
                    for key, value in views:
                        put(key, value, db=live)
                put(keys.CLOCK, clock, db=live)
                put(keys.app_key(APP), totals, db=live)
