"""Room on the disk, taken before it is needed, so that no write ever meets a full disk.

LMDB reports a full disk as an input/output error in the middle of a transaction, after which nothing is known of the
file. So the file is extended ahead of its last used page: a step that fails is the full disk, and nothing has happened
yet. From then on the pages count that were freed within the file.
"""

import errno
import os
from pathlib import Path
from typing import Final

import lmdb

from postroom.core.limits import MIB

from .freelist import free_pages

STEP_BYTES: Final = 64 * MIB
"""How far ahead the file is extended at once; less where the disk is small."""
LEAST_STEP_BYTES: Final = MIB // 4
RESERVE_BYTES_MAX: Final = 16 * MIB
RESERVE_BYTES_MIN: Final = 2 * MIB
"""Enough for one step each of what it serves, at worst (`core.space`)."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Space:
    """The room between an environment's last used page and the end of its file."""

    def __init__(self, environment: lmdb.Environment, file: Path) -> None:
        self._environment = environment
        self._descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        self._page_bytes: int = environment.stat()["psize"]
        disk = os.fstatvfs(self._descriptor)
        share = disk.f_blocks * disk.f_frsize // 8
        self.reserve_bytes = max(RESERVE_BYTES_MIN, min(RESERVE_BYTES_MAX, share))
        """Kept for acks and the like; an eighth of a small disk."""
        self._file_bytes = os.fstat(self._descriptor).st_size

    @property
    def file_bytes(self) -> int:
        """The file's size."""
        return self._file_bytes

    @property
    def used_bytes(self) -> int:
        """Up to the end of the last page ever used."""
        last_page: int = self._environment.info()["last_pgno"]
        return (last_page + 1) * self._page_bytes

    def room(self, wanted_bytes: int) -> int:
        """Extend the file if less than `wanted_bytes` and the reserve are left; how much there is then."""
        used = self.used_bytes
        room = self._file_bytes - used
        shortage = wanted_bytes + self.reserve_bytes - room
        if shortage <= 0:
            return room
        step = max(STEP_BYTES, shortage)
        while shortage > 0 and step >= LEAST_STEP_BYTES:
            if self._extend(step):
                shortage -= step
            else:
                step //= 2
        return self._file_bytes - used

    def free_bytes(self) -> int:
        """Pages freed within the file. LMDB takes them before any other, one by one: side by side they may not lie."""
        self._environment.reader_check()
        # What a transaction freed is used again two later, and not while a reader may still see it.
        before = min([self._environment.info()["last_txnid"], *self._readers()])
        return free_pages(self._descriptor, self._page_bytes, before) * self._page_bytes

    def _readers(self) -> list[int]:
        """The transactions that open readers see, from LMDB's table of process, thread and transaction."""
        rows = [line.split() for line in self._environment.readers().splitlines()]
        return [int(row[2]) for row in rows if len(row) == 3 and row[2].isdigit()]

    def close(self) -> None:
        """Let go of the file. What was taken ahead stays with it."""
        os.close(self._descriptor)

    def _extend(self, step: int) -> bool:
        start = max(self._file_bytes, self.used_bytes)
        try:
            os.posix_fallocate(self._descriptor, start, step)
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        self._file_bytes = start + step
        return True
