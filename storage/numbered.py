"""Rows whose keys end with a position, read a page at a time in either direction."""

from collections.abc import Iterator

from postroom.core.ids import Position

from .engine import Engine, Table
from .keys import U64


def numbered(
    engine: Engine, rows: Table, prefix: bytes, after: Position, before: Position | None = None
) -> Iterator[tuple[Position, bytes]]:
    """The values of keys that begin with `prefix` and end with a position beyond `after`; or below `before`, downwards."""
    if before is None:
        found = engine.scan(rows, prefix + U64.pack(after + 1), prefix)
    elif before <= 0:
        return
    else:
        found = engine.scan_back(rows, prefix + U64.pack(before - 1), prefix)
    for key, value in found:
        yield Position(U64.unpack_from(key, len(prefix))[0]), value
