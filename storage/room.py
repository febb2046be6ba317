"""How much room some work takes, asked before it begins."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import lmdb

from postroom.core.limits import MIB

from .engine import SETS, Sets, Table
from .errors import NotEnoughRoom

FULL_BYTES: Final = MIB
"""A disk with less free than this is full: what LMDB writes at once may be larger."""

_SET_VALUE_BYTES: Final = 48
"""A set of more than some 120 values lies in a tree of its own, which no statistic includes. Measured: 21 bytes a value in
sets of 200, 33 in very large ones, 48 at worst, in sets of 256."""


def pages_bytes(raw: "lmdb.Transaction[bytes]", databases: Mapping[str, lmdb._Database], *names: Table | Sets) -> int:
    """What the pages of these tables take at most, free pages not counted."""
    size = 0
    for name in names:
        stat = raw.stat(databases[name])
        size += (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]
        if name in SETS:
            size += stat["entries"] * _SET_VALUE_BYTES
    return size


def require_room(place: Path, needed: int) -> None:
    """Raises NotEnoughRoom if the file system of `place` has fewer bytes free."""
    free = shutil.disk_usage(place).free
    if free < needed:
        raise NotEnoughRoom(place, needed, free)


def blame_full_disk(place: Path, needed: int) -> None:
    """Raises NotEnoughRoom if what LMDB called an input/output error was a full disk."""
    free = shutil.disk_usage(place).free
    if free < FULL_BYTES:
        raise NotEnoughRoom(place, needed, free)
