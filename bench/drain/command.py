"""`postroom bench drain`."""

import click

from postroom.core.limits import BODY_BYTES_MAX

from .. import options
from ..hosts import Host

QUEUED_MAX = 200
"""A queue holds so many by default."""


@click.command(short_help="Users who come back to full queues, beside bare hypercorn.")
@options.seconds
@options.as_json
@click.option(
    "--users",
    type=click.IntRange(1, 5_000),
    default=100,
    show_default=True,
    help="Who come back at once, each with a WebSocket session.",
)
@click.option(
    "--queued",
    type=click.IntRange(1, QUEUED_MAX),
    default=QUEUED_MAX,
    show_default=True,
    help="Messages that wait for each of them.",
)
@options.payload_bytes(BODY_BYTES_MAX)
@options.host
@options.directory
@options.seed
def drain(
    *,
    seconds: float,
    as_json: bool,
    users: int,
    queued: int,
    payload_bytes: int,
    host: Host,
    directory: str | None,
    seed: int,
) -> None:
    """Open a session for each of many users at once, and receive all that was queued for them.

    An operation is a message that arrived: ops_per_s is users times messages a second, from the first connection to the
    last message, logins included. Latency counts from the first connection too, last_ms to each user's last message.
    A slice is a group of users, however long it takes; every two slices of --seconds need a group that has not been there
    yet, whose queues are filled before.

    Beside it, in turn: a bare hypercorn that sends the frames of one user to as many sessions, each as a message of its
    own, and a raw fsync loop. The servers are processes of their own on loopback, the client is this one.

    Exit status 1 if a user gets anything else than every message once, in order.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(users=users, queued=queued, payload_bytes=payload_bytes, seconds=seconds, seed=seed, host=host)
    run(settings, directory, as_json=as_json)
