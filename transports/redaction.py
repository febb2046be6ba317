"""What a log may not show: secrets by the name of their field, by the form they travel in, and by their value."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

HIDDEN: Final = "[redacted]"
DEPTH_MAX: Final = 6
ITEMS_MAX: Final = 100
TEXT_CHARS_MAX: Final = 16_384
"""A long traceback fits. Beyond, somebody logs what a caller sent, and a log must not grow as callers please."""
SECRET_CHARS_MIN: Final = 8
"""A shorter secret ("123456") would blot out parts of ids and times all over the log."""

_SECRET_WORDS: Final = ("authorization", "certificate", "cookie", "key", "password", "secret", "sign", "token")
_SECRET_NAMES: Final = frozenset({*_SECRET_WORDS, "credentials", "passwd", "signature"})
_SECRET_ENDINGS: Final = tuple(f"_{word}" for word in _SECRET_WORDS)

# How credentials travel: as a parameter or a JSON member, in a header, and the tokens of our dialects, which can stand
# anywhere. No pattern can begin inside of what another start of it has run over, so all of them take linear time.
_NAMED: Final = r"\b((?:\w*_)?(?:token|secret|password)(?:=|[\"']\s*:\s*[\"']))"
_FORMS: Final = (
    (re.compile(_NAMED + r"[^&\s\"'#;,]+", re.I), rf"\1{HIDDEN}"),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.I), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]*\.[\w-]*(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"(?<![A-Za-z0-9+/])00[67][A-Za-z0-9+/]{40,}={0,2}"), HIDDEN),
)


class Redactor:
    """Makes of anything what JSON can carry and a log may show. Raises only what a foreign `str()` raises."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one secret may be the beginning of another.
        known = sorted({secret for secret in secrets if len(secret) >= SECRET_CHARS_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """The fields of an event, each clean."""
        return self._mapping(fields, DEPTH_MAX)

    def text(self, text: str) -> str:
        """A text with secrets taken out, of bounded length, and with half surrogate pairs escaped."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for form, replacement in _FORMS:
            text = form.sub(replacement, text)
        if len(text) > TEXT_CHARS_MAX:
            text = text[:TEXT_CHARS_MAX] + "…"
        return text.encode("utf-8", "backslashreplace").decode()

    def _value(self, value: object, depth: int) -> object:
        match value:
            case None | bool() | float():
                return value
            case int():
                # JSON's readers and our encoder end at 64 bits.
                return int(value) if -(1 << 63) <= value < 1 << 64 else self.text(hex(value))
            case str():
                return self.text(value)
            case bytes() | bytearray() | memoryview():
                return self.text(bytes(value).decode("utf-8", "backslashreplace"))
            case Mapping():
                return self._mapping(value, depth - 1) if depth else "…"
            case list() | tuple() | set() | frozenset():
                items = [self._value(item, depth - 1) for item in list(value)[:ITEMS_MAX]] if depth else []
                return items if depth and len(value) <= ITEMS_MAX else [*items, "…"]
            case BaseException():
                return self.text(f"{type(value).__name__}: {value}")
            case _:
                return self.text(str(value))

    def _mapping(self, mapping: Mapping[str, object], depth: int) -> dict[str, object]:
        clean: dict[str, object] = {}
        for key, value in list(mapping.items())[:ITEMS_MAX]:
            name = self.text(str(key))
            clean[name] = HIDDEN if is_secret(name) and value is not None else self._value(value, depth)
        return clean


def is_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, however the name is written (`X-LC-Key`, `api_key`, `apiKey`)."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)
