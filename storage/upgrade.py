"""Views of an older version brought up to date: base, row by row. Live is then rebuilt from base + log (`storage.rebuild`).

Views 1 listed a kept message once, in the timeline of its conversation (a peer conversation was the same from either side),
and knew nothing of rooms, presence and results. What an event means did not change, so the log stays as it is.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final

from postroom.core.errors import Corruption
from postroom.core.ids import Place
from postroom.core.rows import Header, Kept

from . import keys
from .engine import BASE, Engine
from .history_views import Row, kept_rows
from .keys import PAIR, U64
from .records import decode_body

_CHUNK: Final = 1_000
_CLOCK_BYTES: Final = 20
"""Position, expiry clock, epoch."""
_TIMELINE_BYTES: Final = 33
"""Of a key: the letter, the timeline's digest, the place. Those of views 2 are longer."""


def upgraded_clock(value: bytes) -> bytes:
    """The clock row: no stay in a room is older than where the epoch began, so that may be anywhere. Raises Corruption."""
    if len(value) != _CLOCK_BYTES:
        raise Corruption("base: its clock row cannot be read")
    return value + U64.pack(0)


def upgraded_timeline(header: Header) -> tuple[bytes, tuple[Row, ...]]:
    """The key under which views 1 listed a kept message, and the rows of views 2 in its place, by what its body says."""
    place = Place(header.at_ms, header.id)
    conversation = header.conversation
    names = sorted((conversation.id, header.sender)) if conversation.kind == "peer" else [conversation.id]
    line = keys.digest(header.app, conversation.kind, str(conversation.line), *names)
    kept = Kept(conversation, header.sender, queued=header.queue, recalled=header.type == "recalled")
    return keys.TIMELINE + line + PAIR.pack(*place), kept_rows(header.app, place, kept)


def upgrade_base(engine: Engine, room_for: Callable[[int], None], say: Callable[[int, int], None]) -> None:
    """Bring base from views 1 to views 2; other rows and the queues stay as they are, later fields have their defaults.

    `room_for` is asked before so many rows are written, `say` told how many bodies of how many were looked at. Raises
    Corruption naming what is not as it was written.
    """
    clock = engine.get(BASE.rows, keys.CLOCK)
    if clock is not None:
        engine.put(BASE.rows, keys.CLOCK, upgraded_clock(clock))
    total = engine.count("bodies")
    for done, (key, value) in enumerate(engine.scan("bodies", b""), 1):
        header = decode_body(key, value).header
        if header.history and header.type != "deleted":
            old, rows = upgraded_timeline(header)
            if engine.get(BASE.rows, old) is not None:
                room_for(1 + len(rows))
                engine.delete(BASE.rows, old)
                for row in rows:
                    engine.put(BASE.rows, *row)
        say(done, total)
    _drop_old_timelines(engine, room_for)


def _drop_old_timelines(engine: Engine, room_for: Callable[[int], None]) -> None:
    """Rows whose message was deleted later in the log: no body is left of it."""
    after = keys.TIMELINE
    while True:
        rows = list(islice(engine.scan(BASE.rows, after, keys.TIMELINE), _CHUNK))
        if not rows:
            return
        room_for(len(rows))
        for key, _ in rows:
            if len(key) == _TIMELINE_BYTES:
                engine.delete(BASE.rows, key)
        after = rows[-1][0] + b"\0"
