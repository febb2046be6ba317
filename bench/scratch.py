"""Where a benchmark's data lies while it runs."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
"""File systems on which fsync does nothing."""
_ESCAPE: Final = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


@contextmanager
def scratch(directory: str | None) -> Iterator[Path]:
    """A fresh directory below `directory`, or below the current one; gone when the block ends, by SIGTERM too.

    Raises UsageError if nobody named a directory and the current one is not on a disk; warns if the one named is not.
    """
    kind = filesystem(Path(directory or "."))
    if kind in IN_MEMORY:
        if directory is None:
            raise click.UsageError(
                f"the current directory is on {kind}, where fsync costs nothing: name a disk with --dir"
            )
        click.echo(f"warning: {directory} is on {kind}, where fsync costs nothing", err=True)
    with _terminable(), tempfile.TemporaryDirectory(prefix="postroom-bench-", dir=directory or ".") as path:
        yield Path(path).resolve()


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM be a Ctrl-C, which trio knows how to deliver: what is held is let go, servers included."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as shells have it in what they start with "&"
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def filesystem(path: Path) -> str:
    """The type of the file system that a path is on, as the kernel names it; "unknown" where it does not tell."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "unknown"
    best, kind = "", "unknown"
    real = os.path.realpath(path)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4]
        for code, char in _ESCAPE.items():
            point = point.replace(code, char)
        # A later mount on the same point hides the earlier one.
        if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
            best, kind = point, after.split(" ")[0]
    return kind
