"""Two sets of views, row by row: what is missing, what is too much, what is different, in words."""

from collections.abc import Iterator
from typing import Any

from .. import keys
from ..engine import Engine, State
from ..keys import unpack_entry
from .rows import FIELDS, MISFITS, queue_name, row_name

Pair = tuple[bytes, Any]


def differences(engine: Engine, expected: State, actual: State) -> Iterator[str]:
    """Each row and queue in which `actual` is not `expected`, as a sentence that names it."""
    for key, want, have in _paired(engine.scan(expected.rows, b""), engine.scan(actual.rows, b"")):
        if want != have:
            yield f"{actual.rows}: {row_name(key, have or want)} {_row_difference(key, want, have)}"
    for key, want, have in _paired(_sets(engine, expected), _sets(engine, actual)):
        if want != have:
            yield f"{actual.queues}: {queue_name(engine, key)} {_queue_difference(want or (), have or ())}"


def _row_difference(key: bytes, want: bytes | None, have: bytes | None) -> str:
    if have is None:
        return "is missing; base + log give one"
    if want is None:
        return "is not what base + log give: they give none"
    fields = FIELDS.get(key[:1])
    try:
        if fields:
            wanted, had = fields(want), fields(have)
            told = [
                f"{name} is {had[name]!r}, should be {wanted[name]!r}" for name in wanted if wanted[name] != had[name]
            ]
            if told:
                return "is not what base + log give: " + ", ".join(told)
    except MISFITS:
        return f"cannot be read: {have.hex()}, should be {want.hex()}"
    return f"is not what base + log give: {have.hex()}, should be {want.hex()}"


def _queue_difference(want: tuple[bytes, ...], have: tuple[bytes, ...]) -> str:
    for name, entries in (("lacks", set(want) - set(have)), ("should not hold", set(have) - set(want))):
        if entries:
            first = unpack_entry(min(entries))
            more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
            return f"{name} entry {first.position} (seq {first.seq}, expires_s {first.expires_s}){more}"
    return "has the same entries in another order"


def _sets(engine: Engine, state: State) -> Iterator[Pair]:
    for key, _ in engine.set_firsts(state.queues, b""):
        yield key, tuple(engine.set_scan(state.queues, key, keys.ENTRY_MIN))


def _paired(left: Iterator[Pair], right: Iterator[Pair]) -> Iterator[tuple[bytes, Any, Any]]:
    """Both sides' values under each key, in order; None where a side has none."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0], a[1], None
            a = next(left, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b[1]
            b = next(right, None)
        else:
            yield a[0], a[1], b[1]
            a, b = next(left, None), next(right, None)
