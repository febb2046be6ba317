"""An import that is killed at any moment is repeated, and in the end everything is there once."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from postroom.storage.lmdb import LmdbStore
from postroom.storage.verify import verify

CONFIG = """
[[apps]]
name = "shop"
session_secret = "ssssssssssssssssssssssssssssssss"
"""
ID, COUNT = "6560aa00c0ffee0000000001", 4_000


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_and_repeated(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    (tmp_path / "postroom.toml").write_text(CONFIG)
    when = "2025-11-14T22:13:20.000Z"
    (tmp_path / "_Conversation.0.jsonl").write_text(json.dumps({"objectId": ID, "createdAt": when, "m": ["alice"]}))
    now_ms = time.time_ns() // 1_000_000
    records = [
        {"timestamp": now_ms - number // 3, "conv-id": ID, "data": f"{number}", "from": "alice", "msg-id": f"m{number}"}
        for number in range(COUNT)
    ]
    (tmp_path / "messages.json").write_text(json.dumps(records))
    command = [sys.executable, "-m", "postroom.transports.cli.main", "import", "leancloud", "--config", "postroom.toml"]
    command += ["--data", "data", "--app", "shop", "messages.json", "_Conversation.0.jsonl"]
    taken = 0
    for _ in range(3):
        child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            child.communicate(timeout=chance.uniform(0.5, 2))
        except subprocess.TimeoutExpired:
            child.kill()
        child.communicate()
        if (tmp_path / "data" / "data.mdb").exists():
            report = verify(tmp_path / "data", scratch=tmp_path, progress=lambda _: None)
            assert report.sound, report.problems
            assert report.kept >= taken
            taken = report.kept
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    told = json.loads(done.stdout)["messages"]
    assert (told["duplicates"], told["imported"]) == (taken, COUNT - taken)
    store = LmdbStore(tmp_path / "data")
    try:
        with store.snapshot() as snapshot:
            found = [place for place, _ in snapshot.views.oldest_kept("shop")]
            texts = [snapshot.bodies.body(place.id) for place in found]  # type: ignore[arg-type]
    finally:
        store.close()
    # It fell in time: of each millisecond the last came first there.
    assert [body.payload.decode() for body in texts if body] == [f"{number}" for number in reversed(range(COUNT))]
