"""The measured servers, each a process of its own."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from .failure import BenchFailure
from .hosts import ADDRESSES, Host

Address = tuple[str, int]


class Server(NamedTuple):
    """A process that listens."""

    address: Address
    pid: int


START_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 30.0
"""Longer than the 10 s that `serve` gives to what it is at."""
_POLL_S: Final = 0.02
_LISTENING: Final = re.compile(r"^listening on http://(127\.0\.0\.1):([0-9]+)$", re.M)


@contextmanager
def postroom(config: Path, host: Host, data: Path, log: Path) -> Iterator[Server]:
    """`postroom serve` on a free port, until the block ends."""
    arguments = ["postroom.transports.cli.main", "serve", "--config", str(config), "--data", str(data)]
    with running("postroom serve", arguments, log, ADDRESSES[host]) as server:
        yield server


@contextmanager
def running(name: str, module: Sequence[str], log: Path, addresses: int = 1) -> Iterator[Server]:
    """A module, with its arguments, as a process that says on stderr, which goes to `log`, where it listens: the last of
    so many addresses.

    It is stopped with SIGTERM, which it has to obey with status 0. Raises BenchFailure.
    """
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        )
    try:
        yield Server(_address(name, process, log, addresses), process.pid)
        status = process.poll()
        process.terminate()
        if process.wait(STOP_DEADLINE_S) != 0 or status is not None:
            raise BenchFailure(f"{name} ended with status {process.returncode}: {_last_line(log)}")
    except subprocess.TimeoutExpired:
        raise BenchFailure(f"{name} did not stop") from None
    except BenchFailure as failure:
        if process.poll():  # it went first, and knows why
            raise BenchFailure(f"{failure.message} ({name}: {_last_line(log)})") from failure
        raise
    finally:
        process.kill()
        process.wait()


def _address(name: str, process: "subprocess.Popen[bytes]", log: Path, addresses: int) -> Address:
    """Where it listens, once it does."""
    deadline = time.perf_counter() + START_DEADLINE_S
    while time.perf_counter() < deadline:
        found = _LISTENING.findall(log.read_text(encoding="utf-8", errors="replace"))
        if len(found) >= addresses:
            return found[-1][0], int(found[-1][1])
        if process.poll() is not None:
            raise BenchFailure(f"{name} did not start: {_last_line(log)}")
        time.sleep(_POLL_S)
    raise BenchFailure(f"{name} did not listen within {START_DEADLINE_S:.0f} s")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
