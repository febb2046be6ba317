"""What `postroom import` does: opens the directory as a broker does, takes an export over, and tells what became of it.

Progress and refusals go to stderr; the report is one line of JSON on stdout.
"""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

import msgspec
import trio

from postroom.core import Options, open_broker
from postroom.core.errors import StoreInUse, UnknownFormat
from postroom.transports.config import Config
from postroom.transports.leancloud.importing import ExportFile, Importer, Report, Stopped

from .failures import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from .wording import counted, safe

TICK_S: Final = 1.0
"""How often it is said how far the import is; with a batch in between that is every 2 s at least."""
_MIB: Final = 1 << 20


class _Run:
    """One import, from the command line."""

    def __init__(self, config: Config, directory: str, app: str, paths: Sequence[str], *, create_missing: bool) -> None:
        self._config = config
        self._directory = directory
        self._app = app
        self._files = [ExportFile(path) for path in paths]
        self._create_missing = create_missing
        self._importer: Importer | None = None
        self._began = self._told = time.monotonic()
        self._interrupted = False
        self._why = ""

    def end(self) -> int:
        """Carry it out; the exit status."""
        with self._interruptible():
            try:
                report = trio.run(self._take)
            except (StoreInUse, UnknownFormat) as error:
                _say(safe(str(error)))
                return EXIT_USAGE
        for refused in report.refused:
            _say(safe(f"{refused.file}: record {refused.record}: {refused.reason} ({refused.code})"))
        if report.refusals > len(report.refused):
            _say(f"and {counted(report.refusals - len(report.refused), 'record')} more refused")
        if self._why:
            _say(f"{safe(self._why)}; what was taken stays: repeat the command for the rest")
        elif self._interrupted:
            _say("stopped; what was taken stays: repeat the command for the rest")
        told = msgspec.to_builtins(report) | {"seconds": round(time.monotonic() - self._began, 1)}
        print(msgspec.json.encode(told).decode(), flush=True)
        if self._interrupted:
            return EXIT_INTERRUPTED
        return EXIT_FAILED if report.refusals or self._why else 0

    async def _take(self) -> Report:
        server = self._config.server
        options = Options(log_retention_ms=server.log_retention_ms, session_buffer_bytes=server.session_buffer_bytes)
        async with open_broker(self._directory, rules=self._config.rules, options=options) as broker:
            importer = self._importer = Importer(
                broker, self._app, self._files, create_missing=self._create_missing, each=self._tick
            )
            importer.stopping = self._interrupted
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_ticking)
                try:
                    await importer.run()
                except Stopped as stopped:
                    self._why = str(stopped)
                nursery.cancel_scope.cancel()
        self._tell()
        return importer.report

    async def _keep_ticking(self) -> None:
        """While a commit takes long."""
        while True:
            await trio.sleep(TICK_S)
            self._tick()

    def _tick(self) -> None:
        if time.monotonic() - self._told >= TICK_S:
            self._tell()

    def _tell(self) -> None:
        assert self._importer is not None
        self._told = time.monotonic()
        report, size = self._importer.report, self._importer.size_bytes
        share = self._importer.done_bytes * 100 // size if size else 100
        done = ", ".join(
            f"{counted(each.imported, what)} ({each.duplicates:,} known before, {each.refused:,} refused)"
            for what, each in (("conversation", report.conversations), ("message", report.messages))
        )
        _say(f"{share} % of {size / _MIB:,.1f} MiB: {done}")

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM ends the import behind the batch under way, the second at once: both may be repeated."""

        def stop(number: int, _: FrameType | None) -> None:
            self._interrupted = True
            if self._importer is not None:
                self._importer.stopping = True
            signal.signal(number, signal.SIG_DFL)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def leancloud(config: Config, directory: str, app: str, paths: Sequence[str], *, create_missing: bool) -> int:
    """Take files of LeanCloud over into an app of a data directory, which no broker may have open."""
    return _Run(config, directory, app, paths, create_missing=create_missing).end()


def _say(line: str) -> None:
    print(f"postroom: {line}", file=sys.stderr, flush=True)
