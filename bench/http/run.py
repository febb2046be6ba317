"""A run of `http`: the servers, the rounds, the report."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import trio

from postroom.storage.lmdb import LmdbStore

from .. import result, servers
from ..failure import BenchFailure
from ..figures import Series
from ..hosts import Host
from ..result import OURS, Result
from ..rounds import FsyncProbe, Side, interleave
from ..scratch import scratch
from ..servers import Address
from . import wire
from .bare_hypercorn import Reply
from .load import Load, exchange
from .settings import MARK, Settings

BASELINES: Final[dict[Host, tuple[str, ...]]] = {
    "hypercorn": ("bare_hypercorn",),
    "h11": ("bare_h11", "bare_hypercorn"),
}
"""Modules of this package, each a program."""


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
    with ExitStack() as running, FsyncProbe(place) as probe:
        ours = running.enter_context(servers.postroom(config, settings.host, place / "data", place / "postroom.log"))
        addresses = {OURS: ours.address}
        reply = _answer(ours.address, settings)
        file = place / "reply"
        file.write_bytes(msgspec.msgpack.encode(reply))
        for name in BASELINES[settings.host]:
            started = servers.running(name, [f"postroom.bench.http.{name}", str(file)], place / f"{name}.log")
            addresses[name] = running.enter_context(started).address
            if _answer(addresses[name], settings) != reply:
                raise BenchFailure(f"{name} does not answer as postroom does")
        series = trio.run(_series, settings, addresses, probe, seconds)
        return HttpResult(
            bench="http",
            payload_bytes=settings.payload_bytes,
            concurrency=settings.connections,
            durability="fsync" if LmdbStore.durable else "memory",
            recipients=settings.recipients,
            history=settings.history,
            seed=settings.seed,
            host=settings.host,
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
    with ExitStack() as opened:
        sides: dict[str, Side] = {
            name: opened.enter_context(Load(address, settings.requests(), MARK, settings.connections, settings.rate))
            for name, address in addresses.items()
        }
        return await interleave(sides, probe, seconds)
