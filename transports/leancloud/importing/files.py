"""The files of an export as records, one after the other: a record a line, or arrays of them; gzipped or not.

A file may have gigabytes. It is read once from front to back, with no more than a record and a chunk in memory.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple, cast

import msgspec

from postroom.core.limits import KIB, MIB

RECORD_BYTES_MAX: Final = 4 * MIB
"""A body of 256 KiB in which JSON escapes every character takes 1.5 MiB; a row has 128 KiB."""
_CHUNK: Final = 256 * KIB
_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_BETWEEN: Final = re.compile(rb"[\s,]*")
_BRACE_OR_TEXT: Final = re.compile(rb'["{}]')
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)

Kind = Literal["conversations", "messages"]
"""What a file holds."""


class Bad(NamedTuple):
    """What is in the place of a record and is none."""

    reason: str


class _Keys(msgspec.Struct):
    """What tells a conversation from a message."""

    object_id: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="objectId", default=msgspec.UNSET)
    message_id: msgspec.Raw | msgspec.UnsetType = msgspec.field(name="msg-id", default=msgspec.UNSET)


_keys: Final = msgspec.json.Decoder(_Keys).decode


class ExportFile:
    """One file of an export."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.size_bytes = self.path.stat().st_size
        self.read_bytes = 0
        """How much of it was read, as it lies on the disk."""
        self._position = 0

    def kind(self) -> Kind:
        """What it holds, by its first record; one without any holds no conversations. Raises OSError."""
        for record in self._read():
            if isinstance(record, bytes):
                try:
                    keys = _keys(record)
                except msgspec.MsgspecError:
                    continue
                message = keys.message_id is not msgspec.UNSET or keys.object_id is msgspec.UNSET
                return "messages" if message else "conversations"
        return "messages"

    def records(self) -> Iterator[bytes | Bad]:
        """Its records in their order; the last is Bad if it ends too early, or cannot be read on. Raises OSError."""
        for record in self._read():
            self.read_bytes = self._position
            yield record
        self.read_bytes = self.size_bytes

    def _read(self) -> Iterator[bytes | Bad]:
        with self.path.open("rb") as file:
            stream: IO[bytes] = file
            if file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
                stream = cast(IO[bytes], BufferedReader(gzip.GzipFile(fileobj=file)))
            try:
                for record in _records(stream):
                    self._position = file.tell()
                    yield record
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                yield Bad(f"the file is cut short or damaged: {error}")


def _records(stream: IO[bytes]) -> Iterator[bytes | Bad]:
    """Lines, unless an array begins first. The console's export may say in its first line what it is."""
    while line := stream.readline(RECORD_BYTES_MAX + 1):
        line = line.removeprefix(_BOM)
        text = line.strip()
        if text.startswith(b"["):
            yield from _Arrays(stream, line).records()  # as it was read: it may end within a text
            return
        if not text or text.startswith(b"#"):
            continue
        if len(line) > RECORD_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = stream.readline(RECORD_BYTES_MAX)
            yield Bad("a line is longer than any record")
            continue
        yield text


class _Arrays:
    """Arrays of objects, one behind the other or within each other."""

    def __init__(self, stream: IO[bytes], begun: bytes) -> None:
        self._stream = stream
        self._read = begun
        self._at = 0
        """Everything before is done with."""

    def records(self) -> Iterator[bytes | Bad]:
        """Each object that no other object is around."""
        open_arrays = 0
        while True:
            between = _BETWEEN.match(self._read, self._at)
            assert between is not None
            self._at = between.end()
            char = self._read[self._at : self._at + 1]
            if not char:
                if self._more():
                    continue
                if open_arrays:
                    yield Bad("the file ends within an array")
                return
            if char == b"{":
                record = self._object()
                yield record
                if isinstance(record, Bad):
                    return
                continue
            open_arrays += {b"[": 1, b"]": -1}.get(char, 0)
            if char not in b"[]" or open_arrays < 0:
                yield Bad("not an array of records, from here on")
                return
            self._at += 1

    def _object(self) -> bytes | Bad:
        """The object that begins here."""
        depth, inside = 0, 0
        while True:
            found = _BRACE_OR_TEXT.search(self._read, self._at + inside)
            end = None
            if found is not None:
                end = found.end() if found[0] != b'"' else _end_of_text(self._read, found.start())
            if found is None or end is None:  # to be looked at again from here when there is more
                inside = (len(self._read) if found is None else found.start()) - self._at
                if inside > RECORD_BYTES_MAX or len(self._read) - self._at > 2 * RECORD_BYTES_MAX:
                    return Bad("an object is longer than any record")
                if not self._more():
                    return Bad("the file ends within a record")
                continue
            depth += {b"{": 1, b"}": -1}.get(found[0], 0)
            inside = end - self._at
            if not depth:
                record = self._read[self._at : end]
                self._at = end
                return record

    def _more(self) -> bool:
        """Read on; whether there was something."""
        chunk = self._stream.read(_CHUNK)
        self._read, self._at = self._read[self._at :] + chunk, 0
        return bool(chunk)


def _end_of_text(read: bytes, start: int) -> int | None:
    """Where the text ends that begins here; None if that was not read yet."""
    text = _TEXT.match(read, start)
    return text.end() if text is not None else None
