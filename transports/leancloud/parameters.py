"""The parameters of a call: from its JSON body, its query, or both (LeanCloud 2.1, 2.2)."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from postroom.core.errors import InvalidCommand
from postroom.transports.http.decode import decode
from postroom.transports.http.types import HttpRequest

from .errors import Malformed
from .ids import check_client

JSON: Final = b"application/json"
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_ANYTHING: Final = msgspec.json.Decoder(Any)
_TRUE: Final = ("true", "1")
_FALSE: Final = ("false", "0")
_INTEGER: Final = re.compile(r"(-?)0*([0-9]+)")
INTEGER_DIGITS_MAX: Final = 18
INTEGER_MAX: Final = 10**INTEGER_DIGITS_MAX - 1
"""Of times and numbers of things nothing comes near it, so whatever is beyond is taken for it."""


def body_of(request: HttpRequest) -> dict[str, Any]:
    """The JSON object of a POST or PUT; empty if there is no body. Raises Malformed.

    A body labelled as something else than JSON is none; one without a label is taken.
    """
    if not request.body:
        return {}
    label = request.header("content-type")
    if label is not None and label.partition(b";")[0].strip().lower() != JSON:
        raise Malformed
    return _decoded(request.body)


def arguments_of(request: HttpRequest) -> "Parameters":
    """What a DELETE was given in its body or, where that does not say, in its query. Raises Malformed, InvalidCommand.

    The body is JSON whatever its label says: curl calls it a form. `null` is no body (LeanCloud 2.2).
    """
    body = request.body.strip() not in (b"", b"null")
    return Parameters(_decoded(request.body) if body else {}, request.query())


def parse_json(text: str) -> Any:
    """JSON in a parameter. Raises Malformed."""
    try:
        return decode(text.encode(), _ANYTHING)
    except (InvalidCommand, UnicodeEncodeError):
        raise Malformed from None


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        return decode(body, _OBJECT)
    except InvalidCommand:
        raise Malformed from None


class Parameters:
    """Named values, read as what they should be. What is null or, in a query, empty is not given.

    Every method raises InvalidCommand, naming the parameter that is missing or of a wrong type. Numbers and booleans may
    be written as texts, as they are in queries; booleans in any letter case (the Python SDK writes `True`).
    """

    def __init__(self, values: Mapping[str, Any], query: Mapping[str, str] = MappingProxyType({})) -> None:
        """`query`: where a value is looked for that `values` do not say."""
        self._values = values
        self._query = query

    def value(self, name: str) -> Any:
        """As it came, or None."""
        return self._values[name] if name in self._values else self._query.get(name)

    def text(self, name: str) -> str:
        """A text that must be given; it may be empty."""
        value = self.value(name)
        if value is None:
            raise InvalidCommand(f"{name}: required")
        if not isinstance(value, str):
            raise InvalidCommand(f"{name}: must be a string")
        return value

    def maybe(self, name: str) -> str | None:
        """A text, or None if it is not given or empty."""
        return self.text(name) or None if self.value(name) is not None else None

    def client(self, name: str) -> str:
        """A client id that must be given. Also raises NameTooLong."""
        return check_client(name, self.text(name))

    def clients(self, name: str, most: int | None = None) -> tuple[str, ...]:
        """Client ids that must be given: an array; in the query beside a body, JSON or one of them. May raise NameTooLong."""
        return _at_most(most, name, self._clients(name))

    def maybe_clients(self, name: str, most: int | None = None) -> tuple[str, ...] | None:
        """Client ids, of which there must be some, each once; or None if they are not given. Also raises NameTooLong."""
        if self.value(name) is None:
            return None
        found = tuple(dict.fromkeys(self._clients(name)))
        if not found:
            raise InvalidCommand(f"{name}: must name somebody")
        return _at_most(most, name, found)

    def _clients(self, name: str) -> tuple[str, ...]:
        value = self.value(name)
        if isinstance(value, str) and name not in self._values:
            value = parse_json(value) if value.startswith("[") else [value]
        if value is None:
            raise InvalidCommand(f"{name}: required")
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InvalidCommand(f"{name}: must be an array of strings")
        return tuple(check_client(name, each) for each in value)

    def flag(self, name: str, default: str = "false") -> bool:
        """A boolean."""
        value = self.value(name)
        text = str(default if value in (None, "") else value).lower()
        if isinstance(value, float | list | dict) or text not in (*_TRUE, *_FALSE):
            raise InvalidCommand(f"{name}: must be true or false")
        return text in _TRUE

    def integer(self, name: str) -> int | None:
        """A whole number, or None if it is not given; at most INTEGER_MAX from 0."""
        value = self.value(name)
        if value in (None, ""):
            return None
        if isinstance(value, str):
            value = _written(value)
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidCommand(f"{name}: must be a whole number")
        return max(-INTEGER_MAX, min(value, INTEGER_MAX))

    def time(self, name: str) -> int:
        """A time in ms that must be given."""
        value = self.integer(name)
        if value is None:
            raise InvalidCommand(f"{name}: required")
        return value

    def limit(self, most: int = 1_000, default: int = 100) -> int:
        """`limit`: whatever is no number of 1 to `most` is the default (LeanCloud 5)."""
        try:
            value = self.integer("limit")
        except InvalidCommand:
            return default
        return value if value is not None and 1 <= value <= most else default


def _written(text: str) -> int | None:
    """The whole number that a text is, or None. It may have more digits than Python would read."""
    found = _INTEGER.fullmatch(text)
    if found is None:
        return None
    sign, digits = found.groups()
    number = int(digits) if len(digits) <= INTEGER_DIGITS_MAX else INTEGER_MAX
    return -number if sign else number


def _at_most(most: int | None, name: str, clients: tuple[str, ...]) -> tuple[str, ...]:
    if most is not None and len(clients) > most:
        raise InvalidCommand(f"{name}: at most {most}")
    return clients


def refuse_condition(given: Parameters) -> None:
    """Storage changes a row only where a filter matches, if it is given one: to change it anyway would be worse than to
    refuse. Raises InvalidCommand."""
    if given.value("where") not in (None, ""):
        raise InvalidCommand("where: conditional updates and deletes are not served")
