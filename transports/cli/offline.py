"""The commands that look after a data directory: verify, rebuild, backup, log, inspect, import."""

from typing import Final

import click

from .groups import OrderedGroup

_DIRECTORY: Final = click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
_ID_MAX: Final = (1 << 53) - 1
"""As `core.ids.POSITION_MAX`, which `--help` need not load the core for."""
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="The same as JSON, one object on a line.")


@click.command(short_help="Check that a data directory is sound.")
@_DIRECTORY
@click.option(
    "--scratch",
    metavar="PATH",
    type=click.Path(exists=True, file_okay=False),
    help="A directory with room for a copy of the data. Default: the temporary directory.",
)
@_JSON
def verify(directory: str, scratch: str | None, *, as_json: bool) -> int:
    """Compare what DIR keeps with what its log says, record by record, and every body with its checksum.

    Writes nothing to DIR and may run beside a broker. Status 0: all is as it should be; 1: it is not, and the output
    names each record; 2: the check could not be made, for example because the copy does not fit.
    """
    from . import tools

    return tools.verify(directory, scratch=scratch, as_json=as_json)


@click.command(short_help="Compute the state of a data directory anew.")
@_DIRECTORY
def rebuild(directory: str) -> int:
    """Put what the log says in place of what `verify` found wrong. Takes DIR for itself: stop the broker first.

    Make a backup before. What the log does not tell, the bodies of messages, is neither checked nor changed.
    """
    from . import tools

    return tools.rebuild(directory)


@click.command(short_help="Copy a data directory, also beside a running broker.")
@_DIRECTORY
@click.argument("destination", metavar="DEST", type=click.Path(exists=False))
def backup(directory: str, destination: str) -> int:
    """Make the directory DEST, a copy of DIR as it is now, which `serve --data DEST` can run.

    The copy holds no text that was edited, recalled or deleted. While it is made the broker's file cannot reuse space;
    how much it grew is said at the end.
    """
    from . import tools

    return tools.backup(directory, destination)


@click.command(short_help="Print what happened.")
@_DIRECTORY
@click.option("--follow", is_flag=True, help="Wait for what comes next, until Ctrl-C.")
@click.option("--after", metavar="ID", type=click.IntRange(0, _ID_MAX), help="Begin after this message or event.")
@_JSON
def log(directory: str, after: int | None, *, follow: bool, as_json: bool) -> int:
    """Print the events of DIR, oldest first, one on a line; also beside a running broker.

    Events carry no bodies. The log goes back as far as server.log_retention_days.
    """
    from . import tools

    return tools.log(directory, follow=follow, as_json=as_json, after=after)


@click.command(short_help="Print what waits for a user.")
@_DIRECTORY
@click.option("--app", metavar="A", required=True, help="The app's name.")
@click.option("--user", metavar="U", required=True, help="The user's name.")
@_JSON
def inspect(directory: str, app: str, user: str, *, as_json: bool) -> int:
    """Print the queue of a user and its running numbers: accepted, acknowledged, evicted, expired, withdrawn.

    Changes nothing and may run beside a broker.
    """
    from . import tools

    return tools.inspect(directory, app=app, user=user, as_json=as_json)


@click.group("import", cls=OrderedGroup, short_help="Take over what another service kept.")
def import_group() -> None:
    """Bring conversations and messages of another service into a data directory, while no broker runs on it.

    They keep their ids, times and order. Nobody is notified, and nothing enters a queue.
    """


@import_group.command("leancloud", short_help="Take over an export of LeanCloud.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--data", metavar="DIR", help="Where messages are kept; made if missing. Default: server.data.")
@click.option("--app", metavar="NAME", required=True, help="The app to bring them into, by its name.")
@click.option(
    "--create-missing",
    is_flag=True,
    help="Make a conversation that messages name and no file describes, rather than refuse.",
)
@click.option("--config", "config_path", metavar="FILE", help="The configuration file. Default: the demo app alone.")
def import_leancloud(
    files: tuple[str, ...], data: str | None, app: str, config_path: str | None, *, create_missing: bool
) -> int:
    """Take over conversations (_Conversation.N.jsonl, as the console exports them) and messages (the arrays that the
    history calls return, or one record a line); gzipped or not, in any order.

    May be stopped with Ctrl-C, and repeated: what is known is left alone, also if it was deleted here since. Prints one line
    of JSON: what was taken, what was known, and how many records were refused for which reason.

    Status 0: nothing was refused; 1: something was; 2: it could not begin, for example beside a running broker; 130: it was
    stopped.
    """
    from . import importing, settings

    config, _ = settings.read(config_path)
    settings.app_named(app, config, config_path)
    return importing.leancloud(config, data or config.server.data, app, files, create_missing=create_missing)


COMMANDS: Final = (verify, rebuild, backup, log, inspect, import_group)
