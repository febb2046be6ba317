"""`postroom serve` as a process: what it prints, and how it ends."""

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from postroom.core import StorageFailure, open_broker
from postroom.core.errors import StoreInUse
from postroom.transports import serve as serving
from postroom.transports.config import DEMO_APP, development
from postroom.transports.development import development_lines
from tests.support.serving import DyingStore
from tests.support.web import NO_TLS, PEER

COMMAND = [sys.executable, "-m", "postroom.transports.cli.main", "serve"]
WAIT_S = 30
LISTENING = re.compile(r"^listening on (http://.+)$", re.M)
SEND = "/dev/v2/project/0123456789abcdef0123456789abcdef/rtm/users/alice/peer_messages"
CONFIG = """
[[apps]]
name = "shop"
session_secret = "a-secret-that-nobody-would-ever-guess"
[apps.anyrtc]
app_id = "970CA35de60c44645bbae8a215061b33"
api_key = "shop-api-key"
api_secret = "shop-api-secret"
"""


class Process:
    """A server, its stderr in a file."""

    def __init__(self, arguments: list[str], errors: Path) -> None:
        self._errors = errors
        with errors.open("w") as file:
            self.process = subprocess.Popen([*COMMAND, *arguments], stderr=file, stdout=subprocess.DEVNULL)

    @property
    def stderr(self) -> str:
        """What it printed so far."""
        return self._errors.read_text()

    def urls(self, count: int = 1) -> list[str]:
        """Where it listens, once it does."""
        while True:
            urls = LISTENING.findall(self.stderr)
            if len(urls) >= count:
                return list(urls)
            assert self.process.poll() is None, self.stderr
            time.sleep(0.01)

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)


@contextmanager
def serve(tmp_path: Path, *arguments: str, data: str = "data", bind: str = "127.0.0.1:0") -> Iterator[Process]:
    """A server on a directory of its own."""
    errors = tmp_path / f"stderr-{os.urandom(4).hex()}"
    process = Process(["--data", str(tmp_path / data), "--bind", bind, *arguments], errors)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait(WAIT_S)


def test_it_serves_stops_and_remembers(tmp_path: Path) -> None:
    with serve(tmp_path) as process:
        (url,) = process.urls()
        with httpx.Client(base_url=url, auth=("demo-key", "demo-secret"), verify=NO_TLS) as client:
            reply = client.post(SEND, json=PEER | {"enable_offline_messaging": True})
            assert reply.json()["code"] == "message_sent"
            assert client.get("/readyz").json() == {"ready": True, "disk_full": False}
            assert 'postroom_queued{app="demo"} 1.0' in client.get("/metrics").text
        assert process.end(signal.SIGTERM) == 0
        assert "Traceback" not in process.stderr
    with serve(tmp_path) as process:
        (url,) = process.urls()
        with httpx.Client(base_url=url, verify=NO_TLS) as client:
            assert 'postroom_queued{app="demo"} 1.0' in client.get("/metrics").text
        assert process.end(signal.SIGINT) == 0
        assert "Traceback" not in process.stderr


def test_development_shows_its_credentials(tmp_path: Path) -> None:
    with serve(tmp_path) as process:
        (url,) = process.urls()
        assert process.end() == 0
    lines = process.stderr.splitlines()
    assert lines.count(f"listening on {url}") == 1
    for wanted in ("demo-key", "demo-app-key", "demo-client-secret", "curl"):
        assert any(wanted in line for line in lines)
    assert any(url in line for line in lines if "peer_messages" in line)


def test_with_a_configuration_nothing_secret_is_printed(tmp_path: Path) -> None:
    config = tmp_path / "postroom.toml"
    config.write_text(CONFIG)
    with serve(tmp_path, "--config", str(config), "--log-format", "json") as process:
        (url,) = process.urls()
        with httpx.Client(base_url=url, verify=NO_TLS) as client:
            app = SEND.replace("0123456789abcdef" * 2, "970CA35de60c44645bbae8a215061b33")
            assert client.post(app, json=PEER, auth=("shop-api-key", "shop-api-secret")).status_code == 200
            assert client.post(app, json=PEER, auth=("shop-api-key", "wrong-secret")).status_code == 401
            assert client.get("/v1/connect?token=some-token-or-other").status_code == 400
            assert client.post(SEND, json=PEER, auth=("demo-key", "demo-secret")).status_code == 401
        assert process.end() == 0
        for secret in ("shop-api-secret", "wrong-secret", "a-secret-that", "some-token", "c2hvcC1hcGkta2V5"):
            assert secret not in process.stderr
        log = [line for line in process.stderr.splitlines() if line.startswith("{")]
        assert [msgspec.json.decode(line)["event"] for line in log] == ["stopping"]


def test_every_address_is_printed(tmp_path: Path) -> None:
    with serve(tmp_path, "--bind", "localhost:0") as process:
        first, second = process.urls(2)
        assert first.startswith("http://127.0.0.1:")
        assert second.startswith("http://localhost:")
        for url in (first, second):
            assert httpx.get(f"{url}/healthz", verify=NO_TLS).status_code == 200
        assert process.end() == 0


def test_one_directory_has_one_server(tmp_path: Path) -> None:
    with serve(tmp_path) as first:
        first.urls()
        with serve(tmp_path) as second:
            assert second.process.wait(WAIT_S) == 1
            (line,) = second.stderr.splitlines()
            assert line.startswith("postroom: ")
        assert first.end() == 0


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serve(tmp_path, bind=address) as process:
            assert process.process.wait(WAIT_S) == 1
            (line,) = process.stderr.splitlines()
            assert line.startswith(f"postroom: {address}: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_once(tmp_path: Path, number: int) -> None:
    with serve(tmp_path) as process:
        process.urls()
        assert process.end(number) == 0


def test_a_store_that_fails_ends_it_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sender gets no answer at all, the operator one line."""
    store = DyingStore()
    answers: list[str] = []

    def ask() -> None:
        while not (found := LISTENING.findall(capsys.readouterr().err)):
            time.sleep(0.01)
        store.dying = True
        try:
            answers.append(httpx.post(found[0] + SEND, json=PEER, auth=("demo-key", "demo-secret"), verify=NO_TLS).text)
        except httpx.RemoteProtocolError as error:
            answers.append(str(error))

    monkeypatch.setattr(serving, "open_broker", lambda data, **more: open_broker(store, **more))
    monkeypatch.setattr(serving.logs, "setup", lambda *args, **more: None)
    asking = threading.Thread(target=ask)
    asking.start()
    config = development()
    assert serving.run(config, data="", bind=["127.0.0.1:0"], log_format="text", development=False) == 1
    asking.join(WAIT_S)
    assert answers == ["Server disconnected without sending a response."]
    assert capsys.readouterr().err == "postroom: the disk is gone\n"


def test_many_connections_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: asked.append((what, limits)))
    serving._allow_open_files()
    assert asked == [(resource.RLIMIT_NOFILE, (4_096, 4_096))]


def test_a_failure_of_the_store_is_found_in_groups() -> None:
    failure = StoreInUse("in use")
    assert serving._storage_failure(failure) is failure
    assert serving._storage_failure(ExceptionGroup("", [ExceptionGroup("", [failure])])) is failure
    assert serving._storage_failure(ExceptionGroup("", [failure, ValueError()])) is None
    assert serving._storage_failure(ValueError()) is None
    assert serving._storage_failure(ExceptionGroup("", [StorageFailure("a"), StorageFailure("b")])) is not None


def test_development_lines_are_commands() -> None:
    lines = development_lines(DEMO_APP, "http://127.0.0.1:8080")
    assert sum("curl" in line for line in lines) == 4
    assert next(line for line in lines if "(next)" in line).startswith("Easemob")
    assert any(line.strip().startswith("ws://127.0.0.1:8080/v1/connect?token=$(postroom token") for line in lines)
