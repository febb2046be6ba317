"""Everything that a check looks at, in its order."""

from collections.abc import Callable
from pathlib import Path

import lmdb
import msgspec

from ..engine import BASE, LIVE
from .accounts import AccountCheck
from .bodies import BodyCheck
from .compare import differences
from .conversations import ConversationCheck
from .copy import Copy, Source, copy_out
from .owned import Owned
from .replay import LogCheck, opened
from .report import Problem, Problems, Progress, Report


def check(directory: Path, scratch: Path, tell: Callable[[Progress | Problem], None]) -> Report:
    """Check a copy that is made in `scratch`; how far it is and what is found is told as it goes.

    A damaged page may end the process. Raises NotADataDirectory, UnknownFormat, NotEnoughRoom, StorageFailure.
    """
    problems = Problems(tell)
    place = scratch / "copy"
    place.mkdir()
    source = copy_out(directory, place, problems, tell)
    report = Report()
    if source is not None:
        try:
            report = _walk(place, scratch / "owned", source, problems, tell)
        except lmdb.Error as error:
            problems.add("file", f"the copy of {directory} cannot be read: {error}")
    return msgspec.structs.replace(report, problems=problems.kept, problems_total=problems.total)


def _walk(
    place: Path, owned_at: Path, source: Source, problems: Problems, tell: Callable[[Progress | Problem], None]
) -> Report:
    """Everything that can be told from the copy."""
    with Copy(place, source.needed_bytes) as copy:
        log = LogCheck(copy, problems)
        for progress in log.run():
            tell(progress)
        with copy.reading() as engine, Owned(owned_at) as owned:
            live = opened(engine, LIVE)
            rows = engine.count("live")
            if log.applied:
                tell(Progress("comparing"))
                for difference in differences(engine, BASE, LIVE):
                    problems.add("live", difference)
            else:
                problems.add("live", "live was not compared: base + log end before the log does")
            accounts = AccountCheck(engine, problems)
            for progress in accounts.run():
                tell(progress)
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
                tell(progress)
            bodies = BodyCheck(engine, live, owned, problems)
            for progress in bodies.run():
                tell(progress)
        return msgspec.structs.replace(
            report,
            position=live.position,
            bodies=bodies.bodies,
            queues=bodies.queues,
            entries=bodies.entries,
            kept=bodies.kept,
            conversations=conversations.records,
        )
