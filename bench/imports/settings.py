"""What an export of the benchmark holds."""

import json
import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

APP: Final = "bench"
PAGE: Final = 2_500
"""Messages a file."""
USERS: Final = 5_000
MEMBERS: Final = 10
_DAY: Final = "2026-01-01T00:00:00.000Z"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command."""

    messages: int
    conversations: int
    payload_bytes: int
    seed: int

    def conversation(self, number: int) -> str:
        """An id."""
        return f"{number:024x}"

    def user(self, number: int) -> str:
        """A name."""
        return f"user-{number:07}"

    def write_conversations(self, path: Path) -> None:
        """As the console exports them."""
        pick = random.Random(self.seed)
        with path.open("w", encoding="utf-8") as file:
            file.write('#filetype:JSON-streaming {"type":"Class","class":"_Conversation"}\n')
            for number in range(self.conversations):
                members = [self.user(each) for each in pick.sample(range(USERS), MEMBERS)]
                row = {"objectId": self.conversation(number), "m": members, "createdAt": _DAY, "updatedAt": _DAY}
                file.write(json.dumps(row) + "\n")

    def pages(self, newest_ms: int) -> Iterator[list[dict[str, Any]]]:
        """The messages, newest first, a page after the other. Now and then two are of one time."""
        pick = random.Random(self.seed)
        text = "".join(pick.choices(string.ascii_letters, k=self.payload_bytes))
        at_ms, left = newest_ms, self.messages
        while left:
            page = []
            for _ in range(min(PAGE, left)):
                at_ms -= pick.randrange(20)
                id = self.conversation(pick.randrange(self.conversations))
                page.append(
                    {
                        "timestamp": at_ms,
                        "conv-id": id,
                        "data": text,
                        "from": self.user(pick.randrange(USERS)),
                        "msg-id": f"{left:022}",
                        "is-conv": True,
                        "is-room": False,
                        "to": id,
                        "bin": False,
                        "from-ip": "192.0.2.7",
                    }
                )
                left -= 1
            yield page
