"""How messages, conversations and clients are named on the wire (LeanCloud 4.1, 6.3)."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Final

from postroom.core.errors import InvalidCommand
from postroom.core.ids import POSITION_MAX, MessageId
from postroom.core.limits import NAME_BYTES_MAX
from postroom.core.model import Conversation

from .errors import NameTooLong

NAME_CHARS_MAX: Final = 64
_OURS: Final = b"postroom"
_BROADCAST: Final = "sb_"
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{22}")


def message_name(id: MessageId) -> str:
    """A message's id as its clients see it: 16 bytes, `postroom` and the number, in URL-safe base64."""
    return base64.urlsafe_b64encode(_OURS + id.to_bytes(8)).rstrip(b"=").decode()


def message_id(name: str) -> MessageId | None:
    """The id behind a message's name; None if it is none that this server gave."""
    if not _TEXT.fullmatch(name):
        return None
    raw = base64.urlsafe_b64decode(name + "==")
    id = MessageId(int.from_bytes(raw[8:]))
    ours = raw[:8] == _OURS and id <= POSITION_MAX and message_name(id) == name  # one name each: no stray bits
    return id if ours else None


def broadcast_name(id: MessageId) -> str:
    """A broadcast's id as its clients see it: that of a message with a mark before it (LeanCloud 4.1)."""
    return _BROADCAST + message_name(id)


def is_broadcast(name: str) -> bool:
    """Whether an id is meant to be a broadcast's."""
    return name.startswith(_BROADCAST)


def broadcast_id(name: str) -> MessageId | None:
    """The id behind a broadcast's name; None if it is none that this server gave."""
    return message_id(name.removeprefix(_BROADCAST)) if is_broadcast(name) else None


def alias(name: str) -> str | None:
    """A message's name as one that it may have been imported with; None if none can be so called."""
    return name if 1 <= len(name.encode()) <= NAME_BYTES_MAX else None


def new_object_id() -> str:
    """24 random hex characters."""
    return secrets.token_hex(12)


def unique_id(members: Iterable[str]) -> str:
    """What a conversation that is unique by its members shows of them (LeanCloud 4.2)."""
    return hashlib.md5("".join(sorted(members)).encode()).hexdigest()


def pair_id(one: str, other: str) -> str:
    """What the messages of two users show as their conversation; no path takes it (LeanCloud 7.13)."""
    return hashlib.md5(f"peer:{':'.join(sorted((one, other)))}".encode()).hexdigest()


def service_pair_id(service: str, user: str) -> str:
    """What the messages between a service and one client show as their conversation (LeanCloud 4.3)."""
    return hashlib.md5(f"{service}:{user}".encode()).hexdigest()


def info_id(conversation: Conversation, user: str) -> str:
    """How what a user is in a conversation is called: 24 hex digits, which the two make."""
    name = f"{conversation.kind}:{conversation.id}:{user}"
    return hashlib.blake2b(name.encode(), digest_size=12).hexdigest()


def check_client(parameter: str, name: str) -> str:
    """A client id: any text of 1 to 64 characters. Raises InvalidCommand, NameTooLong."""
    if not name:
        raise InvalidCommand(f"{parameter}: must not be empty")
    if len(name) > NAME_CHARS_MAX:
        raise NameTooLong(parameter)
    return name
