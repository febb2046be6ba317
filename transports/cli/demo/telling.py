"""How the demo is told: to a person in acts and lines, to a program as one JSON object per step."""

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

import trio

from .claims import Broken, Claim, Step

STEP_S: Final = 5
"""How long a step may take: nearly all take milliseconds, and a person would have given up."""
STOPPED: Final = "the step came to its end"

_WIDTH: Final = 110
"""Of what comes back; what is to be typed is not wrapped."""
_CLEAR: Final = "\r\x1b[K"
_BOLD, _DIM, _RED, _GREEN, _CYAN = "1", "2", "31", "32", "36"


class StoryEnds(Exception):
    """A step did not come to its end, and has been told as failed; what follows builds on it."""


class Teller:
    """Tells steps and keeps count of the claims. This one tells a program; `PersonTeller` a person."""

    def __init__(self, out: TextIO) -> None:
        self.claims = 0
        self.failed = 0
        self._out = out

    @contextmanager
    def step(self, name: str, says: str, *request: str, seconds: float = STEP_S) -> Iterator[Step]:
        """Tell one step: the block does it, sets its answer and makes its claims.

        `says` introduces it, the parts of `request` are what somebody could type. Raises StoryEnds if the block does
        not end in time, raises Broken or looks up what an answer does not have; claims that do not hold are counted,
        and the story goes on.
        """
        step = Step(name, " ".join(request))
        self._begin(says, request)
        try:
            with trio.fail_after(seconds):
                yield step
        except (Broken, trio.TooSlowError, LookupError) as error:
            step.fail(STOPPED, _broken(error, seconds))
            self._end(step)
            raise StoryEnds from None
        self._end(step)

    def act(self, heading: str, says: str = "") -> None:
        """Open an act."""

    def progress(self, done: int, total: int) -> None:
        """Say how far a long step is."""

    def say(self, *lines: str) -> None:
        """Say something between steps."""

    def close(self) -> int:
        """Say how it ended and return the exit status."""
        return 1 if self.failed or not self.claims else 0

    def _begin(self, says: str, request: Sequence[str]) -> None:
        pass

    def _end(self, step: Step) -> None:
        self.claims += len(step.claims)
        self.failed += sum(not claim.held for claim in step.claims)
        if not step.claims:
            self.failed += 1
        self._tell(step)

    def _tell(self, step: Step) -> None:
        self._write(json.dumps(step.plain(), ensure_ascii=False))

    def _write(self, line: str, end: str = "\n") -> None:
        encoding = self._out.encoding or "utf-8"  # what a terminal cannot show must not end the demo
        self._out.write((line + end).encode(encoding, "replace").decode(encoding))
        self._out.flush()


class PersonTeller(Teller):
    """Headings, what is typed, what comes back, and a mark for each claim."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self._coloured = self._terminal and not os.environ.get("NO_COLOR")
        self._acts = 0

    def act(self, heading: str, says: str = "") -> None:
        """Open an act, numbered."""
        self._acts += 1
        self.say("", self._painted(f"{self._acts}. {heading}", _BOLD), *(says,) * bool(says))

    def progress(self, done: int, total: int) -> None:
        """Say how far a long step is, on a line that goes away again."""
        if self._terminal:
            self._write(f"{_CLEAR}    {done} of {total}", end="")

    def say(self, *lines: str) -> None:
        """Say something between steps."""
        for line in lines:
            self._write(line)

    def close(self) -> int:
        """Say how it ended and return the exit status."""
        status = super().close()
        if status == 0:
            self.say("", self._painted(f"All {self.claims} claims held.", _GREEN))
        else:
            self.say("", self._painted(f"{self.failed} of {self.claims} claims did not hold.", _RED))
        return status

    def _begin(self, says: str, request: Sequence[str]) -> None:
        self.say("", f"  {says}")
        if request:
            self.say(*(self._painted(line, _CYAN) for line in _typed(request)))

    def _tell(self, step: Step) -> None:
        if self._terminal:
            self._write(_CLEAR, end="")  # of what `progress` said
        width = max((len(label) for label, _ in step.answers), default=0)
        for label, value in step.answers:
            for item in value if isinstance(value, list) else [value]:
                text = f"    {label:{width}}  {_line(item)}" if width else f"    {_line(item)}"
                self.say(*(self._painted(line, _DIM) for line in _wrapped(text, 6 + width if width else 6)))
        for claim in step.claims:
            self.say(*self._claimed(claim))
        if not step.claims:
            self.say(f"  {self._painted('✗ nothing was checked here', _RED)}")

    def _claimed(self, claim: Claim) -> Iterator[str]:
        if claim.held:
            yield f"  {self._painted('✓', _GREEN)} {claim.what}"
            return
        yield f"  {self._painted(f'✗ NOT SO: {claim.what}', _RED)}"
        yield f"      expected: {claim.expected}"
        yield f"      came:     {claim.came}"

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured else text


def _broken(error: Exception, seconds: float) -> Broken:
    """Why a step did not come to its end."""
    if isinstance(error, Broken):
        return error
    if isinstance(error, trio.TooSlowError):
        return Broken(f"that within {seconds:g} seconds", "not yet")
    return Broken("an answer with everything in it", f"one without {error}")


def teller(*, as_json: bool) -> Teller:
    """The one that fits, on stdout."""
    return Teller(sys.stdout) if as_json else PersonTeller(sys.stdout)


def _typed(parts: Sequence[str]) -> Iterator[str]:
    """A command as it can be typed, a part on a line."""
    for index, part in enumerate(parts):
        start = "  $ " if index == 0 else "      "
        yield start + part + (" \\" if index < len(parts) - 1 else "")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _wrapped(text: str, indent: int) -> list[str]:
    """What came back, in lines that fit; never broken within a word."""
    return textwrap.wrap(
        text,
        _WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
