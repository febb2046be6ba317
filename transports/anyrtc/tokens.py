"""RTM tokens, 006 and 007: whom a token speaks for, once the app's certificate is seen to have signed it (anyRTC 5).

Pure: the time is passed in. It is raw wall time, as for every token and signature. Nothing is remembered: a token may be
used until it expires.
"""

import hmac
import zlib
from typing import Final

from .token_fields import BadToken, Fields, decoded, inflated

__all__ = ["BadToken", "names_its_user", "verify"]

TOKEN_CHARS_MAX: Final = 4_096
"""A builder's longest, RTC and RTM with names of 255 random bytes, has some 1,200."""
LIFETIME_S_MAX: Final = 86_400
"""Of a 007 token, whatever it asks for. A 006 token is not capped: its builders do that (anyRTC 5.1)."""

_LOGIN_006: Final = 1000
_LOGIN_007: Final = 1
_RTC: Final = 1
_RTM: Final = 2
_FIRST_TIME_S: Final = 1_000_000_000  # in 2001, before there was any such token


def names_its_user(token: str) -> bool:
    """Whether the token says whom it is for. A 006 token does not: it has only a checksum of the name."""
    return token.startswith("007")


def verify(token: str, *, app_id: str, certificate: str, account: str | None, now_s: int) -> str:
    """The user that the token speaks for, who is `account` if that is given; without it a 006 token is no good.

    `now_s` is in Unix seconds. An app with an empty certificate has no tokens. The signature is compared in constant
    time, no more than TOKEN_CHARS_MAX is read, and no more than INFLATED_BYTES_MAX unpacked. Raises BadToken and nothing
    else, whatever the texts are. (anyRTC 5.1, 5.2)
    """
    if not certificate:
        raise BadToken("the app has no certificate")
    if len(token) > TOKEN_CHARS_MAX:
        raise BadToken("too long")
    version, rest = token[:3], token[3:]
    if version == "007":
        user = _verify_007(rest, app_id, certificate, now_s)
        if account is not None and account != user:
            raise BadToken("for another user")
        return user
    if version != "006":
        raise BadToken("neither 006 nor 007")
    if not account:
        raise BadToken("no account given")
    _verify_006(rest, app_id, certificate, account, now_s)
    return account


def _verify_006(text: str, app_id: str, certificate: str, account: str, now_s: int) -> None:
    if not text.startswith(app_id):
        raise BadToken("for another app")
    try:
        name = account.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise BadToken("the account is no text") from None
    content = Fields(decoded(text.removeprefix(app_id)))
    signature, name_crc, uid_crc, message = content.str16(), content.u32(), content.u32(), content.str16()
    content.end()
    if name_crc != zlib.crc32(name) or uid_crc != 0:
        raise BadToken("for another user")
    _check_signature(signature, certificate.encode(), app_id.encode() + name + message)

    fields = Fields(message)
    fields.u32()  # the salt
    expires_s = fields.u32()
    privileges = fields.privileges()
    fields.end()
    login_s = privileges.pop(_LOGIN_006, None)
    if login_s is None:
        raise BadToken("not for RTM")
    # Nothing that is signed says where the name ends. Somebody called "alice" and six more characters, who fetches
    # tokens until the upper half of a salt is 2, can move the six into the message and has a token of alice's, with one
    # privilege more. Its number and time are the token's old expiry and count, shifted: a time in January 1970.
    if any(0 < time_s < _FIRST_TIME_S for time_s in privileges.values()):
        raise BadToken("a privilege from before there were any")
    if now_s >= expires_s or 0 < login_s <= now_s:
        raise BadToken("expired")


def _verify_007(text: str, app_id: str, certificate: str, now_s: int) -> str:
    content = Fields(inflated(decoded(text)))
    signature, info = content.str16(), content.rest()
    fields = Fields(info)
    if fields.str16() != app_id.encode():
        raise BadToken("for another app")
    issued_s, lifetime_s, salt = fields.u32(), fields.u32(), fields.u32()
    key = hmac.digest(issued_s.to_bytes(4, "little"), certificate.encode(), "sha256")
    _check_signature(signature, hmac.digest(salt.to_bytes(4, "little"), key, "sha256"), info)

    privileges, name = _rtm_service(fields)
    login_s = privileges.get(_LOGIN_007)
    if login_s is None or not name:
        raise BadToken("not for RTM")
    # An `issued_s` ahead of us is no reason to refuse: clocks differ.
    if now_s >= issued_s + min(lifetime_s, login_s, LIFETIME_S_MAX):
        raise BadToken("expired")
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadToken("the user is no text") from None


def _rtm_service(fields: Fields) -> tuple[dict[int, int], bytes]:
    """Privileges and user of the one RTM service.

    Services are sorted by type. There may be several of RTC, one a channel; how long one of an unknown type is nobody
    can know, so all from there on is left unread. Raises BadToken.
    """
    found = None
    last = 0
    for _ in range(fields.u16()):
        kind = fields.u16()
        if kind < last:
            raise BadToken("services out of order")
        last = kind
        if kind == _RTC:
            fields.privileges()
            fields.str16()  # the channel
            fields.str16()  # the uid
        elif kind != _RTM:
            break
        elif found is not None:
            raise BadToken("two RTM services")  # for which of two users?
        else:
            found = fields.privileges(), fields.str16()
    else:
        fields.end()
    if found is None:
        raise BadToken("not for RTM")
    return found


def _check_signature(given: bytes, key: bytes, message: bytes) -> None:
    # A signature that has not 32 bytes is just another wrong one.
    if not hmac.compare_digest(given, hmac.digest(key, message, "sha256")):
        raise BadToken("wrong signature")
