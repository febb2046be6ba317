"""`postroom bench fanout`."""

import click

from postroom.core.limits import BODY_BYTES_MAX

from .. import options
from ..hosts import Host


@click.command(short_help="A room's messages to many sessions, beside bare hypercorn.")
@options.seconds
@options.as_json
@click.option(
    "--sessions",
    type=click.IntRange(1, 10_000),
    default=300,
    show_default=True,
    help="WebSocket sessions in the room, each of a user of its own.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Messages under way at a time. With 1 the next one is sent when everybody has the one before; with more, "
    "frames may gather and come several at a time.",
)
@options.payload_bytes(BODY_BYTES_MAX)
@options.history
@options.rate
@options.host
@options.directory
@options.seed
def fanout(
    *,
    seconds: float,
    as_json: bool,
    sessions: int,
    in_flight: int,
    payload_bytes: int,
    history: bool,
    rate: float | None,
    host: Host,
    directory: str | None,
    seed: int,
) -> None:
    """Send messages to a room of a `postroom serve` and receive them in every session that is in it.

    An operation is a frame that arrived: ops_per_s is messages times sessions a second. Latency counts from the send to
    each session's receipt, last_ms to that of a message's last session. Every message is on disk before anybody gets it.

    The sender is a session, too, but not in the room. An HTTP request would be another way to send; it costs the server
    as much as five to ten frames and would be measured with them, and `bench http` is there for it.

    Beside it, in turn: a bare hypercorn that, when it reads the sender's message, sends a frame of the same bytes to as
    many sessions and then the sender's answer, and a raw fsync loop. The servers are processes of their own on loopback,
    the client is this one; client_busy says which part of the time it was at work. Where that comes near to 1, or
    servers and client share a CPU, it is the client that is measured.

    Exit status 1 if a session gets anything else than every message once, in order, with the bytes that all others get.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(
        sessions=sessions,
        in_flight=in_flight,
        payload_bytes=payload_bytes,
        history=history,
        rate=rate,
        seed=seed,
        host=host,
    )
    run(settings, seconds, directory, as_json=as_json)
