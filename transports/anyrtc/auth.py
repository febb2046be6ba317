"""Who calls: an app's key and secret, or an RTM token in any of the headers that clients send it in (anyRTC 4)."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from postroom.core.errors import InvalidCommand
from postroom.transports.config import AnyrtcConfig
from postroom.transports.http.auth import basic_matches, parse_basic
from postroom.transports.http.decode import utf8
from postroom.transports.http.dialect import Caller
from postroom.transports.http.errors import Unauthorized
from postroom.transports.http.types import HttpRequest

from .tokens import BadToken, names_its_user, verify

TOKEN_HEADERS: Final = ("x-ar-token", "x-agora-token")
UID_HEADERS: Final = ("x-ar-uid", "x-agora-uid")

_AGORA: Final = re.compile(rb"agora +token=(?P<token>.*)", re.IGNORECASE | re.DOTALL)
_QUOTED: Final = re.compile(r'"(.*)"', re.DOTALL)


class Tenant(msgspec.Struct, frozen=True):
    """One app that speaks this dialect."""

    name: str
    settings: AnyrtcConfig


def authenticate(request: HttpRequest, tenants: Mapping[str, Tenant], now_s: int) -> Caller:
    """Who calls, of the tenants by app id: the user that a token speaks for, or by HTTP Basic the app itself.

    A token decides alone, whatever other credentials are there (anyRTC 4.2). `now_s`, in Unix seconds, is what tokens
    expire by. Whether the caller may do what it asks is not looked at. Raises Unauthorized, with one message for all that
    can be wrong with a token and another for the rest (anyRTC 4.4).
    """
    tenant = tenants.get(request.params["appid"])
    token = _token(request)
    if token is None:
        return _by_basic(request, tenant)
    if tenant is None:
        raise Unauthorized("invalid token")
    settings = tenant.settings
    try:
        account = _account(request, token)
        user = verify(token, app_id=settings.app_id, certificate=settings.app_certificate, account=account, now_s=now_s)
    except (BadToken, InvalidCommand) as error:
        raise Unauthorized("invalid token") from error
    return Caller(tenant.name, user)


def _by_basic(request: HttpRequest, tenant: Tenant | None) -> Caller:
    given = parse_basic(request.header("authorization"))
    if given is None or tenant is None:
        raise Unauthorized("Invalid authentication credentials")
    if not basic_matches(given, tenant.settings.api_key, tenant.settings.api_secret):
        raise Unauthorized("Invalid authentication credentials")
    return Caller(tenant.name)


def _token(request: HttpRequest) -> str | None:
    """The token that the request has, None if it has none; what is in its place is a token, however malformed."""
    for header in TOKEN_HEADERS:
        if raw := request.header(header):
            return raw.decode("latin-1")  # never fails; a token that is not ASCII is refused later
    found = _AGORA.fullmatch((request.header("authorization") or b"").strip())
    if found is None:
        return None
    text = found["token"].decode("latin-1")
    quoted = _QUOTED.fullmatch(text)
    return quoted[1] if quoted else text


def _account(request: HttpRequest, token: str) -> str | None:
    """Whom the request says that its token is for, None if it does not. Raises InvalidCommand for what is not UTF-8.

    The user in the path stands in for a uid header only where the token does not name its user itself: one that does is
    good on its own, and may not send for another (anyRTC 4.2, 4.3).
    """
    for header in UID_HEADERS:
        if raw := request.header(header):
            return utf8(raw, header)
    if "user_id" in request.params and not names_its_user(token):
        return request.param("user_id")
    return None
