"""How a command that fails ends: one line for a person, and a status for a script."""

import errno
from typing import Final, NamedTuple

import click

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
"""128 and the number of SIGINT, as shells have it."""


class Failure(NamedTuple):
    """The end of a command."""

    status: int
    line: str
    """Without the name of the program; empty if there is nothing to say."""


def describe(error: BaseException) -> Failure | None:
    """The end that this exception is; None for what is neither the user's doing nor the machine's."""
    if _is_interrupt(error):
        return Failure(EXIT_INTERRUPTED, "")
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:  # what nurseries make of one exception
        error = error.exceptions[0]
    if isinstance(error, click.UsageError):
        return Failure(EXIT_USAGE, _one_line(error.format_message()) + _where_to_look(error))
    if isinstance(error, click.ClickException):
        return Failure(error.exit_code, _one_line(error.format_message()))
    # These come with the whole core, which a `--help` need not import.
    from postroom.core.errors import StorageFailure
    from postroom.transports.config import ConfigError

    if isinstance(error, ConfigError):
        return Failure(EXIT_USAGE, error.message)
    if isinstance(error, StorageFailure):
        return Failure(EXIT_FAILED, _one_line(str(error)))
    if isinstance(error, OSError):
        return Failure(EXIT_FAILED, _one_line(_os_error(error)))
    return None


def _is_interrupt(error: BaseException) -> bool:
    """Whether it is an interrupt, alone or, as nurseries raise it, in groups that hold nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_interrupt, error.exceptions))
    return isinstance(error, KeyboardInterrupt)


def _where_to_look(error: click.UsageError) -> str:
    return f" (see: {error.ctx.command_path} --help)" if error.ctx is not None else ""


def _os_error(error: OSError) -> str:
    reason = error.strerror or str(error)
    name = f"{error.filename}: " if error.filename is not None else ""
    hint = "; is another broker running here?" if error.errno == errno.EADDRINUSE else ""
    return f"{name}{reason}{hint}"


def _one_line(text: str) -> str:
    """The text without line ends; what else is unprintable in it, somebody's argument maybe, escaped."""
    joined = " ".join(text.split())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in joined)
