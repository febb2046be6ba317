"""Measuring several sides in turn, in short slices, so that a disturbance meets all of them."""

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, Self

import msgspec

from .failure import BenchFailure
from .figures import Series, Slice, Times

SLICE_S: Final = 0.5
"""Long against a commit, short against what else happens on a machine."""
ROUNDS_MIN: Final = 2
WARMUP_S: Final = 1.0
"""Caches, first copies to many users, connections; less in a short run."""
FSYNC_SHARE: Final = 10
"""A round spends one part in so many of a slice on fsyncs alone."""
FSYNCS_MIN: Final = 5
_PAGE: Final = bytes(range(256)) * 16


class Side(Protocol):
    """One of those that are compared."""

    async def run(self, seconds: float) -> Slice:
        """Work for this long, end what was begun, and say what was done. Raises BenchFailure."""


class FsyncProbe:
    """A raw fsync loop: a page at the end of a file, then fsync, again and again."""

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / "fsync", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.times = Times()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def run(self, seconds: float) -> None:
        """Sync for this long, at least a few times."""
        end = time.perf_counter() + seconds
        count = 0
        while count < FSYNCS_MIN or time.perf_counter() < end:
            os.write(self._descriptor, _PAGE)
            began = time.perf_counter()
            os.fsync(self._descriptor)
            self.times.add([(time.perf_counter() - began) * 1000])
            count += 1


class Plan(msgspec.Struct, frozen=True):
    """How the time of a run is cut up."""

    rounds: int
    slice_s: float
    warmup_s: float


def plan(seconds: float) -> Plan:
    """So many seconds a side, in equal slices."""
    rounds = max(ROUNDS_MIN, math.ceil(seconds / SLICE_S))
    return Plan(rounds, seconds / rounds, min(WARMUP_S, seconds / 2))


async def interleave(sides: Mapping[str, Side], probe: FsyncProbe, seconds: float) -> dict[str, Series]:
    """What every side did, each measured for so many seconds in all, after a warm-up that is not counted.

    Raises BenchFailure if a side fails or gets nothing done.
    """
    planned = plan(seconds)
    for side in sides.values():
        await side.run(planned.warmup_s)
    series = {name: Series() for name in sides}
    for _ in range(planned.rounds):
        for name, side in sides.items():
            done = await side.run(planned.slice_s)
            if not done.ops:
                raise BenchFailure(f"{name} got nothing done in {planned.slice_s:.2f} s")
            series[name].add(done)
        probe.run(planned.slice_s / FSYNC_SHARE)
    return series
