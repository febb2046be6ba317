"""A crowd: a process of many sessions in one room, all of which read what comes or none of which ever does.

    python -m postroom.bench.deaf.crowd HOST PORT ROOM SESSIONS SEED reads|deaf

It prints a line when all are in the room, and ends when its stdin does.
"""

import json
import selectors
import socket
import sys
from typing import Final

from ..sessions import wire
from ..sessions.app import opening
from ..sessions.session import RECEIVE_BYTES, Session

READY: Final = "all are in the room"
_DEAF_BUFFER_BYTES: Final = 4_096
"""What the system takes for a session that does not read: the smallest it gives."""


def _join(session: Session, user: str, room: str, seed: int) -> None:
    session.say(opening(user, seed))
    session.upgraded()
    session.answer()  # the welcome
    session.say(wire.message(json.dumps({"type": "join", "ref": "j", "room": room}).encode()))
    session.answer()
    session.socket.setblocking(False)  # noqa: FBT003 - the standard library's signature


def main(host: str, port: str, room: str, count: str, seed: str, mode: str) -> None:
    """Join, say so, and read or not until stdin ends."""
    sessions: list[Session] = []
    with selectors.DefaultSelector() as selector:
        for number in range(int(count)):
            session = Session((host, int(port)), None if mode == "reads" else _DEAF_BUFFER_BYTES)
            sessions.append(session)
            _join(session, f"crowd-{room}-{number}", room, int(seed))
            if mode == "reads":
                selector.register(session.socket, selectors.EVENT_READ, session.socket)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print(READY, flush=True)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    return
                connected: socket.socket = key.data
                if not connected.recv(RECEIVE_BYTES):
                    return  # the server is gone, and whoever measures it will say so


if __name__ == "__main__":
    main(*sys.argv[1:])
