"""The commands that run a broker, prepare for one or talk to one: serve, demo, token, listen, config."""

import re
import time
from typing import Final, Literal

import click

from .groups import OrderedGroup

TOKEN_TTL_S: Final = 86_400
"""A day: tokens made by hand are for trying things out."""

LISTEN_URL: Final = "ws://127.0.0.1:8080/v1/connect"
"""Of a development broker."""
DEMO: Final = "demo"
"""The app of a development broker."""

_TOKEN: Final = re.compile(r"[\w.-]+", re.ASCII)
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
    "--bind-h11",
    metavar="HOST:PORT",
    multiple=True,
    help="Where the lean HTTP/1.1 host listens, in place of server.bind_h11; may be repeated.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How log lines look."
)
def serve(
    config_path: str | None,
    data: str | None,
    bind: tuple[str, ...],
    bind_h11: tuple[str, ...],
    log_format: Literal["text", "json"],
) -> int:
    """Run the broker until SIGTERM or Ctrl-C, then answer what is under way and stop.

    Without --config this is a development broker: the app `demo` in every dialect, its credentials and a curl line for
    each on stderr. Such credentials are refused on any other address than loopback, in a file too.

    \b
    When ready, one line per address goes to stderr, those of the lean host last:
      listening on http://127.0.0.1:8080
    """
    from . import settings

    config, warnings = settings.for_serving(config_path, bind, bind_h11, data)
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
    click.echo(_issued(app, user, config_path, ttl_s))
    return 0


@click.command(short_help="Print what a user receives.")
@click.option("--app", metavar="A", help="The app's name.  [default: demo]")
@click.option("--user", metavar="U", help="Who listens; not needed with a token.")
@click.option("--url", default=LISTEN_URL, show_default=True, help="Where the broker is; wss:// for one with TLS.")
@_CONFIG_OPTION
@click.option(
    "--token",
    metavar="TOKEN",
    envvar="POSTROOM_TOKEN",
    show_envvar=True,
    help="A session token, better set by the variable: other users see command lines. Default: one is made, as by "
    "`postroom token`.",
)
@click.option("--join", "rooms", metavar="ROOM", multiple=True, help="Enter a room (a channel); may be repeated.")
@click.option(
    "--since",
    metavar="ID",
    type=click.IntRange(min=0),
    help="First what was kept of the one room after this message; 0: all of it.",
)
@click.option("--ack", is_flag=True, help="Acknowledge each message once it is printed, which takes it off the queue.")
@click.option("--count", metavar="N", type=click.IntRange(min=1), help="End after N messages. Default: on Ctrl-C.")
def listen(
    app: str | None,
    user: str | None,
    url: str,
    config_path: str | None,
    token: str | None,
    rooms: tuple[str, ...],
    since: int | None,
    count: int | None,
    *,
    ack: bool,
) -> int:
    """Connect as a user and print each frame that comes as a line of JSON; docs/protocol.md describes them.

    With --join the user is in that room for as long as they are connected, and what is sent to it is printed too.

    Without --ack the messages stay in the user's queue. With it, `--count` ends when the broker answered that the
    acknowledgement of the last message is on disk.

    Status 0 after N messages or on Ctrl-C, 1 if the broker cannot be reached or ends the session, 130 if Ctrl-C comes
    before N messages did.
    """
    from .client import Target
    from .listen import Wishes, run

    context = click.get_current_context()
    if since is not None and len(rooms) != 1:
        raise click.UsageError("--since: says where to begin in one room, so there must be one --join", context)
    try:
        target = Target.of(url)
    except ValueError as error:
        raise click.UsageError(f"--url: {error}", context) from None
    if token is not None:
        token = token.strip()
        if not _TOKEN.fullmatch(token):
            raise click.UsageError("--token: is no token, which has letters, digits, dots, - and _ only", context)
        advice = "check that it is signed with the session_secret of its app and has not expired"
    elif user is not None:
        app = app or DEMO
        token = _issued(app, user, config_path, TOKEN_TTL_S)
        where = config_path or "the development configuration"
        advice = f"is the session_secret of app {app} the same there as in {where}?"
    else:
        raise click.UsageError("Missing option '--user'", context)
    return run(
        Wishes(
            target=target,
            token=token,
            advice=advice,
            app=app,
            user=user,
            rooms=rooms,
            since=since,
            ack=ack,
            count=count,
        )
    )


def _issued(app: str, user: str, config_path: str | None, ttl_s: int) -> str:
    """A session token. Raises ConfigError, UsageError."""
    from postroom.core.ids import UnixMs
    from postroom.transports.native.tokens import issue

    from . import settings

    config, _ = settings.read(config_path)
    secret = settings.app_named(app, config, config_path).session_secret
    try:
        # The one place of these commands that reads a clock: a token's times are wall times.
        return issue(secret, app, user, ttl_s, UnixMs(time.time_ns() // 1_000_000))
    except ValueError as error:
        raise click.UsageError(f"--{error}", click.get_current_context()) from None


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
        where = [{"url": url, "host": host} for url, host in settings.listens(read)]
        click.echo(msgspec.json.encode({"ok": True, "listens": where, "apps": apps, "warnings": warnings}))
        return 0
    click.echo("ok")
    for line in settings.summary(read, warnings):
        click.echo(line)
    return 0


COMMANDS: Final = (serve, demo, token, listen, config_group)
