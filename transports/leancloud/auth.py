"""Who calls: an app by its id, with one of its two keys or a signature made with one (LeanCloud 2.3)."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from postroom.transports.config import LeancloudConfig
from postroom.transports.http.dialect import Call, Caller
from postroom.transports.http.errors import Forbidden, Unauthorized
from postroom.transports.http.types import HttpRequest

APP: Final = "app"
MASTER: Final = "master"
"""The roles of a caller: by which key it is known."""

ID_HEADERS: Final = ("x-lc-id", "x-avoscloud-application-id", "x-uluru-application-id")
KEY_HEADERS: Final = ("x-lc-key",)
OLD_MASTER_KEY_HEADERS: Final = ("x-avoscloud-master-key", "x-uluru-master-key")
OLD_KEY_HEADERS: Final = ("x-avoscloud-application-key", "x-uluru-application-key")
SIGN_HEADERS: Final = ("x-lc-sign", "x-avoscloud-request-sign", "x-uluru-request-sign")
"""Of each the names that clients use, the newest first."""

_ANDROID: Final = b"ax-sig-1"
_MASTER: Final = b"master"
_DIGITS: Final = re.compile(rb"[0-9]+")


class Tenant(msgspec.Struct, frozen=True):
    """One app that speaks this dialect."""

    name: str
    settings: LeancloudConfig


def authenticate(request: HttpRequest, tenants: Mapping[bytes, Tenant]) -> Caller:
    """Who calls, of the tenants by app id, with the role of the key that is proved. Raises Unauthorized.

    A key decides alone: a signature is looked at only where there is none (LeanCloud 2.3, rule 2). Keys are compared in
    constant time.
    """
    tenant = tenants.get(_value(request, ID_HEADERS))
    role = _role(request, tenant.settings) if tenant is not None else None
    if tenant is None or role is None:
        raise Unauthorized("Unauthorized.")
    return Caller(tenant.name, role=role)


def require_master(call: Call) -> None:
    """Only the master key may. Raises Forbidden (LeanCloud 3)."""
    if call.caller.role != MASTER:
        raise Forbidden("The request must be signed by master key.")


def refuse_by_acl(call: Call) -> None:
    """What an app with `strict_conversation_acl` answers its app key (LeanCloud 10, C1). Raises Forbidden."""
    if call.caller.role != MASTER:
        raise Forbidden("Forbidden to read/write by class permissions.")


def _role(request: HttpRequest, settings: LeancloudConfig) -> str | None:
    app_key, master_key = settings.app_key.encode(), settings.master_key.encode()
    if value := _value(request, KEY_HEADERS):
        return _by_key(value, app_key, master_key)
    if value := _value(request, OLD_MASTER_KEY_HEADERS):
        return MASTER if hmac.compare_digest(value, master_key) else None
    if value := _value(request, OLD_KEY_HEADERS):
        return _by_key(value, app_key, master_key)
    return _by_sign(_value(request, SIGN_HEADERS), app_key, master_key)


def _by_key(value: bytes, app_key: bytes, master_key: bytes) -> str | None:
    key, *marks = _parts(value)
    if marks == [_MASTER]:
        return MASTER if hmac.compare_digest(key, master_key) else None
    return APP if not marks and hmac.compare_digest(key, app_key) else None


def _by_sign(value: bytes, app_key: bytes, master_key: bytes) -> str | None:
    """`md5,timestamp` and marks in any order. Of any age: clients sign with seconds or milliseconds, and people reuse a
    signature for months (rule 6)."""
    parts = _parts(value)
    if len(parts) < 2:
        return None
    digest, timestamp, *marks = parts
    if not _DIGITS.fullmatch(timestamp) or not {_MASTER, _ANDROID}.issuperset(marks):
        return None
    role, key = (MASTER, master_key) if _MASTER in marks else (APP, app_key)
    expected = hashlib.md5(timestamp + key).hexdigest().encode()
    return role if hmac.compare_digest(digest, expected) else None


def _parts(value: bytes) -> list[bytes]:
    return [part.strip() for part in value.split(b",")]


def _value(request: HttpRequest, headers: tuple[str, ...]) -> bytes:
    """What the first of these headers says; one with nothing in it is not there."""
    return next((value.strip() for header in headers if (value := request.header(header))), b"")
