"""Bytes from outside to values: JSON bodies, queries, path segments. Whatever is wrong with them is InvalidCommand."""

import re
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from postroom.core.errors import InvalidCommand

T = TypeVar("T")

MEMBER: Final = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<member>[^`]*)`$", re.DOTALL)
"""How msgspec names the place of a validation error."""
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
SURROGATE: Final = re.compile(_HIGH + rb"(?!" + _LOW + rb")|(?<!" + rb"\\u[dD][89abAB]..)" + _LOW)
"""The escape of half a character beyond 16 bits, without the other half."""
MISSING: Final = re.compile(r"^Object missing required field `(?P<member>[^`]*)`(?P<rest>.*)$", re.DOTALL)


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """A JSON body as a value of the decoder's type, nothing converted; members that it does not have are ignored.

    Raises InvalidCommand, which names the offending member: not UTF-8, not JSON, nested too deeply, another type.
    """
    try:
        # msgspec does not look into members it skips, so the check for UTF-8 is a pass of its own.
        body.isascii() or body.decode()
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidCommand(_named(str(error))) from None
    except msgspec.DecodeError as error:
        if SURROGATE.search(body):  # of which the decoder says that the data ends too early
            raise InvalidCommand("body: a text with half of a surrogate pair cannot be kept") from None
        raise InvalidCommand(f"body: not JSON ({error})") from None
    except UnicodeDecodeError:
        raise InvalidCommand("body: not UTF-8") from None
    except RecursionError:
        raise InvalidCommand("body: nested too deeply") from None


def _named(error: str) -> str:
    """msgspec's message, member first: "Expected `str` - at `$.a`" becomes "a: expected `str`"."""
    missing = MISSING.match(error)
    if missing:
        where = MEMBER.match(missing["rest"])
        return f"{where['member'] + '.' if where else ''}{missing['member']}: required"
    found = MEMBER.match(error)
    what, member = (found["what"], found["member"]) if found else (error, "body")
    return f"{member or 'body'}: {what[:1].lower()}{what[1:]}"


def parse_query(query_string: bytes) -> list[tuple[str, str]]:
    """The pairs of a query, form-decoded: `+` and `%20` are blanks. Raises InvalidCommand if a pair is not UTF-8.

    Pairs without a name are ignored (documented URLs begin `?&`), blanks round a value are trimmed (a public sample has
    one after `wait_for_ack=true`), a name without `=` has the empty value.
    """
    pairs = []
    for pair in query_string.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name:
            pairs.append((_form_decoded(name), _form_decoded(value).strip(" \t")))
    return pairs


def _form_decoded(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise InvalidCommand("query: not UTF-8") from None


def decode_segment(raw: str, name: str) -> str:
    """A path segment, percent-decoded exactly once; `+` stays `+`. Raises InvalidCommand if it is not UTF-8."""
    if "%" not in raw and raw.isascii():
        return raw
    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise InvalidCommand(f"{name}: not UTF-8") from None


def utf8(raw: bytes, name: str) -> str:
    """A header's value as text. Raises InvalidCommand if it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidCommand(f"{name}: not UTF-8") from None
