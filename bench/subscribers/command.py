"""`postroom bench subscribers`."""

import click

from postroom.core.limits import BODY_BYTES_MAX

from .. import options


@click.command(short_help="A message to many subscribers, beside one to few.")
@options.seconds
@options.as_json
@click.option(
    "--subscribers",
    type=click.IntRange(1, 10_000_000),
    default=100_000,
    show_default=True,
    help="How many subscribe. Subscribing takes some seconds a hundred thousand.",
)
@click.option(
    "--few",
    type=click.IntRange(1, 100_000),
    default=10,
    show_default=True,
    help="How many subscribe to the service that it is compared with.",
)
@click.option(
    "--online",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="How many of as many have a session open, in the third case.",
)
@click.option(
    "--producers",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Tasks that send, each waiting for its answer before it sends again.",
)
@options.payload_bytes(BODY_BYTES_MAX)
@options.directory
@options.seed
def subscribers(
    *,
    seconds: float,
    as_json: bool,
    subscribers: int,
    few: int,
    online: int,
    producers: int,
    payload_bytes: int,
    directory: str | None,
    seed: int,
) -> None:
    """Send to a service with --subscribers, all offline, through a broker in this process; each call returns when it is on
    disk.

    Beside it, in turn and in the same broker: `few`, the same to a service with --few subscribers, all offline; and `online`,
    the same to a service with --subscribers of whom --online have a session in this process that takes every frame.

    Exit status 1 if a single message is refused.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(
        subscribers=subscribers,
        few=few,
        online=min(online, subscribers),
        producers=producers,
        payload_bytes=payload_bytes,
        seed=seed,
    )
    run(settings, seconds, directory, as_json=as_json)
