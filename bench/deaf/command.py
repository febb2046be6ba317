"""`postroom bench deaf`."""

import click

from postroom.core.limits import BODY_BYTES_MAX

from .. import options
from ..hosts import Host


@click.command(short_help="What sessions that never read cost the others.")
@options.seconds
@options.as_json
@click.option(
    "--crowd",
    type=click.IntRange(1, 5_000),
    default=1_000,
    show_default=True,
    help="Sessions that never read, in one room, and as many that do in another.",
)
@click.option(
    "--listeners",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="Sessions that are measured, in each room.",
)
@options.payload_bytes(BODY_BYTES_MAX)
@options.host
@options.directory
@options.seed
def deaf(
    *,
    seconds: float,
    as_json: bool,
    crowd: int,
    listeners: int,
    payload_bytes: int,
    host: Host,
    directory: str | None,
    seed: int,
) -> None:
    """Send messages to three rooms of one `postroom serve` in turn, one at a time, and see when the listeners have them.

    In the first room a crowd sits that never reads and has been sent more than its sessions may hold; in the second one
    that reads everything; in the third nobody but the listeners. p99_ratios is the figure: the listeners' p99 beside the
    deaf in parts of that in the other rooms. At or below 1 beside room_that_reads, not reading costs the others nothing.
    What is more than in room_alone is what a thousand members more cost a room, whoever they are.

    deaf_bytes is the server's memory that each deaf session came to hold. The crowds are processes of their own. Linux
    only.

    Exit status 1 if a listener gets anything else than every message once, in order, or the deaf are never dropped
    anything.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(listeners=listeners, crowd=crowd, payload_bytes=payload_bytes, seed=seed, host=host)
    run(settings, seconds, directory, as_json=as_json)
