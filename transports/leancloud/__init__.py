"""LeanCloud's realtime messaging REST API v2, and of 1.1 what its SDKs call, as a transport; see docs/leancloud.md."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from postroom.core.model import Kind
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

from . import clients, conversations, history, messages, moderation, people, realtime, roles, storage, unread
from .auth import Tenant, authenticate, refuse_by_acl, require_master
from .errors import refuse
from .known import KINDS

__all__ = ["TRANSPORT", "bind"]

BASE: Final = "/1.2/rtm"
PATHS: Final[Mapping[Kind, str]] = {"group": f"{BASE}/conversations", "room": f"{BASE}/chatrooms"}
ROW: Final = "/1.1/classes/_Conversation"
RTM: Final = "/1.1/rtm"
NORMAL: Final = "leancloud.normal"
"""The rate of the calls that send or change messages (LeanCloud 8)."""
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
    return _Bound([Tenant(app.name, app.leancloud) for app in apps if app.leancloud is not None]).dialect()


TRANSPORT: Final = Transport(name="leancloud", config=LeancloudConfig, bind=bind)


class _Bound:
    """The functions of the routes, with the apps that they look up."""

    def __init__(self, tenants: list[Tenant]) -> None:
        self._by_app_id: Mapping[bytes, Tenant] = {tenant.settings.app_id.encode(): tenant for tenant in tenants}
        self._settings: Mapping[str, LeancloudConfig] = {tenant.name: tenant.settings for tenant in tenants}

    def dialect(self) -> Dialect:
        routes: list[AnyRoute] = [*self._people(), *self._clients(), *self._rows(), *self._realtime()]
        for kind, base in PATHS.items():
            routes += [*self._records(kind, base), *self._messages(kind, f"{base}/{{cid}}/messages")]
            routes += [*self._moderation(kind, f"{base}/{{cid}}"), *self._roles(kind, f"{base}/{{cid}}/member-infos")]
        return Dialect(name="leancloud", prefixes=("/1.2/", "/1.1/"), routes=tuple(routes), refuse=refuse, cors=CORS)

    def _records(self, kind: Kind, base: str) -> Iterable[Route]:
        """Calls 1-4 and 28-31."""
        one, delete = f"{base}/{{cid}}", partial(conversations.parse_delete, kind=kind)
        create, update = partial(conversations.parse_create, kind=kind), partial(conversations.parse_update, kind=kind)
        yield self._route("POST", base, create, _created(base), self._acl)
        yield self._query(base, (kind,))
        yield self._route("PUT", one, update, conversations.render_update, self._acl)
        yield self._route("DELETE", one, delete, conversations.render_delete, self._acl)

    def _query(self, path: str, kinds: tuple[Kind, ...]) -> Route:
        """Calls 2, 29 and 77."""
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
        """Calls 16, 17, 22-27, 39, 40 and 45-50."""
        hush, unhush = partial(moderation.parse_hush, kind=kind), partial(moderation.parse_unhush, kind=kind)
        yield self._route("POST", f"{base}/temporary-silenceds", hush, moderation.render_done)
        yield self._route("DELETE", f"{base}/temporary-silenceds", unhush, moderation.render_done)
        lists: tuple[tuple[str, moderation.List], ...] = (("permanent-silenceds", "silenced"), ("blacklists", "banned"))
        for path, of in lists:
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
        yield self._route("PUT", logs, realtime.parse_put, messages.render_deleted, limit=NORMAL)
        of_client = f"{RTM}/messages/unread/{{uid}}"
        yield self._route("GET", of_client, unread.parse_all, unread.render, everyone)
        yield self._route("GET", f"{of_client}/{{cid}}", unread.parse_one, unread.render, everyone)
        patch = f"{RTM}/patch/message"
        yield self._route("POST", patch, realtime.parse_patch, messages.render_changed, limit=NORMAL)
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
        self, method: str, template: str, parse: Parse, render: Render, permit: Permit = require_master, limit: str = ""
    ) -> Route:
        """A call for the master key, unless it says otherwise."""
        return Route(
            method=method,
            template=template,
            limit=limit,
            counted="successes",
            authenticate=self._authenticate,
            permit=permit,
            parse=parse,
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


def _created(base: str) -> Render:
    return partial(conversations.render_create, location=lambda id: f"{base}/{id}")


def _never(call: Call, outcome: Any) -> HttpReply:
    raise AssertionError("every session token is refused")
