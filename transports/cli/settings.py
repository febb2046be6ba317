"""From the options of a command to the configuration it works with."""

import msgspec

from postroom.transports.config import (
    AppConfig,
    Config,
    ConfigError,
    check_exposure,
    check_tls,
    development,
    load,
    parse_address,
)


def read(path: str | None) -> tuple[Config, list[str]]:
    """The configuration in the file, or the development one without a file, and its warnings. Raises ConfigError."""
    return load(path) if path is not None else (development(), [])


def for_serving(path: str | None, bind: tuple[str, ...], data: str | None) -> tuple[Config, list[str]]:
    """What `serve` runs: the file with the options laid over it. Raises ConfigError if it must not run so.

    `bind` takes the place of the file's whole `server.bind`.
    """
    config, warnings = read(path)
    for text in bind:
        try:
            parse_address(text)
        except ValueError as error:
            raise ConfigError(f"--bind: {error}") from None
    server = msgspec.structs.replace(config.server, bind=bind or config.server.bind, data=data or config.server.data)
    config = msgspec.structs.replace(config, server=server)
    check_exposure(config)
    check_tls(config)
    return config, warnings


def app_named(name: str, config: Config, path: str | None) -> AppConfig:
    """The app of this name. Raises ConfigError, with the names there are."""
    for app in config.apps:
        if app.name == name:
            return app
    where = path or "the development configuration"
    names = ", ".join(app.name for app in config.apps)
    raise ConfigError(f'--app: no app "{name}" in {where}, which has {names}')


def summary(config: Config, warnings: list[str]) -> list[str]:
    """What `config check` says about a configuration that is in order, a line each."""
    server = config.server
    scheme = "https" if server.tls_certificate else "http"
    lines = [f"listens on {scheme}://{address}" for address in (*server.addresses, *server.addresses_h11)]
    lines.append(f"keeps its data in {server.data}")
    lines += [f"app {app.name}: {', '.join(('native', *app.dialects))}" for app in config.apps]
    return [*lines, *(f"warning: {warning}" for warning in warnings)]
