"""The commands that run a broker or prepare for one: serve, demo, token, config."""

import time
from typing import Final, Literal

import click

from .groups import OrderedGroup

TOKEN_TTL_S: Final = 86_400
"""A day: tokens made by hand are for trying things out."""

_CONFIG_OPTION: Final = click.option(
    "--config", "config_path", metavar="FILE", help="The configuration file. Default: the demo app alone."
)


@click.command(short_help="Run the broker.")
@_CONFIG_OPTION
@click.option("--data", metavar="DIR", help="Where messages are kept; made if missing. Default: server.data.")
@click.option(
    "--bind",
    metavar="HOST:PORT",
    multiple=True,
    help="Where to listen, in place of server.bind; may be repeated. Port 0: any free one.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How log lines look."
)
def serve(config_path: str | None, data: str | None, bind: tuple[str, ...], log_format: Literal["text", "json"]) -> int:
    """Run the broker until SIGTERM or Ctrl-C, then answer what is under way and stop.

    Without --config this is a development broker: the app `demo` in every dialect, its credentials and a curl line for
    each on stderr. Such credentials are refused on any other address than loopback, in a file too.

    \b
    When ready, one line per address goes to stderr:
      listening on http://127.0.0.1:8080
    """
    from . import settings

    config, warnings = settings.for_serving(config_path, bind, data)
    for warning in warnings:
        click.echo(f"postroom: warning: {warning}", err=True)
    from postroom.transports.serve import run

    return run(
        config,
        data=config.server.data,
        bind=list(bind) or None,
        log_format=log_format,
        development=config_path is None,
    )


@click.command(short_help="See it work: send, receive, restart.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per step, for a script.")
def demo(*, as_json: bool) -> int:
    """Start a broker of its own on a free port, send and receive through it, kill it, and show that nothing was lost.

    Uses a temporary directory and leaves nothing behind.
    """
    from .demo import run

    return run(as_json=as_json)


@click.command(short_help="Print a session token.")
@click.option("--app", metavar="A", required=True, help="The app's name in the configuration.")
@click.option("--user", metavar="U", required=True, help="Whom the token lets in.")
@_CONFIG_OPTION
@click.option(
    "--ttl",
    "ttl_s",
    metavar="SECONDS",
    type=click.IntRange(min=1),
    default=TOKEN_TTL_S,
    show_default=True,
    help="How long it is good for.",
)
def token(app: str, user: str, config_path: str | None, ttl_s: int) -> int:
    """Print a token that lets USER receive, and nothing else, so that it can be used in a command line.

    \b
      curl -H "Authorization: Bearer $(postroom token --app demo --user bob)" ...

    A server makes such tokens itself: a JWT signed with HS256 and the app's session_secret, with the claims app, sub
    (the user), exp, and iat.
    """
    from postroom.core.ids import UnixMs
    from postroom.transports.native.tokens import issue

    from . import settings

    config, _ = settings.read(config_path)
    secret = settings.app_named(app, config, config_path).session_secret
    try:
        # The one place of this command that reads a clock: a token's times are wall times.
        made = issue(secret, app, user, ttl_s, UnixMs(time.time_ns() // 1_000_000))
    except ValueError as error:
        raise click.UsageError(f"--{error}", click.get_current_context()) from None
    click.echo(made)
    return 0


@click.group("config", cls=OrderedGroup, short_help="Check a configuration file.")
def config_group() -> None:
    """Work with configuration files. Every key is described in docs/config.md."""


@config_group.command("check", short_help="Say whether a file is in order.")
@click.argument("path", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def config_check(path: str, *, as_json: bool) -> int:
    """Read FILE as `serve` would and print `ok` and what it sets up, or, with status 2, one line with what is wrong.

    Checks everything but the TLS files, which may lie on another machine.
    """
    import msgspec

    from postroom.transports.config import check_exposure

    from . import settings

    read, warnings = settings.read(path)
    check_exposure(read)
    if as_json:
        apps = [{"name": app.name, "dialects": ["native", *app.dialects]} for app in read.apps]
        click.echo(msgspec.json.encode({"ok": True, "apps": apps, "warnings": warnings}))
        return 0
    click.echo("ok")
    for line in settings.summary(read, warnings):
        click.echo(line)
    return 0


COMMANDS: Final = (serve, demo, token, config_group)
