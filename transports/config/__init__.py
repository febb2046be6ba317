"""The configuration of the server: one TOML file, checked whole before anything starts."""

from .addresses import Address, parse_address
from .checks import BUILT_DIALECTS, check
from .demo import DEMO_APP, check_exposure, check_tls, demo_credentials, development
from .errors import ConfigError
from .limits import LIMIT_KEYS, Limits
from .load import load, parse
from .tables import (
    AnyrtcConfig,
    AppConfig,
    Config,
    EasemobConfig,
    HistoryConfig,
    LeancloudConfig,
    LeanConfig,
    QueueConfig,
    ServerConfig,
    WildfireConfig,
    secret_values,
)

__all__ = [
    "BUILT_DIALECTS",
    "DEMO_APP",
    "LIMIT_KEYS",
    "Address",
    "AnyrtcConfig",
    "AppConfig",
    "Config",
    "ConfigError",
    "EasemobConfig",
    "HistoryConfig",
    "LeanConfig",
    "LeancloudConfig",
    "Limits",
    "QueueConfig",
    "ServerConfig",
    "WildfireConfig",
    "check",
    "check_exposure",
    "check_tls",
    "demo_credentials",
    "development",
    "load",
    "parse",
    "parse_address",
    "secret_values",
]
