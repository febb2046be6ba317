"""The command `postroom`: its commands, and how each way to fail ends (a line on stderr and an exit status)."""

import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Final

import click

from . import offline, online
from .failures import EXIT_INTERRUPTED, describe
from .groups import LazyGroup, OrderedGroup

HELP: Final = """A message broker that speaks the server APIs of four IM vendors and keeps what it acknowledged.

\b
First steps:
  postroom demo                            see it work, in a minute
  postroom serve                           run it here, with demo credentials
  postroom listen --user bob --ack         receive as bob, in another terminal
  postroom serve --config postroom.toml    run it for others

Exit status: 0 when all went well, 1 when a check failed or the broker did, 2 when the command line or the configuration
is wrong.
"""
BENCH_HELP: Final = """Measure how fast Postroom is on this machine, and against what.

Each benchmark prints one line of JSON per result; the help of each explains its options.
"""


def version() -> str:
    """The version that is installed here."""
    try:
        return importlib.metadata.version("postroom")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "(not installed)"


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: object) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"postroom {version()}")
        ctx.exit()


def _load_bench() -> click.Group:
    from postroom.bench.main import bench

    return bench


@click.group("postroom", cls=OrderedGroup, help=HELP, context_settings={"max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """The root of all commands."""


for _command in (*online.COMMANDS, *offline.COMMANDS):
    cli.add_command(_command)
cli.add_command(LazyGroup("bench", load=_load_bench, help=BENCH_HELP, short_help="Measure how fast it is here."))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name (those of the process by default) and return its exit status.

    What a user, an operator or the machine can cause ends as one line on stderr; any other exception is a fault of ours
    and goes through.
    """
    try:
        status = cli.main(arguments, prog_name="postroom", standalone_mode=False)
    except click.Abort:  # what click makes of an interrupt
        return EXIT_INTERRUPTED
    except BaseException as error:  # not Exception: nurseries raise an interrupt in a group
        failure = describe(error)
        if failure is None:
            raise
        if failure.line:
            click.echo(f"postroom: {failure.line}", err=True)
        return failure.status
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
