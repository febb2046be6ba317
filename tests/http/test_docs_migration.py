"""The commands of docs/leancloud.md that move an app here, run as they stand there, from one broker to another."""

import json
import os
import re
import sys
from pathlib import Path

import msgspec
import trio

from postroom.storage.lmdb import LmdbStore
from postroom.transports.config import DEMO_APP
from tests.support.leancloud import A, Lean
from tests.support.serving import config_of, serving

PAGE = (Path(__file__).parents[2] / "docs" / "leancloud.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"^```shell\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
CONFIG = """
[[apps]]
name = "shop"
session_secret = "ssssssssssssssssssssssssssssssss"
"""
SHOP = msgspec.structs.replace(DEMO_APP, name="shop")


async def typed(home: Path, *blocks: str) -> str:
    """What the commands print."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = await trio.run_process(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=home,
        env=os.environ | {"PATH": path},
        capture_stdout=True,
    )
    return done.stdout.decode()


async def test_an_app_moves(tmp_path: Path) -> None:
    (tmp_path / "postroom.toml").write_text(CONFIG)
    setting, export, take, here, compare = BLOCKS
    async with serving(config_of(DEMO_APP), headers={}) as there:
        vendor = Lean(there)
        cid = await vendor.conversation("alice", "bob", name="tea")
        for number in range(3):
            await vendor.send(f"/conversations/{cid}", f"message {number}")
        rows = (await vendor.ok("GET", "/all-conversations", by=A))["results"]
        (tmp_path / "_Conversation.0.jsonl").write_text("\n".join(map(json.dumps, rows)))
        setting, changed = re.subn(r"https://\S+", f"http://127.0.0.1:{there.port}", setting)
        assert changed == 1
        assert await typed(tmp_path, setting, export) == ""
        out = await typed(tmp_path, setting, take)
        report = json.loads(out.partition("\n")[0])
        assert (report["conversations"]["imported"], report["messages"]["imported"]) == (1, 3)
        assert "data: sound" in out
        store = LmdbStore(tmp_path / "data")
        async with serving(config_of(SHOP), headers={}, store=store) as new:
            here, changed = re.subn(r"http://\S+", f"http://127.0.0.1:{new.port}", here)
            assert changed == 1
            assert await typed(tmp_path, setting, here, compare) == "3 there, 3 here: the same\n"
            assert await Lean(new).texts(f"/conversations/{cid}/messages") == ["message 2", "message 1", "message 0"]
