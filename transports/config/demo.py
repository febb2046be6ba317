"""The development configuration, and the rule that its credentials, known to everyone, stay on this machine."""

import ssl
from typing import Final

from .errors import ConfigError
from .tables import AnyrtcConfig, AppConfig, Config, EasemobConfig, LeancloudConfig, WildfireConfig, tables

DEMO_APP: Final = AppConfig(
    name="demo",
    session_secret="demo-session-secret-demo-session-secret",
    anyrtc=AnyrtcConfig(
        app_id="0123456789abcdef0123456789abcdef",
        api_key="demo-key",
        api_secret="demo-secret",
        app_certificate="fedcba9876543210fedcba9876543210",
    ),
    easemob=EasemobConfig(
        org_name="demo-org", app_name="demo", client_id="demo-client", client_secret="demo-client-secret"
    ),
    leancloud=LeancloudConfig(app_id="demo-app", app_key="demo-app-key", master_key="demo-master-key"),
    wildfire=WildfireConfig(secret="123456"),
)

# Names of the demo app (app ids, org, app) open nothing by themselves and may stay; whatever takes part in proving who
# somebody is may not, the public halves of a pair included: who kept one of them has not made credentials of his own.
_CREDENTIALS: Final = {
    "apps": ("session_secret",),
    "anyrtc": ("api_key", "api_secret", "app_certificate"),
    "easemob": ("client_id", "client_secret"),
    "leancloud": ("app_key", "master_key"),
    "wildfire": ("secret",),
}


def development() -> Config:
    """What `serve` runs without a file: the app `demo` with its demo credentials in every dialect, on loopback."""
    return Config(apps=(DEMO_APP,))


def demo_credentials(config: Config) -> list[str]:
    """The places of this configuration that hold a demo credential, as in `apps[0].anyrtc.api_secret`."""
    demo = {
        _table_name(place): {getattr(table, key) for key in _CREDENTIALS[_table_name(place)]}
        for place, table in tables(development())
    }
    return [
        f"{place}.{key}"
        for place, table in tables(config)
        for key in _CREDENTIALS[_table_name(place)]
        if getattr(table, key) in demo[_table_name(place)]
    ]


def check_exposure(config: Config) -> None:
    """Raise ConfigError if a demo credential would be reachable from another machine."""
    known = demo_credentials(config)
    if not known:
        return
    server = config.server
    for key, addresses in (("bind", server.addresses), ("bind_h11", server.addresses_h11)):
        for address in addresses:
            if not address.is_loopback:
                are = "is a demo credential" if len(known) == 1 else "are demo credentials"
                raise ConfigError(
                    f"server.{key}: {address} is not a loopback address, and {', '.join(known)} {are} that everyone "
                    f"knows; set your own or listen on 127.0.0.1"
                )


def check_tls(config: Config) -> None:
    """Raise ConfigError if the TLS files cannot be read or do not belong together. Reads the two files."""
    certificate, key = config.server.tls_certificate, config.server.tls_key
    if not certificate:
        return
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise ConfigError(f"server.{name}: cannot read {path}: {error.strerror}") from None
    try:
        # The empty password answers at once what would otherwise be asked for on the terminal.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not readable"
        raise ConfigError(
            f"server.tls_certificate: with tls_key no PEM certificate chain and its key without a password ({reason})"
        ) from None


def _table_name(place: str) -> str:
    """`apps[0].anyrtc` is table `anyrtc`, `apps[0]` is table `apps`."""
    return place.partition(".")[2] or "apps"
