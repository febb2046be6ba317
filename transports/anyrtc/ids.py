"""Names of users and channels."""

import re
from typing import Final

from postroom.core.errors import InvalidCommand

NAME_CHARS_MAX: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9 !#$%&()+\-:;<=.>?@\[\]^_{}|~,']*")


def check_name(member: str, name: str) -> str:
    """The name, if it is one: 1 to 64 of the characters allowed (anyRTC 3). Raises InvalidCommand naming the member."""
    if not name:
        raise InvalidCommand(f"{member}: must not be empty")
    if len(name) > NAME_CHARS_MAX:
        raise InvalidCommand(f"{member}: must be at most {NAME_CHARS_MAX} characters")
    if not _NAME.fullmatch(name):
        raise InvalidCommand(f"{member}: has a character that is not allowed")
    return name


def check_path_name(member: str, name: str) -> str:
    """A name in a path, which may not begin or end with a space either (anyRTC 3). Raises InvalidCommand."""
    check_name(member, name)
    if name != name.strip(" "):
        raise InvalidCommand(f"{member}: must not begin or end with a space")
    return name
