"""`postroom listen` as a user types it: against a broker that is a process of its own, and against what is no broker."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, TextMessage

from postroom.storage.lmdb import LmdbStore
from postroom.transports.cli.client import Target
from postroom.transports.cli.main import main
from postroom.transports.config import ServerConfig, development
from tests.support.serving import serving_in_a_thread
from tests.support.web import NO_TLS

POSTROOM = [sys.executable, "-m", "postroom.transports.cli.main"]
WAIT_S = 30
LISTENING = re.compile(r"^listening on https?://(.+)$", re.M)
ALICE = "/dev/v2/project/0123456789abcdef0123456789abcdef/rtm/users/alice"
WELCOME = {"type": "welcome", "app": "demo", "user": "bob", "session": "1", "queued": 2, "missed": 0}
SECRET = '[[apps]]\nname = "demo"\nsession_secret = "another secret of more than 32 bytes"\n'


class Broker:
    """One with the development configuration."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"ws://{address}/v1/connect"

    def send(self, *payloads: str, to: str = "bob") -> None:
        """Queue messages from alice."""
        with httpx.Client(base_url=f"http://{self.address}", auth=("demo-key", "demo-secret"), verify=NO_TLS) as client:
            for payload in payloads:
                body = {"destination": to, "payload": payload, "enable_offline_messaging": True}
                assert client.post(f"{ALICE}/peer_messages", json=body).json()["code"] == "message_sent"

    def send_to_channel(self, channel: str, *payloads: str, kept: bool = True) -> None:
        """Messages from alice to whoever is there."""
        with httpx.Client(base_url=f"http://{self.address}", auth=("demo-key", "demo-secret"), verify=NO_TLS) as client:
            for payload in payloads:
                body = {"channel_name": channel, "payload": payload, "enable_historical_messaging": kept}
                assert client.post(f"{ALICE}/channel_messages", json=body).json()["code"] == "message_sent"

    def waiting(self) -> int:
        """How many messages are in queues."""
        found = re.search(
            r'^postroom_queued\{app="demo"\} (\d+)',
            httpx.get(f"http://{self.address}/metrics", verify=NO_TLS).text,
            re.M,
        )
        assert found is not None
        return int(found[1])


class BrokerProcess(Broker):
    """`postroom serve` on a free port."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        errors = directory / "stderr"
        serve = [*POSTROOM, "serve", "--data", str(directory / "data"), "--bind", "127.0.0.1:0", *arguments]
        with errors.open("w") as file:
            self.process = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=file)
        while (found := LISTENING.search(errors.read_text())) is None:
            assert self.process.poll() is None, errors.read_text()
            time.sleep(0.01)
        super().__init__(found[1])


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator[BrokerProcess]:
    """A broker for as long as the block runs."""
    broker = BrokerProcess(directory, *arguments)
    try:
        yield broker
    finally:
        broker.process.kill()
        broker.process.wait(WAIT_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One in this process: they start in a moment."""
    config = msgspec.structs.replace(development(), server=ServerConfig(bind=("127.0.0.1:0",)))
    with serving_in_a_thread(LmdbStore(tmp_path / "data"), config) as (_, client):
        yield Broker(client.base_url.netloc.decode())


@contextmanager
def listening(url: str, *arguments: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """`postroom listen` for as long as the block runs."""
    with subprocess.Popen(
        [*POSTROOM, "listen", "--url", url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def listen(url: str, *arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """`postroom listen` to its end: status, frames, stderr."""
    with listening(url, *arguments, **environment) as process:
        out, errors = process.communicate(timeout=WAIT_S)
    return process.returncode, [json.loads(line) for line in out.splitlines()], errors


def refused(url: str, *arguments: str, **environment: str) -> str:
    """The one line of an end with status 1, before any frame."""
    status, frames, errors = listen(url, *arguments, **environment)
    assert (status, frames) == (1, []), errors
    assert errors.startswith("postroom: ")
    assert errors.count("\n") == 1
    return errors[len("postroom: ") : -1]


def payloads(frames: list[dict[str, Any]]) -> list[str]:
    """Of the messages among the frames."""
    return [frame["payload"] for frame in frames if frame["type"] == "message"]


def issued(user: str, *arguments: str) -> str:
    """What `postroom token` prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(["token", "--app", "demo", "--user", user, *arguments]) == 0
    return printed.getvalue().strip()


# ------------------------------------------------------------------------------------------------------- what it does


def test_what_is_acknowledged_is_gone_and_ctrl_c_ends_it(broker: Broker) -> None:
    broker.send("Hello", "Über\x9b31m")
    with listening(broker.url, "--user", "bob", "--ack") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline()]
        while broker.waiting():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        lines += process.stdout  # not by `communicate`, which does not know what `readline` has read ahead
        assert process.stderr.read() == ""
        assert process.wait(WAIT_S) == 0
    frames = [json.loads(line) for line in lines]
    assert frames[0] | {"session": ""} == WELCOME | {"session": ""}
    assert payloads(frames) == ["Hello", "Über\x9b31m"]
    assert all(line[:-1].isprintable() for line in lines)
    assert any("Über" in line for line in lines)
    assert {frame["type"] for frame in frames[1:]} <= {"message", "ok"}


def test_without_ack_they_stay(broker: Broker) -> None:
    broker.send("one", "two")
    for _ in range(2):
        status, frames, errors = listen(broker.url, "--app", "demo", "--user", "bob", "--count", "2")
        assert (status, errors) == (0, "")
        assert [frame["type"] for frame in frames] == ["welcome", "message", "message"]
        assert payloads(frames) == ["one", "two"]
    assert broker.waiting() == 2


def test_what_is_beyond_the_count_is_neither_printed_nor_acknowledged(broker: Broker) -> None:
    letters = [f"letter {number}" for number in range(40)]
    broker.send(*letters)
    status, frames, errors = listen(broker.url, "--user", "bob", "--ack", "--count", "30")
    assert (status, errors) == (0, "")
    assert payloads(frames) == letters[:30]
    assert frames[-1]["type"] == "ok"
    assert broker.waiting() == 10
    _, frames, _ = listen(broker.url, "--user", "bob", "--ack", "--count", "10")
    assert payloads(frames) == letters[30:]
    assert broker.waiting() == 0


def test_a_message_of_any_size_is_one_line(broker: Broker) -> None:
    large = "\x01" * 32_000
    broker.send(large)
    _, frames, errors = listen(broker.url, "--user", "bob", "--count", "1")
    assert (payloads(frames), errors) == ([large], "")


def test_ctrl_c_before_the_count_is_130(broker: Broker) -> None:
    with listening(broker.url, "--user", "bob", "--count", "1") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=WAIT_S) == ("", "")
    assert process.returncode == 130


def test_a_reader_that_has_seen_enough_ends_it(broker: Broker) -> None:
    with listening(broker.url, "--user", "bob", "--ack") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        broker.send("nobody reads this")
        assert process.stderr.read() == ""
        assert process.wait(WAIT_S) == 0
    assert broker.waiting() == 1


# -------------------------------------------------------------------------------------------------------------- rooms


def test_in_rooms_what_is_sent_there_is_printed(broker: Broker) -> None:
    broker.send_to_channel("lobby", "before")
    with listening(broker.url, "--user", "bob", "--join", "lobby", "--join", "the roof", "--count", "2") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        broker.send_to_channel("the roof", "up here", kept=False)
        broker.send_to_channel("cellar", "nobody is here")
        broker.send_to_channel("lobby", "down there")
        lines += process.stdout
        assert process.wait(WAIT_S) == 0
    frames = [json.loads(line) for line in lines]
    assert frames[1:3] == [{"type": "ok", "ref": 1}, {"type": "ok", "ref": 2}]
    said = [(frame["conversation"], frame["payload"]) for frame in frames[3:]]
    assert said == [({"kind": "room", "id": "the roof"}, "up here"), ({"kind": "room", "id": "lobby"}, "down there")]


def test_what_a_room_kept_comes_first(broker: Broker) -> None:
    broker.send_to_channel("lobby", "one", "two", "three")
    in_lobby = ["--user", "bob", "--join", "lobby", "--ack"]
    status, frames, errors = listen(broker.url, *in_lobby, "--since", "0", "--count", "3")
    assert (status, errors, payloads(frames)) == (0, "", ["one", "two", "three"])
    assert frames[1] == {"type": "ok", "ref": 1, "recovered": True}
    first = frames[2]["id"]
    broker.send_to_channel("lobby", "four")
    broker.send_to_channel("lobby", "not kept", kept=False)
    _, frames, _ = listen(broker.url, *in_lobby, "--since", first, "--count", "3")
    assert payloads(frames) == ["two", "three", "four"]
    assert frames[1] == {"type": "ok", "ref": 1, "recovered": False}


def test_a_room_that_cannot_be_entered_ends_it(broker: Broker) -> None:
    status, frames, errors = listen(broker.url, "--user", "bob", "--join", "")
    assert (status, [frame["type"] for frame in frames]) == (1, ["welcome", "error"])
    assert errors == "postroom: room '' is not joined: invalid: room: must be 1 to 256 bytes\n"


def test_nobody_enters_a_room_with_the_token_of_somebody_else(broker: Broker) -> None:
    line = refused(broker.url, "--user", "bob", "--join", "lobby", POSTROOM_TOKEN=issued("alice"))
    assert line.startswith("--user: the token is for user 'alice'")
    events = "/dev/v2/project/0123456789abcdef0123456789abcdef/rtm/vendor/channel_events"
    told = httpx.get(f"http://{broker.address}{events}", auth=("demo-key", "demo-secret"), verify=NO_TLS).json()
    assert told["events"] == []


# ------------------------------------------------------------------------------------------------------------- tokens


def test_a_token_given_lets_in(broker: Broker) -> None:
    broker.send("Hello")
    token = issued("bob")
    for arguments, environment in (
        (["--token", token], {}),
        ([], {"POSTROOM_TOKEN": f" {token}\n"}),
        (["--app", "demo", "--user", "bob"], {"POSTROOM_TOKEN": token}),
    ):
        status, frames, errors = listen(broker.url, "--count", "1", *arguments, **environment)
        assert (status, payloads(frames), errors) == (0, ["Hello"], "")


@pytest.mark.parametrize(("option", "wished"), [("--user", "bob"), ("--app", "shop")])
def test_a_token_of_somebody_else_is_noticed(broker: Broker, option: str, wished: str) -> None:
    broker.send("for alice only", to="alice")
    line = refused(broker.url, option, wished, "--ack", POSTROOM_TOKEN=issued("alice"))
    assert re.fullmatch(rf"{option}: the token is for (user 'alice'|app 'demo'), not '{wished}'", line)
    assert broker.waiting() == 1


def test_a_token_that_is_refused(broker: Broker, tmp_path: Path) -> None:
    config = tmp_path / "postroom.toml"
    config.write_text(SECRET)
    assert refused(broker.url, "--user", "bob", "--config", str(config)) == (
        f"{broker.url} refuses the token (HTTP 401 unauthorized: wrong signature); "
        f"is the session_secret of app demo the same there as in {config}?"
    )
    token = issued("bob", "--config", str(config))
    assert refused(broker.url, POSTROOM_TOKEN=token) == (
        f"{broker.url} refuses the token (HTTP 401 unauthorized: wrong signature); "
        "check that it is signed with the session_secret of its app and has not expired"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing option '--user' (see: postroom listen --help)"),
        (["--token", "a b"], "--token: is no token"),
        (["--token", ""], "--token: is no token"),
        (["--user", ""], "--user: must have 1 to 256 bytes"),
        (["--user", "bob", "--app", "x"], '--app: no app "x" in the development configuration'),
        (["--user", "bob", "--count", "0"], "Invalid value for '--count'"),
        (["--user", "bob", "--since", "0"], "--since: says where to begin in one room"),
        (["--user", "bob", "--since", "0", "--join", "a", "--join", "b"], "--since: says where to begin in one room"),
        (["--user", "bob", "--since", "soon", "--join", "a"], "Invalid value for '--since'"),
        (["--user", "bob", "--url", "http://127.0.0.1:8080"], "--url: must begin with ws:// or wss://"),
        (["--user", "bob", "--url", "ws://"], "--url: must be like ws://HOST:PORT/v1/connect"),
        (["--user", "bob", "--url", "ws://h:99999"], "--url: Port out of range"),
        (["--user", "bob", "--url", "ws://h/\r\nX: y"], "--url: must be a URL"),
    ],
)
def test_what_cannot_be_meant(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSTROOM_TOKEN", raising=False)
    assert main(["listen", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"postroom: {says}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "resource"),
    [
        ("ws://127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1:8080", "/v1/connect"),
        ("ws://host/", "host", 80, "host", "/v1/connect"),
        ("wss://host/prefix/v1/connect?a=b", "host", 443, "host", "/prefix/v1/connect?a=b"),
        ("ws://[::1]:1/x", "::1", 1, "[::1]:1", "/x"),
    ],
)
def test_urls(url: str, host: str, port: int, authority: str, resource: str) -> None:
    assert Target.of(url) == Target(url, host, port, authority, resource, tls=url.startswith("wss"))


# ----------------------------------------------------------------------------------------------- when there is no broker


def test_no_broker(tmp_path: Path) -> None:
    with running(tmp_path) as broker:
        url = broker.url
        path = url.replace("/v1/connect", "/elsewhere")
        assert refused(path, "--user", "bob").startswith(f"{path} refuses: HTTP 404")
    line = refused(url, "--user", "bob")
    assert line == f"cannot connect to {url}: Connection refused; is the broker running?"
    assert "is the broker running?" in refused("ws://a..b/", "--user", "bob")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGTERM, "the broker closed the session: 1012 the server is shutting down"),
        (signal.SIGKILL, "the connection broke, without a close frame; is the broker at {} still running?"),
    ],
)
def test_a_broker_that_ends(tmp_path: Path, number: int, says: str) -> None:
    with running(tmp_path) as broker, listening(broker.url, "--user", "bob", "--ack") as process:
        assert process.stdout is not None
        process.stdout.readline()
        broker.process.send_signal(number)
        out, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out, errors) == (1, "", f"postroom: {says.format(broker.url)}\n")


def test_tls_trusts_what_the_system_trusts(tmp_path: Path) -> None:
    certificate, key = str(tmp_path / "c.pem"), str(tmp_path / "k.pem")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=postroom.test -keyout {key} -out {certificate}"
    subprocess.run([*made.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    config = tmp_path / "postroom.toml"
    config.write_text(f'[server]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n{SECRET}')
    with running(tmp_path, "--config", str(config)) as broker:
        who = ["--user", "bob", "--config", str(config)]
        secure = broker.url.replace("ws:", "wss:")
        assert "its certificate is not trusted here: self-signed certificate; SSL_CERT_FILE" in refused(secure, *who)
        other_name = secure.replace("127.0.0.1", "localhost")
        assert "is not valid for 'localhost'" in refused(other_name, *who, SSL_CERT_FILE=certificate)
        with listening(secure, *who, SSL_CERT_FILE=certificate) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["user"] == "bob"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=WAIT_S) == ("", "")
        assert process.returncode == 0
        assert HUNG_UP.format("") in refused(broker.url, *who)
    with running(tmp_path) as broker:
        secure = broker.url.replace("ws:", "wss:")
        assert "no TLS (WRONG_VERSION_NUMBER); is it ws:// that" in refused(secure, "--user", "bob")


# ---------------------------------------------------------------------------------------------- against a scripted server


Script = Callable[[WebSocketConnection], Awaitable[None]]


class Server:
    """A server in this process."""

    def __init__(self, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}"

    async def listen(self, *arguments: str) -> tuple[int | None, list[str], str]:
        """`postroom listen --user bob` to its end: status, lines, stderr."""
        command = [*POSTROOM, "listen", "--url", self.url, "--user", "bob", *arguments]
        done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
        return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


class Scripted(Server):
    """One whose sessions follow a script, and what it saw of the last one."""

    def __init__(self, script: Script, subprotocol: str | None) -> None:
        super().__init__(0)
        self._script = script
        self._subprotocol = subprotocol
        self.path = ""
        self.headers: dict[str, str] = {}
        self.close_code: int | None = None
        self.over = trio.Event()

    async def handle(self, request: WebSocketRequest) -> None:
        """One session."""
        self.path = request.path
        self.headers = {name.decode(): value.decode() for name, value in request.headers}
        socket = await request.accept(subprotocol=self._subprotocol)
        with suppress(ConnectionClosed):
            await self._script(socket)
            await socket.get_message()
        assert socket.closed is not None
        self.close_code = socket.closed.code
        self.over.set()


@asynccontextmanager
async def scripted(script: Script, subprotocol: str | None = "postroom.v1.json") -> AsyncIterator[Scripted]:
    """A scripted server for as long as the block runs."""
    server = Scripted(script, subprotocol)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(WAIT_S):
            started = await nursery.start(partial(serve_websocket, server.handle, "127.0.0.1", 0, None))
            server.url = f"ws://127.0.0.1:{started.port}"
            yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def raw(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[Server]:
    """A server that says what it likes, for as long as the block runs."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(WAIT_S):
            (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
            yield Server(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def message(number: int, **more: Any) -> dict[str, Any]:
    """A frame."""
    return {"type": "message", "id": str(number), "payload": number, "queued": True, "seq": number} | more


async def test_the_token_is_in_the_header_and_the_end_is_a_close_frame() -> None:
    async def script(socket: WebSocketConnection) -> None:
        await socket.send_message(json.dumps([WELCOME, message(1)]))

    async with scripted(script) as server:
        status, lines, errors = await server.listen("--count", "1")
        assert (status, errors) == (0, "")
        assert [json.loads(line)["type"] for line in lines] == ["welcome", "message"]
        await server.over.wait()
    assert server.path == "/v1/connect"
    assert re.fullmatch(r"Bearer [\w.-]+", server.headers["authorization"])
    assert server.close_code == 1000


async def test_only_what_is_answered_ok_counts_and_an_ack_names_what_is_printed() -> None:
    acks = []

    async def script(socket: WebSocketConnection) -> None:
        recalled = {"type": "recalled", "id": "3", "by": "alice", "queued": True, "seq": 3}
        unqueued = {"type": "message", "id": "4", "payload": "x"}
        await socket.send_message(json.dumps([WELCOME, message(1), message(2), recalled, unqueued, message(5)]))
        for _ in range(2):
            ack = json.loads(await socket.get_message())
            acks.append(ack)
            await socket.send_message(json.dumps({"type": "surprise", "message": {"ref": 9}, "ref": None}))
            await socket.send_message(json.dumps({"type": "ok", "ref": ack.pop("ref")}))

    async with scripted(script) as server:
        status, lines, errors = await server.listen("--count", "3", "--ack")
    assert (status, errors) == (0, "")
    shown = [(frame["type"], frame.get("id")) for frame in map(json.loads, lines)]
    assert [item for item in shown if item[0] not in ("ok", "surprise")] == [
        ("welcome", None),
        ("message", "1"),
        ("message", "2"),
        ("recalled", "3"),
        ("message", "4"),
    ]
    assert shown[-1] == ("ok", None)
    assert acks == [{"type": "ack", "id": "1", "seq": 1}, {"type": "ack", "id": "4"}]


async def test_an_ack_that_is_refused_ends_it() -> None:
    async def script(socket: WebSocketConnection) -> None:
        await socket.send_message(json.dumps([WELCOME, message(1)]))
        ref = json.loads(await socket.get_message())["ref"]
        await socket.send_message(json.dumps({"type": "error", "ref": ref, "code": "unknown_id", "message": "no\x1b"}))

    async with scripted(script) as server:
        status, lines, errors = await server.listen("--ack")
    assert (status, len(lines)) == (1, 3)
    assert errors == "postroom: message 1 is not acknowledged: unknown_id: no\\x1b\n"


async def test_a_session_that_ends_while_frames_wait_is_printed_to_its_end() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        server = WSConnection(ConnectionType.SERVER)
        server.receive_data(bytes(await stream.receive_some()))
        said: list[Event] = [AcceptConnection(subprotocol="postroom.v1.json")]
        said += [TextMessage(json.dumps(message(number))) for number in range(1, 6)]
        said += [CloseConnection(4508, "too slow")]
        list(server.events())
        # All of it at once: the close frame is there when the listener comes to acknowledge the first message.
        await stream.send_all(b"".join(map(server.send, said)))
        while await stream.receive_some():
            pass

    async with raw(handle) as server:
        status, lines, errors = await server.listen("--ack")
    assert (status, [json.loads(line)["id"] for line in lines]) == (1, ["1", "2", "3", "4", "5"])
    assert errors == "postroom: the broker closed the session: 4508 too slow\n"


async def test_a_payload_is_shown_as_its_sender_wrote_it() -> None:
    async def script(socket: WebSocketConnection) -> None:
        await socket.send_message(
            '{"type": "message", "id": "1",\n "payload": {"n": 1.10,\n\t"big": 1e999, "\\u0041": []}}'
        )

    async with scripted(script) as server:
        _, lines, errors = await server.listen("--count", "1")
    assert lines == ['{"type":"message","id":"1","payload":{"n":1.10,"big":1e999,"\\u0041":[]}}'], errors


@pytest.mark.parametrize("said", ["hello", b"{}", "17", "[17]", '{"type":"ok"', ""])
async def test_what_is_no_frame_ends_it(said: str | bytes) -> None:
    async def script(socket: WebSocketConnection) -> None:
        await socket.send_message(said)

    async with scripted(script) as server:
        status, lines, errors = await server.listen()
    assert (status, lines) == (1, [])
    assert errors.startswith("postroom: what came is no frame of the native protocol")


async def test_another_protocol() -> None:
    async def script(socket: WebSocketConnection) -> None:
        await socket.get_message()

    async with scripted(script, subprotocol=None) as server:
        status, _, errors = await server.listen()
    assert (status, errors) == (
        1,
        f"postroom: cannot connect to {server.url}: what listens there does not speak postroom.v1.json\n",
    )


NO_WEBSOCKET = "what answers is no WebSocket server; is it wss:// that is spoken there?"
HUNG_UP = "what listens there {}hung up; is it wss:// that is spoken there?"


@pytest.mark.parametrize(
    ("said", "hangs_up", "says"),
    [
        (b"220 mail.example ESMTP\r\n\r\n", False, NO_WEBSOCKET),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: tea\r\n\r\n", False, NO_WEBSOCKET),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nsorry", True, HUNG_UP.format("said 'HTTP/1.1 502 Bad Gateway' and ")),
        (b"", True, HUNG_UP.format("")),
    ],
)
async def test_another_kind_of_server(said: bytes, hangs_up: bool, says: str) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)
        with suppress(trio.BrokenResourceError):
            while not hangs_up and await stream.receive_some():
                pass

    async with raw(handle) as server:
        assert await server.listen() == (1, [], f"postroom: cannot connect to {server.url}: {says}\n")
