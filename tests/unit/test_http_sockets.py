"""Binding addresses."""

import errno
import socket

import pytest

from postroom.transports.http.sockets import bind


def test_a_free_port_and_a_taken_one() -> None:
    (first,) = bind("127.0.0.1", 0)
    with first:
        port = first.getsockname()[1]
        first.listen(1)
        assert port != 0
        assert not first.getblocking()
        with pytest.raises(OSError, match=f"127.0.0.1:{port}") as caught:
            bind("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE


def test_every_address_of_a_name_gets_the_same_port() -> None:
    sockets = bind("localhost", 0)
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
        assert sockets[0].family == socket.AF_INET
    finally:
        for one in sockets:
            one.close()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError, match=r"192\.0\.2\.1:80") as caught:
        bind("192.0.2.1", 80)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(OSError, match=r"no-such-host\.invalid:80"):
        bind("no-such-host.invalid", 80)
