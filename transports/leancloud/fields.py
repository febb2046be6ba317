"""What a create or an update says about the fields of a conversation (LeanCloud 6.1)."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from postroom.core.commands import Operation
from postroom.core.errors import InvalidCommand
from postroom.core.limits import ATTRIBUTES_BYTES_MAX, OPERATIONS_MAX

from .errors import InvalidKey, ReadOnly
from .ids import check_client
from .parameters import Parameters
from .rows import ERROR, LIST_KEYS, OWN_KEYS

_KEY: Final = re.compile(r"[A-Za-z0-9_]{1,256}")
_OPERATIONS: Final[Mapping[str, Literal["unset", "increment", "add", "add_unique", "remove"]]] = {
    "Delete": "unset",
    "Increment": "increment",
    "Add": "add",
    "AddUnique": "add_unique",
    "Remove": "remove",
}
"""The storage operators that are served, in the core's words."""

Change = Literal["set", "add", "remove"]


class People(msgspec.Struct, frozen=True):
    """A change of a list of users: that it becomes these, or that these are added or removed."""

    change: Change
    users: tuple[str, ...]


class Creation(msgspec.Struct, frozen=True):
    """A conversation to be made."""

    attributes: bytes
    members: tuple[str, ...]
    muted: tuple[str, ...]
    unique: bool


class Update(msgspec.Struct, frozen=True):
    """A conversation to be changed."""

    operations: tuple[Operation, ...]
    members: People | None
    muted: People | None


def creation(body: Mapping[str, Any], *, both: bool = False) -> Creation:
    """A create's body; the server's own fields in it are passed over, besides that a service conversation is `both`, as 1.1
    has it: then it shows `tr` too (LeanCloud 6.1). Raises InvalidCommand, InvalidKey, NameTooLong."""
    attributes: dict[str, Any] = {"tr": True} if both else {}
    for key, value in body.items():
        if key in OWN_KEYS | LIST_KEYS:
            continue
        op, operand = _operation(_checked(key), value)
        if op in ("add", "add_unique"):
            attributes[key] = operand
        elif op == "remove":
            attributes[key] = []
        elif op != "unset":
            attributes[key] = operand
    unique = Parameters(body).flag("unique")
    members, muted = (_initial(key, body.get(key)) for key in ("m", "mu"))
    return Creation(_json("attributes", attributes), members, muted, unique)


def update(body: Mapping[str, Any], *, members: bool) -> Update:
    """An update's body; with `members` it may change `m` too (LeanCloud 9). Raises InvalidCommand, InvalidKey, ReadOnly."""
    operations = []
    for key, value in body.items():
        if key in OWN_KEYS or (key == "m" and not members):
            raise ReadOnly(key)
        if key not in LIST_KEYS:
            op, operand = _operation(_checked(key), value)
            operations.append(Operation(key, op, _json(key, operand)))
    if len(operations) > OPERATIONS_MAX:
        raise InvalidCommand(f"attributes: at most {OPERATIONS_MAX} in one call")
    people = (_people(key, body[key]) if key in body else None for key in ("m", "mu"))
    return Update(tuple(operations), *people)


def _operation(key: str, value: Any) -> tuple[Literal["set", "unset", "increment", "add", "add_unique", "remove"], Any]:
    """What is to be done to a field, and with what."""
    if not isinstance(value, dict) or "__op" not in value:
        return "set", value
    name = value["__op"]
    op = _OPERATIONS.get(name) if isinstance(name, str) else None
    if op is None:
        raise InvalidCommand(f"{key}: __op must be one of {', '.join(_OPERATIONS)}")
    if op == "unset":
        return op, None
    operand = value.get("amount", 1) if op == "increment" else value.get("objects")
    if op == "increment" and (isinstance(operand, bool) or not isinstance(operand, int | float)):
        raise InvalidCommand(f"{key}: amount must be a number")
    if op != "increment" and not isinstance(operand, list):
        raise InvalidCommand(f"{key}: objects must be an array")
    return op, operand


def _people(key: str, value: Any) -> People:
    op, operand = _operation(key, value)
    if op == "unset":
        return People("set", ())
    if op == "increment" or not isinstance(operand, list) or not all(isinstance(each, str) for each in operand):
        raise InvalidCommand(f"{key}: must be an array of strings")
    change: Change = {"set": "set", "remove": "remove"}.get(op, "add")  # type: ignore[assignment]
    return People(change, tuple(check_client(key, each) for each in operand))


def _initial(key: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    people = _people(key, value)
    return people.users if people.change != "remove" else ()


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key) or key == ERROR:
        raise InvalidKey(key)
    return key


def _json(key: str, value: Any) -> bytes:
    try:
        json = msgspec.json.encode(value)
    except (OverflowError, RecursionError):
        raise InvalidCommand(f"{key}: has a number or a nesting that cannot be kept") from None
    if len(json) > ATTRIBUTES_BYTES_MAX:
        raise InvalidCommand(f"{key}: {len(json)} bytes are more than the {ATTRIBUTES_BYTES_MAX} allowed")
    return json
