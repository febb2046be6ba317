"""Groups of commands: one that lists them as they were written, one whose commands are imported when asked for."""

from collections.abc import Callable
from typing import Any

import click


class OrderedGroup(click.Group):
    """Lists its commands as the source does, not by the alphabet; without a command it is a usage error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **kwargs})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return list(self.commands)


class LazyGroup(click.Group):
    """Stands for a group that is slow to import: `--help` of the whole program shows it without."""

    def __init__(self, name: str, *, load: Callable[[], click.Group], help: str, short_help: str) -> None:
        super().__init__(name, help=help, short_help=short_help, no_args_is_help=False)
        self._load = load

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands of the real group."""
        return self._load().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of the real group."""
        return self._load().get_command(ctx, cmd_name)
