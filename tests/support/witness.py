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
from pathlib import Path
from typing import Any, Final

from postroom.core.events import MessageSent, Record
from postroom.core.ids import Position
from postroom.core.ports import Snapshot
from postroom.core.runtime.reading import resolve
from postroom.storage.reading import Reader
from postroom.storage.verify import Report, verify

from .victim import APP, USERS, spec

HOME: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 60
"""For what must happen on the slowest machine; nothing is concluded from how long it took."""


def check(directory: Path, scratch: Path) -> Report:
    """The report of `postroom verify`; fails if it finds anything."""
    report = verify(directory, scratch=scratch, progress=lambda _: None)
    assert report.sound, report.problems
    return report


class Child:
    """A process of ours, and the lines it wrote."""

    def __init__(self, arguments: Sequence[str], stdin: bytes = b"") -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments], cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(stdin)
        self._process.stdin.close()
        self._out = self._process.stdout.fileno()
        self._rest = b""
        self.lines: list[list[Any]] = []

    def read(self, seconds: float) -> bool:
        """Take in what it writes for so long; False if it wrote its last."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if select.select([self._out], [], [], left)[0] and not self._take():
                return False
        return True

    def read_until(self, word: str) -> None:
        """Until it says this."""
        ends = time.monotonic() + PATIENCE_S
        while not any(line[0] == word for line in self.lines):
            assert time.monotonic() < ends, f"no {word!r} came"
            assert self.read(0.01), f"it ended without {word!r}: {self.end()}"

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and take in what it wrote until it ended."""
        self._process.send_signal(number)
        while self._take():
            pass

    def end(self) -> tuple[int, str]:
        """Its exit status and what it complained of."""
        assert self._process.stderr is not None
        complaint = self._process.stderr.read().decode(errors="replace")
        self._process.stderr.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(PATIENCE_S), complaint

    def _take(self) -> bool:
        data = os.read(self._out, 1 << 20)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += map(json.loads, whole)
        return bool(data)


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
        """By message that was changed: the texts it may have, the first since its last change that returned."""

    # Rounds.

    def round(self, seconds: float | None = None) -> None:
        """One process, killed after a while; then everything is checked."""
        self._round += 1
        seed = f"{self.seed}r{self._round}"
        arguments = ["-m", "tests.support.victim", str(self.directory), seed, json.dumps(self._options)]
        child = Child(arguments, json.dumps(self._retries).encode())
        child.read_until("up")
        child.read(self._chance.uniform(0.3, 0.9) if seconds is None else seconds)
        child.kill()
        status, complaint = child.end()
        assert (status, complaint) == (-signal.SIGKILL, "")
        self.hear(child.lines)
        self.check()

    def hear(self, lines: Iterable[list[Any]]) -> None:
        """What one process was promised. Checks what can be told from its words alone."""
        oldest = self._newest
        tried: set[str] = set()
        answered: set[str] = set()
        floors: dict[str, list[int]] = defaultdict(list)
        floor: dict[int, int] = {}
        seen: dict[int, set[int]] = defaultdict(set)
        through: dict[int, int] = defaultdict(int)
        for word, *line in lines:
            self.counted[word] += 1
            match word, line:
                case "try", [key]:
                    tried.add(key)
                case "sent", [key, id, duplicate]:
                    answered.add(key)
                    assert self._sent.setdefault(key, id) == id, f"{key} has two ids"
                    assert duplicate or id > oldest, f"{id} is not beyond what an earlier process gave"
                    self._newest = max(self._newest, id)
                case "refused", [key, code]:
                    answered.add(key)
                    assert code == "overloaded", (key, code)
                case "enter", [user]:
                    floors[user].append(self._acked[user])
                case "login", [session, user, _]:
                    floor[session] = floors[user].pop(0)
                    assert session > oldest
                case "got", [session, user, position, id, kind, queued, text]:
                    self._newest = max(self._newest, position)
                    if kind in ("acked", "dropped"):
                        continue
                    if queued:
                        assert position > floor[session], f"{position} was acknowledged by {user} before"
                        assert position > through[session], f"{position} came to {session} after {through[session]}"
                        through[session] = position
                    assert (position, kind) not in seen[session], f"{position} came to {session} twice"
                    seen[session].add((position, kind))
                case "acking", [_, user, position]:
                    self._acking[user] = max(self._acking[user], position)
                case "acked", [_, user, position]:
                    self._acked[user] = max(self._acked[user], position)
                case ("change" | "changed" | "unchanged") as how, [what, id, body]:
                    self._changed(how, id, {"recall": "recalled", "delete": "deleted"}.get(what, body))
        self._retries = sorted(key for key in tried - answered if spec(key).dedup)

    def _changed(self, how: str, id: int, state: str) -> None:
        states = self._states.setdefault(id, [""])
        if how == "change":
            states.append(state)
        elif how == "changed" and not (states[0] == "recalled" and state == "recalled"):
            self._states[id] = [state]
        elif how == "unchanged":
            states.pop()

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
        positions = [entry.position for entry in entries]
        assert positions == sorted(set(positions)), f"{user}'s queue is not in order"
        numbers = [entry.seq for entry in entries]
        assert numbers == sorted(set(numbers)), f"{user}'s numbers do not rise"
        back = [position for position in positions if position <= self._acked[user]]
        assert not back, f"{user} acknowledged these and they are back: {back}"
        waiting = set(positions)
        for key, id in self._sent.items():
            command = spec(key)
            if not command.queue or command.to.id != user or id <= self._acking[user]:
                continue
            states = self._states.get(id, [""])
            assert id in waiting or "deleted" in states, f"{key} was answered and is not in {user}'s queue"
            assert id not in waiting or states != ["deleted"], f"{key} was deleted and waits for {user}"
            self.counted["kept"] += 1
        for entry in entries:
            body, _ = resolve(snapshot, entry)
            self._check_text(body.header.id, body.payload, body.header.type)

    def _check_history(self, snapshot: Snapshot) -> None:
        for key, id in self._sent.items():
            if not spec(key).history:
                continue
            changed = snapshot.views.changed(id)
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
