"""HTTP Basic: reading the header, and comparing without telling how much was right."""

import base64
import binascii
import hmac
from typing import NamedTuple


class Basic(NamedTuple):
    """What a Basic header says, undecoded: credentials are compared as bytes."""

    user: bytes
    password: bytes


def parse_basic(header: bytes | None) -> Basic | None:
    """The credentials in an Authorization header, split at the first `:`; None if it is not a well-formed Basic one.

    The scheme may be in any letter case. The base64 is strict.
    """
    scheme, _, encoded = (header or b"").strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        return None
    user, colon, password = text.partition(b":")
    return Basic(user, password) if colon else None


def basic_matches(given: Basic, user: str, password: str) -> bool:
    """Whether these are the credentials. Takes as long for a wrong key as for a wrong secret."""
    # `&` and not `and`: both are compared whatever the first gives.
    return hmac.compare_digest(given.user, user.encode()) & hmac.compare_digest(given.password, password.encode())
