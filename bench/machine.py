"""What a result has to say about where it was measured."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import lmdb

HOME: Final = Path(__file__).resolve().parent.parent
_PACKAGES: Final = ("postroom", "trio", "msgspec", "lmdb", "hypercorn", "h11")


def versions() -> dict[str, str]:
    """Of everything that has a part in the speed. `lmdb` is the Python package, `LMDB` the library in it."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "(not installed)"
    found["LMDB"] = ".".join(map(str, lmdb.version(lib_version=0)))
    found["system"] = f"{platform.system()} {platform.release()}"
    return found


def cpus() -> int:
    """How many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """What the CPU calls itself, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def commit() -> str | None:
    """The commit that is measured, with "-dirty" behind it if files differ; None outside of a checkout."""
    if not (HOME / ".git").exists():
        return None
    command = ["git", "-C", str(HOME), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
