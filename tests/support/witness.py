"""Runs a program that tells what it was promised, kills it, and holds the data it leaves against every promise."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Self

from postroom.core.domain import stream_reading
from postroom.core.events import MessageSent, Record
from postroom.core.ids import MessageId, Position
from postroom.core.ports import Snapshot
from postroom.core.rows import StreamEntry
from postroom.core.runtime.reading import resolve, resolve_streamed
from postroom.storage.reading import Reader
from postroom.storage.verify import Report, verify

from .victim import APP, RULES, USERS, recipients, spec

HOME: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 60
"""For what must happen on the slowest machine; nothing is concluded from how long it took."""


def check(directory: Path, scratch: Path) -> Report:
    """The report of `postroom verify`; fails if it finds anything."""
    report = verify(directory, scratch=scratch, progress=lambda _: None)
    assert report.sound, report.problems
    return report


def waiting_in_streams(snapshot: Snapshot, user: str) -> list[StreamEntry]:
    """What streams have for a user who logs in now."""
    views = snapshot.views
    login, _ = stream_reading.opened(views, APP, user, Position(views.position + 1), views.clock_ms, RULES[APP])
    found = merge(*stream_reading.sources(views, APP, user, after=login.acked, login=login), key=attrgetter("position"))
    return [entry for entry in found if isinstance(entry, StreamEntry)]


class Child:
    """A process of ours, and the lines it wrote. It does not outlive the block."""

    def __init__(self, arguments: Sequence[str], stdin: bytes = b"") -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=HOME,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(stdin)
        self._process.stdin.close()
        self._process.stdin = None  # or `communicate` would flush it
        self._out = self._process.stdout.fileno()
        self._rest = b""
        self.lines: list[list[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, seconds: float) -> bool:
        """Take in what it writes for so long; False if it wrote its last."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if select.select([self._out], [], [], left)[0] and not self._take():
                return False
        return True

    def read_until(self, word: str, times: int = 1) -> None:
        """Until it has said this so many times more."""
        ends, before = time.monotonic() + PATIENCE_S, self.said(word)
        while self.said(word) < before + times:
            assert time.monotonic() < ends, f"no {word!r} came"
            assert self.read(0.01), f"it ended without {word!r}: {self.end()}"

    def said(self, word: str) -> int:
        """How many lines begin so."""
        return sum(line[0] == word for line in self.lines)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and take in what it wrote until it ended."""
        self._process.send_signal(number)
        while self._take():
            pass

    def end(self) -> tuple[int, str]:
        """Wait for it: its exit status and what it complained of."""
        _, complaint = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, complaint.decode(errors="replace")

    def _take(self) -> bool:
        data = os.read(self._out, 1 << 20)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += map(json.loads, whole)
        return bool(data)


class _Visit:
    """What one session of the process at hand was sent."""

    def __init__(self, floor: int) -> None:
        self._floor = floor
        self._through = floor
        self._seen: set[tuple[int, str]] = set()

    def got(self, position: int, kind: str, queued: bool) -> None:
        """Nothing twice, nothing acknowledged before, what is queued in order."""
        assert (position, kind) not in self._seen, f"{position} came twice"
        self._seen.add((position, kind))
        if queued:
            assert position > self._floor, f"{position} came although everything up to {self._floor} was acknowledged"
            assert position > self._through, f"{position} came after {self._through}"
            self._through = position


class Witness:
    """Everything promised so far, over all rounds."""

    def __init__(self, directory: Path, scratch: Path, seed: int, options: Mapping[str, Any] | None = None) -> None:
        self.directory = directory
        self.seed = seed
        self.counted: Counter[str] = Counter()
        self._scratch = scratch
        self._chance = random.Random(seed)
        self._options = dict(options or {})
        self._trimmed = "log_retention_ms" in self._options
        self._round = 0
        self._retries: list[str] = []
        self.unanswered: list[str] = []
        """What the last process tried and said nothing of."""
        self._sent: dict[str, int] = {}
        """Key to id."""
        self._logged: dict[str, int] = {}
        """Dedup key to id, by the log."""
        self._messages: set[int] = set()
        """Ids, by the log."""
        self._read_through = Position(0)
        self._newest = 0
        self._acked: dict[str, int] = defaultdict(int)
        """By user, the newest position whose ack returned."""
        self._acking: dict[str, int] = defaultdict(int)
        """The newest position that was acknowledged at all."""
        self._states: dict[int, list[str]] = {}
        """By message that was changed: the texts it may have, first that of the last change that returned."""
        self._oldest = 0
        self._visits: dict[int, _Visit] = {}
        self._floors: dict[int, int] = {}
        """By task, what its user had acknowledged when it came to log in."""

    # Rounds.

    def start(self) -> Child:
        """The next process, which soon is up and under load."""
        self._round += 1
        seed = f"{self.seed}r{self._round}"
        arguments = ["-m", "tests.support.victim", str(self.directory), seed, json.dumps(self._options)]
        return Child(arguments, json.dumps(self._retries).encode())

    def round(self) -> Report:
        """One process, killed after a while; then everything is checked."""
        with self.start() as child:
            child.read_until("up")
            child.read(self._chance.uniform(0.3, 0.9))
            child.kill()
            assert child.end() == (-signal.SIGKILL, "")
        self.hear(child.lines)
        return self.check()

    def hear(self, lines: Iterable[list[Any]]) -> None:
        """What one process was promised. Checks what can be told from its words alone."""
        self._oldest = self._newest
        self._visits.clear()
        tried: set[str] = set()
        for word, *line in lines:
            self.counted[word] += 1
            match word:
                case "try":
                    tried.add(line[0])
                case "sent" | "refused":
                    tried.discard(line[0])
                    self._answered(word, *line)
                case "enter" | "login" | "got":
                    self._received(word, *line)
                case "acking" | "acked":
                    _, user, position = line
                    promised = self._acked if word == "acked" else self._acking
                    promised[user] = max(promised[user], position)
                case "change" | "changed" | "unchanged":
                    self._changed(word, *line)
        self.unanswered = sorted(tried)
        self._retries = [key for key in self.unanswered if spec(key).dedup]

    def _answered(self, word: str, key: str, what: Any, duplicate: bool = False) -> None:
        if word == "refused":
            assert what in ("overloaded", "shutting_down"), (key, what)
            return
        assert self._sent.setdefault(key, what) == what, f"{key} has two ids"
        assert duplicate or what > self._oldest, f"{what} is not beyond what an earlier process gave"
        self._newest = max(self._newest, what)

    def _received(self, word: str, *line: Any) -> None:
        match word, line:
            case "enter", [user, number]:
                self._floors[number] = self._acked[user]
            case "login", [session, number]:
                assert session > self._oldest
                self._visits[session] = _Visit(self._floors[number])
            case _, [session, _, position, _, kind, queued, _]:
                self._newest = max(self._newest, position)
                if kind not in ("acked", "dropped"):
                    self._visits[session].got(position, kind, queued)

    def _changed(self, how: str, what: str, id: int, text: str) -> None:
        state = {"recall": "recalled", "delete": "deleted"}.get(what, text)
        states = self._states.setdefault(id, [""])
        if how == "change":
            states.append(state)
        elif how == "unchanged":
            states.pop()
        else:
            self._states[id] = [state]

    # The data.

    def check(self) -> Report:
        """Hold the data against every promise."""
        report = check(self.directory, self._scratch)
        with Reader(self.directory) as reader:
            while (page := reader.log(self._read_through)).records:
                self._read_through = page.records[-1].position
                self._read_log(page.records)
            with reader.snapshot() as snapshot:
                for user in range(USERS):
                    self._check_queue(snapshot, f"u{user}")
                self._check_history(snapshot)
                for totals in snapshot.views.all_totals().values():
                    rest = totals.acked + totals.queued + totals.evicted + totals.expired + totals.withdrawn
                    assert totals.accepted == rest, totals
                    assert (totals.evicted, totals.expired) == (0, 0), totals
        if not self._trimmed:
            missing = {key: id for key, id in self._sent.items() if id not in self._messages}
            assert not missing, f"answered and not in the log: {missing}"
        return report

    def _read_log(self, records: Iterable[Record]) -> None:
        for record in records:
            self._newest = max(self._newest, record.position)
            event = record.event
            if not isinstance(event, MessageSent):
                continue
            self._messages.add(event.id)
            if event.dedup is not None:
                assert event.dedup not in self._logged, f"{event.dedup} was stored twice"
                self._logged[event.dedup] = event.id
                assert self._sent.get(event.dedup, event.id) == event.id

    def _check_queue(self, snapshot: Snapshot, user: str) -> None:
        entries = list(snapshot.views.entries(APP, user))
        streamed = waiting_in_streams(snapshot, user)
        positions = [entry.position for entry in entries]
        assert positions == sorted(set(positions)), f"{user}'s queue is not in order"
        numbers = [entry.seq for entry in entries]
        assert numbers == sorted(set(numbers)), f"{user}'s numbers do not rise"
        back = [position for position in positions if position <= self._acked[user]]
        assert not back, f"{user} acknowledged these and they are back: {back}"
        row = snapshot.views.user(APP, user)
        assert self._acked[user] <= (row.acked_through if row is not None else 0), (
            f"what {user} acknowledged is forgotten"
        )
        waiting = {*positions, *(entry.position for entry in streamed)}
        for key, id in self._sent.items():
            command = spec(key)
            if not command.queue or user not in recipients(command) or id <= self._acking[user]:
                continue
            states = self._states.get(id, [""])
            assert id in waiting or "deleted" in states, f"{key} was answered and is not in {user}'s queue"
            assert id not in waiting or states != ["deleted"], f"{key} was deleted and waits for {user}"
            self.counted["kept"] += 1
        for entry in entries:
            body, _ = resolve(snapshot, APP, user, entry)
            self._check_text(body.header.id, body.payload, body.header.type)
        for standing in streamed:
            body, _ = resolve_streamed(snapshot, APP, user, standing)
            self._check_text(standing.id, body.payload, body.header.type)

    def _check_history(self, snapshot: Snapshot) -> None:
        for key, id in self._sent.items():
            if not spec(key).history:
                continue
            changed = snapshot.views.changed(MessageId(id))
            body = snapshot.bodies.body(changed.body if changed else Position(id))
            if body is None:
                assert "deleted" in self._states.get(id, []), f"{key} was answered and is not kept"
            else:
                self._check_text(id, body.payload, body.header.type)

    def _check_text(self, id: int, payload: bytes, type: str) -> None:
        text = payload[:80].decode().rstrip()
        allowed = self._states.get(id, [""])
        if type in ("recalled", "deleted"):
            assert type in allowed, (id, type, allowed)
        elif text.startswith("edit "):
            assert text in allowed, (id, text, allowed)
        else:
            assert "" in allowed, (id, text, allowed)
            assert payload == spec(text).body
