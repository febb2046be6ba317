"""anyRTC's RTM RESTful API v2, as a transport; what it serves and where it deviates is in docs/anyrtc.md."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from postroom.core.commands import Command
from postroom.core.model import Feed
from postroom.core.queries import Query
from postroom.transports.config import AnyrtcConfig, AppConfig
from postroom.transports.http.dialect import Call, Caller, Cors, Dialect, Route, Transport, everyone
from postroom.transports.http.errors import Unauthorized
from postroom.transports.http.types import HttpReply, HttpRequest

from . import channel_messages, history, peer_messages, vendor_events
from .auth import Tenant, authenticate
from .errors import refuse

__all__ = ["TRANSPORT", "bind"]

BASE: Final = "/dev/v2/project/{appid}"
PREFIX: Final = "/dev/v2/project/"
CORS: Final = Cors(
    "GET, POST, OPTIONS",
    "authorization, content-type, x-ar-token, x-ar-uid, x-agora-token, x-agora-uid, idempotency-key",
)
"""Browser clients exist (anyRTC 2); the last header is ours."""

Parse = Callable[[Call], Command | Query[Any]]
Render = Callable[[Call, Any], HttpReply]
ParseWith = Callable[[Call, AnyrtcConfig], Command | Query[Any]]
RenderWith = Callable[[Call, Any, AnyrtcConfig], HttpReply]


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
        routes = (
            self._send("peer_messages", peer_messages.parse, self._with_settings(peer_messages.render)),
            self._send("channel_messages", channel_messages.parse, channel_messages.render),
            self._take("user_events", "users"),
            self._take("channel_events", "rooms"),
            self._history(
                "POST", "query", "query", self._parsed(history.parse_query), self._with_settings(history.render_query)
            ),
            self._history("GET", "query/{handle}", "collect", history.parse_collect, history.render_messages),
            self._history("GET", "count", "count", self._parsed(history.parse_count), history.render_count),
        )
        return Dialect(name="anyrtc", prefixes=(PREFIX,), routes=routes, refuse=refuse, cors=CORS)

    def _send(self, name: str, parse: ParseWith, render: Render) -> Route:
        return Route(
            method="POST",
            template=f"{BASE}/rtm/users/{{user_id}}/{name}",
            limit=f"anyrtc.{name}",
            authenticate=self._authenticate,
            permit=permit_sender,
            parse=self._parsed(parse),
            render=render,
        )

    def _take(self, name: str, feed: Feed) -> Route:
        return Route(
            method="GET",
            template=f"{BASE}/rtm/vendor/{name}",
            limit=f"anyrtc.{name}",
            authenticate=self._authenticate,
            permit=everyone,
            parse=partial(vendor_events.parse, feed=feed),
            render=vendor_events.render,
        )

    def _history(self, method: str, path: str, bucket: str, parse: Parse, render: Render) -> Route:
        return Route(
            method=method,
            template=f"{BASE}/rtm/message/history/{path}",
            limit="anyrtc.history",
            bucket=f"anyrtc.history.{bucket}",
            authenticate=self._authenticate,
            permit=everyone,
            parse=parse,
            render=render,
        )

    def _authenticate(self, request: HttpRequest) -> Caller:
        return authenticate(request, self._by_app_id, request.received_ms // 1000)

    def _parsed(self, parse: ParseWith) -> Parse:
        return lambda call: parse(call, self._settings[call.caller.app])

    def _with_settings(self, render: RenderWith) -> Render:
        return lambda call, outcome: render(call, outcome, self._settings[call.caller.app])


def permit_sender(call: Call) -> None:
    """A caller who speaks for one user may send as that user only (anyRTC 4.3). Raises Unauthorized."""
    if call.caller.user is not None and call.caller.user != call.request.param("user_id"):
        raise Unauthorized("user_id does not match token")
