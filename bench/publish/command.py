"""`postroom bench publish`."""

import click

from postroom.core.limits import BODY_BYTES_MAX, QUEUE_MESSAGES_MAX

from .. import options


@click.command(short_help="Embedded sends, beside raw LMDB.")
@options.seconds
@options.as_json
@click.option(
    "--producers",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="Tasks that send, each waiting for its answer before it sends again.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="Messages a call: 1 is submit, more are submit_many. Latency is that of a call.",
)
@options.payload_bytes(BODY_BYTES_MAX)
@options.recipients
@click.option(
    "--queued-per-recipient",
    type=click.IntRange(0, QUEUE_MESSAGES_MAX),
    default=0,
    show_default=True,
    help="Messages put into every queue beforehand, unmeasured, on both sides. From 200, the cap, on every send drops one.",
)
@options.history
@options.rate
@click.option(
    "--memory", is_flag=True, help="Use the store that forgets: what remains is the cost of the broker itself."
)
@click.option(
    "--baseline-batch",
    type=click.IntRange(1, 100_000),
    help="Messages a commit of the raw loop. Default: as many as are under way at a time, at most 1,024, which is about "
    "what the broker takes into a commit.",
)
@options.directory
@options.seed
def publish(
    *,
    seconds: float,
    as_json: bool,
    producers: int,
    batch: int,
    payload_bytes: int,
    recipients: int,
    queued_per_recipient: int,
    history: bool,
    rate: float | None,
    memory: bool,
    baseline_batch: int | None,
    directory: str | None,
    seed: int,
) -> None:
    """Send queued messages to random recipients through a broker in this process; each call returns when they are on disk.

    Beside it, in turn: a raw LMDB loop that puts the same rows (log, body, queue entry and the few others) with an fsync
    a commit, and a raw fsync loop. With --history the rows include the message's four in the history, and a second raw
    loop, raw_lmdb_no_history, puts the rows of messages that are not kept.

    Exit status 1 if a single message is refused.
    """
    from .run import run
    from .settings import Settings

    settings = Settings(
        producers=producers,
        batch=batch,
        payload_bytes=payload_bytes,
        recipients=recipients,
        queued_per_recipient=queued_per_recipient,
        history=history,
        rate=rate,
        memory=memory,
        baseline_batch=baseline_batch,
        seed=seed,
    )
    run(settings, seconds, directory, as_json=as_json)
