"""The processes of the demo: the broker, which is started, killed and started again, and the tools that read its data."""

import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from postroom.transports.config.demo import development
from postroom.transports.config.tables import tables

from .claims import Broken
from .line import HOST
from .telling import StoryEnds

CONFIG: Final = "demo.toml"
DATA: Final = "data"
LINES_KEPT: Final = 40
"""Of what the broker says on stderr; shown if it dies."""
SETTLE_S: Final = 0.5
"""How long a story that broke waits to see whether the broker died."""

_LISTENING: Final = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")
_COMMAND: Final = (sys.executable, "-P", "-m", "postroom.transports.cli.main")
"""`postroom` of this very installation. -P: what lies in the working directory is not imported."""


def config_text() -> str:
    """The demo app in every dialect, with the limit off that two hundred sends in a row would meet."""
    found = ["# Made by `postroom demo`."]
    for place, table in tables(development()):
        name = place.partition(".")[2]
        found += ["", f"[apps.{name}]" if name else "[[apps]]"]
        # The texts are the names and credentials; what is left out has its default.
        texts = ((key, getattr(table, key)) for key in table.__struct_fields__)
        found += [f"{key} = {msgspec.json.encode(text).decode()}" for key, text in texts if isinstance(text, str)]
    return "\n".join([*found, "", "[apps.limits]", '"anyrtc.peer_messages" = "off"', ""])


class Ran(msgspec.Struct, frozen=True):
    """A command that has ended."""

    status: int
    lines: list[str]
    """Of stdout."""
    errors: list[str]
    """Of stderr."""

    def json(self) -> list[dict[str, Any]]:
        """The lines as JSON objects. Raises Broken if they are none, or if there is none."""
        try:
            found = [msgspec.json.decode(line, type=dict[str, Any]) for line in self.lines]
        except msgspec.DecodeError:
            found = []
        if not found:
            raise Broken("a line of JSON", f"status {self.status}, {' / '.join((self.lines + self.errors)[-3:])}")
        return found


class Workplace:
    """A scratch directory in which brokers and tools run."""

    def __init__(self, directory: Path) -> None:
        """Writes the configuration."""
        self.directory = directory
        (directory / CONFIG).write_text(config_text(), encoding="utf-8")
        temporary = directory / "tmp"
        temporary.mkdir()
        # A tool that is killed leaves its scratch copy where we clear up.
        self.environment = os.environ | {"TMPDIR": str(temporary), "PYTHONIOENCODING": "utf-8"}

    async def run(self, *arguments: str) -> Ran:
        """Run a command of `postroom` to its end; cancelled, it is ended."""
        done = await trio.run_process(
            [*_COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment,
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            deliver_cancel=_kill,
        )
        return Ran(done.returncode, done.stdout.decode().splitlines(), done.stderr.decode().splitlines())


SERVE: Final = ("serve", "--config", CONFIG, "--data", DATA, "--bind", f"{HOST}:0")


class Broker:
    """One `postroom serve`, until it is killed or told to stop."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._port: int | None = None
        self._asked_to_end = False
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        self._ready = trio.Event()
        self._silent = trio.Event()

    @property
    def port(self) -> int:
        """Where it listens; known once it is `ready`."""
        assert self._port is not None
        return self._port

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def ready(self) -> str:
        """Wait until it listens; the line that says so. Raises Broken if it ends instead."""
        await self._ready.wait()
        if self._port is None:
            status = await self._process.wait()
            raise Broken("a line `listening on …`", f"the end of the broker, with status {status}")
        return f"listening on http://{HOST}:{self._port}"

    async def end(self, number: signal.Signals) -> int:
        """Send the signal and wait for the end; the exit status, negative if the signal ended it."""
        self._asked_to_end = True
        self._process.send_signal(number)
        return await self._process.wait()

    async def listen(self) -> None:
        """Follow what it says on stderr, to its end."""
        stream, rest = self._process.stderr, b""
        assert stream is not None
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._heard(line.decode(errors="replace"))
        self._heard(rest.decode(errors="replace"))
        self._ready.set()
        self._silent.set()

    async def last_words(self) -> list[str]:
        """If it ended without being asked to: how, and what it said on stderr."""
        with trio.move_on_after(SETTLE_S):  # its connections break a moment before it is gone
            await self._process.wait()
            await self._silent.wait()
        status = self._process.returncode
        if status is None or self._asked_to_end:
            return []
        return [f"the broker ended by itself, with status {status}; its last words:", *(self._said or ["(none)"])]

    def _heard(self, line: str) -> None:
        if line:
            self._said.append(line)
        found = _LISTENING.fullmatch(line)
        if found is not None:
            self._port = int(found[1])
            self._ready.set()


@asynccontextmanager
async def broker(place: Workplace, listeners: trio.Nursery) -> AsyncIterator[Broker]:
    """A broker on the workplace's data; ended at the latest when the block is left, however that happens.

    If the block fails because the broker died, its last words go to stderr.
    """
    process = await trio.lowlevel.open_process(
        [*_COMMAND, *SERVE],
        cwd=place.directory,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        child = Broker(process)
        listeners.start_soon(child.listen)
        try:
            yield child
        except StoryEnds:
            for line in await child.last_words():
                print(line, file=sys.stderr, flush=True)
            raise
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _kill(process: trio.Process) -> None:
    process.kill()
