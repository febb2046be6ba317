"""Opening the environment, the same way for everyone: broker, readers beside it, tools."""

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import lmdb
import msgspec

from postroom.core.errors import StorageFailure, StoreInUse, UnknownFormat

from ..engine import SETS, TABLES
from ..errors import NotADataDirectory

MAP_BYTES: Final = 1 << 40
"""1 TiB of address space, not of memory or disk. It never grows: that would close every open reader."""
FORMAT_VERSION: Final = 1
"""Of log records, bodies and keys."""
VIEWS_VERSION: Final = 2
"""Of what `apply` does with them. A change brings a function from old base rows to new ones (`storage.upgrade`)."""
_VIEWS_OF_OLD: Final = frozenset({1})
"""Those that can be brought up to date."""
_DATA_FILE: Final = "data.mdb"
_READER_TABLE: Final = "lock.mdb"
_LOCK_FILE: Final = "postroom.lock"
_META_KEY: Final = b"versions"


class Versions(msgspec.Struct, frozen=True, array_like=True):
    """What wrote a data directory."""

    format: int = FORMAT_VERSION
    views: int = VIEWS_VERSION


def data_file(directory: Path) -> Path:
    """LMDB's file in a data directory."""
    return directory / _DATA_FILE


def reader_table(directory: Path) -> Path:
    """LMDB's list of open readers, which every opener shares."""
    return directory / _READER_TABLE


def open_environment(
    directory: Path,
    *,
    readonly: bool = False,
    sync: bool = True,
    lock: bool = True,
    when_cut_short: Callable[[int], None] | None = None,
) -> lmdb.Environment:
    """LMDB 0.9 with the map everyone uses; `lock` is for whoever knows that nobody else has it open.

    Raises StorageFailure saying which directory and why: also if the file is shorter than its pages, since touching one that
    is not there ends the process. Who can afford that gives `when_cut_short`, which is told how many bytes are missing.
    """
    try:
        environment = lmdb.open(
            str(directory),
            map_size=MAP_BYTES,
            max_dbs=len(TABLES) + len(SETS) + 2,
            max_readers=512,
            mode=0o600,  # messages are nobody else's to read
            readonly=readonly,
            create=not readonly,
            sync=sync,
            lock=lock,
            lib_version=0,
        )
    except lmdb.Error as error:
        raise StorageFailure(f"{directory}: {error}") from error
    end = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    missing = end - data_file(directory).stat().st_size
    if missing > 0:
        if when_cut_short is None:
            environment.close()
            raise StorageFailure(
                f"{data_file(directory)} is cut short: the last {missing} bytes of its pages are missing"
            )
        when_cut_short(missing)
    return environment


def open_databases(environment: lmdb.Environment, *, create: bool, upgrades: bool = False) -> dict[str, lmdb._Database]:
    """Handles of every table and set. Raises NotADataDirectory if one is missing, UnknownFormat, StorageFailure.

    `upgrades` is for whoever brings older views up to date before anything else; everybody else is refused.
    """
    names = [(name, dup) for every, dup in ((TABLES, False), (SETS, True)) for name in every]
    try:
        if create:
            # All of them and the version record, or nothing.
            with environment.begin(write=True) as raw:
                handles: dict[str, lmdb._Database] = {
                    name: environment.open_db(name.encode(), raw, dupsort=dup, dupfixed=dup) for name, dup in names
                }
                _check_versions(raw, handles["meta"], write=True, upgrades=upgrades)
        else:
            # py-lmdb resets a read transaction at its end, which closes what was opened in it: so each in one of its own.
            handles = {name: environment.open_db(name.encode(), create=False) for name, _ in names}
            with environment.begin() as raw:
                _check_versions(raw, handles["meta"], write=False, upgrades=upgrades)
    except lmdb.NotFoundError as error:
        raise NotADataDirectory(f"{environment.path()} is not a data directory of postroom: {error}") from error
    except lmdb.Error as error:
        raise StorageFailure(f"{environment.path()}: {error}") from error
    return handles


def is_up_to_date(transaction: "lmdb.Transaction[bytes]", databases: Mapping[str, lmdb._Database]) -> bool:
    """Whether the directory has the views of this version, and not those of an older one."""
    row = transaction.get(_META_KEY, db=databases["meta"])
    return row == msgspec.msgpack.encode(Versions())


def note_versions(transaction: "lmdb.Transaction[bytes]", databases: Mapping[str, lmdb._Database]) -> None:
    """The directory is as this version writes it."""
    transaction.put(_META_KEY, msgspec.msgpack.encode(Versions()), db=databases["meta"])


def _check_versions(
    transaction: "lmdb.Transaction[bytes]", meta: lmdb._Database, *, write: bool, upgrades: bool
) -> None:
    row = transaction.get(_META_KEY, db=meta)
    if row is None:
        if not write or transaction.stat(meta)["entries"]:
            raise UnknownFormat("the data directory has no version record")
        transaction.put(_META_KEY, msgspec.msgpack.encode(Versions()), db=meta)
        return
    try:
        versions = msgspec.msgpack.decode(row, type=Versions)
    except msgspec.DecodeError as error:
        raise UnknownFormat(f"the version record of the data directory is not one: {error}") from error
    if versions == Versions():
        return
    of_old = versions.format == FORMAT_VERSION and versions.views in _VIEWS_OF_OLD
    if not (of_old and upgrades):
        hint = (
            "; open it once with `postroom serve`, or run `postroom rebuild`, to bring it up to date" if of_old else ""
        )
        raise UnknownFormat(
            f"the data directory has format {versions.format}, views {versions.views}; "
            f"this version of postroom reads format {FORMAT_VERSION}, views {VIEWS_VERSION}{hint}"
        )


class DirectoryLock:
    """At most one writer a data directory: a flock on a file of ours, which readers do not take."""

    def __init__(self, directory: Path) -> None:
        """Raises StoreInUse if another process has it."""
        self._descriptor = os.open(directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise StoreInUse(f"{directory} is in use by another postroom process") from error

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)
