"""A run of `http`: two servers, the rounds, the report."""

from pathlib import Path

import msgspec
import trio

from postroom.storage.lmdb import LmdbStore

from .. import result, servers
from ..failure import BenchFailure
from ..figures import Series
from ..result import OURS, Result
from ..rounds import FsyncProbe, interleave
from ..scratch import scratch
from ..servers import Address
from . import wire
from .bare import Reply
from .load import Load, exchange
from .settings import MARK, Settings

BASELINE = "bare_hypercorn"


class HttpResult(Result, frozen=True, kw_only=True, omit_defaults=True):
    """A result of `http`. Its `concurrency` is the number of connections."""

    host: str
    """Which of our HTTP hosts carried the requests."""


def run(settings: Settings, seconds: float, directory: str | None, *, as_json: bool) -> None:
    """Measure and print. Raises BenchFailure, UsageError."""
    with scratch(directory) as place:
        measured = _measure(settings, seconds, place)
    headline = (
        f"{settings.connections:,} connections to {measured.host}, {settings.payload_bytes:,} bytes each to "
        f"{settings.recipients:,} recipients"
    )
    result.report(measured, headline, as_json=as_json)


def _measure(settings: Settings, seconds: float, place: Path) -> HttpResult:
    config = place / "postroom.toml"
    config.write_text(settings.config(), encoding="utf-8")
    with servers.postroom(config, place / "data", place / "postroom.log") as ours:
        reply = _answer(ours, settings)
        file = place / "reply"
        file.write_bytes(msgspec.msgpack.encode(reply))
        bare = servers.running("bare hypercorn", ["postroom.bench.http.bare", str(file)], place / "bare.log")
        with bare as theirs, FsyncProbe(place) as probe:
            if _answer(theirs, settings) != reply:
                raise BenchFailure("bare hypercorn does not answer as postroom does")
            series = trio.run(_series, settings, {OURS: ours, BASELINE: theirs}, probe, seconds)
        return HttpResult(
            bench="http",
            payload_bytes=settings.payload_bytes,
            concurrency=settings.connections,
            durability="fsync" if LmdbStore.durable else "memory",
            recipients=settings.recipients,
            history=settings.history,
            seed=settings.seed,
            host="hypercorn",
            **result.common(series, probe, place, settings.rate),
        )


def _answer(address: Address, settings: Settings) -> Reply:
    """What a server says to the first request, checked."""
    answer = exchange(address, next(settings.requests()))
    wire.check(answer, MARK)
    return Reply(*wire.split(answer))


async def _series(
    settings: Settings, addresses: dict[str, Address], probe: FsyncProbe, seconds: float
) -> dict[str, Series]:
    ours, theirs = (
        Load(address, settings.requests(), MARK, settings.connections, settings.rate) for address in addresses.values()
    )
    with ours, theirs:
        return await interleave(dict(zip(addresses, (ours, theirs), strict=True)), probe, seconds)
