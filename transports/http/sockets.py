"""Binding addresses before anything else is started: a port that is taken is known first, and listened on last."""

import errno
import socket
from typing import Final, cast

UNAVAILABLE: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""What binding gives for a family that this machine does not have."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Non-blocking TCP sockets bound to every address of `host`, not listening yet; port 0 is one free port for all.

    Raises OSError, its `filename` the address, if none can be bound or the port is taken on any.
    """
    sockets: list[socket.socket] = []
    failed: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            if sockets and port == 0:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sockets.append(_bound(family, address))
            except OSError as error:
                failed = error
                if error.errno not in UNAVAILABLE:
                    raise
        if not sockets:
            raise failed or OSError(errno.EADDRNOTAVAIL, "no address")
    except OSError as error:
        for one in sockets:
            one.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    return sockets


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str | int, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    distinct: dict[tuple[socket.AddressFamily, tuple[str | int, ...]], None] = {}
    for family, _, _, _, address in found:  # a name may resolve to the same address twice
        distinct[family, cast(tuple[str | int, ...], address)] = None
    # IPv4 first: where only one of the two works, it is that one.
    return sorted(distinct, key=lambda item: item[0] != socket.AF_INET)


def _bound(family: socket.AddressFamily, address: tuple[str | int, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by what is accepted: an answer is a few small writes, and none may wait for the last one's ack.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.setblocking(False)  # noqa: FBT003
    except OSError:
        one.close()
        raise
    return one
