"""Patterns: RE2, the engine that takes time linear in the text, within bounds of its memory and of its program."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import re2

from ..errors import InvalidCommand
from ..limits import PATTERN_BYTES_MAX, PATTERN_MEMORY_BYTES, PATTERN_TEXT_BYTES_MAX

OPTIONS: Final = "ims"


class Pattern(msgspec.Struct, frozen=True):
    """A pattern that RE2 knows."""

    source: bytes
    """With its options in front."""
    compiled: Any

    def found_in(self, texts: Sequence[str]) -> bool:
        """Whether one of these strings has it somewhere; never if all of them together are too long."""
        encoded = [text.encode() for text in texts]
        if sum(map(len, encoded)) > PATTERN_TEXT_BYTES_MAX:
            return False
        return any(self.compiled.search(text) is not None for text in encoded)

    @property
    def program_size(self) -> int:
        """What a byte of text costs at worst, in steps."""
        size: int = self.compiled.programsize
        return size


def parse_pattern(source: str, options: str) -> Pattern:
    """The pattern. Raises InvalidCommand naming an option or whatever in it is not known."""
    for option in options:
        if option not in OPTIONS:
            raise InvalidCommand(f"where: $options: {option!r} is not known; i, m and s are")
    encoded = source.encode()
    if len(encoded) > PATTERN_BYTES_MAX:
        raise InvalidCommand(f"where: $regex: longer than {PATTERN_BYTES_MAX} bytes")
    flags = "".join(sorted(set(options)))
    whole = f"(?{flags})".encode() + encoded if flags else encoded
    try:
        return Pattern(whole, _compiled(whole))
    except re2.error as error:
        raise InvalidCommand(f"where: $regex: {_reason(error)}") from error


def _compiled(source: bytes) -> Any:
    """The module keeps the 128 used last. Raises re2.error."""
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES
    options.log_errors = False
    options.never_capture = True  # where a group lies is no concern, and costs a second pass
    return re2.compile(source, options)


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else b""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
