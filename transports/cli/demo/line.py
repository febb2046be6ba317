"""A connection to the broker under a client of the demo; however it breaks, it raises Broken."""

from typing import Final

import trio

from .claims import Broken

HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 65_536
_CUT: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


class Line:
    """Bytes to and from a port of this machine."""

    def __init__(self, port: int) -> None:
        """Connects with the first `send`."""
        self.address = f"{HOST}:{port}"
        self._port = port
        self._stream: trio.SocketStream | None = None

    async def send(self, data: bytes) -> None:
        """Send everything. Raises Broken."""
        try:
            if self._stream is None:
                self._stream = await trio.open_tcp_stream(HOST, self._port)
            await self._stream.send_all(data)
        except _CUT as error:
            raise Broken(f"a connection to {self.address}", f"none that works ({error})") from None

    async def receive(self) -> bytes:
        """What comes next; nothing at the end. Raises Broken."""
        assert self._stream is not None
        try:
            return bytes(await self._stream.receive_some(_READ_BYTES))
        except _CUT as error:
            raise Broken(f"something from {self.address}", f"a broken connection ({error})") from None

    async def close(self) -> None:
        """Hang up."""
        if self._stream is not None:
            await self._stream.aclose()
