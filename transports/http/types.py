"""What a dialect sees of HTTP: a request, a reply, and nothing of the socket between them."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from postroom.core.ids import UnixMs

from .decode import decode_segment, parse_query

JSON_TYPE: Final = "application/json; charset=utf-8"


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, read to its end. Nothing is decoded before somebody asks for it."""

    method: str
    path: str
    """As it came: not percent-decoded, without the query."""
    query_string: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    oversized: bool = False
    """The body was larger than the host reads; `body` is empty then."""
    client: str | None = None
    """The peer's address, without its port; None if the host cannot tell."""
    received_ms: UnixMs = UnixMs(0)
    """When it was taken up, by the wall clock: what tokens and signatures expire by."""
    params: Mapping[str, str] = {}
    """The path segments that the route names, as they came."""

    def header(self, name: str) -> bytes | None:
        """The first header of this name (any letter case), or None."""
        wanted = name.lower().encode()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return None

    def param(self, name: str) -> str:
        """A path segment that the route names, percent-decoded once. Raises InvalidCommand if it is not UTF-8."""
        return decode_segment(self.params[name], name)

    def query(self) -> dict[str, str]:
        """The query, form-decoded, blanks round values trimmed; of a repeated name the last. Raises InvalidCommand."""
        return dict(parse_query(self.query_string))

    @property
    def from_loopback(self) -> bool:
        """Whether the peer is on this machine. A proxy on this machine makes everybody look so."""
        try:
            address = ipaddress.ip_address(self.client or "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1 on a socket for both families
        return (mapped or address).is_loopback


class HttpReply(msgspec.Struct, frozen=True):
    """One answer. Hosts add Content-Length and Date."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def path_of_target(target: bytes) -> bytes:
    """The path of a request's target without its query, also of one in absolute form, which proxies send (RFC 9112 3.2.2)."""
    if target.startswith(b"/"):
        return target
    scheme, slashes, rest = target.partition(b"://")
    if not slashes or scheme.lower() not in (b"http", b"https"):
        return target
    return b"/" + rest.partition(b"/")[2]


def json_reply(status: int, body: object, *headers: tuple[str, str]) -> HttpReply:
    """An answer with a JSON body and its Content-Type."""
    return HttpReply(status, (("Content-Type", JSON_TYPE), *headers), msgspec.json.encode(body))


def retry_after(wait_ms: int) -> tuple[str, str]:
    """The Retry-After header: whole seconds, rounded up, at least 1 (sooner would be a second refusal)."""
    return "Retry-After", str(max(1, -(-wait_ms // 1000)))
