"""The Hypothesis profile, and the signals that tests send to the processes they start."""

import gc
import os
import signal

from hypothesis import settings

# A deadline would make a busy machine look like a bug. CI draws the same cases every time, so that what it says about a
# change is due to the change; elsewhere each run looks at new ones.
settings.register_profile("postroom", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("postroom")

# A shell's "&" starts the tests with SIGINT ignored. Every process they start would inherit that, and those that a test ends by
# SIGINT would run for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection() -> None:
    """What is collected stays: to look through it again and again for garbage would take a third of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor does any later collection of garbage look through it."""
    gc.collect()
    gc.freeze()
    gc.enable()
