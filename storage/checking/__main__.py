"""The process that checks: `python -m postroom.storage.checking DIRECTORY SCRATCH`, one JSON line after the other.

It is a process of its own because a page that is not in the file ends whoever touches it. `postroom.storage.verify`
reads the lines and judges the end.
"""

import sys
from pathlib import Path

import msgspec

from postroom.core.errors import StorageFailure, UnknownFormat

from ..errors import NotADataDirectory, NotEnoughRoom
from .check import check
from .report import Line, NoRoom, Unusable

_encoder = msgspec.json.Encoder()


def main() -> int:
    """Check and tell. 0 if there is a report, whatever it says."""
    directory, scratch = map(Path, sys.argv[1:3])
    try:
        _tell(check(directory, scratch, _tell))
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


if __name__ == "__main__":
    sys.exit(main())
