"""`postroom bench http`."""

import click

from postroom.transports.anyrtc.payload import PAYLOAD_BYTES_MAX

from .. import options
from ..hosts import Host


@click.command(short_help="Durable sends over HTTP, beside bare hypercorn.")
@options.seconds
@options.as_json
@click.option(
    "--connections",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="Keep-alive connections, each with one request under way.",
)
@options.payload_bytes(PAYLOAD_BYTES_MAX)
@options.recipients
@options.history
@options.rate
@options.host
@options.directory
@options.seed
def http(
    *,
    seconds: float,
    as_json: bool,
    connections: int,
    payload_bytes: int,
    recipients: int,
    history: bool,
    rate: float | None,
    host: Host,
    directory: str | None,
    seed: int,
) -> None:
    """Send queued messages to random recipients through a `postroom serve`, with anyRTC's peer_messages call.

    Each request carries Basic credentials and is answered when its message is on disk. Beside it, in turn: a bare
    hypercorn that reads the same requests and gives the same answer at once, with `--host h11` a loop of h11 on bare
    sockets that does, too, and a raw fsync loop. The servers are processes of their own on loopback; the client is this
    one.

    Exit status 1 if a single request is not answered as it should be.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(
        connections=connections,
        payload_bytes=payload_bytes,
        recipients=recipients,
        history=history,
        rate=rate,
        seed=seed,
        host=host,
    )
    run(settings, seconds, directory, as_json=as_json)
