"""kill -9 at any moment, and what is on disk then.

This proves process death, not power loss: what the process wrote stays in the page cache, whether or not it was synced. That
a synced commit outlives the power is LMDB's and the disk's promise, and is tested nowhere here.
"""

import os
import random
from pathlib import Path

import pytest

from tests.support.witness import Witness

SEED = int(os.environ.get("POSTROOM_SEED") or (1 if os.environ.get("CI") == "true" else random.randrange(10**6)))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    place = tmp_path / "scratch"
    place.mkdir()
    return place


def test_nothing_answered_is_lost_and_nothing_acknowledged_comes_back(tmp_path: Path, scratch: Path) -> None:
    witness = Witness(tmp_path / "data", scratch, SEED)
    try:
        for _ in range(8):
            witness.round()
    except AssertionError as error:
        error.add_note(f"run it again with POSTROOM_SEED={SEED}")
        raise
    print(dict(witness.counted))
