"""anyRTC's RTM RESTful API v2, as a transport; what it serves and where it deviates is in docs/anyrtc.md."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from postroom.core.commands import SendMessage
from postroom.core.model import Receipt
from postroom.transports.config import AnyrtcConfig, AppConfig
from postroom.transports.http.auth import basic_matches, parse_basic
from postroom.transports.http.dialect import Call, Caller, Cors, Dialect, Route, Transport
from postroom.transports.http.errors import Unauthorized
from postroom.transports.http.types import HttpReply, HttpRequest

from . import peer_messages
from .errors import refuse

__all__ = ["TRANSPORT", "bind"]

BASE: Final = "/dev/v2/project/{appid}"
TOKEN_HEADERS: Final = ("x-ar-token", "x-agora-token")
PREFIX: Final = "/dev/v2/project/"
CORS: Final = Cors(
    "GET, POST, OPTIONS",
    "authorization, content-type, x-ar-token, x-ar-uid, x-agora-token, x-agora-uid, idempotency-key",
)
"""Browser clients exist (anyRTC 2); the last header is ours."""


class Tenant(msgspec.Struct, frozen=True):
    """One app that speaks this dialect."""

    name: str
    settings: AnyrtcConfig


def bind(apps: Iterable[AppConfig]) -> Dialect:
    """The dialect, for the apps that have its table. Every app has an app id of its own."""
    return _Bound([Tenant(app.name, app.anyrtc) for app in apps if app.anyrtc is not None]).dialect()


TRANSPORT: Final = Transport(name="anyrtc", config=AnyrtcConfig, bind=bind)


class _Bound:
    """The functions of the routes, with the apps that they look up."""

    def __init__(self, tenants: list[Tenant]) -> None:
        self._by_app_id: Mapping[str, Tenant] = {tenant.settings.app_id: tenant for tenant in tenants}
        self._settings: Mapping[str, AnyrtcConfig] = {tenant.name: tenant.settings for tenant in tenants}

    def dialect(self) -> Dialect:
        peer_message = Route(
            method="POST",
            template=f"{BASE}/rtm/users/{{user_id}}/peer_messages",
            limit="anyrtc.peer_messages",
            authenticate=self.authenticate,
            permit=permit_sender,
            parse=self.parse_peer_message,
            render=self.render_peer_message,
        )
        return Dialect(name="anyrtc", prefix=PREFIX, routes=(peer_message,), refuse=refuse, cors=CORS)

    def authenticate(self, request: HttpRequest) -> Caller:
        """Who calls, by HTTP Basic (anyRTC 4.1, way A): the key must be that of the app in the path.

        A token header decides alone (anyRTC 4.2); tokens are not verified by this version, so none is good.
        """
        if any(request.header(name) for name in TOKEN_HEADERS):
            raise Unauthorized("invalid token")
        given = parse_basic(request.header("authorization"))
        tenant = self._by_app_id.get(request.params["appid"])
        if given is None or tenant is None:
            raise Unauthorized("Invalid authentication credentials")
        if not basic_matches(given, tenant.settings.api_key, tenant.settings.api_secret):
            raise Unauthorized("Invalid authentication credentials")
        return Caller(tenant.name)

    def parse_peer_message(self, call: Call) -> SendMessage:
        return peer_messages.parse(call, self._settings[call.caller.app])

    def render_peer_message(self, call: Call, receipt: Receipt) -> HttpReply:
        return peer_messages.render(call, receipt, self._settings[call.caller.app])


def permit_sender(call: Call) -> None:
    """A caller who speaks for one user may send as that user only (anyRTC 4.3). Raises Unauthorized."""
    if call.caller.user is not None and call.caller.user != call.request.param("user_id"):
        raise Unauthorized("user_id does not match token")
