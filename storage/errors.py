"""Why a tool would not begin. Nothing was done; these are the caller's to put right."""

from pathlib import Path

from postroom.core.errors import StorageFailure


class NotADataDirectory(StorageFailure):
    """There is no data of a broker at this place."""


class UnusablePlace(StorageFailure):
    """A backup goes where nothing is yet, a check works where it may write, and neither inside the data directory."""


class NotEnoughRoom(StorageFailure):
    """A file system has not the bytes that the work takes."""

    def __init__(self, place: Path, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(f"{place}: at least {needed_bytes} bytes are needed, {free_bytes} are free")
        self.place = place
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
