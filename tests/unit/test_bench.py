"""The benchmarks give results of the promised form, and none when anything went wrong. How fast is never asked."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from postroom.bench.deaf.run import DeafResult
from postroom.bench.drain.run import DrainResult
from postroom.bench.failure import BenchFailure
from postroom.bench.fanout.run import FanoutResult
from postroom.bench.figures import Fsync, Latency, Ratio, Series, Slice, Times, ratio
from postroom.bench.history.run import HistoryResult
from postroom.bench.http import wire
from postroom.bench.http.load import Load
from postroom.bench.http.run import HttpResult
from postroom.bench.http.settings import MARK
from postroom.bench.idle import load as idle
from postroom.bench.idle.run import IdleResult
from postroom.bench.imports.run import ImportResult
from postroom.bench.main import bench as group
from postroom.bench.publish.run import PublishResult
from postroom.bench.result import Result
from postroom.bench.rounds import FSYNCS_MIN, FsyncProbe, interleave, plan
from postroom.bench.scratch import IN_MEMORY, filesystem, scratch
from postroom.bench.servers import Address
from postroom.bench.subscribers.run import SubscribersResult
from postroom.transports.cli.main import main


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks here how much memory a server settles at."""
    monkeypatch.setattr(idle, "SETTLE_S", 0.01)


COMMON = {
    "bench": str,
    "ops_per_s": float,
    "payload_bytes": int,
    "concurrency": int,
    "arrival": str,
    "durability": str,
    "rounds": int,
    "seconds": float,
    "recipients": int,
    "history": bool,
    "seed": int,
    "filesystem": str,
    "cpus": int,
    "cpu": str,
}
SAID = {"drain": "queueing: 60 messages"}
"""What some say while they are at work."""
VERSIONS = {"python", "postroom", "trio", "msgspec", "lmdb", "LMDB", "hypercorn", "h11", "system"}


def results(capsys: pytest.CaptureFixture[str], place: Path, *arguments: str) -> list[dict[str, Any]]:
    """The results of a very short run."""
    short = [] if arguments[0] == "idle" else ["--seconds", "0.04"]
    assert main(["bench", *arguments, *short, "--json", "--dir", str(place)]) == 0
    assert list(place.iterdir()) == []  # it cleaned up
    shown = capsys.readouterr()
    assert arguments[0] not in SAID or SAID[arguments[0]] in shown.err
    return [json.loads(line) for line in shown.out.splitlines()]


def bench(capsys: pytest.CaptureFixture[str], place: Path, *arguments: str) -> dict[str, Any]:
    """The one result of a very short run."""
    (found,) = results(capsys, place, *arguments)
    return found


Table = Callable[..., str]


@pytest.fixture
def table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Table:
    """What a person is shown of a result that was measured already."""

    def shown(result: dict[str, Any], kind: type[Result], *arguments: str) -> str:
        monkeypatch.setattr(f"{kind.__module__}._measure", lambda *_: msgspec.convert(result, kind))
        assert main(["bench", result["bench"], *arguments, "--dir", str(tmp_path)]) == 0
        return capsys.readouterr().out

    return shown


def check(result: dict[str, Any], *baselines: str, rounds: int = 2) -> None:
    """What every result has to say."""
    for name, kind in COMMON.items():
        assert type(result[name]) is kind, name
    assert result["commit"] is None or isinstance(result["commit"], str)
    assert result["versions"].keys() == VERSIONS
    assert all(result["versions"].values())
    assert result["fsync_ms"].keys() == {"p50", "p99"}
    check_times(result["latency_ms"])
    assert list(result["baselines"]) == list(baselines)
    for baseline in baselines:
        check_times(result["baseline_latency_ms"][baseline])
        of_baseline = result["ops_per_s"] / result["baselines"][baseline]
        assert result["ratios"][baseline] == pytest.approx(of_baseline, abs=0.01)
        spread = result["ratio_rounds"][baseline]
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]
    assert result["rounds"] == rounds
    assert result["seed"] == 1


def check_times(times: dict[str, float]) -> None:
    """Percentiles."""
    assert 0 < times["p50"] <= times["p99"] <= times["p99_9"] <= times["max"]


def test_publish(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = bench(capsys, tmp_path, "publish", "--recipients", "100", "--producers", "8")
    check(result, "raw_lmdb")
    assert (result["bench"], result["durability"], result["arrival"]) == ("publish", "fsync", "closed")
    assert (result["concurrency"], result["producers"], result["batch"], result["baseline_batch"]) == (8, 8, 1, 8)
    assert 1 <= result["batch_mean"] <= 8
    assert (result["payload_bytes"], result["history"]) == (256, False)
    assert "rate_per_s" not in result


def test_publish_in_memory_in_batches_to_full_queues(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shape = ["--producers", "2", "--batch", "16", "--recipients", "3", "--queued-per-recipient", "200", "--history"]
    result = bench(capsys, tmp_path, "publish", "--memory", *shape)
    check(result, "raw_lmdb", "raw_lmdb_no_history")
    assert (result["durability"], result["concurrency"], result["batch"]) == ("memory", 32, 16)
    assert (result["queued_per_recipient"], result["history"]) == (200, True)


def test_publish_at_a_rate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = bench(capsys, tmp_path, "publish", "--recipients", "10", "--rate", "500", "--payload-bytes", "10")
    check(result, "raw_lmdb")
    assert (result["arrival"], result["rate_per_s"], result["payload_bytes"]) == ("fixed", 500.0, 10)


@pytest.mark.parametrize(
    ("host", "baselines"), [("hypercorn", ["bare_hypercorn"]), ("h11", ["bare_h11", "bare_hypercorn"])]
)
def test_http(capsys: pytest.CaptureFixture[str], tmp_path: Path, host: str, baselines: list[str]) -> None:
    shape = ["--recipients", "100", "--connections", "4"] + (["--host", host] if host != "hypercorn" else [])
    result = bench(capsys, tmp_path, "http", *shape)
    check(result, *baselines)
    assert (result["bench"], result["durability"], result["arrival"]) == ("http", "fsync", "closed")
    assert (result["concurrency"], result["host"]) == (4, host)


@pytest.mark.parametrize(
    "shape", [[], ["--in-flight", "4", "--history"], ["--rate", "200", "--in-flight", "8"], ["--host", "h11"]]
)
def test_fanout(capsys: pytest.CaptureFixture[str], tmp_path: Path, table: Table, shape: list[str]) -> None:
    result = bench(capsys, tmp_path, "fanout", "--sessions", "5", *shape)
    check(result, "bare_hypercorn")
    in_flight = int(shape[shape.index("--in-flight") + 1]) if "--in-flight" in shape else 1
    assert (result["bench"], result["durability"]) == ("fanout", "fsync")
    assert result["host"] == ("h11" if "--host" in shape else "hypercorn")
    assert (result["sessions"], result["recipients"], result["in_flight"]) == (5, 5, in_flight)
    assert (result["concurrency"], result["history"]) == (5 * in_flight, "--history" in shape)
    assert result["arrival"] == ("fixed" if "--rate" in shape else "closed")
    for times in (result["last_ms"], result["baseline_last_ms"]["bare_hypercorn"]):
        check_times(times)
    assert result["last_ms"]["max"] == result["latency_ms"]["max"]
    assert result["client_busy"].keys() == {"postroom", "bare_hypercorn"}
    assert all(0 < part <= 1 for part in result["client_busy"].values())
    shown = table(result, FanoutResult, "--sessions", "5", *shape)
    for word in (
        f"to 5 sessions at {result['host']}",
        "a frame that arrived",
        "until the last session had it",
        "at work",
    ):
        assert word in shown


@pytest.mark.parametrize("host", ["h11"])
def test_drain(capsys: pytest.CaptureFixture[str], tmp_path: Path, table: Table, host: str) -> None:
    shape = ["--users", "3", "--queued", "5", "--payload-bytes", "9", "--host", host]
    result = bench(capsys, tmp_path, "drain", *shape)
    check(result, "bare_hypercorn")
    assert (result["bench"], result["durability"], result["arrival"], result["host"]) == (
        "drain",
        "fsync",
        "closed",
        host,
    )
    assert (result["users"], result["queued"], result["concurrency"], result["payload_bytes"]) == (3, 5, 3, 9)
    assert result["recipients"] == 4 * 3  # the rehearsal, the warm-up, and each round
    for times in (result["last_ms"], result["baseline_last_ms"]["bare_hypercorn"]):
        check_times(times)
    assert result["last_ms"]["max"] == result["latency_ms"]["max"]
    assert result["client_busy"].keys() == {"postroom", "bare_hypercorn"}
    shown = table(result, DrainResult, *shape)
    for word in ("3 users come back to 5 messages", f"at {host}", "until a user had the last one", "at work"):
        assert word in shown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what memory a process has")
@pytest.mark.parametrize("host", ["h11"])
def test_idle(capsys: pytest.CaptureFixture[str], tmp_path: Path, table: Table, host: str) -> None:
    result = bench(capsys, tmp_path, "idle", "--sessions", "70", "--host", host)
    check(result, "bare_hypercorn", rounds=4)
    assert (result["bench"], result["host"], result["sessions"], result["recipients"]) == ("idle", host, 70, 70)
    figures = {"postroom": result["session_bytes"], **result["baseline_session_bytes"]}
    assert result["rss_bytes"].keys() == figures.keys() == {"postroom", "bare_hypercorn"}
    for name, (before, after) in result["rss_bytes"].items():
        assert after > 0 < before
        assert figures[name] == pytest.approx((after - before) / 70, abs=1)
    assert result["session_bytes_ratios"].keys() == {"bare_hypercorn"}
    shown = table(result, IdleResult, "--sessions", "70", "--host", host)
    for word in (f"70 idle sessions at {host}", "a session that opened", "kB a session", "MB after", "of that"):
        assert word in shown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells what memory a process has")
@pytest.mark.parametrize("host", ["hypercorn"])
def test_deaf(capsys: pytest.CaptureFixture[str], tmp_path: Path, table: Table, host: str) -> None:
    shape = ["--crowd", "4", "--listeners", "2", "--host", host]
    result = bench(capsys, tmp_path, "deaf", *shape)
    check(result, "room_that_reads", "room_alone")
    assert (result["bench"], result["host"], result["crowd"], result["listeners"]) == ("deaf", host, 4, 2)
    p99 = {name: times["p99"] for name, times in result["baseline_latency_ms"].items()}
    for name, found in result["p99_ratios"].items():
        assert found == pytest.approx(result["latency_ms"]["p99"] / p99[name], abs=0.001)
    assert p99.keys() == result["p99_ratios"].keys()
    assert isinstance(result["deaf_bytes"], int)
    shown = table(result, DeafResult, *shape)
    for word in (f"2 listeners in a room with 4 sessions that never read, at {host}", "of that in room_alone", "kB"):
        assert word in shown


def test_history(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shape = ["--messages", "2000", "--clients", "2", "--recipients", "10"]
    of_kind: dict[str, list[dict[str, Any]]] = {}
    for result in results(capsys, tmp_path, "history", *shape):
        check(result, "raw_cursor")
        assert (result["bench"], result["history"], result["concurrency"]) == ("history", True, 2)
        of_kind.setdefault(result["kind"], []).append(result)
    found = {
        kind: [(each["store_messages"], each["answer"], each["rows"]) for each in of] for kind, of in of_kind.items()
    }
    assert found == {
        "newest": [(200, 20, 20), (2_000, 20, 20)],
        "page": [(200, 50, 50), (2_000, 50, 50)],
        "received": [(200, 50, 50), (2_000, 50, 50)],
        "offset": [(200, 50, 70), (2_000, 50, 70)],
        "everything": [(200, 50, 50), (2_000, 50, 50)],
        "groups": [(200, 20, 20), (2_000, 20, 20)],
        "count_small": [(200, 20, 20), (2_000, 20, 20)],
        "count_tenth": [(200, 200, 200), (2_000, 200, 200)],
        "count_all": [(200, 200, 200), (2_000, 2_000, 2_000)],
    }
    assert all(first["store_bytes"] < second["store_bytes"] for first, second in of_kind.values())


def test_subscribers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = bench(capsys, tmp_path, "subscribers", "--subscribers", "600", "--few", "2", "--online", "3")
    check(result, "few", "online")
    assert (result["bench"], result["recipients"], result["few"], result["online"]) == ("subscribers", 600, 2, 3)
    assert result["taken_per_s"] > 0


def test_import(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shape = ["--messages", "6000", "--conversations", "20", "--seconds", "60", "--json", "--dir", str(tmp_path)]
    assert main(["bench", "import", *shape]) == 0
    shown = capsys.readouterr()
    (result,) = map(json.loads, shown.out.splitlines())
    assert (result["bench"], result["messages"], result["conversations"], result["rounds"]) == ("import", 6_000, 20, 2)
    assert result["baselines"].keys() == result["ratios"].keys() == {"raw_lmdb"}
    assert 0 < result["export_bytes"] < result["store_bytes"]
    assert result["ops_per_s"] > 0
    assert "imported: 6,000 of 6,000" in shown.err
    assert list(tmp_path.iterdir()) == []


def test_an_import_ends_with_its_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shape = ["--messages", "100000", "--conversations", "20", "--seconds", "0.01", "--dir", str(tmp_path)]
    assert main(["bench", "import", *shape]) == 0
    shown = capsys.readouterr()
    for word in ("import: 5,000 messages of 20 conversations", "raw_lmdb", "MB of export", "500 messages at once"):
        assert word in shown.out


def test_without_json_people_can_read_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bench", "publish", "--seconds", "0.1", "--recipients", "10", "--dir", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    for word in ("publish: 64 producers", "closed loop", "fsync on", "postroom", "raw_lmdb", "raw fsync", "p99"):
        assert word in table


def test_history_without_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    short = ["--seconds", "0.02", "--dir", str(tmp_path)]
    assert main(["bench", "history", "--messages", "1000", "--recipients", "10", *short]) == 0
    shown = capsys.readouterr()
    for word in ("history: 1 client", "100 messages", "1,000 messages", "raw_cursor", "p50 grew", "count_tenth"):
        assert word in shown.out
    for word in ("filled: 100 of 1,000", "filled: 1,000 of 1,000", "measuring: offset in 100 messages"):
        assert word in shown.err


@pytest.mark.parametrize(
    "name", ["publish", "http", "fanout", "drain", "deaf", "idle", "history", "subscribers", "import"]
)
def test_every_option_is_explained(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["bench", name, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in group.commands[name].params:
        assert isinstance(option, click.Option)
        assert option.help
        assert option.opts[0] in shown


def test_every_field_is_in_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "bench.md").read_text(encoding="utf-8")
    results = (
        PublishResult,
        HttpResult,
        FanoutResult,
        DrainResult,
        DeafResult,
        IdleResult,
        HistoryResult,
        SubscribersResult,
        ImportResult,
    )
    fields = {field for result in results for field in result.__struct_fields__}
    assert [field for field in sorted(fields) if f"`{field}`" not in guide] == []


def test_a_failure_is_one_line_and_no_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    behind = ["--rate", "10000000", "--producers", "1", "--seconds", "0.1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("postroom.bench.publish.ours.BEHIND_MAX_S", 0.01)
        assert main(["bench", "publish", "--dir", str(tmp_path), *behind]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "behind the schedule" in shown.err
    assert len(shown.err.splitlines()) == 1


# The client of `http`, against servers that say what they are told.


@contextmanager
def server(*answers: bytes) -> Iterator[Address]:
    """Gives each request on one connection the next answer, the last one again and again; nothing is a closed connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                for number in range(1_000_000):
                    if not connection.recv(65_536) or not (answer := answers[min(number, len(answers) - 1)]):
                        return
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            thread.join()


def answer(status: str = "200 OK", body: bytes = b'{"code":"message_sent"}') -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


def load(address: Address, rate: float | None = None) -> Load:
    """A client with one connection."""
    return Load(address, repeat(b"POST / HTTP/1.1\r\n\r\n"), MARK, 1, rate)


async def test_the_client_counts_answers() -> None:
    with server(answer()) as address, load(address) as client:
        first, second = await client.run(0.02), await client.run(0.02)
    for done in (first, second):
        assert done.ops == len(done.latencies_ms) >= 1
        assert done.seconds >= 0.02


async def test_the_client_keeps_to_its_schedule() -> None:
    with server(answer()) as address, load(address, 200) as client:
        done = await client.run(0.1)
    assert done.ops in (20, 21)  # the last one may be due in the very moment of the end


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (answer("503 Service Unavailable"), "503 Service Unavailable"),
        (answer(body=b'{"code":"message_delivered"}'), "message_delivered"),
        (answer() + b"x", "longer than it says"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no length"),
        (b"", "closed a connection"),
    ],
)
@pytest.mark.parametrize("rate", [None, 1_000])
async def test_the_client_takes_nothing_for_an_answer_that_is_none(
    said: bytes, complaint: str, rate: float | None
) -> None:
    with server(answer(), said) as address, load(address, rate) as client, pytest.raises(BenchFailure, match=complaint):
        await client.run(1)


def test_an_answer_in_pieces() -> None:
    whole = answer()
    assert [wire.complete(whole[:end]) for end in range(len(whole) + 1)] == [False] * len(whole) + [True]
    assert wire.split(b"HTTP/1.1 200 \r\nA: b\r\nDate: x\r\nContent-Length: 2\r\n\r\nhi") == (
        200,
        [(b"a", b"b")],
        b"hi",
    )


# The pieces.


def test_percentiles_are_measured_values_to_a_thousandth() -> None:
    times = Times()
    times.add(float(value) for value in range(1, 501))
    times.add(float(value) for value in range(501, 1001))
    measured = times.latency()
    for value, exact in zip(msgspec.structs.astuple(measured), (500, 990, 999, 1000), strict=True):
        assert exact <= value <= exact * 1.001
    assert times.fsync() == Fsync(measured.p50, measured.p99)


def test_the_percentiles_of_few_are_among_them() -> None:
    times = Times()
    times.add([7.0])
    assert times.latency() == Latency(7.0, 7.0, 7.0, 7.0)
    times.add([0.0])
    assert times.latency() == Latency(0.0, 7.0, 7.0, 7.0)


def test_rates_are_over_all_slices_and_ratios_round_by_round() -> None:
    ours, theirs = Series(), Series()
    for ops, seconds in ((100, 1.0), (300, 1.0), (50, 0.5)):
        ours.add(Slice(ops, seconds, []))
    for ops, seconds in ((400, 2.0), (300, 1.0), (1000, 1.0)):
        theirs.add(Slice(ops, seconds, []))
    assert ours.ops_per_s == 180
    assert ratio(ours, theirs) == Ratio(0.1, 0.5, 1.0)


def test_time_is_cut_into_equal_slices() -> None:
    assert (plan(3).rounds, plan(3).slice_s, plan(3).warmup_s) == (6, 0.5, 1.0)
    assert (plan(0.2).rounds, plan(0.2).slice_s, plan(0.2).warmup_s) == (2, 0.1, 0.1)


class Stub:
    """A side that notes when it ran."""

    def __init__(self, name: str, ran: list[str], ops: int = 1) -> None:
        self._name, self._ran, self._ops = name, ran, ops

    async def run(self, seconds: float) -> Slice:
        self._ran.append(self._name)
        return Slice(self._ops, seconds, [1.0])


async def test_sides_take_turns_after_a_warm_up(tmp_path: Path) -> None:
    ran: list[str] = []
    with FsyncProbe(tmp_path) as probe:
        series = await interleave({"a": Stub("a", ran), "b": Stub("b", ran)}, probe, 0.002)
    assert ran == ["a", "b"] * 3
    assert {name: len(measured.rates) for name, measured in series.items()} == {"a": 2, "b": 2}
    assert (tmp_path / "fsync").stat().st_size >= 2 * FSYNCS_MIN * 4096


async def test_a_side_that_does_nothing_is_a_failure(tmp_path: Path) -> None:
    with FsyncProbe(tmp_path) as probe, pytest.raises(BenchFailure, match="b got nothing done"):
        await interleave({"a": Stub("a", []), "b": Stub("b", [], 0)}, probe, 0.002)


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux tells what a directory is on")
def test_file_systems_are_known_by_name(tmp_path: Path) -> None:
    assert filesystem(Path("/proc/self")) == "proc"
    assert filesystem(tmp_path) not in ("proc", "unknown")


def test_a_current_directory_in_memory_is_refused_unless_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("postroom.bench.scratch.filesystem", lambda _: min(IN_MEMORY))
    assert main(["bench", "publish"]) == 2
    assert "--dir" in capsys.readouterr().err
    with scratch(str(tmp_path)) as place:
        assert place.parent == tmp_path.resolve()
    assert "warning" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", ["", "trap '' INT; "])
@pytest.mark.parametrize("name", ["http", "fanout"])
def test_sigterm_takes_everything_along(tmp_path: Path, name: str, start: str) -> None:
    """The servers hold its stderr open for as long as they live. A shell's "&" starts it with SIGINT ignored."""
    command = ["sh", "-c", f'{start}exec "$@"', "sh"]
    command += [sys.executable, "-m", "postroom.transports.cli.main", "bench", name, "--dir", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        while not any(tmp_path.glob("*/data/data.mdb")):
            assert process.poll() is None
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) != 0
    assert list(tmp_path.iterdir()) == []
