"""`postroom bench idle`."""

import click

from .. import options
from ..hosts import Host


@click.command(short_help="Memory of idle sessions, beside bare hypercorn.")
@options.as_json
@click.option(
    "--sessions",
    type=click.IntRange(4, 10_000),
    default=2_000,
    show_default=True,
    help="WebSocket sessions, each of a user of its own.",
)
@options.host
@options.directory
@options.seed
def idle(*, as_json: bool, sessions: int, host: Host, directory: str | None, seed: int) -> None:
    """Open many sessions, leave them alone, and see how much memory their server has by then.

    session_bytes is the figure: the server's resident memory after all sessions opened, less that after the first 64,
    which are not counted, divided by their number. An operation is a session that opened, so ops_per_s says how fast
    they log in.

    Beside it, in turn: a bare hypercorn that accepts as many WebSockets and sends each the same welcome, and a raw fsync
    loop. The servers are processes of their own on loopback, the client is this one. Linux only.

    Exit status 1 if a session does not open, or an idle one is told anything.
    """
    from .run import run
    from .settings import Settings

    run(Settings(sessions=sessions, seed=seed, host=host), directory, as_json=as_json)
