"""Addresses to listen on, written HOST:PORT, and which of them only this machine can reach."""

import ipaddress
import re
from typing import Final

import msgspec

PORT_MAX: Final = 65_535

# A name, an IPv4 address, or an IPv6 address in brackets. Nothing else: a scheme or a path is a mistake worth naming.
_ADDRESS: Final = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
_DIGITS: Final = re.compile(r"[0-9.]+")


class Address(msgspec.Struct, frozen=True):
    """Where to listen. `host` has no brackets; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect: 127.0.0.0/8, ::1 or the name `localhost`."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # another name: whatever it resolves to today, it may be something else tomorrow
            return False


def parse_address(text: str) -> Address:
    """`HOST:PORT` or `[IPV6]:PORT` as an address. Raises ValueError with what is wrong, without the text itself."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("must be HOST:PORT, as 127.0.0.1:8080 or [::1]:8080")
    port = int(match["port"])
    if port > PORT_MAX:
        raise ValueError(f"the port must be from 0 to {PORT_MAX}")
    if match["ipv6"] is not None:
        return Address(_checked(match["ipv6"], version=6), port)
    name: str = match["name"]
    return Address(_checked(name, version=4) if _DIGITS.fullmatch(name) else name, port)


def _checked(host: str, *, version: int) -> str:
    """`host` if it is an address of this IP version; raises ValueError."""
    try:
        known = ipaddress.ip_address(host).version == version
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"must have a valid IPv{version} address before the port")
    return host
