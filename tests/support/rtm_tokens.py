"""RTM tokens built by hand, from the drawn format (anyRTC 5) and not from the code that reads it."""

import base64
import hmac
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

APP_ID = "970CA35de60c44645bbae8a215061b33"
CERTIFICATE = "5CFd2fd1755d40ecb72977518be15d3b"
NOW = 1_790_000_000
LATER = NOW + 3_600

VECTORS = dict(
    line.split() for line in (Path(__file__).parents[1] / "golden" / "rtm_tokens.txt").read_text("ascii").splitlines()
)
"""Tokens made by the builders of others, by their names in the contract (anyRTC 14)."""


def packed(raw: bytes) -> str:
    """Bytes as they stand in a token."""
    return base64.b64encode(raw).decode()


def str16(raw: bytes) -> bytes:
    """A length and that many bytes."""
    return struct.pack("<H", len(raw)) + raw


def pairs(privileges: Sequence[tuple[int, int]]) -> bytes:
    """Privileges as both kinds of token have them."""
    return struct.pack("<H", len(privileges)) + b"".join(struct.pack("<HI", *pair) for pair in privileges)


def sha(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.new(key, message, "sha256").digest()


def make_006(
    account: str = "userA",
    privileges: Sequence[tuple[int, int]] = ((1000, LATER),),
    *,
    ts: int = LATER,
    salt: int = 7,
    app_id: str = APP_ID,
    certificate: str = CERTIFICATE,
    **broken: Any,
) -> str:
    """A 006 token; `broken` names what is to be put in its place."""
    name = account.encode()
    m = broken.get("m", struct.pack("<II", salt, ts) + pairs(privileges) + broken.get("m_tail", b""))
    signature = broken.get("signature", sha(certificate.encode(), app_id.encode() + name + m))
    crcs = struct.pack("<II", broken.get("crc", zlib.crc32(name)), broken.get("uid_crc", 0))
    return f"006{app_id}{packed(str16(signature) + crcs + str16(m) + broken.get('tail', b''))}"


def rtc(channel: bytes = b"room", uid: bytes = b"") -> bytes:
    """A service for calls."""
    return struct.pack("<H", 1) + pairs([(1, 0), (2, 0)]) + str16(channel) + str16(uid)


def rtm(user: bytes = b"userA", privileges: Sequence[tuple[int, int]] = ((1, 3_600),)) -> bytes:
    """A service for messages."""
    return struct.pack("<H", 2) + pairs(privileges) + str16(user)


def make_007(
    *services: bytes,
    issued: int = NOW,
    expire: int = 3_600,
    salt: int = 7,
    app_id: str = APP_ID,
    certificate: str = CERTIFICATE,
    **broken: Any,
) -> str:
    """A 007 token, of one RTM service if none is given."""
    services = services or (rtm(),)
    head = str16(app_id.encode()) + struct.pack("<IIIH", issued, expire, salt, broken.get("count", len(services)))
    info = broken.get("info", head + b"".join(services) + broken.get("tail", b""))
    key = sha(struct.pack("<I", salt), sha(struct.pack("<I", issued), certificate.encode()))
    content = str16(broken.get("signature", sha(key, info))) + info
    return "007" + packed(zlib.compress(content))
