"""The client of `fanout` counts what it should have got and nothing else, whatever its server says."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from postroom.bench.failure import BenchFailure
from postroom.bench.fanout.load import audience
from postroom.bench.fanout.settings import Settings
from postroom.bench.servers import Address
from postroom.bench.sessions import wire
from postroom.bench.sessions.session import Session

SETTINGS = Settings(sessions=2, in_flight=1, payload_bytes=4, history=False, rate=None, seed=1)
UPGRADED = b"HTTP/1.1 101 \r\nupgrade: websocket\r\n\r\n"
WELCOME = b'{"type":"welcome"}'
JOINED = b'{"type":"ok","ref":"j"}'
SENT = b'{"type":"ok","ref":"s","id":"1"}'


def text(*frames: bytes, opcode: int = wire.TEXT) -> bytes:
    """What a server says: frames as an array if there are several, not masked."""
    payload = frames[0] if len(frames) == 1 else b"[" + b",".join(frames) + b"]"
    head = bytes((0x80 | opcode, len(payload))) if len(payload) < 126 else bytes((0x80 | opcode, 126))
    return head + (len(payload).to_bytes(2) if len(payload) >= 126 else b"") + payload


def message(**changes: object) -> bytes:
    """A room's message as the client expects it, but for the changes."""
    frame = {
        "type": "message",
        "id": "1",
        "conversation": {"kind": "room", "id": "room"},
        "sender": "sender",
        "payload": SETTINGS.payload(),
    }
    return json.dumps(frame | changes).encode()


def other(data: bytes) -> bytes:
    """The same length, another id."""
    return data.replace(b'"id": "1"', b'"id": "2"')


@contextmanager
def server(to_members: list[bytes], to_sender: bytes = text(SENT), joined: bytes = text(JOINED)) -> Iterator[Address]:
    """Opens a sender's and two sessions, answers two joins, and after each message says what it was told to each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connections = []
            try:
                for _ in range(3):
                    connections.append(listener.accept()[0])
                    connections[-1].recv(65_536)
                    connections[-1].sendall(UPGRADED + text(WELCOME))
                sender, *members = connections
                for member in members:
                    member.recv(65_536)
                    member.sendall(joined)
                while sender.recv(65_536):
                    for member, said in zip(members, to_members, strict=True):
                        member.sendall(said)
                    sender.sendall(to_sender)
            except OSError:
                pass  # the client left
            finally:
                for connection in connections:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            thread.join()


async def test_frames_are_counted_and_pings_answered() -> None:
    ping = text(b"", opcode=wire.PING)
    with server([ping + text(message()), text(message()) + ping]) as address, audience(address, SETTINGS) as client:
        assert client.rehearse().frame == message()
        done = await client.run(0.02)
        assert done.ops == len(done.latencies_ms) == 2 * len(done.last_ms) >= 2
        assert 0 < client.busy <= 1


def test_a_session_takes_arrays_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        session = Session(listener.getsockname()[:2])
        with session.socket, listener.accept()[0] as connection:
            ping = text(b"hi", opcode=wire.PING)
            connection.sendall(text(b'{"a":[1]}', b'{"b":"]"}') + ping + text(b'{"c":2}')[:-1])
            assert session.receive() == [b'{"a":[1]}', b'{"b":"]"}']
            assert connection.recv(100) == wire.message(b"hi", wire.PONG)
            connection.sendall(b"}")
            assert session.receive() == [b'{"c":2}']


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ([text(message()), text(other(message()))], "two sessions got different frames"),
        ([text(message(payload="wxyz"))] * 2, "another message"),
        ([text(message(sender="somebody"))] * 2, "another message"),
        ([text(b'{"type":"dropped","count":3}')] * 2, "a frame is no message"),
        ([text(message()) * 2] * 2, "more came than was sent"),
        ([b"\x01\x02hi", text(message())], "in parts"),
        ([text(b"\x03\xe8bye", opcode=wire.CLOSE), text(message())], "closed a session: 1000 bye"),
    ],
)
async def test_the_client_takes_nothing_for_a_message_that_is_none(said: list[bytes], complaint: str) -> None:
    with server(said) as address, audience(address, SETTINGS) as client, pytest.raises(BenchFailure, match=complaint):
        await client.run(60)


async def test_a_message_that_was_refused_is_a_failure() -> None:
    refused = text(b'{"type":"error","ref":"s","code":"no_space"}')
    failure = pytest.raises(BenchFailure, match="no_space")
    with server([text(message())] * 2, refused) as address, audience(address, SETTINGS) as client, failure:
        await client.run(60)


def test_a_join_that_was_refused_is_a_failure() -> None:
    refused = text(b'{"type":"error","ref":"j","code":"too_many_rooms"}')
    failure = pytest.raises(BenchFailure, match="too_many_rooms")
    with server([], joined=refused) as address, failure, audience(address, SETTINGS):
        raise AssertionError("it opened")


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_messages_in_pieces(length: int) -> None:
    payload = bytes(length)
    masked = wire.message(payload)
    head = len(masked) - length - 4  # a server's is the same without the mask
    whole = bytes((masked[0], masked[1] & 0x7F)) + masked[2:head] + payload
    two = whole + whole
    assert wire.split(two) == ([(wire.TEXT, payload)] * 2, b"")
    for end in {1, 2, 3, head, len(whole) - 1} & set(range(len(whole))):
        assert wire.split(two[:end]) == ([], two[:end])
        assert wire.split(two[: len(whole) + end]) == ([(wire.TEXT, payload)], two[:end])
