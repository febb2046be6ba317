"""The clients of `drain` and `idle` take nothing for what they wait for that is something else."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from postroom.bench.drain.load import Comers
from postroom.bench.drain.settings import Settings
from postroom.bench.failure import BenchFailure
from postroom.bench.idle.load import Crowd, resident
from postroom.bench.idle.settings import Settings as IdleSettings
from postroom.bench.servers import Address, Server

SETTINGS = Settings(users=1, queued=2, payload_bytes=4, seconds=0.01, seed=1, host="hypercorn")
IDLE = IdleSettings(sessions=4, seed=1, host="hypercorn")
UPGRADED = b"HTTP/1.1 101 \r\nupgrade: websocket\r\n\r\n"
WELCOME = b'{"type":"welcome"}'


def text(payload: bytes) -> bytes:
    """What a server says, not masked."""
    return b"\x81\x7e" + len(payload).to_bytes(2) + payload


def message(seq: int, **changes: object) -> bytes:
    """A queued message as the client expects it, but for the changes."""
    frame = {"type": "message", "seq": seq, "sender": "sender", "payload": SETTINGS.payload()}
    return json.dumps(frame | changes).encode()


@contextmanager
def server(*said: bytes) -> Iterator[Address]:
    """Says this to whoever asks for an upgrade, and waits until they leave."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(65_536)
                for part in said:
                    connection.sendall(part)
                try:
                    while connection.recv(65_536):
                        pass
                except OSError:
                    pass  # it left with something unread

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            thread.join()


@pytest.mark.parametrize("cut", [10, len(UPGRADED), len(UPGRADED) + 1, len(UPGRADED) + 30])
async def test_everything_is_received_in_whatever_pieces(cut: int) -> None:
    whole = UPGRADED + text(b"[" + WELCOME + b"," + message(1) + b"]") + text(message(2))
    with server(whole[:cut], whole[cut:]) as address:
        client = Comers(address, SETTINGS)
        done = await client.run(0)
    assert (done.ops, len(done.latencies_ms), len(done.last_ms)) == (2, 2, 1)
    assert 0 < client.busy <= 1


def test_a_rehearsal_keeps_what_the_first_got() -> None:
    with server(UPGRADED, text(WELCOME), text(message(1)), text(message(2))) as address:
        assert Comers(address, SETTINGS).rehearse() == [WELCOME, message(1), message(2)]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ([WELCOME, message(2)], "something else"),
        ([WELCOME, message(1), message(1)], "something else"),
        ([message(1)], "something else"),
        ([WELCOME, message(1, payload="wxyz")], "something else"),
        ([WELCOME, message(1, sender="somebody")], "something else"),
        ([WELCOME, b'{"type":"dropped","count":3}'], "something else"),
        ([WELCOME, b"{"], "a frame is none"),
        ([b"[" + b",".join((WELCOME, message(1), message(2), message(3))) + b"]"], "more came than was queued"),
    ],
)
async def test_the_client_takes_nothing_for_a_message_that_is_none(said: list[bytes], complaint: str) -> None:
    with server(UPGRADED, *map(text, said)) as address, pytest.raises(BenchFailure, match=complaint):
        await Comers(address, SETTINGS).run(0)


async def test_a_session_that_does_not_open_is_a_failure() -> None:
    with server(b"HTTP/1.1 401 Unauthorized\r\n\r\nno") as address, pytest.raises(BenchFailure, match="401"):
        await Comers(address, SETTINGS).run(0)


async def test_an_idle_session_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.bench.idle.settings.WARMUP", 1)
    with server(UPGRADED + text(WELCOME)) as address, Crowd(Server(address, os.getpid()), IDLE) as crowd:
        done = await crowd.run(0)
        assert (done.ops, len(done.latencies_ms)) == (1, 1)
        assert crowd.before == crowd.after > 0
    late = UPGRADED + text(WELCOME) + text(message(1))
    failure = pytest.raises(BenchFailure, match=r"more was said|was told")
    with server(late) as address, failure, Crowd(Server(address, os.getpid()), IDLE) as crowd:
        await crowd.run(0)


def test_memory_of_a_process_that_is_not_there() -> None:
    with pytest.raises(BenchFailure, match="not told here"):
        resident(2**31 - 1)
