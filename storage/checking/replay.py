"""Base + log: applying the log's records to a state, and noticing where they cannot be what was written."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from postroom.core.domain import apply
from postroom.core.errors import Corruption
from postroom.core.events import MessageImported, MessageSent, Record
from postroom.core.ids import Position, position_of

from ..engine import BASE, Engine, State
from ..records import decode_record
from ..views import StoredViews
from .copy import Copy
from .report import Problems, Progress
from .rows import MISFITS, readable, row_name

CHUNK_RECORDS: Final = 2_000
"""Records applied in one transaction of the copy."""


def apply_record(views: StoredViews, record: Record) -> None:
    """Apply one record; bodies are left alone. Raises Corruption naming it if it does not fit what came before."""
    try:
        apply(views, record)
    except MISFITS as error:
        why = f"{type(error).__name__} {error}".rstrip()
        raise Corruption(f"log record {record.position} does not fit base and the records before it: {why}") from error


class LogCheck:
    """Walks the log of the copy, record by record, and brings its base to the log's end."""

    def __init__(self, copy: Copy, problems: Problems) -> None:
        self._copy = copy
        self._problems = problems
        self.records = 0
        self.base_position = Position(0)
        """The last event that was trimmed."""
        self.applied = True
        """Whether base is now what live should be."""
        self._clock_ms = 0

    def run(self) -> Iterator[Progress]:
        """Check and apply everything; says how far it is after each chunk."""
        with self._copy.reading() as engine:
            total = engine.count("log")
            base = opened(engine, BASE)
            for key, value in engine.scan("base", b""):
                if not readable(key, value):
                    self._problems.add("base", f"base: {row_name(key, value)}: not a row of this kind")
        if base is None:
            self.applied = False
            self._problems.add("base", "base: its clock row cannot be read")
        else:
            self.base_position, self._clock_ms = base.position, base.clock_ms
        after: bytes | None = b""
        while after is not None:
            after = self._chunk(after)
            yield Progress("log", self.records, total)

    def _chunk(self, after: bytes) -> bytes | None:
        """Go through the records behind a key; the last one's key, or None at the end."""
        with self._copy.writing() as engine:
            rows = list(islice(engine.scan("log", after + b"\0"), CHUNK_RECORDS))
            views = StoredViews(engine, BASE) if self.applied else None
            for key, value in rows:
                record = self._decoded(key, value)
                if views is not None and self.applied:
                    self._apply(views, record)
            if views is not None:
                views.flush()
        self.records += len(rows)
        return rows[-1][0] if len(rows) == CHUNK_RECORDS else None

    def _decoded(self, key: bytes, value: bytes) -> Record | None:
        try:
            record = decode_record(key, value)
        except Corruption as error:
            self._problems.add("log", str(error))
            return None
        if record.position <= self.base_position:
            self._problems.add(
                "log", f"log record {record.position} is not beyond base, which is at {self.base_position}"
            )
        if isinstance(record.event, MessageSent | MessageImported) and position_of(record.event.id) != record.position:
            self._problems.add(
                "log", f"log record {record.position} brings message {record.event.id}, which is not its id"
            )
        if record.clock_ms < self._clock_ms:
            self._problems.add("log", f"log record {record.position}: the expiry clock steps back")
        self._clock_ms = record.clock_ms
        return record

    def _apply(self, views: StoredViews, record: Record | None) -> None:
        if record is None:
            self.applied = False
            return
        try:
            apply_record(views, record)
        except Corruption as error:
            self.applied = False
            self._problems.add("log", str(error))


def opened(engine: Engine, state: State) -> StoredViews | None:
    """A set of views; None if its first row cannot be read."""
    try:
        return StoredViews(engine, state)
    except MISFITS:
        return None
