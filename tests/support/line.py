"""A connection on which requests go out byte for byte, for tests that send what no client would."""

import socket
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """A connection that is opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Send a request whose parts are latin-1, and read the answer, which must be whole."""
        lines = [f"{method} {target} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers)]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        self._socket.sendall(head.encode("latin-1") + body)
        answer = self._read(method)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def _read(self, method: str) -> Answer:
        assert self._socket is not None
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        top, _, body = received.partition(b"\r\n\r\n")
        status, *fields = top.decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        length = 0 if method == "HEAD" or " 204 " in status else int(headers["content-length"])
        while len(body) < length:
            body += self._more()
        assert len(body) == length
        return Answer(int(status.split()[1]), headers, body)

    def _more(self) -> bytes:
        assert self._socket is not None
        chunk = self._socket.recv(65_536)
        assert chunk, "the server hung up"
        return chunk

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
