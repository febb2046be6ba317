"""From the options of a command to the configuration it works with."""

import msgspec

from postroom.transports.config import (
    AppConfig,
    Config,
    ConfigError,
    check,
    check_exposure,
    check_tls,
    development,
    load,
    parse_address,
)


def read(path: str | None) -> tuple[Config, list[str]]:
    """The configuration in the file, or the development one without a file, and its warnings. Raises ConfigError."""
    return load(path) if path is not None else (development(), [])


def for_serving(
    path: str | None, bind: tuple[str, ...], bind_h11: tuple[str, ...], data: str | None
) -> tuple[Config, list[str]]:
    """What `serve` runs: the file with the options laid over it. Raises ConfigError if it must not run so.

    `bind` takes the place of the file's whole `server.bind`, `bind_h11` that of its `server.bind_h11`.
    """
    config, warnings = read(path)
    for option, texts in (("--bind", bind), ("--bind-h11", bind_h11)):
        for text in texts:
            try:
                parse_address(text)
            except ValueError as error:
                raise ConfigError(f"{option}: {error}") from None
    server = config.server
    server = msgspec.structs.replace(
        server, bind=bind or server.bind, bind_h11=bind_h11 or server.bind_h11, data=data or server.data
    )
    config = msgspec.structs.replace(config, server=server)
    check(config)  # again: an address of an option may be one of the file's
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


def listens(config: Config) -> list[tuple[str, str]]:
    """Where the server listens, as URLs, each with its host's name. TLS is hypercorn's alone."""
    server = config.server
    scheme = "https" if server.tls_certificate else "http"
    found = [(f"{scheme}://{address}", "hypercorn") for address in server.addresses]
    return found + [(f"http://{address}", "h11") for address in server.addresses_h11]


def summary(config: Config, warnings: list[str]) -> list[str]:
    """What `config check` says about a configuration that is in order, a line each."""
    lines = [f"listens on {url} ({host})" for url, host in listens(config)]
    lines.append(f"keeps its data in {config.server.data}")
    lines += [f"app {app.name}: {', '.join(('native', *app.dialects))}" for app in config.apps]
    return [*lines, *(f"warning: {warning}" for warning in warnings)]
