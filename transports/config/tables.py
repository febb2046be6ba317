"""The tables of the configuration file as values: every key, its type, its range and its default.

What a range cannot say (32 hexadecimal characters, two apps alike) is in `checks`; what the keys mean is in
docs/config.md, which a test keeps complete.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from postroom.core.buckets import Rate
from postroom.core.expiry import DAY_MS
from postroom.core.limits import KIB, PAGE_BYTES, QUEUE_MESSAGES_MAX, SESSION_BUFFER_BYTES, WAIT_ACK_MS_MAX
from postroom.core.model import Overflow, Rules

from ..http.lean.settings import LeanSettings
from .addresses import Address, parse_address
from .limits import MINUTE_MS, Limits

DAYS_MAX: Final = 3_650
"""Ten years: an entry's expiry is 31 bits of seconds since 2020, so a wait must end before 2088."""
SESSION_BUFFER_KIB_MIN: Final = 256
RECALL_MINUTES_MAX: Final = 7 * 24 * 60
"""Easemob lets an app raise the window to 7 days."""

DAY_OFFSET_MIN_MAX: Final = 14 * 60
"""Either way: no place of the world is further from UTC."""

# A session reads a page from disk whole, so its buffer must hold one.
assert SESSION_BUFFER_KIB_MIN * KIB >= PAGE_BYTES

LEAN: Final = LeanSettings()

Seconds = Annotated[float, Meta(ge=0.1, le=3_600)]
Text = Annotated[str, Meta(min_length=1)]
Days = Annotated[int, Meta(ge=1, le=DAYS_MAX)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. Its repr, which may end up in a log, leaves out what is secret."""

    secret_keys: ClassVar[tuple[str, ...]] = ()
    """The fields that prove who somebody is."""

    def __repr__(self) -> str:
        shown = (
            f"{name}=…" if name in self.secret_keys and getattr(self, name) else f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
        )
        return f"{type(self).__name__}({', '.join(shown)})"


class LeanConfig(Table, frozen=True, kw_only=True):
    """`[server.h11]`: what the lean host allows its clients."""

    header_kib: Annotated[int, Meta(ge=1, le=1_024)] = LEAN.header_bytes // KIB
    body_kib: Annotated[int, Meta(ge=256, le=16_384)] = LEAN.body_bytes // KIB
    requests: Annotated[int, Meta(ge=1, le=1_000_000_000)] = LEAN.requests
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = LEAN.connections
    connections_per_address: Annotated[int, Meta(ge=1, le=1_000_000)] = LEAN.connections_per_address
    idle_s: Seconds = LEAN.idle_s
    header_s: Seconds = LEAN.header_s
    body_s: Seconds = LEAN.body_s
    write_s: Seconds = LEAN.write_s

    def settings(self, heartbeat_s: float) -> LeanSettings:
        """As the host takes them."""
        return LeanSettings(
            header_bytes=self.header_kib * KIB,
            body_bytes=self.body_kib * KIB,
            requests=self.requests,
            connections=self.connections,
            connections_per_address=self.connections_per_address,
            idle_s=self.idle_s,
            header_s=self.header_s,
            body_s=self.body_s,
            write_s=self.write_s,
            heartbeat_s=heartbeat_s,
        )


class ServerConfig(Table, frozen=True, kw_only=True):
    """`[server]`: where the process listens and what it keeps, for all apps."""

    bind: tuple[Text, ...] = ("127.0.0.1:8080",)
    bind_h11: tuple[Text, ...] = ()
    data: Text = "postroom-data"
    tls_certificate: str = ""
    """A PEM file with the chain; empty for plain HTTP. Set together with `tls_key`."""
    tls_key: str = ""
    metrics: Literal["loopback", "public"] = "loopback"
    log_retention_days: Days = 31
    session_buffer_kib: Annotated[int, Meta(ge=SESSION_BUFFER_KIB_MIN, le=1_048_576)] = SESSION_BUFFER_BYTES // KIB
    heartbeat_s: Seconds = 25.0
    h11: LeanConfig = LeanConfig()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """`bind`, parsed. Raises ValueError only if the value did not go through `checks`."""
        return tuple(parse_address(text) for text in self.bind)

    @property
    def addresses_h11(self) -> tuple[Address, ...]:
        """`bind_h11`, parsed, under the same condition."""
        return tuple(parse_address(text) for text in self.bind_h11)

    @property
    def log_retention_ms(self) -> int:
        """How long events stay in the log."""
        return self.log_retention_days * DAY_MS

    @property
    def session_buffer_bytes(self) -> int:
        """The byte budget of one session."""
        return self.session_buffer_kib * KIB


class AnyrtcConfig(Table, frozen=True, kw_only=True):
    """`[apps.anyrtc]`. The app is selected by `app_id`; an empty certificate turns RTM tokens off."""

    secret_keys: ClassVar[tuple[str, ...]] = ("api_secret", "app_certificate")

    app_id: str
    api_key: Text
    api_secret: Text
    app_certificate: str = ""
    ack_timeout_s: Annotated[float, Meta(ge=0.1, le=WAIT_ACK_MS_MAX // 1000)] = 5.0
    history_days: Days = 7
    handle_ttl_s: Annotated[int, Meta(ge=1, le=86_400)] = 600
    lenient_history_limit: bool = False
    lenient_ids: bool = False
    omit_result_when_offline: bool = False

    @property
    def ack_timeout_ms(self) -> int:
        """`ack_timeout_s` as commands carry it."""
        return round(self.ack_timeout_s * 1000)

    @property
    def history_ms(self) -> int:
        """`history_days`, as times are counted."""
        return self.history_days * DAY_MS

    @property
    def handle_ttl_ms(self) -> int:
        """`handle_ttl_s` as queries carry it."""
        return self.handle_ttl_s * 1000


class EasemobConfig(Table, frozen=True, kw_only=True):
    """`[apps.easemob]`. The app is selected by `org_name` and `app_name` together."""

    secret_keys: ClassVar[tuple[str, ...]] = ("client_secret",)

    org_name: Text
    app_name: Text
    client_id: Text
    client_secret: Text
    room_lane: Annotated[int, Meta(ge=1, le=10_000)] = 20
    """Waiting messages of one room, its three lanes together."""
    broadcast: bool = True
    recall_minutes: Annotated[int, Meta(ge=0, le=RECALL_MINUTES_MAX)] = 2


class LeancloudConfig(Table, frozen=True, kw_only=True):
    """`[apps.leancloud]`. The app is selected by `app_id`."""

    secret_keys: ClassVar[tuple[str, ...]] = ("app_key", "master_key")

    app_id: Text
    app_key: Text
    master_key: Text
    strict_conversation_acl: bool = False
    sign_history: bool = False


class WildfireConfig(Table, frozen=True, kw_only=True):
    """`[apps.wildfire]`. The app is selected by whose secret verifies the signature."""

    secret_keys: ClassVar[tuple[str, ...]] = ("secret",)

    secret: Text
    check_time: bool = True
    auth_failure_http_status: Literal[200, 401] = 200


class QueueConfig(Table, frozen=True, kw_only=True):
    """`[apps.queue]`: the offline queue of each recipient."""

    messages: Annotated[int, Meta(ge=1, le=QUEUE_MESSAGES_MAX)] = 200
    days: Days = 7
    overflow: Overflow = "oldest"

    @property
    def ttl_ms(self) -> int:
        """How long an entry waits."""
        return self.days * DAY_MS


class HistoryConfig(Table, frozen=True, kw_only=True):
    """`[apps.history]`: how long messages kept for queries stay."""

    days: Days | Literal["forever"] = 180

    @property
    def ttl_ms(self) -> int | None:
        """How long a message stays; None is for ever."""
        return None if self.days == "forever" else self.days * DAY_MS


class AppConfig(Table, frozen=True, kw_only=True):
    """One `[[apps]]`: a tenant, with the dialects it is reachable through."""

    secret_keys: ClassVar[tuple[str, ...]] = ("session_secret",)

    name: Text
    session_secret: str
    anyrtc: AnyrtcConfig | None = None
    easemob: EasemobConfig | None = None
    leancloud: LeancloudConfig | None = None
    wildfire: WildfireConfig | None = None
    day_utc_offset_min: Annotated[int, Meta(ge=-DAY_OFFSET_MIN_MAX, le=DAY_OFFSET_MIN_MAX)] = 0
    queue: QueueConfig = QueueConfig()
    history: HistoryConfig = HistoryConfig()
    limits: Limits = Limits()

    @property
    def dialects(self) -> tuple[str, ...]:
        """The names of the vendor tables that this app has, in the order of the file's description."""
        return tuple(name for name in DIALECT_TABLES if getattr(self, name) is not None)

    @property
    def rules(self) -> Rules:
        """What of these settings `decide` needs."""
        return Rules(
            queue_messages=self.queue.messages,
            queue_ttl_ms=self.queue.ttl_ms,
            overflow=self.queue.overflow,
            history_ttl_ms=self.history.ttl_ms,
            day_offset_ms=self.day_utc_offset_min * MINUTE_MS,
        )


class Config(Table, frozen=True, kw_only=True):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    apps: tuple[AppConfig, ...] = ()

    @property
    def rules(self) -> Mapping[str, Rules]:
        """The rules of every app by its name, as `open_broker` takes them."""
        return {app.name: app.rules for app in self.apps}

    @property
    def rates(self) -> Mapping[tuple[str, str], Rate]:
        """The rate of every operation that has one, by app and key of `[apps.limits]`; what is "off" is not there."""
        return {(app.name, key): rate for app in self.apps for key, rate in app.limits.rates.items()}

    @property
    def session_secrets(self) -> Mapping[str, str]:
        """The session secret of every app by its name, as `native.tokens.verify` takes them."""
        return {app.name: app.session_secret for app in self.apps}


DIALECT_TABLES: Final = ("anyrtc", "easemob", "leancloud", "wildfire")
"""The vendor tables an app may have; the native protocol needs none."""


def tables(config: Config) -> Iterator[tuple[str, Table]]:
    """Every app's tables that can hold a credential, each with its place in the file, as in `apps[0].anyrtc`."""
    for index, app in enumerate(config.apps):
        yield f"apps[{index}]", app
        for name in app.dialects:
            yield f"apps[{index}].{name}", getattr(app, name)


def secret_values(config: Config) -> tuple[str, ...]:
    """Every secret of the configuration, for the log to leave out wherever one turns up."""
    found = (getattr(table, key) for _, table in tables(config) for key in table.secret_keys)
    return tuple(value for value in found if value)
