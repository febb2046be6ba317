"""The copy that is checked: taken from the data directory in one go, then open for nobody else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import lmdb
import msgspec

from postroom.core.errors import Corruption, StorageFailure
from postroom.core.limits import MIB

from ..copying import COPIED, copy_records
from ..engine import LIVE
from ..errors import NotADataDirectory
from ..lmdb.engine import LmdbEngine
from ..lmdb.environment import data_file, open_databases, open_environment
from ..reading import Reader
from ..room import blame_full_disk, pages_bytes, require_room
from .report import Problems, Progress

SPARE_BYTES: Final = 8 * MIB
"""What the smallest store's check takes: fresh environments, pages in flight."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy was taken from."""

    file_bytes: int
    used_bytes: int
    grown_bytes: int
    needed_bytes: int
    """Scratch space for all of the check."""


def copy_out(directory: Path, scratch: Path, problems: Problems, tell: Callable[[Progress], None]) -> Source | None:
    """Copy the data into `scratch`; None, and a problem, if the file is too damaged for that.

    Raises NotADataDirectory, UnknownFormat, NotEnoughRoom, StorageFailure. A file cut short may end this process.
    """
    file, needed = data_file(directory), 0
    short = False

    def cut_short(missing: int) -> None:
        nonlocal short
        short = True
        problems.add("file", f"{file} is cut short: the last {missing} bytes of its pages are missing")

    try:
        with Reader(directory, when_cut_short=cut_short) as reader:
            info, page_bytes = reader.environment.info(), reader.environment.stat()["psize"]
            before, needed = file.stat().st_size, _needed_bytes(reader)
            require_room(scratch, needed)
            with reader.environment.begin() as raw:
                copy_records(raw, reader.databases, scratch, checks={}, progress=tell)
            reader.check()
            return Source(
                file_bytes=before,
                used_bytes=(info["last_pgno"] + 1) * page_bytes,
                grown_bytes=file.stat().st_size - before,
                needed_bytes=needed,
            )
    except Corruption as error:
        problems.add("file", f"{file}: {error}")
    except lmdb.Error as error:
        blame_full_disk(scratch, needed)
        problems.add("file", f"{file}: {error}")
    except StorageFailure as error:
        # What is there and LMDB cannot open is damage, and so are tables that a file cut short lacks; every other refusal is
        # not for a check to judge.
        if (isinstance(error, NotADataDirectory) and not short) or not isinstance(error.__cause__, lmdb.Error):
            raise
        problems.add("file", str(error))
    return None


def _needed_bytes(reader: Reader) -> int:
    """What the copy takes, recomputing live in it, and listing the bodies that somebody owns."""
    with reader.environment.begin() as raw:
        every = pages_bytes(raw, reader.databases, *COPIED)
        rows, queues = (pages_bytes(raw, reader.databases, name) for name in LIVE)
    # Base grows to live's size, its rows in pages that fill less densely; the list is a fraction of that.
    return every + 2 * rows + queues + SPARE_BYTES


class Copy:
    """The copy, open for reading and writing. What is written need not last."""

    def __init__(self, scratch: Path, needed_bytes: int) -> None:
        self._scratch = scratch
        self._needed_bytes = needed_bytes
        self._environment = open_environment(scratch, sync=False, lock=False)
        self._databases = open_databases(self._environment, create=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()

    @contextmanager
    def reading(self) -> Iterator[LmdbEngine]:
        """A state to read."""
        with self._environment.begin() as raw:
            yield LmdbEngine(raw, self._databases)

    @contextmanager
    def writing(self) -> Iterator[LmdbEngine]:
        """A state to change. Raises NotEnoughRoom if the scratch space was given to somebody else meanwhile."""
        try:
            with self._environment.begin(write=True) as raw:
                yield LmdbEngine(raw, self._databases)
        except lmdb.Error:
            blame_full_disk(self._scratch, self._needed_bytes)
            raise

    @property
    def size_bytes(self) -> int:
        """What the copy takes."""
        return data_file(self._scratch).stat().st_size
