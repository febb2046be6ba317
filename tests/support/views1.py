"""A data directory as format 1, views 1 had it, row by row, from what that version wrote (`tests/golden/views1.txt`).

In the app `demo` bob logged in and alice sent him messages that were kept for history, all but one queued as well; "queue
only" was not kept, and bob answered once. What is in base by then and what followed in the log:

| message | in base | in the log |
| --- | --- | --- |
| PLAIN | sent | acknowledged |
| EDITED | sent, edited to "new text" | |
| RECALLED | sent, recalled | |
| LATER_EDITED (not queued, dedup key k1, awaited) | sent | edited to "le new" |
| LATER_RECALLED | sent | recalled |
| LATER_DELETED | sent | deleted |
| DELETED | sent, deleted | |
| QUEUE_ONLY | sent | |
| ANSWER (bob to alice, not queued) | sent | |
| IN_LOG | | sent |
| IN_LOG_RECALLED (to carol) | | sent, recalled |

Bob logged out at the log's beginning, and was told of every change made while he was there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from postroom.core.ids import MessageId
from postroom.storage.engine import SETS, TABLES
from postroom.storage.lmdb.environment import open_databases, open_environment

ROWS: Final = Path(__file__).resolve().parents[1] / "golden" / "views1.txt"
_FIRST: Final = 869_020_467_200_000
_LATER: Final = 869_020_471_296_000
PLAIN: Final = MessageId(_FIRST + 2)
EDITED: Final = MessageId(_FIRST + 3)
RECALLED: Final = MessageId(_FIRST + 5)
LATER_EDITED: Final = MessageId(_FIRST + 7)
LATER_RECALLED: Final = MessageId(_FIRST + 8)
LATER_DELETED: Final = MessageId(_FIRST + 9)
DELETED: Final = MessageId(_FIRST + 10)
QUEUE_ONLY: Final = MessageId(_FIRST + 12)
ANSWER: Final = MessageId(_FIRST + 13)
IN_LOG: Final = MessageId(_LATER + 4)
IN_LOG_RECALLED: Final = MessageId(_LATER + 5)

Tables = dict[str, list[tuple[bytes, bytes]]]


@contextmanager
def raw(directory: Path) -> Iterator[tuple["lmdb.Transaction[bytes]", dict[str, lmdb._Database]]]:
    """One write transaction behind everybody's back, whatever views the directory has."""
    environment = open_environment(directory)
    try:
        databases = open_databases(environment, create=False, upgrades=True)
        with environment.begin(write=True) as transaction:
            yield transaction, databases
    finally:
        environment.close()


def tables(directory: Path) -> Tables:
    """Everything in the file."""
    with raw(directory) as (transaction, databases):
        return {name: list(transaction.cursor(database)) for name, database in databases.items()}


def written() -> Tables:
    """The rows that were written then."""
    found: Tables = {name: [] for name in (*TABLES, *SETS)}
    for line in ROWS.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            name, key, value = line.split()
            found[name].append((bytes.fromhex(key), bytes.fromhex(value.strip("-"))))
    return found


def written_directory(directory: Path, *, without: frozenset[str] = frozenset()) -> None:
    """Make the directory, with every row but those of some tables."""
    directory.mkdir()
    environment = open_environment(directory)
    try:
        databases = open_databases(environment, create=True)
        with environment.begin(write=True) as transaction:
            for name, rows in written().items():
                for key, value in rows if name not in without else ():
                    transaction.put(key, value, db=databases[name])
            assert msgspec.msgpack.decode(transaction.get(b"versions", db=databases["meta"])) == [1, 1]
    finally:
        environment.close()
