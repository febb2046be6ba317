"""The commands of `postroom bench`, one package a benchmark: its command, what it measures, what it is measured against."""

import click

from .deaf.command import deaf
from .drain.command import drain
from .fanout.command import fanout
from .history.command import history
from .http.command import http
from .idle.command import idle
from .imports.command import import_
from .publish.command import publish
from .subscribers.command import subscribers

HELP = """Measure how fast Postroom is on this machine, and against what.

A benchmark runs Postroom and its baselines in turn, in slices of half a second, so that whatever else this machine does
meets all of them; compare ratios rather than numbers. docs/bench.md says how to read the output.
"""


@click.group("bench", help=HELP, no_args_is_help=False)
def bench() -> None:
    """The group that `postroom` attaches."""


for _command in (publish, http, fanout, drain, deaf, idle, history, subscribers, import_):
    bench.add_command(_command)
