"""What some recipients of a message see of it: each message counts its own, and each body that they show is known with their
number."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby

import msgspec

from postroom.core.ids import MessageId
from postroom.core.rows import CopyRow

from .. import keys
from ..engine import Engine
from ..keys import U64
from ..views import StoredViews
from .report import Problems
from .rows import MISFITS, row_name

_Row = tuple[bytes, bytes]


class CopyCheck:
    """Walks the copies of one state. What it finds wrong is of the history."""

    def __init__(self, engine: Engine, live: StoredViews, problems: Problems) -> None:
        self._engine = engine
        self._views = live
        self._problems = problems
        self._bodies = 0

    def run(self, own: Callable[[int], None], kept: int) -> None:
        """Check everything; `own` is told of each body that copies show. `kept`: how many kept messages count some."""
        messages = 0
        for id, rows in groupby(self._rows(keys.COPY), lambda row: U64.unpack_from(row[0], 1)[0]):
            messages += 1
            self._message(MessageId(id), rows)
        for key, _ in self._rows(keys.COPY_BODY):
            self._bodies -= 1
            own(U64.unpack_from(key, 1)[0])
        if self._bodies:
            self._tell("there are not as many rows of copies' bodies as bodies that copies show")
        if messages != kept:
            self._tell(f"{messages} messages have copies, and {kept} kept ones say that they have")

    def _message(self, id: MessageId, rows: Iterator[_Row]) -> None:
        """The copies of one message."""
        shown: Counter[int] = Counter()
        copies = 0
        for key, value in rows:
            copies += 1
            try:
                row = msgspec.msgpack.decode(value, type=CopyRow)
            except MISFITS:
                self._tell(f"{row_name(key, value)} cannot be read")
                continue
            if row.body:
                shown[row.body] += 1
        self._bodies += len(shown)
        try:
            changed = self._views.changed(id)
            if changed is None or changed.copies != copies:
                self._tell(f"message {id} counts {changed.copies if changed else 0} copies, there are {copies}")
            for body, count in shown.items():
                known = self._engine.get("live", keys.COPY_BODY + U64.pack(body))
                if known is None or keys.unpack_change(known) != (id, count):
                    self._tell(f"message {id}: {count} copies show body {body}, which does not say so")
        except MISFITS:
            self._tell(f"message {id}: the rows of its copies cannot be read")

    def _rows(self, letter: bytes) -> Iterator[_Row]:
        return self._engine.scan("live", letter, letter)

    def _tell(self, what: str) -> None:
        self._problems.add("history", what)
