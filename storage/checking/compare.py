"""Two sets of views, row by row: what is missing, what is too much, what is different, in words."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from postroom.core.rows import ChangedRow, DedupRow, Totals, UserRow

from .. import keys
from ..engine import Engine, State
from ..keys import CLOCK_ROW, unpack_entry
from .replay import MISFITS

Pair = tuple[bytes, Any]

KINDS: Final = {
    keys.CLOCK: "clock",
    keys.APP: "app",
    keys.USER: "user",
    keys.SESSION: "session",
    keys.EPOCH: "epoch",
    keys.DEDUP: "dedup",
    keys.DEDUP_END: "dedup end",
    keys.CHANGED: "changed message",
    keys.CHANGE: "change",
    keys.TIMELINE: "timeline",
}
"""The kind of row by its key's first letter."""


def _clock(value: bytes) -> dict[str, object]:
    return dict(zip(("position", "clock_ms", "epoch"), CLOCK_ROW.unpack(value), strict=True))


def _struct(type: Any) -> Callable[[bytes], dict[str, object]]:
    decoder = msgspec.msgpack.Decoder(type)
    return lambda value: msgspec.structs.asdict(decoder.decode(value))


def _app(value: bytes) -> dict[str, object]:
    app, totals = msgspec.msgpack.decode(value, type=tuple[str, Totals])
    return {"app": app} | msgspec.structs.asdict(totals)


_FIELDS: Final[dict[bytes, Callable[[bytes], dict[str, object]]]] = {
    keys.CLOCK: _clock,
    keys.APP: _app,
    keys.USER: _struct(UserRow),
    keys.DEDUP: _struct(DedupRow),
    keys.CHANGED: _struct(ChangedRow),
}


def differences(engine: Engine, expected: State, actual: State) -> Iterator[str]:
    """Each row and queue in which `actual` is not `expected`, as a sentence that names it."""
    for key, want, have in _paired(engine.scan(expected.rows, b""), engine.scan(actual.rows, b"")):
        if want != have:
            yield f"{actual.rows}: {row_name(key, have or want)} {_row_difference(key, want, have)}"
    for key, want, have in _paired(_sets(engine, expected), _sets(engine, actual)):
        if want != have:
            yield f"{actual.queues}: {queue_name(engine, key)} {_queue_difference(want or (), have or ())}"


def row_name(key: bytes, value: bytes) -> str:
    """A row as a reader would look for it: kind, letter, key, and the names that it carries."""
    letter = key[:1]
    name = f"{KINDS.get(letter, 'unknown')} row '{letter.decode(errors='replace')}' {key[1:].hex() or '-'}"
    try:
        if letter == keys.USER:
            row = msgspec.msgpack.decode(value, type=UserRow)
            return f"{name} (app {row.app!r}, user {row.user!r})"
        if letter == keys.APP:
            return f"{name} (app {_app(value)['app']!r})"
        if letter == keys.EPOCH:
            app, user = msgspec.msgpack.decode(value, type=tuple[str, str])
            return f"{name} (app {app!r}, user {user!r})"
    except MISFITS:
        return f"{name} (its value cannot be read)"
    return name


def queue_name(engine: Engine, key: bytes) -> str:
    """A queue by its key and, if either state knows them, its app and user."""
    for value in (engine.get("live", keys.USER + key), engine.get("base", keys.USER + key)):
        try:
            if value is not None:
                row = msgspec.msgpack.decode(value, type=UserRow)
                return f"queue {key.hex()} (app {row.app!r}, user {row.user!r})"
        except MISFITS:
            continue
    return f"queue {key.hex()}"


def _row_difference(key: bytes, want: bytes | None, have: bytes | None) -> str:
    if have is None:
        return "is missing; base + log give one"
    if want is None:
        return "is not what base + log give: they give none"
    fields = _FIELDS.get(key[:1])
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
