"""A run of `idle`: two servers whose sessions grow in turn, and their memory before and after."""

from pathlib import Path
from typing import Final

import click
import msgspec
import trio

from postroom.storage.lmdb import LmdbStore

from .. import result, servers
from ..result import OURS, Result
from ..rounds import FsyncProbe, Side, interleave
from ..scratch import scratch
from ..servers import Server
from ..sessions.app import allow_open_files
from ..sessions.session import Session
from .load import Crowd
from .settings import SECONDS, WARMUP, Settings

BASELINE: Final = "bare_hypercorn"


class IdleResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `idle`. Its operations are sessions that opened; the figure is `session_bytes`."""

    host: str
    """Which of our HTTP hosts carried the sessions."""
    sessions: int
    session_bytes: int
    """Memory that a session takes."""
    baseline_session_bytes: dict[str, int]
    session_bytes_ratios: dict[str, float]
    """`session_bytes` in parts of each baseline's: less than 1 is less memory."""
    rss_bytes: dict[str, tuple[int, int]]
    """Of each server, before and after."""


def run(settings: Settings, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError."""
    with scratch(directory) as place:
        measured = _measure(settings, place)
    headline = f"{settings.sessions:,} idle sessions at {measured.host}; an operation is a session that opened"
    result.report(measured, headline, as_json=as_json)
    if not as_json:
        for name, (before, after) in measured.rss_bytes.items():
            each = measured.baseline_session_bytes.get(name, measured.session_bytes)
            ratio = measured.session_bytes_ratios.get(name)
            click.echo(
                f"  {name}: {each / 1000:,.1f} kB a session ({before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB after)"
                + (f"; ours {ratio:.2f} of that" if ratio else "")
            )


def _measure(settings: Settings, place: Path) -> IdleResult:
    allow_open_files(2 * (settings.sessions + WARMUP))
    config = place / "postroom.toml"
    config.write_text(settings.config(), encoding="utf-8")
    with servers.postroom(config, settings.host, place / "data", place / "postroom.log") as ours:
        file = place / "frames"
        file.write_bytes(msgspec.msgpack.encode([_welcome(ours, settings)]))
        bare = servers.running("bare hypercorn", ["postroom.bench.drain.bare", str(file)], place / "bare.log")
        with (
            bare as theirs,
            Crowd(ours, settings) as our_crowd,
            Crowd(theirs, settings) as their_crowd,
            FsyncProbe(place) as probe,
        ):
            return trio.run(_rounds, settings, our_crowd, their_crowd, probe, place)


def _welcome(server: Server, settings: Settings) -> bytes:
    """What a server says first."""
    session = Session(server.address)
    with session.socket:
        session.say(settings.opening(0))
        session.upgraded()
        return session.answer()


async def _rounds(settings: Settings, ours: Crowd, theirs: Crowd, probe: FsyncProbe, place: Path) -> IdleResult:
    sides: dict[str, Side] = {OURS: ours, BASELINE: theirs}
    series = await interleave(sides, probe, SECONDS)
    return IdleResult(
        bench="idle",
        payload_bytes=0,
        concurrency=settings.sessions,
        durability="fsync" if LmdbStore.durable else "memory",
        recipients=settings.sessions,
        history=False,
        seed=settings.seed,
        host=settings.host,
        sessions=settings.sessions,
        session_bytes=ours.session_bytes,
        baseline_session_bytes={BASELINE: theirs.session_bytes},
        session_bytes_ratios={BASELINE: round(ours.session_bytes / (theirs.session_bytes or 1), 3)},
        rss_bytes={OURS: (ours.before, ours.after), BASELINE: (theirs.before, theirs.after)},
        **result.common(series, probe, place, None),
    )
