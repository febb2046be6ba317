"""The other baseline server, a program: h11 on non-blocking sockets, which reads a request and answers in one write.

The answer is in the file that the argument names. There are no limits and no timeouts, and nothing is looked at.
"""

import signal
import socket
import sys
from email.utils import formatdate
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import h11
import msgspec
import trio

from postroom.transports.http.lean.settings import BACKLOG, RECEIVE_BYTES

from .bare_hypercorn import Reply

_GO_ON: Final = (h11.Request, h11.Data)


async def host(reply: Reply) -> None:
    """Serve on a free port, which is announced on stderr, until SIGTERM."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.listen(BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_accept, listener, nursery, reply)
            print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()


async def _accept(listener: socket.socket, nursery: trio.Nursery, reply: Reply) -> None:
    while True:
        await trio.lowlevel.wait_readable(listener)
        accepted, _ = listener.accept()
        accepted.setblocking(False)  # noqa: FBT003
        nursery.start_soon(_serve, accepted, reply)


async def _serve(connection: socket.socket, reply: Reply) -> None:
    """One connection to its end."""
    http = h11.Connection(h11.SERVER)
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    with connection:
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                await trio.lowlevel.wait_readable(connection)
                http.receive_data(connection.recv(RECEIVE_BYTES))
            elif isinstance(event, h11.EndOfMessage):
                dated = [*headers, (b"date", _date(int(trio.current_time())))]
                data = http.send(h11.Response(status_code=reply.status, headers=dated)) or b""
                data += http.send(h11.Data(data=reply.body)) or b""
                data += http.send(h11.EndOfMessage()) or b""
                connection.send(data)  # small, and its client waits for it
                http.start_next_cycle()
            elif not isinstance(event, _GO_ON):
                return


@lru_cache(maxsize=1)
def _date(_second: int) -> bytes:
    return formatdate(usegmt=True).encode()


if __name__ == "__main__":
    trio.run(partial(host, msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Reply)))
