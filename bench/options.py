"""The options that benchmarks share."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from .hosts import HOSTS

F = TypeVar("F", bound=Callable[..., Any])

SECONDS_MIN: Final = 0.01
"""Two slices of 5 ms: enough to see that a benchmark works, not how fast anything is."""
SECONDS_MAX: Final = 3_600
"""By then the two sides of `publish` have written a hundred gigabytes."""
RECIPIENTS_MAX: Final = 1_000_000
"""Names and queue lengths are held in memory, by the benchmark as by its baseline."""

as_json: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object per result, on one line.")
directory: Final = click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, writable=True),
    help="Where the scratch data goes, in a fresh directory that is removed afterwards. Default: the current directory, "
    "unless that is a tmpfs, where fsync costs nothing.",
)
seed: Final = click.option(
    "--seed", type=int, default=1, show_default=True, help="Whom the messages go to, in which order."
)
rate: Final = click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(1, 10_000_000),
    help="Messages that arrive a second, evenly; latency then counts from the time each was due. Default: closed loop, "
    "each sender sends again when it was answered.",
)
recipients: Final = click.option(
    "--recipients",
    type=click.IntRange(1, RECIPIENTS_MAX),
    default=20_000,
    show_default=True,
    help="How many users the messages go to, at random.",
)
history: Final = click.option("--history", is_flag=True, help="Keep the messages for queries too.")

host: Final = click.option(
    "--host",
    type=click.Choice(HOSTS),
    default=HOSTS[0],
    show_default=True,
    help="Which of our HTTP hosts listens.",
)


def payload_bytes(most: int) -> Callable[[F], F]:
    """`--payload-bytes`, up to what the measured interface takes."""
    return click.option(
        "--payload-bytes",
        type=click.IntRange(1, most),
        default=256,
        show_default=True,
        help="Length of each message's body.",
    )


def seconds_of(default: float) -> Callable[[F], F]:
    """`--seconds`, with this default."""
    return click.option(
        "--seconds",
        type=click.FloatRange(SECONDS_MIN, SECONDS_MAX),
        default=default,
        show_default=True,
        help="How long each side is measured; the whole takes a little more than that times the number of sides.",
    )


seconds: Final = seconds_of(5.0)
