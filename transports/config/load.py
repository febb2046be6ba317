"""From a TOML file to a checked configuration; every error becomes one line that names the key and its table."""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Final, NoReturn

import msgspec
from msgspec import inspect

from .checks import check
from .errors import ConfigError
from .limits import parse_limits
from .tables import Config

FILE_BYTES_MAX: Final = 1 << 20
"""A thousand apps fit; what is larger is not a configuration file."""

_SYNTAX: Final = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.S)
_INVALID: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.S)
_FIELD: Final = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<key>.*)`", re.S)


def load(path: str | Path) -> tuple[Config, list[str]]:
    """Read and check a file: the configuration, and a line for each thing its owner should know.

    Raises ConfigError, its message beginning with the path. Reads nothing but this file.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except ValueError:  # a NUL in the path
        raise ConfigError(f"{path}: not a path") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
    try:
        return parse(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


def parse(content: bytes) -> tuple[Config, list[str]]:
    """The content of a configuration file, checked, with its warnings. Raises ConfigError, without a path."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"line {line}: not UTF-8 text") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax(str(error), text)) from None
    except RecursionError:
        raise ConfigError("arrays or tables are nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"a value cannot be read: {error}") from None
    config = convert(raw)
    return config, check(config)


def convert(raw: dict[str, object]) -> Config:
    """The tables of a file as values, types and ranges checked. Raises ConfigError."""
    try:
        return msgspec.convert(_with_limits(raw), Config)
    except msgspec.ValidationError as error:
        _refuse(str(error))


def _with_limits(raw: dict[str, object]) -> dict[str, object]:
    """`raw` with each `[apps.limits]` as a value; whatever has another shape is left for the conversion to refuse."""
    apps = raw.get("apps")
    if not isinstance(apps, list):
        return raw
    done: list[object] = []
    for index, app in enumerate(apps):
        if isinstance(app, dict) and isinstance(app.get("limits"), dict):
            done.append(app | {"limits": parse_limits(app["limits"], f"apps[{index}].limits")})
        else:
            done.append(app)
    return raw | {"apps": done}


def _syntax(message: str, text: str) -> str:
    """A TOML error with its place in front."""
    match = _SYNTAX.fullmatch(message)
    if match is None:
        return message
    if match["line"] is None:
        return f"line {text.count(chr(10)) + 1}, at the end of the file: {match['what']}"
    return f"line {match['line']}, column {match['column']}: {match['what']}"


def _refuse(message: str) -> NoReturn:
    """Raise what msgspec found wrong in the words of the file: the key, and what it must be."""
    invalid = _INVALID.fullmatch(message)
    assert invalid is not None  # it matches any text
    place: str = invalid["place"] or ""
    field = _FIELD.fullmatch(invalid["what"])
    if field is None:
        raise ConfigError(f"{place}: must be {_expected(_type_at(place))}")
    key = f"{place}.{field['key']}" if place else field["key"]
    if field["what"] == "missing required":
        raise ConfigError(f"{key}: is missing; it must be {_expected(_type_at(key))}")
    table = _type_at(place)
    known = [item.encode_name for item in table.fields] if isinstance(table, inspect.StructType) else []
    close = difflib.get_close_matches(field["key"], known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    raise ConfigError(f"{key}: unknown key; {hint}")


def _type_at(place: str) -> inspect.Type:
    """The type that the configuration has at a place such as `apps[0].queue.days`."""
    found: inspect.Type = inspect.type_info(Config)
    for part in re.findall(r"\[\d+\]|[^.\[\]]+", place):
        if isinstance(found, inspect.UnionType):  # a table that may be absent
            found = found.types[0]
        if isinstance(found, inspect.VarTupleType):
            found = found.item_type
        elif isinstance(found, inspect.StructType):
            found = next(item.type for item in found.fields if item.encode_name == part)
    return found


def _expected(kind: inspect.Type) -> str:
    """What a value of this type is, for somebody who writes TOML."""
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(_expected(item) for item in types if not isinstance(item, inspect.NoneType))
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)
        case inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number from {low} to {high}"
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType(min_length=length):
            return "a string, not empty" if length else "a string"
        case inspect.VarTupleType(item_type=inspect.StructType()):
            return "a list of tables, each under its own [[apps]]"
        case inspect.VarTupleType():
            return "a list of strings, none empty"
        case _:
            return "a table"
