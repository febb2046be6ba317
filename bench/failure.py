"""Why a benchmark gives no result."""

import click


class BenchFailure(click.ClickException):
    """Something went wrong while measuring, so there is nothing to report: one line on stderr, exit status 1."""
