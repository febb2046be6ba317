"""The one error of the configuration: a line for a person, naming the key, its table and what would be right."""

from typing import Final

MESSAGE_CHARS_MAX: Final = 500
"""A terminal shows this much at a glance; what is longer quotes something that nobody wrote by hand."""


class ConfigError(Exception):
    """The configuration cannot be used. `message` is one printable line and never holds a secret.

    It begins with the place, as in `apps[0].anyrtc.app_id: must be 32 hexadecimal characters`.
    """

    def __init__(self, message: str) -> None:
        self.message = one_line(message)
        super().__init__(self.message)


def one_line(text: str) -> str:
    """`text`, cut to a length, with everything unprintable escaped: no key in a file can forge a second line."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return shown if len(shown) <= MESSAGE_CHARS_MAX else shown[: MESSAGE_CHARS_MAX - 1] + "…"
