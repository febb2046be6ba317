"""The positions of bodies that something owns, sorted on disk: there may be more of them than fit memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import lmdb

from ..keys import U64

_CHUNK: Final = 100_000
"""Positions kept in memory: some 10 MB."""
_MAP_BYTES: Final = 1 << 40


class Owned:
    """A sorted set of positions in an environment of its own, so that no reader of the copy keeps its pages from being
    used again."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir()
        self._environment = lmdb.open(str(scratch), map_size=_MAP_BYTES, sync=False, lock=False, lib_version=0)
        self._fresh: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()

    def add(self, position: int) -> None:
        """Somebody owns the body at this position."""
        self._fresh.add(position)
        if len(self._fresh) == _CHUNK:
            self._write()

    def positions(self) -> Iterator[int]:
        """All of them, rising."""
        self._write()
        with self._environment.begin() as raw:
            for key in raw.cursor().iternext(keys=True, values=False):
                yield U64.unpack(key)[0]

    def _write(self) -> None:
        with self._environment.begin(write=True) as raw:
            raw.cursor().putmulti((U64.pack(position), b"") for position in sorted(self._fresh))
        self._fresh.clear()
