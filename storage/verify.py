"""Is everything on disk what was written, and does it fit together? Reads only; a broker may run beside."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import msgspec

from postroom.core.errors import StorageFailure, UnknownFormat

from .checking.report import Line, NoRoom, Problem, Progress, Report, Unusable
from .errors import NotADataDirectory, NotEnoughRoom, UnusablePlace

__all__ = ["Problem", "Progress", "Report", "verify"]

_CHILD: Final = "postroom.storage.checking"
_decoder: Final = msgspec.json.Decoder(Line)


def verify(directory: Path, *, scratch: Path | None = None, progress: Callable[[Progress], None]) -> Report:
    """Check a copy of the data: CRCs, base + log against live, bodies and their owners, the accounting identity.

    Nothing is written to `directory` (a broker sees one more reader while the copy is made). The copy goes to a new
    directory below `scratch` (default: the temporary one), and is gone at the end. If the reading process dies over a
    damaged page, the report says that. Raises NotADataDirectory, UnknownFormat, NotEnoughRoom, UnusablePlace, or
    StorageFailure if the check could not be made.
    """
    if scratch is not None and scratch.resolve().is_relative_to(directory.resolve()):
        raise UnusablePlace(f"{scratch} lies in the data directory, which is only read; give another scratch directory")
    try:
        place = tempfile.TemporaryDirectory(prefix="postroom-verify-", dir=scratch)
    except OSError as error:
        raise UnusablePlace(f"{scratch or tempfile.gettempdir()}: no scratch directory: {error.strerror}") from error
    with place as name:
        return _run(directory, Path(name), progress)


def _run(directory: Path, place: Path, progress: Callable[[Progress], None]) -> Report:
    with (place / "stderr").open("w+b") as stderr:
        command = [sys.executable, "-m", _CHILD, str(directory.resolve()), str(place)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL) as child:
            assert child.stdout is not None
            try:
                report, problems = _listen(child.stdout, place.parent, progress)
            except BaseException:
                child.kill()
                raise
        if report is not None:
            return report
        if child.returncode >= 0:
            stderr.seek(0)
            last = stderr.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise StorageFailure(f"the check of {directory} ended with status {child.returncode}: {last[0]}")
    name = signal.Signals(-child.returncode).name
    why = f"the process that read {directory} was killed by {name}: a page that it needs is damaged or not there"
    if -child.returncode in (signal.SIGKILL, signal.SIGTERM):
        why = f"the process that read {directory} was killed by {name} before it had seen everything"
    return Report(problems=(*problems, Problem("file", why)), problems_total=len(problems) + 1)


def _listen(
    lines: IO[bytes], scratch: Path, progress: Callable[[Progress], None]
) -> tuple[Report | None, list[Problem]]:
    """The report, or None and the problems told before the child ended without one."""
    problems: list[Problem] = []
    report = None
    for line in lines:
        try:
            said = _decoder.decode(line)
        except msgspec.DecodeError:
            continue  # cut off in the middle by what ended the child
        match said:
            case Progress():
                progress(said)
            case Problem():
                problems.append(said)
            case Report():
                report = said
            case NoRoom(needed, free):
                raise NotEnoughRoom(scratch, needed, free)
            case Unusable(reason, message):
                raise {"not-a-data-directory": NotADataDirectory, "unknown-format": UnknownFormat}.get(
                    reason, StorageFailure
                )(message)
    return report, problems
