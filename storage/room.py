"""How much room some work takes, asked before it begins."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import lmdb

from .engine import Sets, Table
from .errors import NotEnoughRoom


def pages_bytes(raw: "lmdb.Transaction[bytes]", databases: Mapping[str, lmdb._Database], *names: Table | Sets) -> int:
    """What the pages of these tables take, free pages not counted."""
    size = 0
    for name in names:
        stat = raw.stat(databases[name])
        size += (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]
    return size


def require_room(place: Path, needed: int) -> None:
    """Raises NotEnoughRoom if the file system of `place` has fewer bytes free."""
    free = shutil.disk_usage(place).free
    if free < needed:
        raise NotEnoughRoom(place, needed, free)
