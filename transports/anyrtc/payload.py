"""What every message carries, and the flags that say what becomes of it."""

import base64
from typing import Final

from postroom.core.errors import InvalidCommand
from postroom.core.model import Message

PAYLOAD_BYTES_MAX: Final = 32_768
"""UTF-8 bytes; the documents say 32 KB (anyRTC 3)."""


def check_payload(text: str) -> bytes:
    """The payload's bytes. Raises InvalidCommand: empty, or too long."""
    payload = text.encode()
    if not payload:
        raise InvalidCommand("payload: must not be empty")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvalidCommand(f"payload: must be at most {PAYLOAD_BYTES_MAX} bytes")
    return payload


def shown(message: Message) -> str:
    """A message's payload as this dialect shows it, whichever one it came by: of a JSON body the text, of bytes base64."""
    return (base64.b64encode(message.body) if message.format == "binary" else message.body).decode()
