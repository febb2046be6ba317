"""What a token is packed in: base64, zlib, and fields one after the other (anyRTC 5)."""

import base64
import zlib
from typing import Final

INFLATED_BYTES_MAX: Final = 65_536
"""What a 007 token may unpack to (anyRTC 5.2): 4 KiB of zlib could be 3 MiB."""


class BadToken(Exception):
    """The token opens nothing. `reason` is for us: the client is told `invalid token`, whatever it was."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decoded(text: str) -> bytes:
    """Base64, in the one way that a builder writes it: padded, nothing in between, no stray bits. Raises BadToken."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:  # also of what is not ASCII
        raise BadToken("not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise BadToken("not base64")
    return raw


def inflated(packed: bytes) -> bytes:
    """What zlib packed, all of it and nothing else, if it is not too much. Raises BadToken."""
    unpacker = zlib.decompressobj()
    try:
        # One more than allowed: at the bound itself zlib would stop short of its checksum.
        raw = unpacker.decompress(packed, INFLATED_BYTES_MAX + 1)
    except zlib.error:
        raise BadToken("not zlib") from None
    if len(raw) > INFLATED_BYTES_MAX:
        raise BadToken("too much in it")
    if not unpacker.eof or unpacker.unused_data:
        raise BadToken("not zlib")
    return raw


class Fields:
    """Fields read one after the other, integers little-endian. Raises BadToken where the bytes run out."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def u16(self) -> int:
        """An integer of two bytes."""
        return int.from_bytes(self._take(2), "little")

    def u32(self) -> int:
        """An integer of four bytes."""
        return int.from_bytes(self._take(4), "little")

    def str16(self) -> bytes:
        """A length of two bytes, and that many bytes."""
        return self._take(self.u16())

    def privileges(self) -> dict[int, int]:
        """Numbers with their times, in any order; no number twice."""
        count = self.u16()  # of anything: more than there are bytes for end with the bytes
        pairs = dict((self.u16(), self.u32()) for _ in range(count))
        if len(pairs) != count:
            raise BadToken("a privilege twice")
        return pairs

    def rest(self) -> bytes:
        """All that is left."""
        return self._take(len(self._raw) - self._at)

    def end(self) -> None:
        """Nothing may be left. Raises BadToken if there is."""
        if self._at != len(self._raw):
            raise BadToken("bytes left over")

    def _take(self, size: int) -> bytes:
        taken = self._raw[self._at : self._at + size]
        if len(taken) != size:
            raise BadToken("ends too early")
        self._at += size
        return taken
