"""`postroom bench import`."""

import click

from postroom.core.limits import BODY_BYTES_MAX

from .. import options


@click.command("import", short_help="Taking an export over, beside raw LMDB.")
@options.seconds_of(600)
@options.as_json
@click.option(
    "--messages",
    type=click.IntRange(1_000, 100_000_000),
    default=100_000,
    show_default=True,
    help="How many messages the export has, newest first, as history calls return them.",
)
@click.option(
    "--conversations",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="In so many conversations of ten members.",
)
@options.payload_bytes(BODY_BYTES_MAX)
@options.directory
@options.seed
def import_(
    *,
    seconds: float,
    as_json: bool,
    messages: int,
    conversations: int,
    payload_bytes: int,
    directory: str | None,
    seed: int,
) -> None:
    """Generate an export, and take it over as `postroom import leancloud` does, in files of 2,500 messages.

    A message that is imported is on disk, in its timelines and known by its name; 500 are given to the broker at once.
    --seconds bounds the measuring of each side. A call is a file, from its first byte to its last commit.

    Beside it, in turn: a raw LMDB loop that puts the same rows, 500 messages a commit, and a raw fsync loop.

    Exit status 1 if a message is refused.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(messages=messages, conversations=conversations, payload_bytes=payload_bytes, seed=seed)
    run(settings, seconds, directory, as_json=as_json)
