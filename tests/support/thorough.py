"""How long tests look for something unexpected."""

import os

_TIMES = int(os.environ.get("POSTROOM_THOROUGH") or 1)


def examples(count: int) -> int:
    """How many cases a test of any cases tries: `count`, or so many times that as POSTROOM_THOROUGH says."""
    return count * _TIMES
