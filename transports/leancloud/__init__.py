"""LeanCloud's realtime messaging REST API v2, and of 1.1 what its SDKs call, as a transport; see docs/leancloud.md."""

from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any, Final

from postroom.core.model import Kind, Quota
from postroom.transports.config import AppConfig, LeancloudConfig
from postroom.transports.http.dialect import (
    AnyRoute,
    Call,
    Caller,
    Cors,
    Dialect,
    LocalRoute,
    Route,
    Transport,
    Work,
    everyone,
)
from postroom.transports.http.types import HttpReply, HttpRequest

from . import (
    broadcasts,
    clients,
    conversations,
    history,
    messages,
    moderation,
    people,
    realtime,
    roles,
    services,
    storage,
    subscriptions,
    unread,
)
from .auth import Tenant, authenticate, refuse_by_acl, require_master
from .errors import refuse
from .ids import is_broadcast
from .known import KINDS
from .words import worded

__all__ = ["TRANSPORT", "bind"]

BASE: Final = "/1.2/rtm"
PATHS: Final[Mapping[Kind, str]] = {
    "group": f"{BASE}/conversations",
    "room": f"{BASE}/chatrooms",
    "service": f"{BASE}/service-conversations",
}
ROW: Final = "/1.1/classes/_Conversation"
RTM: Final = "/1.1/rtm"
NORMAL: Final = "leancloud.normal"
SUBSCRIPTION: Final = "leancloud.subscription.minute"
BROADCAST: Final = "leancloud.broadcast.minute"
"""The rates of the calls that send or change messages (LeanCloud 8)."""
SUBSCRIPTION_DAY: Final = "leancloud.subscription.day"
BROADCAST_DAY: Final = "leancloud.broadcast.day"
"""And the quotas of a day."""
CORS: Final = Cors(
    "GET, POST, PUT, DELETE, OPTIONS",
    "content-type, x-lc-id, x-lc-key, x-lc-sign, x-lc-session, x-lc-prod, x-lc-ua, x-lc-hook-key, x-lc-im-session-token, "
    "x-avoscloud-application-id, x-avoscloud-application-key, x-avoscloud-master-key, x-avoscloud-request-sign, "
    "x-uluru-application-id, x-uluru-application-key, x-uluru-master-key, x-uluru-request-sign, idempotency-key",
)
"""The documented way for pages of other origins (LeanCloud 2.3); the last header is ours."""

Parse = Callable[[Call], Work]
Render = Callable[[Call, Any], HttpReply]
Permit = Callable[[Call], None]


def bind(apps: Iterable[AppConfig]) -> Dialect:
    """The dialect, for the apps that have its table. Every app has an app id of its own."""
    return _Bound([app for app in apps if app.leancloud is not None]).dialect()


TRANSPORT: Final = Transport(name="leancloud", config=LeancloudConfig, bind=bind)


class _Bound:
    """The functions of the routes, with the apps that they look up."""

    def __init__(self, apps: list[AppConfig]) -> None:
        tenants = [Tenant(app.name, app.leancloud) for app in apps if app.leancloud is not None]
        self._by_app_id: Mapping[bytes, Tenant] = {tenant.settings.app_id.encode(): tenant for tenant in tenants}
        self._settings: Mapping[str, LeancloudConfig] = {tenant.name: tenant.settings for tenant in tenants}
        self._quotas: Mapping[tuple[str, str], Quota] = {
            (app.name, key): Quota(name=key, per_day=rate.tokens)
            for app in apps
            for key, rate in app.limits.rates.items()
            if key in (SUBSCRIPTION_DAY, BROADCAST_DAY)
        }

    def dialect(self) -> Dialect:
        routes: list[AnyRoute] = [*self._people(), *self._clients(), *self._rows(), *self._realtime()]
        routes += [*self._services(PATHS["service"]), *self._broadcasts(), *self._old_services()]
        for kind, base in PATHS.items():
            one = f"{base}/{{cid}}"
            routes += [*self._records(kind, base), *self._moderation(kind, one)]
            if kind != "service":
                routes += [*self._messages(kind, f"{one}/messages"), *self._roles(kind, f"{one}/member-infos")]
        return Dialect(name="leancloud", prefixes=("/1.2/", "/1.1/"), routes=tuple(routes), refuse=refuse, cors=CORS)

    def _records(self, kind: Kind, base: str) -> Iterable[Route]:
        """Calls 1-4, 28-31 and 51-54."""
        one, delete = f"{base}/{{cid}}", partial(conversations.parse_delete, kind=kind)
        create, update = partial(conversations.parse_create, kind=kind), partial(conversations.parse_update, kind=kind)
        yield self._route("POST", base, create, _created(base), self._acl)
        yield self._query(base, (kind,))
        yield self._route("PUT", one, update, conversations.render_update, self._acl)
        yield self._route("DELETE", one, delete, conversations.render_delete, self._acl)

    def _query(self, path: str, kinds: tuple[Kind, ...]) -> Route:
        """Calls 2, 29, 52 and 77."""
        parse = partial(conversations.parse_query, kinds=kinds)
        return self._route("GET", path, parse, conversations.render_query, self._acl)

    def _people(self) -> Iterable[Route]:
        """Calls 5-10, 32 and 33."""
        lists: tuple[tuple[str, conversations.List], ...] = (("members", "members"), ("mutes", "muted"))
        for path, of in lists:
            where = f"{PATHS['group']}/{{cid}}/{path}"
            add, remove = partial(people.parse_add, of=of), partial(people.parse_remove, of=of)
            yield self._route("POST", where, add, conversations.render_update, self._acl)
            yield self._route("DELETE", where, remove, conversations.render_update, self._acl)
            yield self._route("GET", where, people.parse_list, partial(people.render_list, of=of), self._acl)
        there = f"{PATHS['room']}/{{cid}}/members"
        yield self._route("GET", there, people.parse_online, people.render_sample)
        yield self._route("GET", f"{there}/online-count", people.parse_online, people.render_count)

    def _messages(self, kind: Kind, base: str) -> Iterable[Route]:
        """Calls 11-15 and 34-38."""
        one = f"{base}/{{mid}}"
        send, edit = partial(messages.parse_send, kind=kind), partial(messages.parse_edit, kind=kind)
        recall, delete = partial(messages.parse_recall, kind=kind), partial(messages.parse_delete, kind=kind)
        find = self._with_settings(partial(history.parse_conversation, kind=kind))
        yield self._route("POST", base, send, messages.render_send, limit=NORMAL)
        yield self._route("GET", base, find, history.render)
        yield self._route("PUT", one, edit, messages.render_changed, limit=NORMAL)
        yield self._route("PUT", f"{one}/recall", recall, messages.render_changed, limit=NORMAL)
        yield self._route("DELETE", one, delete, messages.render_deleted)

    def _moderation(self, kind: Kind, base: str) -> Iterable[Route]:
        """Calls 16, 17, 22-27, 39, 40, 45-50 and 65-67: subscribers have no word in a service conversation, so nobody is
        silenced there."""
        lists: tuple[tuple[str, moderation.List], ...] = (("permanent-silenceds", "silenced"), ("blacklists", "banned"))
        if kind != "service":
            hush, unhush = partial(moderation.parse_hush, kind=kind), partial(moderation.parse_unhush, kind=kind)
            yield self._route("POST", f"{base}/temporary-silenceds", hush, moderation.render_done)
            yield self._route("DELETE", f"{base}/temporary-silenceds", unhush, moderation.render_done)
        for path, of in lists if kind != "service" else lists[1:]:
            add, remove = (
                partial(parse, kind=kind, of=of) for parse in (moderation.parse_add, moderation.parse_remove)
            )
            yield self._route("POST", f"{base}/{path}", add, moderation.render_done)
            yield self._route("DELETE", f"{base}/{path}", remove, moderation.render_done)
            show = partial(moderation.parse_list, kind=kind, of=of)
            yield self._route("GET", f"{base}/{path}", show, moderation.render_list)

    def _roles(self, kind: Kind, base: str) -> Iterable[Route]:
        """Calls 18-21 and 41-44."""
        one = f"{base}/{{iid}}"
        yield self._route("POST", base, partial(roles.parse_set, kind=kind), conversations.render_update)
        yield self._route("GET", base, partial(roles.parse_list, kind=kind), roles.render_list)
        yield self._route("PUT", one, partial(roles.parse_change, kind=kind), conversations.render_update)
        yield self._route("DELETE", one, partial(roles.parse_remove, kind=kind), moderation.render_done)

    def _services(self, base: str) -> Iterable[Route]:
        """Calls 55-64 and 70."""
        there, one = f"{base}/{{cid}}/subscribers", f"{base}/{{cid}}/messages/{{mid}}"
        yield self._route("POST", there, subscriptions.parse_subscribe, moderation.render_done)
        yield self._route("DELETE", f"{there}/{{uid}}", subscriptions.parse_unsubscribe, moderation.render_done)
        yield self._route("GET", there, subscriptions.parse_list, subscriptions.render_list, self._acl)
        yield self._route("GET", f"{there}/count", subscriptions.parse_count, subscriptions.render_count, self._acl)
        publish = self._with_quota(services.parse_publish, SUBSCRIPTION_DAY)
        recall = self._with_quota(services.parse_recall, SUBSCRIPTION_DAY)
        yield self._route("POST", f"{base}/{{cid}}/broadcasts", publish, messages.render_send, limit=SUBSCRIPTION)
        yield self._route("POST", f"{base}/{{cid}}/messages", services.parse_send, messages.render_send, limit=NORMAL)
        received = self._with_settings(services.parse_received)
        yield self._route("GET", f"{there}/{{uid}}/messages", received, services.render_received)
        yield self._route("PUT", one, self._parse_service_edit, messages.render_changed, limit=_limit_of_change)
        yield self._route("PUT", f"{one}/recall", recall, messages.render_changed, limit=_limit_of_change)
        yield self._route("DELETE", f"{there}/{{uid}}/messages/{{mid}}", services.parse_hide, messages.render_deleted)
        mine = f"{BASE}/clients/{{uid}}/service-conversations"
        yield self._route("GET", mine, subscriptions.parse_subscriptions, subscriptions.render_list)

    def _parse_service_edit(self, call: Call) -> Work:
        """Call 62, whose id says what is to be edited."""
        if is_broadcast(call.request.param("mid")):
            return self._with_quota(broadcasts.parse_edit, BROADCAST_DAY)(call)
        return self._with_quota(services.parse_edit, SUBSCRIPTION_DAY)(call)

    def _broadcasts(self) -> Iterable[Route]:
        """Calls 78-80, and an edit where the others are (LeanCloud 10, C19)."""
        there = f"{BASE}/broadcasts"
        send, edit = (
            self._with_quota(parse, BROADCAST_DAY) for parse in (broadcasts.parse_send, broadcasts.parse_edit)
        )
        yield self._route("POST", there, send, broadcasts.render_send, limit=BROADCAST)
        yield self._route("GET", there, broadcasts.parse_list, broadcasts.render_list)
        yield self._route("PUT", f"{there}/{{mid}}", edit, messages.render_changed, limit=BROADCAST)
        yield self._route("DELETE", f"{there}/{{mid}}", broadcasts.parse_delete, messages.render_deleted)

    def _old_services(self) -> Iterable[Route]:
        """The calls of 1.1 for subscriptions and broadcasts (LeanCloud 9)."""
        there = f"{RTM}/broadcast"
        send = self._with_quota(partial(broadcasts.parse_send, sender=realtime.SENDER), BROADCAST_DAY)
        publish = self._with_quota(realtime.parse_publish, SUBSCRIPTION_DAY)
        yield self._route("POST", there, send, broadcasts.render_old_send, limit=BROADCAST)
        yield self._route("GET", there, broadcasts.parse_list, broadcasts.render_list)
        yield self._route("DELETE", there, broadcasts.parse_old_delete, messages.render_deleted)
        yield self._route("POST", f"{there}/subscriber", publish, realtime.render_send, limit=SUBSCRIPTION)
        mine = f"{RTM}/conversation/subscription"
        yield self._route("POST", mine, subscriptions.parse_old_subscribe, moderation.render_done)
        yield self._route("DELETE", mine, subscriptions.parse_old_unsubscribe, moderation.render_done)
        yield self._route("GET", mine, subscriptions.parse_old_subscriptions, subscriptions.render_list)
        for path, parse, render in (
            ("subscribers", subscriptions.parse_old_list, subscriptions.render_list),
            ("subscribers/count", subscriptions.parse_old_count, subscriptions.render_count),
            ("subscribed", subscriptions.parse_subscribed, subscriptions.render_subscribed),
        ):
            for base in (mine, f"{RTM}/conversation"):  # its Android SDK asks below the second
                yield self._route("GET", f"{base}/{path}", parse, render, self._acl)

    def _clients(self) -> Iterable[Route]:
        """Calls 68, 69, 71-77, 81 and 82."""
        blocks = f"{BASE}/clients/{{uid}}/blacklists"
        yield self._route("POST", blocks, moderation.parse_block, moderation.render_done)
        yield self._route("DELETE", blocks, moderation.parse_unblock, moderation.render_done)
        yield self._route("GET", blocks, moderation.parse_blocked, moderation.render_blocked)
        yield self._route("POST", f"{BASE}/clients/check-online", clients.parse_online, clients.render_online)
        yield self._route("POST", f"{BASE}/clients/{{uid}}/kick", clients.parse_kick, clients.render_kick)
        yield self._route("GET", f"{BASE}/stats", clients.parse_stats, clients.render_stats)
        yield self._route("GET", f"{BASE}/clients/{{uid}}/messages", history.parse_client, history.render)
        yield self._route("GET", f"{BASE}/clients/{{uid}}/unread-count", unread.parse, unread.render, everyone)
        yield self._route("GET", f"{BASE}/clients/sign", clients.parse_sign, _never, everyone)
        yield self._query(f"{BASE}/all-conversations", KINDS)
        yield self._route("GET", f"{BASE}/messages", history.parse_app, history.render)

    def _rows(self) -> Iterable[Route]:
        """The class `_Conversation` (LeanCloud 9)."""
        one = f"{ROW}/{{cid}}"
        yield self._route("POST", ROW, storage.parse_create, _created(ROW), self._acl)
        yield self._query(ROW, KINDS)
        yield self._route("GET", one, storage.parse_get, storage.render_get, self._acl)
        yield self._route("PUT", one, storage.parse_update, conversations.render_update, self._acl)
        yield self._route("DELETE", one, storage.parse_delete, conversations.render_delete, self._acl)

    def _realtime(self) -> Iterable[AnyRoute]:
        """`/1.1/rtm` and the time (LeanCloud 9)."""
        find = self._with_settings(realtime.parse_history)
        logs = f"{RTM}/messages/logs"
        yield self._route("POST", f"{RTM}/messages", realtime.parse_send, realtime.render_send, limit=NORMAL)
        yield self._route("GET", f"{RTM}/messages/history", find, history.render)
        yield self._route("GET", logs, find, history.render)
        yield self._route("DELETE", logs, realtime.parse_delete, messages.render_deleted)
        put, patch = (self._with_quota(parse, SUBSCRIPTION_DAY) for parse in (realtime.parse_put, realtime.parse_patch))
        yield self._route("PUT", logs, put, messages.render_deleted, limit=NORMAL)
        of_client = f"{RTM}/messages/unread/{{uid}}"
        yield self._route("GET", of_client, unread.parse_all, unread.render, everyone)
        yield self._route("GET", f"{of_client}/{{cid}}", unread.parse_one, unread.render, everyone)
        yield self._route("POST", f"{RTM}/patch/message", patch, messages.render_changed, limit=NORMAL)
        for path, render in (("onlines", people.render_count), ("members", people.render_sample)):
            yield self._route("GET", f"{RTM}/transient_group/{path}", realtime.parse_room, render, everyone)
        silences = f"{RTM}/conversation/blacklist"
        yield self._route("POST", silences, moderation.parse_old_hush, moderation.render_done)
        yield self._route("DELETE", silences, moderation.parse_old_unhush, moderation.render_done)
        yield self._route("POST", f"{RTM}/online", realtime.parse_online, clients.render_online)
        yield self._route("POST", f"{RTM}/client/kick", realtime.parse_kick, clients.render_kick)
        yield self._route("POST", f"{RTM}/sign", realtime.parse_sign, _never, everyone)
        yield LocalRoute(method="GET", template="/1.1/date", answer=realtime.answer_date)

    def _route(
        self,
        method: str,
        template: str,
        parse: Parse,
        render: Render,
        permit: Permit = require_master,
        limit: str | Callable[[Call], str] = "",
    ) -> Route:
        """A call for the master key, unless it says otherwise."""
        return Route(
            method=method,
            template=template,
            limit=limit,
            counted="successes",
            authenticate=self._authenticate,
            permit=permit,
            parse=_in_our_words(parse),
            render=render,
        )

    def _authenticate(self, request: HttpRequest) -> Caller:
        return authenticate(request, self._by_app_id)

    def _acl(self, call: Call) -> None:
        """What the app key may do unless the app is strict (LeanCloud 10, C1). Raises Forbidden."""
        if self._settings[call.caller.app].strict_conversation_acl:
            refuse_by_acl(call)

    def _with_settings(self, parse: Callable[..., Work]) -> Parse:
        return lambda call: parse(call, settings=self._settings[call.caller.app])

    def _with_quota(self, parse: Callable[..., Work], key: str) -> Parse:
        return lambda call: parse(call, quota=self._quotas.get((call.caller.app, key)))


def _limit_of_change(call: Call) -> str:
    """The rate of calls 62 and 63 (LeanCloud 8)."""
    if is_broadcast(call.request.param("mid")):
        return BROADCAST
    return NORMAL if services.names_clients(call) else SUBSCRIPTION


def _in_our_words(parse: Parse) -> Parse:
    def parsed(call: Call) -> Work:
        work = parse(call)
        return worded(work) if isinstance(work, Generator) else work

    return parsed


def _created(base: str) -> Render:
    return partial(conversations.render_create, location=lambda id: f"{base}/{id}")


def _never(call: Call, outcome: Any) -> HttpReply:
    raise AssertionError("every session token is refused")
