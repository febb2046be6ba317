"""The command-line tools on directories in which much happened, alone and beside a process that writes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import lmdb
import pytest

from postroom.core.commands import (
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    Join,
    Kick,
    Leave,
    Login,
    RemoveMembers,
    SendBroadcast,
    SendMessage,
    StartEpoch,
    SweepConversation,
)
from postroom.core.errors import StorageFailure
from postroom.core.events import AnyEvent, HistoryExpired, Record, StaysExpired
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.limits import MIB
from postroom.core.model import Receipt, Rules, group, peer, room, service
from postroom.storage import room as rooms
from postroom.storage.backup import backup
from postroom.storage.errors import NotEnoughRoom
from postroom.storage.keys import USER
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.environment import data_file, reader_table
from postroom.storage.lmdb.space import Space
from postroom.storage.reading import Reader
from postroom.storage.rebuild import rebuild
from postroom.storage.verify import Progress, verify
from postroom.transports.cli import recipient, tools, wording
from tests.golden.test_events import CLOCK_MS, EVENTS, OF_OLD, POSITION
from tests.support import views1
from tests.support.damage import flip, login, populated, raw, send, tables
from tests.support.machine import START_MS, Machine

HOME = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from pathlib import Path
from postroom.core.model import Rules
from postroom.storage.lmdb import LmdbStore
from tests.support.damage import send
from tests.support.machine import Machine

machine = Machine(LmdbStore(Path(sys.argv[1])), Rules(queue_messages=5))
number = 0
for line in sys.stdin:
    for _ in range(int(line)):
        number += 1
        id = send(machine, f"user{number % 50}", f"written beside, number {number}")
        machine.clock.run(10)
    print(id, flush=True)
"""
SERVICE = "import sys; from postroom.transports.cli.main import main; sys.exit(main())"

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that nobody has open."""
    populated(tmp_path / "data")
    return tmp_path / "data"


def quiet(_: Progress) -> None:
    """Nobody watches."""


def sound(directory: Path) -> bool:
    """Whether verify finds nothing."""
    return verify(directory, progress=quiet).sound


class Beside:
    """Another process that has a directory open and writes when told to."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self.child = child

    def write(self, count: int) -> MessageId:
        """Send that many messages; the last one's id."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(f"{count}\n")
        self.child.stdin.flush()
        return MessageId(int(self.child.stdout.readline()))


@contextmanager
def beside(directory: Path) -> Iterator[Beside]:
    """A process that writes to `directory` for a while."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], cwd=HOME, stdin=-1, stdout=-1, text=True
    ) as child:
        try:
            yield Beside(child)
        finally:
            child.kill()


# verify


def test_verify_says_what_it_checked(data: Path, capsys: Capture) -> None:
    assert tools.verify(data) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{data}: sound\n")
    assert err.splitlines() == [f"postroom: verifying {data}", err.splitlines()[-1]]
    assert tools.verify(str(data), scratch=str(data.parent), as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] is True
    assert report["problems"] == []
    assert report["log_records"] == len(tables(data)["log"])
    assert report["position"] == str(int.from_bytes(tables(data)["log"][-1][0]))
    assert report["entries"] == len(tables(data)["live-queues"])
    assert report["used_bytes"] <= report["file_bytes"] == data_file(data).stat().st_size


def test_verify_beside_a_writer(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with beside(data) as other:
        last = other.write(100)
        report = verify(data, progress=quiet)
        assert report.problems == ()
        assert report.position == last
        other.write(10)
    assert sound(data)  # killed in the middle of nothing


def test_verify_leaves_the_directory_alone(data: Path) -> None:
    reader_table(data).unlink()  # as in a copy of data.mdb alone
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    os.chmod(data, 0o555)
    try:
        assert sound(data)
    finally:
        os.chmod(data, 0o755)
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before


def test_verify_leaves_nothing_behind_in_scratch(data: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert tools.verify(data, scratch=scratch) == 0
    assert list(scratch.iterdir()) == []


def test_verify_without_room(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    # The check is a process of its own, so what it says is put in its place.
    def refuses(*_: object, **__: object) -> None:
        raise NotEnoughRoom(Path("/scratch"), 12_345, 678)

    monkeypatch.setattr("postroom.storage.verify._run", refuses)
    assert tools.verify(data) == 2
    assert "/scratch: at least 12345 bytes are needed, 678 are free" in capsys.readouterr().err


def test_the_child_says_that_there_is_no_room(data: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import postroom.storage.checking.__main__ as child;"
        " import postroom.storage.checking.copy as copy; copy.SPARE_BYTES = 1 << 60; sys.exit(child.main())"
    )
    command = [sys.executable, "-c", code, str(data), str(tmp_path)]
    told = subprocess.run(command, capture_output=True, check=True, cwd=HOME).stdout
    said = json.loads(told.splitlines()[-1])
    assert said["type"] == "no-room"
    assert said["needed_bytes"] > 1 << 60


def test_scratch_must_be_elsewhere_and_writable(data: Path, tmp_path: Path, capsys: Capture) -> None:
    (data / "scratch").mkdir()
    assert tools.verify(data, scratch=data / "scratch") == 2
    assert "lies in the data directory" in capsys.readouterr().err
    assert tools.verify(data, scratch=tmp_path / "nowhere") == 2


# rebuild


def test_rebuild_puts_live_in_place(data: Path, capsys: Capture) -> None:
    before = tables(data)
    with raw(data) as (transaction, databases):
        for key, _ in before["live"][::2]:
            transaction.delete(key, db=databases["live"])
        transaction.drop(databases["live-queues"], delete=False)
    assert tools.verify(data) == 1
    assert tools.rebuild(data) == 0
    assert tables(data) == before
    assert sound(data)
    assert tools.rebuild(data, as_json=True) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["rows"] == told["rows_before"] == len(before["live"])


def test_rebuild_keeps_live_if_it_was_sound(data: Path) -> None:
    before = tables(data)
    rebuild(data, progress=quiet)
    assert tables(data) == before


def test_rebuild_is_refused_beside_a_writer(data: Path, capsys: Capture) -> None:
    with beside(data) as other:
        other.write(1)
        assert tools.rebuild(data) == 2
    assert "in use by another postroom process" in capsys.readouterr().err


def test_rebuild_without_room_changes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    before, size = tables(data), data_file(data).stat().st_size
    monkeypatch.setattr(Space, "_extend", lambda *_: False)
    assert tools.rebuild(data) == 2
    assert "bytes are needed" in capsys.readouterr().err
    assert tables(data) == before
    assert data_file(data).stat().st_size == size


def test_rebuild_that_fails_gives_the_room_back(data: Path) -> None:
    size = data_file(data).stat().st_size
    _, value = tables(data)["log"][-1]
    flip(data, value, at=14)
    assert tools.rebuild(data) == 1
    assert data_file(data).stat().st_size == size


# backup


def test_a_backup_holds_everything_and_can_be_run(data: Path, tmp_path: Path, capsys: Capture) -> None:
    copy = tmp_path / "copy"
    assert tools.backup(data, copy) == 0
    assert tables(copy) == tables(data)
    assert sound(copy)
    machine = Machine(LmdbStore(copy))
    machine.clock.run(3_600_000)
    send(machine, "bob0", "it goes on")
    machine.store.close()
    assert sound(copy)
    assert not (tmp_path / "copy.partial").exists()
    assert tools.backup(data, copy) == 2
    assert "is there already" in capsys.readouterr().err
    assert tools.backup(str(data), str(tmp_path / "other"), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["destination"] == str(tmp_path / "other")


def test_a_backup_beside_a_writer_is_of_one_moment(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with beside(data) as other:
        other.write(150)
        grown = [0]

        def write_on(_: Progress) -> None:
            if not grown[0]:
                grown[0] = other.write(50)

        done = backup(data, copy, progress=write_on)
        last = other.write(1)
    assert sound(copy)
    assert done.position < grown[0] < last
    assert done.source_grown_bytes >= 0
    with Reader(data) as reader, reader.snapshot() as snapshot:
        assert snapshot.views.position == last


def test_no_byte_of_a_backup_is_of_a_text_taken_back(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    store = LmdbStore(data)
    machine = Machine(store, Rules(queue_messages=200))
    kept, gone = [], []
    for number in range(240):
        text = f"-text-{number:04}-" * (1 + number % 40)
        history = number % 2 == 0
        id = send(machine, f"user{number % 7}", f"old{text}", history=history)
        if number % 3 == 0:
            machine.run(DeleteMessage(app="demo", id=id, by="alice"))
            gone.append(f"old{text}")
        elif number % 3 == 1:
            machine.run(EditMessage(app="demo", id=id, by="alice", body=f"new{text}".encode()))
            gone.append(f"old{text}")
            kept.append(f"new{text}")
        else:
            kept.append(f"old{text}")
    store.close()
    backup(data, copy, progress=quiet)
    content = b"".join(path.read_bytes() for path in copy.iterdir())
    assert [text for text in gone if text.encode() in content] == []
    assert [text for text in kept if text.encode() not in content] == []


def test_no_byte_of_a_backup_is_of_a_deleted_group_that_was_swept(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    store = LmdbStore(data)
    machine = Machine(store)
    for name in ("gone", "kept"):
        attributes = b'{"topic":"the topic of %s"}' % name.encode()
        machine.run(
            CreateConversation(app="demo", conversation=group(name), attributes=attributes, members=("ann", "bob"))
        )
    for number in range(60):
        for name in ("gone", "kept"):
            text = f"{name}-text-{number:04}-" * (1 + number % 40)
            said = SendMessage(
                app="demo",
                sender="ann",
                to=group(name),
                body=text.encode(),
                queue=True,
                history=True,
                push=b"p" + text.encode(),
            )
            receipt = machine.run(said).result
            assert isinstance(receipt, Receipt)
            if number % 3 == 0:
                machine.run(EditMessage(app="demo", id=receipt.id, by="ann", body=b"new-" + text.encode()))
    machine.trim(ExpiryMs(1 << 60), 100)
    machine.run(DeleteConversation(app="demo", conversation=group("gone"), by="ann"))
    while machine.run(SweepConversation(app="demo", conversation=group("gone"), limit=7, unblocked=True)).events:
        pass
    machine.trim(ExpiryMs(1 << 60), 10_000)
    store.close()
    assert sound(data)
    backup(data, copy, progress=quiet)
    content = b"".join(path.read_bytes() for path in copy.iterdir())
    assert b"gone-text" not in content
    assert b"topic of gone" not in content
    assert content.count(b"kept-text-0007-") >= 1


def test_a_backup_that_fails_leaves_nothing(data: Path, tmp_path: Path, capsys: Capture) -> None:
    key, value = tables(data)["bodies"][-1]
    flip(data, value, at=10)
    assert tools.backup(data, tmp_path / "copy") == 1
    err = capsys.readouterr().err
    assert f"body {int.from_bytes(key)}: CRC mismatch" in err
    assert "there is no backup" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_backup_without_room(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.storage.backup.SPARE_BYTES", 1 << 60)
    assert tools.backup(data, tmp_path / "copy") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    with pytest.raises(NotEnoughRoom):
        rooms.require_room(tmp_path, 1 << 60)
    rooms.require_room(tmp_path, MIB)


def test_what_a_killed_backup_left_is_swept_aside(data: Path, tmp_path: Path) -> None:
    partial = tmp_path / "copy.partial"
    partial.mkdir()
    (partial / "postroom.lock").touch()
    (partial / "data.mdb").write_bytes(b"half of it" * 1_000)
    assert tools.backup(data, tmp_path / "copy") == 0
    assert tables(tmp_path / "copy") == tables(data)


def test_what_no_backup_left_is_not_touched(data: Path, tmp_path: Path) -> None:
    partial = tmp_path / "copy.partial"
    partial.mkdir()
    (partial / "letters.txt").write_text("mine")
    assert tools.backup(data, tmp_path / "copy") == 2
    assert (partial / "letters.txt").read_text() == "mine"


def test_two_backups_to_one_place(data: Path, tmp_path: Path, capsys: Capture) -> None:
    seen: list[int] = []

    def again(_: Progress) -> None:
        if not seen:
            seen.append(1)
            seen.append(run(["backup", str(data), str(tmp_path / "copy")]).returncode)

    backup(data, tmp_path / "copy", progress=again)
    assert seen == [1, 2]
    assert sound(tmp_path / "copy")


def test_queues_that_outgrew_their_page(tmp_path: Path) -> None:
    """Their entries lie in trees of their own, over which LMDB's compacting copy dies."""
    data = tmp_path / "data"
    store = LmdbStore(data)
    machine = Machine(store, Rules(queue_messages=300))
    for number in range(310):
        send(machine, "bob", f"text {number}", history=number % 2 == 0)
    store.close()
    assert sound(data)
    backup(data, tmp_path / "copy", progress=quiet)
    assert tables(tmp_path / "copy") == tables(data)
    with raw(data) as (transaction, databases):
        transaction.drop(databases["live-queues"], delete=False)
    assert not sound(data)
    assert rebuild(data, progress=quiet).entries == 300
    assert tables(tmp_path / "copy") == tables(data)
    assert sound(data)


# log


def run(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-c", SERVICE, *arguments], cwd=HOME, capture_output=True, text=True)


def test_log_tells_what_happened(tmp_path: Path, capsys: Capture) -> None:
    store = LmdbStore(tmp_path)
    machine = Machine(store, Rules(queue_messages=1))
    machine.run(Login(app="demo", user="bob"))
    first = send(machine, "bob", "one", history=True)
    second = send(machine, "bob", "two", dedup="k")
    machine.run(DeleteMessage(app="demo", id=first, by="mod\n\x1b[2J"))
    machine.run(SendMessage(app="demo", sender="al ice", to=room("r1"), body=b"three", lane="low"))
    machine.run(Kick(app="demo", user="bob", reason="sp\nam"))
    machine.run(Kick(app="demo", user="cy"))
    store.close()
    assert tools.log(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == [
        f"bob logged in as session {first - 1}, now online: 0 queued, 0 missed",
        f"message {first} alice → peer bob, kept for history, queued for bob as seq 1",
        f"message {second} alice → peer bob, queued for bob as seq 2, evicted 1, dedup key k",
        f"message {first} deleted by 'mod\\n\\x1b[2J', queued for bob as seq 3, evicted 1",
        "room r1 created",
        f"message {second + 3} 'al ice' → room r1, low, for whoever is online only",
        "bob kicked, tokens until 2026-09-21T14:13:20.000Z refused: 'sp\\nam'",
        "cy kicked, tokens until 2026-09-21T14:13:20.000Z refused",
    ]
    assert lines[0].split()[:3] == [str(first - 1), "2026-09-21T14:13:20.000Z", "demo"]
    assert lines[1].split()[1] == "2026-09-21T14:13:20.000Z"
    assert tools.log(tmp_path, after=second, as_json=True) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["event"], event["position"]) for event in events] == [
        ("message-deleted.2", str(second + 1)),
        ("conversation-created.1", str(second + 2)),
        ("message-sent.2", str(second + 3)),
        ("user-kicked.1", str(second + 4)),
        ("user-kicked.1", str(second + 5)),
    ]
    assert events[0]["id"] == str(first)
    assert events[2]["lane"] == "low"


def test_log_shows_every_kind_of_event(data: Path, capsys: Capture) -> None:
    assert tools.log(data) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(tables(data)["log"])
    assert tools.log(data, as_json=True) == 0
    events = {json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()}
    assert {"message-edited.2", "message-recalled.3", "acked.2", "logged-out.2"} <= events
    assert {"room-joined.1", "room-left.1", "presence-taken.1", "result-reserved.1", "result-collected.1"} <= events


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__struct_config__.tag)
def test_every_event_in_words_and_as_json(event: AnyEvent) -> None:
    record = Record(Position(POSITION), ExpiryMs(CLOCK_MS), event)
    line = wording.line(record)
    assert line.isprintable()
    assert line.startswith(f"{POSITION}  ")
    told = json.loads(json.dumps(wording.plain(record)))
    assert told["position"] == str(told.get("position"))
    assert told["words"] in line
    # Whatever is an id or a position is a decimal string: 53 bits fit a double, but nobody shall have to think of that.
    assert not [number for number in numbers(told) if number >= 1 << 42]


def numbers(told: object) -> Iterator[int]:
    """Every integer in it."""
    if isinstance(told, dict):
        told = list(told.values())
    if isinstance(told, list):
        for one in told:
            yield from numbers(one)
    elif isinstance(told, int):
        yield told


def test_a_time_that_is_not_when_it_happened_is_not_shown_as_that() -> None:
    """Sweeping names the time of what it ends, and earlier versions did not note when somebody came or went."""
    clock = "~2026-09-21T14:13:20.123Z"
    swept = HistoryExpired(app="demo", at_ms=UnixMs(5), id=MessageId(7), count=2)
    for event in (swept, StaysExpired(app="demo", at_ms=UnixMs(5), count=2), *OF_OLD.values()):
        if getattr(event, "at_ms", 0) < 10:
            assert wording.line(Record(Position(9), ExpiryMs(CLOCK_MS), event)).split()[1] == clock


def test_log_of_what_an_earlier_version_wrote(tmp_path: Path, capsys: Capture) -> None:
    views1.written_directory(tmp_path / "data")
    LmdbStore(tmp_path / "data").close()
    assert tools.log(tmp_path / "data") == 0
    assert f"message {views1.LATER_RECALLED} recalled by alice" in capsys.readouterr().out
    assert tools.log(tmp_path / "data", as_json=True) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in told][0:3] == ["logged-out.2", "message-edited.2", "message-recalled.3"]


def test_views_of_an_earlier_version(tmp_path: Path, capsys: Capture) -> None:
    """Those who only read say who brings them up to date; `rebuild` does."""
    data = tmp_path / "data"
    views1.written_directory(data)
    for attempt in (
        lambda: tools.verify(data),
        lambda: tools.log(data),
        lambda: tools.inspect(data, app="demo", user="bob"),
        lambda: tools.backup(data, tmp_path / "copy"),
    ):
        assert attempt() == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "open it once with `postroom serve`, or run `postroom rebuild`, to bring it up to date" in err
    assert tools.rebuild(data) == 0
    assert tools.verify(data) == 0
    assert "8 messages in the history" in capsys.readouterr().out


def test_log_says_what_was_trimmed(data: Path, capsys: Capture) -> None:
    assert tools.log(data, after=1) == 0
    with Reader(data) as reader:
        trimmed = reader.log(Position(0)).trimmed
    assert f"events after 1 up to {trimmed} are no longer in the log" in capsys.readouterr().err
    assert tools.log(data, after=trimmed) == 0
    assert capsys.readouterr().err == ""


def test_log_shows_what_is_sound_before_what_is_not(data: Path, capsys: Capture) -> None:
    records = tables(data)["log"]
    flip(data, records[5][1], at=14)
    assert tools.log(data) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert f"log record {int.from_bytes(records[5][0])}: CRC mismatch" in err
    assert "postroom verify" in err


def follow(arguments: list[str]) -> "subprocess.Popen[str]":
    """`log` in a process of its own, while it runs."""
    command = [sys.executable, "-c", SERVICE, "log", *arguments]
    return subprocess.Popen(command, cwd=HOME, stdout=-1, stderr=-1, text=True)


def read_until(lines: IO[str], word: str) -> str:
    """The next line with this word."""
    return next(line for line in lines if word in line)


def test_log_follows_until_it_is_interrupted(tmp_path: Path) -> None:
    with beside(tmp_path) as other:
        first = other.write(3)
        with follow([str(tmp_path), "--follow"]) as reader:
            assert reader.stdout is not None
            assert reader.stderr is not None
            assert str(first) in read_until(reader.stdout, f"message {first}")
            second = other.write(1)
            assert str(second) in read_until(reader.stdout, f"message {second}")
            reader.send_signal(signal.SIGINT)
            assert reader.wait() == 0
            assert reader.stderr.read() == ""


def test_log_into_a_pipe_that_closes(tmp_path: Path) -> None:
    with beside(tmp_path) as other:
        other.write(1_200)
    with follow([str(tmp_path)]) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdout.readline()
        reader.stdout.close()
        assert reader.wait() == 0
        assert reader.stderr.read() == ""


# inspect


def test_inspect_tells_what_waits(tmp_path: Path, capsys: Capture) -> None:
    store = LmdbStore(tmp_path)
    machine = Machine(store, Rules(queue_messages=3, queue_ttl_ms=60_000))
    machine.run(Login(app="demo", user="bob"))
    first = send(machine, "bob", "secret one", history=True)
    machine.clock.run(50_000)
    for number in range(3):
        last = send(machine, "bob", f"secret {number}")
    machine.run(EditMessage(app="demo", id=last, by="mod", body=b"secret, edited"))
    machine.clock.run(20_000)
    machine.run(SendMessage(app="demo", sender="alice", to=peer("carol"), body=b"", queue=True))
    store.close()
    assert tools.inspect(tmp_path, app="demo", user="bob") == 0
    out = capsys.readouterr().out
    assert "secret" not in out
    assert "accepted 5 = acked 0 + queued 3 + evicted 2 + expired 0 + withdrawn 0" in out
    assert "next seq 6, acknowledged through 0, missed at next login 2" in out
    assert f"message {last}  seq 4  expires" in out
    assert "edited by mod, alice → peer bob, text, 14 bytes" in out
    assert tools.inspect(tmp_path, app="demo", user="bob", as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert [entry["seq"] for entry in told["queue"]] == [3, 4, 5]
    assert [entry["type"] for entry in told["queue"]] == ["message", "edited", "edited"]
    assert told["queue"][0]["size_bytes"] == len("secret 1")
    assert told["sessions"] == [{"session": str(first - 1), "epoch": 0, "online": True}]
    assert tools.inspect(tmp_path, app="demo", user="dave") == 0
    assert "nothing known" in capsys.readouterr().out


def test_inspect_tells_the_rooms(tmp_path: Path, capsys: Capture) -> None:
    store = LmdbStore(tmp_path)
    machine = Machine(store)
    machine.run(StartEpoch())
    session = login(machine, "bob")
    for name in ("lobby", "the hall"):
        machine.run(Join(app="demo", user="bob", session=session, room=name))
        machine.clock.run(1_000)
    machine.run(Join(app="demo", user="carol", session=login(machine, "carol"), room="lobby"))
    machine.run(Leave(app="demo", user="bob", session=session, room="lobby"))
    machine.run(Join(app="demo", user="bob", session=session, room="lobby"))
    store.close()
    assert tools.inspect(tmp_path, app="demo", user="bob") == 0
    rooms_told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  room ")]
    assert rooms_told == [
        "  room 'the hall': since 2026-09-21T14:13:21.000Z",
        "  room lobby: since 2026-09-21T14:13:22.000Z",
    ]
    assert tools.inspect(tmp_path, app="demo", user="bob", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["rooms"] == [
        {"room": "the hall", "since_ms": START_MS + 1_000, "present": True},
        {"room": "lobby", "since_ms": START_MS + 2_000, "present": True},
    ]
    store = LmdbStore(tmp_path)
    Machine(store).run(StartEpoch())  # the process dies, and nobody has written the leaves yet
    store.close()
    assert tools.inspect(tmp_path, app="demo", user="carol") == 0
    out = capsys.readouterr().out
    assert "  room lobby: since 2026-09-21T14:13:22.000Z, in an earlier process" in out
    assert "of an earlier process, offline" in out


def test_inspect_counts_what_is_expired(tmp_path: Path, capsys: Capture) -> None:
    store = LmdbStore(tmp_path)
    machine = Machine(store, Rules(queue_ttl_ms=60_000))
    for text in ("one", "two"):
        send(machine, "bob", text)
        machine.clock.run(40_000)
    send(machine, "carol", "moves the clock of the log")
    store.close()
    assert tools.inspect(tmp_path, app="demo", user="bob") == 0
    out = capsys.readouterr().out
    assert "queue: 2, 1 of them expired" in out
    assert "missed at next login 1" in out
    assert out.count("EXPIRED") == 1


def test_inspect_counts_what_is_kept_once_for_many(tmp_path: Path, capsys: Capture) -> None:
    """Members of a large group have nothing in their queues."""
    store = LmdbStore(tmp_path)
    machine = Machine(store, Rules(queue_messages=2))
    team, news = group("team"), service("news")
    members = tuple(f"v{number:03}" for number in range(150))
    machine.run(CreateConversation(app="demo", conversation=team, members=members))
    machine.run(CreateConversation(app="demo", conversation=news))
    machine.run(SendBroadcast(app="demo", sender="ed", conversation=news, body=b"before anybody came"))
    machine.run(SendBroadcast(app="demo", sender="ed", conversation=news, body=b"to whoever comes"))
    login(machine, "v001")
    for text in (b"secret 1", b"secret 2", b"secret 3"):
        machine.run(SendMessage(app="demo", sender="v000", to=team, body=text, queue=True, history=True))
    machine.run(SendBroadcast(app="demo", sender="ed", conversation=news, body=b"secret 4"))
    machine.run(RemoveMembers(app="demo", conversation=team, users=("v002",)))
    login(machine, "guest")
    machine.run(Kick(app="demo", user="kicked"))
    store.close()

    def told(user: str) -> tuple[bool, int, int, int]:
        assert tools.inspect(tmp_path, app="demo", user=user, as_json=True) == 0
        found = json.loads(capsys.readouterr().out)
        return found["known"], found["memberships"], found["streamed"], found["broadcasts"]

    assert told("v000") == (True, 1, 0, 1)  # it sent them
    assert told("v001") == (True, 1, 3, 2)
    assert told("v002") == (True, 0, 3, 1)
    assert told("v003") == (True, 1, 3, 1)
    assert told("guest") == (True, 0, 0, 1)
    assert told("kicked")[0]
    assert not told("nobody")[0]
    assert tools.inspect(tmp_path, app="demo", user="v001") == 0
    out = capsys.readouterr().out
    assert "  streams: 3, member of 1 conversation; " in out
    assert "  broadcasts: 2\n" in out
    assert "secret" not in out


def test_inspect_does_not_count_a_broadcast_that_is_over(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    machine = Machine(store)
    news, over_ms = service("news"), UnixMs(START_MS + 60_000)
    machine.run(CreateConversation(app="demo", conversation=news))
    login(machine, "bob")
    machine.run(SendBroadcast(app="demo", sender="ed", conversation=news, body=b"x", valid_until_ms=over_ms))
    store.close()
    with Reader(tmp_path) as reader:
        counts = [recipient.read(reader, "demo", "bob", UnixMs(over_ms + by)).shared.broadcasts for by in (-1, 0)]
    assert counts == [1, 0]


def test_inspect_in_an_unknown_app(data: Path, capsys: Capture) -> None:
    assert tools.inspect(data, app="demo2", user="bob0") == 0
    assert "nothing known" in capsys.readouterr().out


# all of them


@pytest.mark.parametrize("what", ["empty", "file", "nothing"])
def test_what_is_not_a_data_directory(what: str, tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / what
    if what == "empty":
        place.mkdir()
    elif what == "file":
        place.write_text("x")
    before = sorted(tmp_path.rglob("*"))
    assert tools.verify(place) == 2
    assert tools.rebuild(place) == 2
    assert tools.backup(place, tmp_path / "copy") == 2
    assert tools.log(place) == 2
    assert tools.inspect(place, app="a", user="u") == 2
    assert capsys.readouterr().err.count("is not a data directory of postroom") == 5
    assert sorted(tmp_path.rglob("*")) == before


def test_an_lmdb_file_of_somebody_else(tmp_path: Path, capsys: Capture) -> None:
    lmdb.open(str(tmp_path), lib_version=0).close()
    assert tools.verify(tmp_path) == 2
    assert tools.log(tmp_path) == 2
    assert tools.rebuild(tmp_path) == 2
    assert capsys.readouterr().err.count("not a data directory of postroom") == 3


def test_a_newer_format(data: Path, capsys: Capture) -> None:
    with raw(data) as (transaction, databases):
        transaction.put(b"versions", b"\x92\x02\x01", db=databases["meta"])
    before = data_file(data).read_bytes()
    assert tools.verify(data) == 2
    assert tools.rebuild(data) == 2
    assert tools.backup(data, data.parent / "copy") == 2
    assert tools.log(data) == 2
    assert tools.inspect(data, app="demo", user="bob0") == 2
    assert capsys.readouterr().err.count("has format 2, views 1") == 5
    assert data_file(data).read_bytes() == before


def test_a_broker_that_starts_while_a_copy_is_read(data: Path) -> None:
    """A directory without a reader table is read without one: who opens it meanwhile cannot know of the reader."""
    reader_table(data).unlink()
    with Reader(data) as reader:
        with reader.snapshot() as snapshot:
            assert snapshot.views.user("demo", "bob0") is not None
        with beside(data) as other:
            other.write(1)
            with pytest.raises(StorageFailure, match="a broker started"), reader.snapshot():
                pass


def test_the_tools_change_nothing(data: Path, tmp_path: Path) -> None:
    before = data_file(data).read_bytes()
    assert tools.verify(data) == 0
    assert tools.backup(data, tmp_path / "copy") == 0
    assert tools.log(data) == 0
    assert tools.inspect(data, app="demo", user="bob0") == 0
    assert data_file(data).read_bytes() == before
    assert any(key.startswith(USER) for key, _ in tables(data)["live"])
