"""What types and ranges cannot say about a configuration: forms of credentials, pairs, what must differ."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError

from postroom.core.limits import NAME_BYTES_MAX

from .addresses import parse_address
from .errors import ConfigError
from .tables import DIALECT_TABLES, AppConfig, Config, HistoryConfig, QueueConfig, ServerConfig, tables

BUILT_DIALECTS: Final = ("native", "anyrtc", "leancloud")
"""What answers today. The tables of the others are checked and wait."""
SESSION_SECRET_BYTES_MIN: Final = 32
"""HS256 is as strong as its key up to 32 bytes (RFC 7518, 3.2)."""

_HEX_32: Final = re.compile(r"[0-9A-Fa-f]{32}")
_HEX_32_TEXT: Final = "must be 32 hexadecimal characters"


def check(config: Config) -> list[str]:
    """Refuse with a ConfigError what could not work; return a line for each table that waits for its dialect."""
    _check_server(config.server)
    if not config.apps:
        raise ConfigError("apps: at least one [[apps]] table is needed")
    for index, app in enumerate(config.apps):
        _check_app(f"apps[{index}]", app)
    _check_distinct(config)
    return [
        f"{place}: this dialect is not built yet; its table was checked and is otherwise not used"
        for place, _ in tables(config)
        for name in DIALECT_TABLES
        if place.endswith(f".{name}") and name not in BUILT_DIALECTS
    ]


def _check_server(server: ServerConfig) -> None:
    seen: set[str] = set()
    for key, values in (("bind", server.bind), ("bind_h11", server.bind_h11)):
        for index, text in enumerate(values):
            place = f"server.{key}[{index}]"
            try:
                address = parse_address(text)
            except ValueError as error:
                raise ConfigError(f"{place}: {error}") from None
            if address.port and str(address) in seen:
                raise ConfigError(f"{place}: {address} is there twice")
            seen.add(str(address))
    if not seen:
        raise ConfigError("server.bind: must have at least one address")
    for given, missing in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if getattr(server, given) and not getattr(server, missing):
            raise ConfigError(f"server.{missing}: must be set together with {given}")
    for key in ("data", "tls_certificate", "tls_key"):
        if "\0" in getattr(server, key):
            raise ConfigError(f"server.{key}: must be a path, without a NUL character")


def _check_app(place: str, app: AppConfig) -> None:
    _check_name(f"{place}.name", app.name)
    _check_session_secret(f"{place}.session_secret", app.session_secret)
    if app.anyrtc:
        _check_hex(f"{place}.anyrtc.app_id", app.anyrtc.app_id)
        if app.anyrtc.app_certificate and not _HEX_32.fullmatch(app.anyrtc.app_certificate):
            raise ConfigError(f"{place}.anyrtc.app_certificate: {_HEX_32_TEXT}, or empty (no tokens)")
    for key, value, banned in _wire_texts(app):
        # Such a value could never arrive: headers, paths and Basic credentials are cut or trimmed at these characters.
        if not value.isprintable() or value != value.strip() or any(char in banned for char in value):
            without = f' or "{banned}"' if banned else ""
            raise ConfigError(f"{place}.{key}: must have no control characters, no spaces at its ends{without}")
    _check_days(place, app.queue, app.history)


def _wire_texts(app: AppConfig) -> Iterator[tuple[str, str, str]]:
    """The values that callers send: key, value, and the characters that end such a value on the wire."""
    if app.anyrtc:
        yield "anyrtc.api_key", app.anyrtc.api_key, ":"
        yield "anyrtc.api_secret", app.anyrtc.api_secret, ""
    if app.easemob:
        for key in ("org_name", "app_name"):
            yield f"easemob.{key}", getattr(app.easemob, key), "/#"
        for key in ("client_id", "client_secret"):
            yield f"easemob.{key}", getattr(app.easemob, key), ""
    if app.leancloud:
        for key in ("app_id", "app_key", "master_key"):
            yield f"leancloud.{key}", getattr(app.leancloud, key), ","
    if app.wildfire:
        yield "wildfire.secret", app.wildfire.secret, ""


def _check_name(place: str, name: str) -> None:
    if len(name.encode()) > NAME_BYTES_MAX:
        raise ConfigError(f"{place}: must have at most {NAME_BYTES_MAX} bytes")
    if not name.isprintable() or name != name.strip():
        raise ConfigError(f"{place}: must have no control characters and no spaces at its ends")


def _check_session_secret(place: str, secret: str) -> None:
    if len(secret.encode()) < SESSION_SECRET_BYTES_MIN:
        raise ConfigError(f"{place}: must have at least {SESSION_SECRET_BYTES_MIN} bytes")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret.encode())
    except InvalidKeyError:  # PyJWT refuses what is a key pair's, so no token could be verified
        raise ConfigError(f"{place}: must be random text, not a PEM or SSH key") from None


def _check_hex(place: str, value: str) -> None:
    if not _HEX_32.fullmatch(value):
        raise ConfigError(f"{place}: {_HEX_32_TEXT}")


def _check_days(place: str, queue: QueueConfig, history: HistoryConfig) -> None:
    # A queue entry points at the message's body, which goes when its history is over.
    if history.days != "forever" and history.days < queue.days:
        raise ConfigError(f"{place}.history.days: must not be below queue.days ({queue.days})")


_SELECTORS: Final[tuple[tuple[str, Callable[[AppConfig], object]], ...]] = (
    ("name", lambda app: app.name),
    ("anyrtc.app_id", lambda app: app.anyrtc and app.anyrtc.app_id),
    ("easemob.app_name", lambda app: app.easemob and (app.easemob.org_name, app.easemob.app_name)),
    ("leancloud.app_id", lambda app: app.leancloud and app.leancloud.app_id),
    ("wildfire.secret", lambda app: app.wildfire and app.wildfire.secret),
)
"""What says which app a request is for: each must be one app's alone."""


def _check_distinct(config: Config) -> None:
    for key, selector in _SELECTORS:
        owners: dict[object, int] = {}
        for index, app in enumerate(config.apps):
            value = selector(app)
            if value is None:
                continue
            first = owners.setdefault(value, index)
            if first != index:
                also = " (with the same org_name)" if key == "easemob.app_name" else ""
                raise ConfigError(f"apps[{index}].{key}: must differ from apps[{first}].{key}{also}")
