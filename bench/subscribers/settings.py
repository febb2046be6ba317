"""What a run of `subscribers` sends, and to whom."""

import random
import string
from typing import Final

import msgspec

from postroom.core import SendMessage, service

APP: Final = "bench"
SENDER: Final = "sender"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command."""

    subscribers: int
    few: int
    online: int
    producers: int
    payload_bytes: int
    seed: int

    def names(self) -> list[str]:
        """Who may subscribe."""
        return [f"user-{number:07}" for number in range(max(self.subscribers, self.few))]

    def message(self, name: str) -> SendMessage:
        """One message to a service."""
        body = "".join(random.Random(self.seed).choices(string.ascii_letters, k=self.payload_bytes)).encode()
        return SendMessage(app=APP, sender=SENDER, to=service(name), body=body, queue=True, history=True)
