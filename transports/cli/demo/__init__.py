"""`postroom demo`: a broker of its own, a story played on it, and every claim of the story checked."""

import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from . import story
from .child import Workplace
from .telling import StoryEnds, Teller, teller

SIGNALED = 128
"""What a shell adds to the number of the signal that ended a command."""


def run(*, as_json: bool) -> int:
    """Play the demo on a scratch directory and clear up. The exit status: 0 if everything it showed held, else 1.

    Ends its broker whatever happens; only a signal that cannot be caught leaves something behind.
    """
    tells = teller(as_json=as_json)
    with tempfile.TemporaryDirectory(prefix="postroom-demo-", ignore_cleanup_errors=True) as directory:
        try:
            return trio.run(partial(_play, tells, Path(directory)))
        except* BrokenPipeError:
            # Whoever read has seen enough. What Python would flush at its end has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


async def _play(tells: Teller, directory: Path) -> int:
    """The story, unless a signal ends it; the exit status."""
    status = 1
    async with trio.open_nursery() as nursery:

        async def ended_by_signal() -> None:
            nonlocal status
            # What the parent had ignored, as nohup does, stays so.
            numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
            with trio.open_signal_receiver(*numbers) as signals:
                async for number in signals:
                    status = SIGNALED + number
                    nursery.cancel_scope.cancel()

        nursery.start_soon(ended_by_signal)
        try:
            await story.play(tells, Workplace(directory), nursery)
        except StoryEnds:
            tells.say("", "The story ends here: what follows would build on this.")
        status = tells.close()
        nursery.cancel_scope.cancel()
    return status
