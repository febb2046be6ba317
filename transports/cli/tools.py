"""What `postroom verify`, `rebuild`, `backup`, `log` and `inspect` do: run a tool of the storage and say what came of it.

Each returns the exit status: 0 if all is well, 1 if a check failed, 2 if the work could not begin. What is asked for goes to
stdout, everything else to stderr.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import Any, Final

import msgspec

from postroom.core.errors import Corruption, StorageFailure, StoreInUse, UnknownFormat
from postroom.core.ids import Position, UnixMs
from postroom.storage import backup as backups
from postroom.storage import rebuild as rebuilds
from postroom.storage import verify as checks
from postroom.storage.errors import NotADataDirectory, NotEnoughRoom, UnusablePlace
from postroom.storage.reading import PAGE_RECORDS, Reader
from postroom.storage.verify import Progress, Report

from . import recipient, wording
from .failures import EXIT_FAILED, EXIT_USAGE
from .wording import counted

POLL_S: Final = 0.25
"""How often `log --follow` looks for news: soon enough for eyes, four short reads a second."""
_TICK_S: Final = 1.0
_NOT_BEGUN: Final = (NotADataDirectory, NotEnoughRoom, UnusablePlace, UnknownFormat, StoreInUse)


def verify(directory: str | Path, *, scratch: str | Path | None = None, as_json: bool = False) -> int:
    """Check the directory and print the report."""
    with _ended(_after_damage(directory)) as end:
        with _ticker(f"verifying {directory}") as tick:
            report = checks.verify(Path(directory), scratch=Path(scratch) if scratch else None, progress=tick)
        if as_json:
            ids = {name: str(getattr(report, name)) for name in ("position", "base_position")}
            _print_json({"sound": report.sound} | _fields(report) | ids)
        else:
            _print(_report_lines(directory, report))
        if not report.sound:
            _say(_advice(directory, report))
            end.status = EXIT_FAILED
    return end.status


def rebuild(directory: str | Path, *, as_json: bool = False) -> int:
    """Recompute the live views and print what they are made of."""
    advice = "nothing was changed; restore the newest backup that `postroom verify` finds sound"
    with _ended(advice) as end:
        with _ticker(f"rebuilding {directory}") as tick:
            rebuilt = rebuilds.rebuild(Path(directory), progress=tick)
        if as_json:
            _print_json(_fields(rebuilt) | {"position": str(rebuilt.position)})
        else:
            _print(
                [
                    f"{directory}: live rebuilt from base and {rebuilt.log_records:,} log records, up to {rebuilt.position}",
                    f"  rows     {rebuilt.rows:,} (before: {rebuilt.rows_before:,})",
                    f"  entries  {rebuilt.entries:,} (before: {rebuilt.entries_before:,})",
                ]
            )
    return end.status


def backup(directory: str | Path, destination: str | Path, *, as_json: bool = False) -> int:
    """Copy the directory and print what the copy holds."""
    with _ended(f"there is no backup; {_after_damage(directory)}") as end:
        with _ticker(f"backing up {directory} to {destination}") as tick:
            made = backups.backup(Path(directory), Path(destination), progress=tick)
        if as_json:
            _print_json(_fields(made) | {"position": str(made.position), "destination": str(destination)})
        else:
            _print(
                [
                    f"{destination}: {made.records:,} records up to event {made.position}, {made.file_bytes:,} bytes",
                    f"  {directory} grew by {made.source_grown_bytes:,} bytes meanwhile",
                ]
            )
    return end.status


def log(directory: str | Path, *, follow: bool = False, as_json: bool = False, after: int | None = None) -> int:
    """Print the log's events, oldest first; with `follow` go on until interrupted."""
    with _ended(_after_damage(directory)) as end:
        try:
            with Reader(Path(directory)) as reader:
                for record in _records(reader, Position(after or 0), follow=follow):
                    _write(_dumped(wording.plain(record)) if as_json else wording.line(record))
        except KeyboardInterrupt:
            if not follow:
                raise
    return end.status


def inspect(directory: str | Path, *, app: str, user: str, as_json: bool = False) -> int:
    """Print the queue and the numbers of one user, and how much else waits for them."""
    with _ended(_after_damage(directory)) as end:
        with Reader(Path(directory)) as reader:
            found = recipient.read(reader, app, user, UnixMs(time.time_ns() // 1_000_000))
        if as_json:
            _print_json(recipient.plain(found))
        else:
            _print(recipient.lines(found))
        if found.problems:
            _say(f"{counted(len(found.problems), 'entry')} without a sound body; {_after_damage(directory)}")
            end.status = EXIT_FAILED
    return end.status


def _records(reader: Reader, after: Position, *, follow: bool) -> Iterator[Any]:
    """Records behind a position, as they are there; says so if some were trimmed that should have come."""
    resumed = after > 0
    while True:
        page = reader.log(after)
        if resumed and page.trimmed > after:
            _say(f"events after {after} up to {page.trimmed} are no longer in the log")
        yield from page.records
        if page.records:
            after, resumed = page.records[-1].position, True
        if not follow and not page.records:
            return
        if len(page.records) < PAGE_RECORDS:
            sys.stdout.flush()
            if follow:
                time.sleep(POLL_S)


def _report_lines(directory: str | Path, report: Report) -> Iterator[str]:
    """The report for a person."""
    if report.sound:
        yield f"{directory}: sound"
    else:
        yield f"{directory}: NOT SOUND, {counted(report.problems_total, 'problem')}"
        for problem in report.problems:
            yield f"  {problem.check}: {wording.safe(problem.what)}"
        if report.problems_total > len(report.problems):
            yield f"  … and {report.problems_total - len(report.problems):,} more"
    if report.file_bytes:
        yield f"  log      {counted(report.log_records, 'record')}, after {report.base_position} up to {report.position}"
        waiting = f"{counted(report.entries, 'entry')} in {counted(report.queues, 'queue')}"
        yield f"  live     {counted(report.rows, 'row')}; {waiting}"
        yield f"  bodies   {report.bodies:,}; {counted(report.kept, 'message')} in the history"
        if report.conversations:
            yield f"  records  {counted(report.conversations, 'conversation')}"
        yield f"  accounts {counted(report.users, 'recipient')} of {counted(report.apps, 'app')}"
        grown = f"; grew by {report.grown_bytes:,} while it was copied"
        yield f"  file     {report.file_bytes:,} bytes, {report.used_bytes:,} used{grown} ({report.copy_bytes:,} in scratch)"


def _advice(directory: str | Path, report: Report) -> str:
    """What to do about a report that is not good."""
    found = {problem.check for problem in report.problems}
    if "file" in found:
        return f"the file itself is damaged: stop the broker, keep {directory} as it is, and go on from a backup that is sound"
    if found & {"log", "base"}:
        return "base and log are what `rebuild` works from, so it cannot help: go on from a backup that is sound"
    if found & {"live", "queues", "history", "broadcasts", "conversations", "accounts"}:
        return (
            f"stop the broker, copy {directory} away, run `postroom rebuild {directory}` and verify again;"
            " if it is base that is damaged, only a backup helps"
        )
    return "bodies are kept once: what is damaged is in a backup or nowhere; everything else is as it should be"


def _after_damage(directory: str | Path) -> str:
    return f"`postroom verify {directory}` tells what else is damaged"


# How an end is told.


class _End:
    """The status a command ends with."""

    status = 0


@contextmanager
def _ended(advice: str) -> Iterator[_End]:
    """Turns what a tool raises into a status and a line on stderr; `advice` is for what is found damaged."""
    end = _End()
    try:
        yield end
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough. What Python would flush at its end has nowhere to go.
        with suppress(UnsupportedOperation, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Corruption, StorageFailure) as error:
        _say(wording.safe(str(error)))
        end.status = EXIT_USAGE if isinstance(error, _NOT_BEGUN) else EXIT_FAILED
        if isinstance(error, NotEnoughRoom):
            _say("make room there or use another file system; nothing was changed")
        elif isinstance(error, Corruption):
            _say(advice)


@contextmanager
def _ticker(what: str) -> Iterator[Callable[[Progress], None]]:
    """Says on stderr that something begins and that it has ended; on a terminal also how far it is, once a second."""
    terminal, began = sys.stderr.isatty(), time.monotonic()
    told = began

    def tick(progress: Progress) -> None:
        nonlocal told
        now = time.monotonic()
        if terminal and now - told >= _TICK_S:
            told = now
            share = f" {progress.done * 100 // progress.total} %" if progress.total else ""
            print(f"\r\x1b[K{what}: {progress.stage}{share}", end="", file=sys.stderr, flush=True)

    _say(what)
    try:
        yield tick
    finally:
        if terminal and told != began:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    _say(f"{what}: done in {time.monotonic() - began:.1f} s")


def _say(line: str) -> None:
    print(f"postroom: {line}", file=sys.stderr, flush=True)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def _print(lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        _write(line)


def _print_json(value: dict[str, Any]) -> None:
    _write(_dumped(value))


def _dumped(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(struct)
    fields.pop("type", None)
    return fields
