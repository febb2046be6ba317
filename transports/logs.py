"""The log of the server: one line a record on stderr, as text or as JSON, and no secret in any of them.

A record has an event, which is a fixed name to search for, and fields. Secrets are kept out three ways: by the names of
fields, by the forms in which credentials travel, and, of the server's own, by their values (`setup(secrets=...)`).
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

import msgspec

from .redaction import Redactor

LogFormat = Literal["text", "json"]

LOGGERS: Final = ("postroom",)
"""Whose records of level INFO are shown; everybody else's from WARNING on."""


class Entry(msgspec.Struct, frozen=True):
    """An event with its fields, as the message of a stdlib record, so that a host's own handlers can print it too."""

    event: str
    fields: Mapping[str, object]

    def __str__(self) -> str:
        return _text(self.event, Redactor().fields(self.fields))

    __repr__ = __str__


class Log:
    """Writes events. Made by `get_logger`; safe to use from every thread, before and without `setup`."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: object) -> None:
        """What helps to follow one request; not shown by default."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What an operator likes to know."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """What an operator should look at some time."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """What went wrong and cost somebody something."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, error: BaseException | None = None, **fields: object) -> None:
        """As `error`, with the traceback of `error` or else of the exception being handled, in the same one line."""
        cause = error if error is not None else sys.exception()
        info = (type(cause), cause, cause.__traceback__) if cause is not None else None
        self._logger.error(Entry(event, fields), exc_info=info)

    def _write(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, Entry(event, fields))


def get_logger(name: str) -> Log:
    """The log of a module: `log = get_logger(__name__)`, then `log.info("event-name", key=value)`."""
    return Log(logging.getLogger(name))


def setup(log_format: LogFormat = "text", *, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send every record of the process to `stream` (stderr) in this format, in place of what an earlier call set up.

    `secrets` never appear in a line, wherever they turn up. For the program only: a library's host sets up its own log.
    """
    handler = LineHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(LineFormatter(log_format, Redactor(secrets)))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, LineHandler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines; a record that cannot be shown leaves a line that says so."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Called where writing a record failed. The base class would print the record, secrets and all."""
        failure = Entry("log-failure", {"from": record.name, "error": type(sys.exception()).__name__})
        with suppress(OSError, ValueError):  # stderr may be what is broken
            self.stream.write(self.format(_record(record.name, failure)) + self.terminator)
            self.flush()


class LineFormatter(logging.Formatter):
    """Makes one line of a record, whoever wrote it, with what is secret taken out."""

    def __init__(self, log_format: LogFormat, redactor: Redactor) -> None:
        super().__init__()
        self._format = log_format
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line without its end. A record that is not ours is the event `log`, its text a field."""
        if isinstance(record.msg, Entry):
            event, fields = record.msg.event, dict(record.msg.fields)
        else:
            event, fields = "log", {"message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        event, clean = self._redactor.text(event), self._redactor.fields(fields)
        time = _rfc3339(record.created)
        if self._format == "text":
            return f"{time} {record.levelname} {_text(event, clean)}"
        line = {"ts": time, "level": record.levelname.lower(), "event": event, "logger": record.name, "fields": clean}
        return _json(line)


def _record(name: str, entry: Entry) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, entry, None, None)


def _rfc3339(created: float) -> str:
    """A record's time in UTC, with milliseconds."""
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(event: str, fields: Mapping[str, object]) -> str:
    """An event and its clean fields for people: `event key=value other="with spaces"`."""
    return " ".join([_word(event), *(f"{_word(key)}={_word(value)}" for key, value in fields.items())])


def _word(value: object) -> str:
    """A value without a break in it: bare if it is a plain word, else as JSON."""
    plain = isinstance(value, str) and value and value.isprintable() and not set(value) & set(' "=\\')
    return str(value) if plain else _json(value)


def _json(value: object) -> str:
    """A clean value as JSON on one line. JSON may hold other line ends of Unicode (U+0085, U+2028); these go too."""
    encoded = msgspec.json.encode(value).decode()
    if encoded.isprintable():
        return encoded
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in encoded)
