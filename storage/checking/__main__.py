"""The process that checks: `python -m postroom.storage.checking DIRECTORY SCRATCH`, one JSON line after the other.

It is a process of its own because a page that is not in the file ends whoever touches it. `postroom.storage.verify`
reads the lines and judges the end.
"""

import sys
from pathlib import Path

import lmdb
import msgspec

from postroom.core.errors import StorageFailure, UnknownFormat

from ..engine import BASE, LIVE
from ..errors import NotADataDirectory, NotEnoughRoom
from .accounts import AccountCheck
from .bodies import BodyCheck
from .compare import differences
from .conversations import ConversationCheck
from .copy import Copy, Source, copy_out
from .owned import Owned
from .replay import LogCheck, opened
from .report import Line, NoRoom, Problems, Progress, Report, Unusable

_encoder = msgspec.json.Encoder()


def main() -> int:
    """Check and tell. 0 if there is a report, whatever it says."""
    directory, scratch = map(Path, sys.argv[1:3])
    try:
        _tell(_check(directory, scratch))
    except NotEnoughRoom as error:
        _tell(NoRoom(error.needed_bytes, error.free_bytes))
    except NotADataDirectory as error:
        _tell(Unusable("not-a-data-directory", str(error)))
    except UnknownFormat as error:
        _tell(Unusable("unknown-format", str(error)))
    except StorageFailure as error:
        _tell(Unusable("failure", str(error)))
    except BrokenPipeError:
        return 1  # nobody listens any more
    return 0


def _tell(line: Line) -> None:
    sys.stdout.buffer.write(_encoder.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _check(directory: Path, scratch: Path) -> Report:
    problems = Problems(_tell)
    place = scratch / "copy"
    place.mkdir()
    source = copy_out(directory, place, problems, _tell)
    report = Report()
    if source is not None:
        try:
            report = _walk(place, scratch / "owned", source, problems)
        except lmdb.Error as error:
            problems.add("file", f"the copy of {directory} cannot be read: {error}")
    return msgspec.structs.replace(report, problems=problems.kept, problems_total=problems.total)


def _walk(place: Path, owned_at: Path, source: Source, problems: Problems) -> Report:
    """Everything that can be told from the copy."""
    with Copy(place, source.needed_bytes) as copy:
        log = LogCheck(copy, problems)
        for progress in log.run():
            _tell(progress)
        with copy.reading() as engine, Owned(owned_at) as owned:
            live = opened(engine, LIVE)
            rows = engine.count("live")
            if log.applied:
                _tell(Progress("comparing"))
                for difference in differences(engine, BASE, LIVE):
                    problems.add("live", difference)
            else:
                problems.add("live", "live was not compared: base + log end before the log does")
            accounts = AccountCheck(engine, problems)
            for progress in accounts.run():
                _tell(progress)
            report = Report(
                base_position=log.base_position,
                log_records=log.records,
                rows=rows,
                users=accounts.users,
                apps=accounts.apps,
                file_bytes=source.file_bytes,
                used_bytes=source.used_bytes,
                grown_bytes=source.grown_bytes,
                copy_bytes=copy.size_bytes,
            )
            if live is None:
                problems.add("live", "live: its clock row cannot be read; queues and bodies were not checked")
                return report
            conversations = ConversationCheck(engine, live, problems)
            for progress in conversations.run():
                _tell(progress)
            bodies = BodyCheck(engine, live, owned, problems)
            for progress in bodies.run():
                _tell(progress)
        return msgspec.structs.replace(
            report,
            position=live.position,
            bodies=bodies.bodies,
            queues=bodies.queues,
            entries=bodies.entries,
            kept=bodies.kept,
            conversations=conversations.records,
        )


if __name__ == "__main__":
    sys.exit(main())
