"""`postroom bench history`."""

import click

from postroom.core.limits import BODY_BYTES_MAX

from .. import options


@click.command(short_help="Queries of the history, beside a raw LMDB cursor.")
@options.seconds_of(1.0)
@options.as_json
@click.option(
    "--messages",
    type=click.IntRange(1_000, 100_000_000),
    default=1_000_000,
    show_default=True,
    help="How many messages are kept in the end. Filling takes a minute or more a million, and 1 GB.",
)
@click.option(
    "--clients",
    type=click.IntRange(1, 1_000),
    default=1,
    show_default=True,
    help="Tasks that ask, each waiting for its answer before it asks again.",
)
@options.payload_bytes(BODY_BYTES_MAX)
@options.recipients
@options.directory
@options.seed
def history(
    *,
    seconds: float,
    as_json: bool,
    messages: int,
    clients: int,
    payload_bytes: int,
    recipients: int,
    directory: str | None,
    seed: int,
) -> None:
    """Ask a broker in this process for messages that it keeps, when it has a tenth of --messages and when it has all.

    Half of the messages go to one room, the others to random users. The questions, each a result for either size:

    \b
    newest       the newest 20 of a conversation with 50
    page         the newest 100 of the big room
    received     the newest 100 that a user received, as a peer or in two rooms while there
    offset       100 of the big room, after passing over a fifth of what it has at first
    everything   the newest 100 of all that is kept
    groups       the 20 groups of a member, of one for every 100 messages
    count_small  how many a room with 1,000 has
    count_tenth  how many a sender sent up to when the store had a tenth
    count_all    how many a sender sent, which is all

    All but the last have the same answer at both sizes: what they cost should not depend on the size. Where it grows, it
    grows with the answer and with what an offset passes over. --seconds is for each question, at each size. How far the
    filling is goes to stderr.

    Beside it, in turn: a raw LMDB cursor that walks along the same number of rows, and reads the bodies of messages that are
    found, and a raw fsync loop.

    Exit status 1 if an answer is of another number than it should be.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(
        messages=messages, clients=clients, payload_bytes=payload_bytes, recipients=recipients, seed=seed
    )
    run(settings, seconds, directory, as_json=as_json)
