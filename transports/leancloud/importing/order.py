"""The order in which messages were accepted, from the order of a file: of equal times, only the file's direction tells it."""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol, TypeVar

RUN_MAX: Final = 50_000
"""Messages of one time that are held to be turned round: some 50 MB. No service takes so many in a millisecond."""


class Timed(Protocol):
    """A record with its time."""

    @property
    def at_ms(self) -> int: ...


R = TypeVar("R", bound=Timed)


class TooMany(Exception):
    """More messages of one time than can be turned round."""


def in_order(files: Iterable[Iterable[R]]) -> Iterator[R]:
    """The records of all files as they come; but where a file falls in time, those of one time in reverse, also if they go on
    in the next file. A file falls if so far it fell more often than it rose; one of a single time as the files before. Raises
    TooMany."""
    run: list[R] = []
    run_ms: int | None = None
    run_fall = 0
    before = 0  # the same of the file before, or the last that rose or fell
    for file in files:
        fall = 0  # how much more often it fell
        last: int | None = None
        for record in file:
            if last is not None and record.at_ms != last:
                fall += 1 if record.at_ms < last else -1
            if record.at_ms != run_ms:
                yield from _turned(run, fall=run_fall or fall or before)
                run, run_ms, run_fall = [], record.at_ms, fall
            last = record.at_ms
            if len(run) == RUN_MAX:
                raise TooMany
            run.append(record)
            if run_fall < 0:  # nothing to turn round
                yield from run
                run = []
        before = fall or before
    yield from _turned(run, fall=run_fall or before)


def _turned(run: list[R], *, fall: int) -> Iterator[R]:
    return reversed(run) if fall > 0 else iter(run)
