"""Filters and orders of rows, in the words of the core's (LeanCloud 5)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from postroom.core.errors import InvalidCommand
from postroom.core.ids import UnixMs
from postroom.core.model import Kind
from postroom.core.where import matches, parse

from .errors import Malformed
from .parameters import parse_json
from .times import from_iso, is_date, time_of

NAMES: Final[Mapping[str, str]] = {
    "objectId": "id",
    "createdAt": "created_ms",
    "updatedAt": "updated_ms",
    "m": "members",
    "mu": "muted",
    "unique": "unique",
}
"""Fields of a row that the core has under another name, or as one of its own."""
TIMES: Final = ("createdAt", "updatedAt")
KIND_OF: Final[Mapping[str, Kind]] = {"tr": "room", "sys": "service"}
"""Fields that are true of one kind and not there in the others."""
HIDDEN: Final = frozenset((*NAMES.values(), "kind", "attributes")) - {"unique"}
"""Fields of an app that have the name of one of the core's."""
NOT_QUERIED: Final = ("lm", "uniqueId")
"""What is not kept so that it could be found."""


def where_of(text: str | None, kinds: tuple[Kind, ...]) -> bytes:
    """A filter; a list of them means all. Raises Malformed, InvalidCommand."""
    if text is None:
        return b"{}"
    value = parse_json(text)
    if not isinstance(value, dict | list):
        raise Malformed
    try:
        return msgspec.json.encode(_all_of(value, kinds) if isinstance(value, list) else _filter(value, kinds))
    except RecursionError:
        raise InvalidCommand("where: nested too deeply") from None


def order_of(text: str | None) -> tuple[str, ...]:
    """`-createdAt,name`. Raises InvalidCommand."""
    keys = []
    for key in (key.strip() for key in (text or "").split(",")):
        falling, name = key.startswith("-"), key.removeprefix("-")
        if name:
            keys.append(("-" if falling else "") + ("kind" if name in KIND_OF else _renamed("order", name)))
    return tuple(keys)


def _filter(value: Mapping[str, Any], kinds: tuple[Kind, ...]) -> dict[str, Any]:
    parts = [_entry(key, operand, kinds) for key, operand in value.items()]
    return parts[0] if len(parts) == 1 else {"$and": parts} if parts else {}


def _all_of(value: list[Any], kinds: tuple[Kind, ...]) -> dict[str, Any]:
    if not all(isinstance(part, dict) for part in value):
        raise Malformed
    return {"$and": [_filter(part, kinds) for part in value]} if value else {}


def _entry(key: str, operand: Any, kinds: tuple[Kind, ...]) -> dict[str, Any]:
    if key in ("$and", "$or"):
        if not isinstance(operand, list) or not all(isinstance(part, dict) for part in operand):
            raise InvalidCommand(f"where: {key} takes a list of objects")
        return {key: [_filter(part, kinds) for part in operand]}
    if key in KIND_OF:
        found = [kind for kind in kinds if _holds(key, operand, there=kind == KIND_OF[key])]
        if key == "sys" or "service" not in kinds:
            return {"kind": {"$in": found}}
        # A service that 1.1 made with both has it as an attribute. The first part is for the index.
        others = [kind for kind in found if kind != "service"]
        either = {"$or": [{"kind": {"$in": others}}, {key: operand}]}
        return {"$and": [{"kind": {"$in": [*others, "service"]}}, either]}
    if key == "unique":
        return {"unique": {"$in": [there for there in (False, True) if _holds(key, operand, there=there)]}}
    if key in TIMES:
        return {_renamed("where", key): _time(operand)}
    _check_dates(operand)
    return {_renamed("where", key): operand}


def _holds(key: str, operand: Any, *, there: bool) -> bool:
    """Whether a condition holds of a field that is true, or not there."""
    return matches(parse(msgspec.json.encode({key: operand})), {key: True} if there else {})


def _renamed(parameter: str, key: str) -> str:
    name, dot, rest = key.partition(".")
    if name in NOT_QUERIED:
        raise InvalidCommand(f"{parameter}: rows cannot be found by {name}")
    return (f"attributes.{name}" if name in HIDDEN else NAMES.get(name, name)) + dot + rest


def _time(operand: Any) -> Any:
    """Times as the core has them, wherever a condition names one. A number is none: what the core has as one does not
    match it."""
    if isinstance(operand, str):
        ms = from_iso(operand)
        return operand if ms is None else ms
    if isinstance(operand, int | float) and not isinstance(operand, bool):
        return str(operand)
    if isinstance(operand, list):
        return [_time(each) for each in operand]
    if not isinstance(operand, dict):
        return operand
    if is_date(operand):
        return _valid(operand)
    return {name: each if name == "$size" else _time(each) for name, each in operand.items()}


def _check_dates(operand: Any) -> None:
    """Raises InvalidCommand if one of the dates in it is none."""
    if isinstance(operand, list):
        for each in operand:
            _check_dates(each)
    elif isinstance(operand, dict):
        if is_date(operand):
            _valid(operand)
        for each in operand.values():
            _check_dates(each)


def _valid(date: Mapping[str, Any]) -> UnixMs:
    ms = time_of(date)
    if ms is None:
        raise InvalidCommand("where: a date must be like 2019-08-01T01:22:10.000Z")
    return ms
