"""A conversation's attributes: what operations make of them, and the terms by which they are looked up.

Values stay the JSON text they came as: what nobody changes is not changed by being read.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from ..commands import Operation
from ..errors import InvalidCommand
from ..limits import ATTRIBUTES_BYTES_MAX, INDEX_TERMS_MAX

Term = tuple[str, str]
"""A key, and a scalar in its canonical form."""

EVERYTHING: Final[Term] = ("", "")
"""The only term of a conversation that has too many of them; no key is empty."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_in_order = msgspec.json.Encoder(order="sorted").encode


def compact(json: bytes) -> bytes:
    """The same JSON without spaces."""
    return msgspec.json.format(json, indent=-1)


def canonical(value: Any) -> str:
    """One text for all that JSON calls equal: of numbers 1 and 1.0, of objects any order of their keys."""
    return _in_order(_normal(value)).decode()


def _normal(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_normal(each) for each in value]
        case dict():
            return {key: _normal(each) for key, each in value.items()}
        case _:
            return value


def terms(attributes: bytes) -> frozenset[Term]:
    """Every scalar at the top, and every one in an array there."""
    found: set[Term] = set()
    for key, raw in _object(attributes).items():
        value = msgspec.json.decode(raw)
        for each in value if isinstance(value, list) else (value,):
            if not isinstance(each, list | dict):
                found.add((key, canonical(each)))
        if len(found) > INDEX_TERMS_MAX:
            return frozenset((EVERYTHING,))
    return frozenset(found)


def merge(attributes: bytes, changed: Iterable[tuple[str, bytes]], unset: Iterable[str]) -> bytes:
    """The attributes with these values in place of what was there, and without those keys."""
    merged = _object(attributes)
    for key, value in changed:
        merged[key] = msgspec.Raw(value)
    for key in unset:
        merged.pop(key, None)
    return _encode(merged)


def operate(
    attributes: bytes, operations: Sequence[Operation]
) -> tuple[tuple[tuple[str, bytes], ...], tuple[str, ...]]:
    """What the keys come to, one operation after the other: those with a value, and those without.

    Raises InvalidCommand naming the key on which an operation cannot work.
    """
    before = _object(attributes)
    after: dict[str, bytes | None] = {}
    for operation in operations:
        key = operation.key
        now = after[key] if key in after else bytes(before[key]) if key in before else None
        after[key] = _result(operation, now)
    changed = tuple((key, value) for key, value in after.items() if value is not None)
    return changed, tuple(key for key, value in after.items() if value is None)


def check_size(attributes: bytes) -> None:
    """Raises InvalidCommand if they are too large to keep."""
    if len(attributes) > ATTRIBUTES_BYTES_MAX:
        raise InvalidCommand(f"attributes: {len(attributes)} bytes are more than the {ATTRIBUTES_BYTES_MAX} allowed")


def _result(operation: Operation, now: bytes | None) -> bytes | None:
    if operation.op == "unset":
        return None
    if operation.op == "set":
        return compact(operation.value)
    old: Any = None if now is None else msgspec.json.decode(now)
    given: Any = msgspec.json.decode(operation.value)
    if operation.op == "increment":
        return _sum(operation.key, 0 if old is None else old, given)
    if old is None:
        old = []
    if not isinstance(old, list):
        raise InvalidCommand(f"{operation.key}: {operation.op} works on an array")
    return _encode(_ARRAYS[operation.op](old, given))


def _sum(key: str, old: Any, by: Any) -> bytes:
    if isinstance(old, bool) or not isinstance(old, int | float):
        raise InvalidCommand(f"{key}: increment works on a number")
    try:
        encoded = _encode(old + by)
        msgspec.json.decode(encoded)  # a number too large is one that nobody could read again, or null
    except (ArithmeticError, ValueError) as error:
        raise InvalidCommand(f"{key}: increment leads beyond all numbers") from error
    if encoded == b"null":
        raise InvalidCommand(f"{key}: increment leads beyond all numbers")
    return encoded


def _add_unique(old: list[Any], given: list[Any]) -> list[Any]:
    there = set(map(canonical, old))
    added = []
    for value in given:
        if canonical(value) not in there:
            there.add(canonical(value))
            added.append(value)
    return old + added


def _remove(old: list[Any], given: list[Any]) -> list[Any]:
    gone = set(map(canonical, given))
    return [value for value in old if canonical(value) not in gone]


_ARRAYS: Final[dict[str, Callable[[list[Any], list[Any]], list[Any]]]] = {
    "add": lambda old, given: old + given,
    "add_unique": _add_unique,
    "remove": _remove,
}
