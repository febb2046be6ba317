"""A disk of 24 MB filled to refusal, and what must go on then: the stories are in `tests.support.full_disk`.

The disk is a tmpfs in a user and mount namespace of its own. Where the machine refuses that, the allocator is made to refuse
what such a disk would, and the test says so.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.full_disk import STORIES

HOME = Path(__file__).resolve().parent.parent.parent
DISK_BYTES = 24 << 20
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


@cache
def namespaces() -> bool:
    """Whether this machine lets us mount a disk of our own."""
    try:
        tried = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(tried, capture_output=True, check=False, timeout=20).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize("story", sorted(STORIES))
def test_a_full_disk(story: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    place, scratch = tmp_path / "disk", tmp_path / "scratch"
    place.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-m", "tests.support.full_disk", story, str(place), str(scratch), str(DISK_BYTES)]
    if namespaces():
        command = [*NAMESPACE, "sh", "-c", MOUNT, "sh", str(DISK_BYTES), str(place), *command]
    else:
        command.append("injected")
        print("no mount namespace here: the allocator refuses in the disk's place")
    record_property("disk", "tmpfs" if namespaces() else "injected")
    done = subprocess.run(
        command,
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(HOME)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
