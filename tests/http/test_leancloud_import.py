"""`postroom import leancloud`: an export is taken over, and the vendor's calls show it as it was."""

import base64
import gzip
import hashlib
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from postroom.core import Broker, Receipt, Refusal, open_broker
from postroom.core.commands import Command
from postroom.core.errors import NoSpace
from postroom.storage.lmdb import LmdbStore
from postroom.storage.verify import verify
from postroom.transports.cli import importing
from postroom.transports.cli.main import main
from postroom.transports.config import Limits
from tests.support.leancloud import APP, A, Lean, leancloud

CONFIG = """
[[apps]]
name = "shop"
session_secret = "ssssssssssssssssssssssssssssssss"
"""
C1, C2, S1 = (f"6560aa00c0ffee000000000{number}" for number in (1, 2, 3))
DAY_MS = 86_400_000
Capture = pytest.CaptureFixture[str]


class Desk:
    """A directory, an export, and the command."""

    def __init__(self, home: Path, capsys: Capture) -> None:
        self.home = home
        self.data = home / "data"
        self.config = home / "postroom.toml"
        self.config.write_text(CONFIG)
        self.capsys = capsys
        self.err = ""
        self.now_ms = time.time_ns() // 1_000_000 - 3_600_000

    def arguments(self, *files: Path, more: tuple[str, ...] = ()) -> list[str]:
        """Of the command line."""
        names = [str(file) for file in files]
        config = ["--config", str(self.config)]
        return ["import", "leancloud", "--data", str(self.data), "--app", "shop", *config, *more, *names]

    def take(self, *files: Path, more: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
        """Run the command: its status, and what it reports."""
        status = main(self.arguments(*files, more=more))
        out, self.err = self.capsys.readouterr()
        return status, json.loads(out)

    def write(self, name: str, text: str) -> Path:
        """A file."""
        path = self.home / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    def conversations(self, *rows: dict[str, Any]) -> Path:
        """As the console exports them."""
        times = {
            "createdAt": "2025-11-14T22:13:20.000Z",
            "updatedAt": {"__type": "Date", "iso": "2025-11-15T00:00:00.000Z"},
        }
        lines = ['#filetype:JSON-streaming {"type":"Class","class":"_Conversation"}']
        return self.write("_Conversation.0.jsonl", "\n".join([*lines, *(json.dumps(times | row) for row in rows)]))

    def record(self, name: str, ago_ms: int, conversation: str = C1, **more: Any) -> dict[str, Any]:
        """An element of a history, some time ago."""
        return {
            "timestamp": self.now_ms - ago_ms,
            "conv-id": conversation,
            "data": name,
            "from": "alice",
            "msg-id": f"Vendor+{name}",
            "is-conv": True,
            "is-room": False,
            "to": conversation,
            "bin": False,
            "from-ip": "192.0.2.7",
        } | more

    def messages(self, *records: dict[str, Any], name: str = "messages.json") -> Path:
        """As a history call returned them."""
        return self.write(name, json.dumps(list(records)))

    def serve(self, what: Callable[[Lean], Awaitable[None]]) -> None:
        """A broker on the directory, and its calls."""

        async def served() -> None:
            unlimited = msgspec.structs.replace(APP, limits=Limits(leancloud_normal=None))
            async with leancloud(unlimited, store=LmdbStore(self.data)) as lean:
                await what(lean)

        trio.run(served)


@pytest.fixture
def desk(tmp_path: Path, capsys: Capture) -> Iterator[Desk]:
    """What it leaves behind is sound."""
    yield Desk(tmp_path, capsys)
    if (tmp_path / "data").exists():
        report = verify(tmp_path / "data", scratch=tmp_path, progress=lambda _: None)
        assert report.sound, report.problems


def test_an_export_is_taken_over_as_it_was(desk: Desk) -> None:
    """Messages before conversations on the command line; newest first, two of one time; bytes, and one that was recalled."""
    rows = (
        {"objectId": C1, "name": "tea", "m": ["alice", "bob"], "mu": ["bob"], "price": 1.5, "unique": True},
        {"objectId": C2, "name": "hall", "tr": True, "m": ["alice"]},
        {"objectId": S1, "name": "news", "sys": True},
    )
    bin = base64.b64encode(b"\xff\x00").decode()
    told = (
        desk.record("six", 1_000, C2),
        desk.record("five", 2_000, data=bin, bin=True),
        desk.record("four", 3_000, data='{"_lctype":-127}'),
        desk.record("three", 4_000),
        desk.record("two", 4_000),
        desk.record("one", 5_000, **{"mention-all": True, "mention-pids": ["bob"]}),
    )
    status, report = desk.take(desk.messages(*told, name="messages.json.gz"), desk.conversations(*rows))
    assert status == 0
    assert report["conversations"] == {"imported": 3, "duplicates": 0, "refused": 0}
    assert report["messages"] == {"imported": 6, "duplicates": 0, "refused": 0}
    assert (report["complete"], report["created"], report["refused"], report["reasons"]) == (True, 0, [], {})
    assert "100 % of 0.0 MiB: 3 conversations (0 known before, 0 refused), 6 messages" in desk.err

    async def look(lean: Lean) -> None:
        found = (await lean.ok("GET", "/all-conversations", by=A))["results"]
        tea = next(row for row in found if row["objectId"] == C1)
        assert (tea["m"], tea["mu"], tea["name"], tea["price"]) == (["alice", "bob"], ["bob"], "tea", 1.5)
        assert (tea["createdAt"], tea["updatedAt"]) == ("2025-11-14T22:13:20.000Z", "2025-11-15T00:00:00.000Z")
        assert tea["lm"]["iso"] > "2025"
        assert {row["objectId"] for row in found if row.get("tr")} == {C2}
        assert {row["objectId"] for row in found if row.get("sys")} == {S1}
        same = await lean.ok("POST", "/conversations", {"m": ["bob", "alice"], "unique": True}, by=A)
        assert same["objectId"] == C1
        shown = await lean.ok("GET", f"/conversations/{C1}/messages")
        assert [each["msg-id"] for each in shown] == [
            f"Vendor+{name}" for name in ("five", "four", "three", "two", "one")
        ]
        ours = {"from-ip": None, "timestamp": desk.now_ms - 5_000}
        assert shown[4] == desk.record("one", 5_000, **{"mention-all": True, "mention-pids": ["bob"]}) | ours
        assert (shown[0]["bin"], shown[0]["data"]) == (True, bin)
        assert (shown[1]["bin"], shown[1]["data"]) == (False, '{"_lctype":-127}')
        assert await lean.texts(f"/chatrooms/{C2}/messages") == ["six"]
        assert (await lean.ok("GET", "/messages", params={"limit": 1}))[0]["msg-id"] == "Vendor+six"

    desk.serve(look)


def test_messages_are_named_by_their_vendor_s_ids(desk: Desk) -> None:
    told = [desk.record(name, 5_000 - number // 2) for number, name in enumerate(("one", "two", "three", "four"))]
    desk.take(desk.messages(*told), desk.conversations({"objectId": C1, "m": ["alice"]}))
    path, at_ms = f"/conversations/{C1}/messages", told[1]["timestamp"]

    async def change(lean: Lean) -> None:
        bound = {"reversed": True, "timestamp": at_ms, "msgid": "Vendor+one"}
        assert await lean.texts(path, **bound) == ["two", "three", "four"]
        assert await lean.texts(path, **bound, till_timestamp=at_ms + 1, till_msgid="Vendor+four") == ["two", "three"]
        assert await lean.texts(path, **bound | {"msgid": "Unknown"}) == ["three", "four"]
        named = {"from_client": "alice", "timestamp": at_ms}
        two, one = f"{path}/Vendor%2Btwo", f"{path}/Vendor%2Bone"
        assert await lean.ok("PUT", two, {**named, "message": "deux"}) == {"result": {}}
        assert await lean.bad("PUT", two, {**named, "message": "x", "timestamp": at_ms + 9}) == (404, 4404)
        assert await lean.bad("PUT", f"{path}/Vendor%2Bnone", {**named, "message": "x"}) == (404, 4404)
        assert await lean.texts(path, reversed=True) == ["one", "deux", "three", "four"]
        assert await lean.ok("PUT", f"{one}/recall", named) == {"result": {}}
        shown = await lean.ok("GET", path, params={"reversed": True})
        assert (shown[0]["msg-id"], shown[0]["data"]) == ("Vendor+one", '{"_lctype":-127}')
        assert await lean.ok("DELETE", two, params=named) == {}
        assert await lean.bad("DELETE", two, params=named) == (404, 4404)
        old = {"convid": C1, "msgid": "Vendor+three", "timestamp": at_ms + 1, "from": "alice"}
        patch = {
            "conv_id": C1,
            "msg_id": "Vendor+four",
            "timestamp": at_ms + 1,
            "from_peer": "alice",
            "message": "quatre",
        }
        assert await lean.ok("POST", "/1.1/rtm/patch/message", patch) == {"result": {}}
        quatre = next(each for each in await lean.ok("GET", path) if each["msg-id"] == "Vendor+four")
        assert await lean.ok("PUT", "/1.1/rtm/messages/logs", quatre | {"data": "vier"}) == {}
        assert await lean.ok("DELETE", "/1.1/rtm/messages/logs", params=old) == {}
        assert await lean.texts(path) == ["vier", '{"_lctype":-127}']
        await lean.send(f"/conversations/{C1}", "live")
        assert (await lean.texts(path))[0] == "live"

    desk.serve(change)
    status, report = desk.take(desk.messages(*told), desk.home / "_Conversation.0.jsonl")
    assert status == 0
    assert (report["conversations"]["duplicates"], report["messages"]["duplicates"]) == (1, 4)

    async def look(lean: Lean) -> None:
        assert await lean.texts(path) == ["live", "vier", '{"_lctype":-127}']

    desk.serve(look)


def test_what_is_refused_is_told_and_the_rest_taken(desk: Desk) -> None:
    told = (
        desk.record("good", 9),
        desk.record("nowhere", 8, "6560aa00c0ffee0000000009"),
        desk.record("temporary", 7, "_tmp:5ff"),
        desk.record("ahead", -3_600_000 - DAY_MS - 60_000),
        desk.record("old", 181 * DAY_MS),
        {"timestamp": 5},
        desk.record("pair", 6, hashlib.md5(b"somebody").hexdigest()),
        desk.record("nobody", 5, **{"from": ""}),
        desk.record("huge", 4, data="x" * 300_000),
    )
    rows = desk.conversations({"objectId": C1}, {"objectId": "_tmp:5ff"}, {"objectId": C2, "big": "x" * 140_000})
    status, report = desk.take(desk.messages(*told), rows)
    assert status == 1
    assert report["conversations"] == {"imported": 1, "duplicates": 0, "refused": 2}
    assert report["messages"] == {"imported": 1, "duplicates": 0, "refused": 8}
    assert report["reasons"] == {
        "unknown_conversation": 2,
        "temporary": 2,
        "in_the_future": 1,
        "too_old": 1,
        "malformed": 1,
        "invalid": 3,
    }
    assert sorted((each["record"], each["code"]) for each in report["refused"] if "messages" in each["file"]) == [
        (2, "unknown_conversation"),
        (3, "temporary"),
        (4, "in_the_future"),
        (5, "too_old"),
        (6, "malformed"),
        (7, "unknown_conversation"),
        (8, "invalid"),
        (9, "invalid"),
    ]
    assert "messages.json: record 5: older than the app keeps messages (too_old)" in desk.err
    status, report = desk.take(desk.home / "messages.json", rows, more=("--create-missing",))
    assert status == 1
    assert (report["created"], report["messages"]) == (1, {"imported": 1, "duplicates": 1, "refused": 7})
    assert report["reasons"]["unknown_conversation"] == 1  # whose it is cannot be made up


def test_conversations_that_stand_for_two(desk: Desk) -> None:
    """Messages of two users, as our own history shows them, and of a service with one."""
    pair, with_service = (hashlib.md5(text.encode()).hexdigest() for text in ("peer:alice:bob", f"{S1}:carol"))
    told = (
        desk.record("to bob", 5, pair, to="bob"),
        desk.record("to alice", 4, pair, **{"from": "bob", "to": "alice"}),
        desk.record("to carol", 3, with_service, **{"from": "system", "to": "carol"}),
        desk.record("from carol", 2, with_service, **{"from": "carol", "to": S1}),
        desk.record("to all", 1, S1, **{"from": "system"}),
    )
    status, report = desk.take(desk.messages(*told), desk.conversations({"objectId": S1, "sys": True}))
    assert (status, report["messages"]["imported"]) == (0, 5)

    async def look(lean: Lean) -> None:
        found = await lean.ok("GET", "/messages", params={"reversed": True})
        peers = [(each["conv-id"], each["from"], each["to"]) for each in found if each["conv-id"] == pair]
        assert peers == [(pair, "alice", "bob"), (pair, "bob", "alice")]

    desk.serve(look)
    with LmdbStore(desk.data).snapshot() as snapshot:
        kept = [each for _, each in snapshot.views.oldest_kept("shop")]
    assert [(each.conversation.kind, each.recipients) for each in kept] == [
        ("peer", ()),
        ("peer", ()),
        ("service", ("carol",)),
        ("service", ("carol",)),
        ("service", ()),
    ]


def test_what_comes_back_of_our_own_is_known(desk: Desk) -> None:
    async def talk(lean: Lean) -> None:
        cid = await lean.conversation("alice", "bob")
        await lean.send(f"/conversations/{cid}", "ours")
        desk.messages(*await lean.ok("GET", "/messages"))

    desk.take(desk.conversations({"objectId": C1}))
    desk.serve(talk)
    status, report = desk.take(desk.home / "messages.json")
    assert (status, report["messages"]) == (0, {"imported": 0, "duplicates": 1, "refused": 0})


def test_what_was_deleted_here_does_not_come_back_with_our_own(desk: Desk) -> None:
    """Of a conversation that was made here; the same records may be another broker's in one that was imported."""

    async def talk(lean: Lean) -> None:
        cid = await lean.conversation("alice", "bob")
        for text in ("kept", "deleted"):
            await lean.send(f"/conversations/{cid}", text)
        told = await lean.ok("GET", "/messages")
        elsewhere = [record | {"conv-id": C1, "to": C1} for record in told]
        desk.messages(*told)
        desk.messages(*elsewhere, name="elsewhere.json")
        which = {"from_client": told[0]["from"], "timestamp": told[0]["timestamp"]}
        await lean.ok("DELETE", f"/conversations/{cid}/messages/{told[0]['msg-id']}", params=which)

    desk.take(desk.conversations({"objectId": C1}))
    desk.serve(talk)
    status, report = desk.take(desk.home / "messages.json")
    assert (status, report["messages"]) == (0, {"imported": 0, "duplicates": 2, "refused": 0})
    status, report = desk.take(desk.home / "elsewhere.json")
    assert (status, report["messages"]["imported"]) == (0, 1)


def test_a_deleted_conversation_is_not_made_again_by_its_messages(desk: Desk) -> None:
    """What was imported is known: of the conversation its name, whatever kind it was."""
    files = desk.messages(desk.record("one", 9, C2)), desk.conversations({"objectId": C2, "tr": True})
    assert desk.take(*files)[0] == 0
    status, report = desk.take(files[0], more=("--create-missing",))
    assert (status, report["created"], report["messages"]["duplicates"]) == (0, 0, 1)


def test_beside_a_running_broker(desk: Desk) -> None:
    file = desk.conversations({"objectId": C1})

    async def running() -> None:
        async with open_broker(desk.data):
            command = [sys.executable, "-m", "postroom.transports.cli.main", *desk.arguments(file)]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
            assert done.returncode == 2
            assert done.stdout == b""
            assert done.stderr.startswith(b"postroom: ")
            assert done.stderr.count(b"\n") == 1

    trio.run(running)


@pytest.mark.parametrize("more", [("--app", "nobody"), ("no such file",)])
def test_it_cannot_begin(desk: Desk, more: tuple[str, ...]) -> None:
    assert main([*desk.arguments(desk.conversations({"objectId": C1})), *more]) == 2
    out, err = desk.capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert not desk.data.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_stopped_and_repeated(desk: Desk, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = desk.conversations({"objectId": C1})
    lines = (json.dumps(desk.record(f"{each}", 100_000 - each)) for each in range(2_500))
    file = desk.write("messages.jsonl", "\n".join(lines))
    submit_many, calls = Broker.submit_many, 0

    async def interrupted(self: Broker, commands: Sequence[Command]) -> list[Receipt | Refusal]:
        nonlocal calls
        calls += 1
        if calls == 3:  # of the conversations, of the first messages, and of the next
            signal.raise_signal(number)
        return await submit_many(self, commands)

    monkeypatch.setattr(Broker, "submit_many", interrupted)
    status, report = desk.take(file, rows)
    assert (status, report["complete"], report["messages"]["imported"]) == (130, False, 1_000)
    assert "stopped; what was taken stays: repeat the command for the rest" in desk.err
    status, report = desk.take(file, rows)
    assert (status, report["complete"]) == (0, True)
    assert report["messages"] == {"imported": 1_500, "duplicates": 1_000, "refused": 0}


def test_it_says_how_far_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while a commit takes its time."""
    monkeypatch.setattr(importing, "TICK_S", 0.01)
    submit_many, said = Broker.submit_many, trio.Event()

    def say(line: str) -> None:
        assert "% of" in line
        said.set()

    async def slow(self: Broker, commands: Sequence[Command]) -> list[Receipt | Refusal]:
        await said.wait()
        return await submit_many(self, commands)

    monkeypatch.setattr(importing, "_say", say)
    monkeypatch.setattr(Broker, "submit_many", slow)
    assert desk.take(desk.conversations({"objectId": C1}))[0] == 0


def test_a_full_disk_ends_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: Broker, commands: Sequence[Command]) -> list[NoSpace]:
        return [NoSpace("the disk is full") for _ in commands]

    monkeypatch.setattr(Broker, "submit_many", full)
    status, report = desk.take(desk.conversations({"objectId": C1}))
    assert (status, report["complete"], report["reasons"]) == (1, False, {})
    assert "the disk is full; what was taken stays: repeat the command for the rest" in desk.err
