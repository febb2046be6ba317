"""What a run of `publish` sends, the same for every side."""

import random
import string
from collections.abc import Iterator
from itertools import cycle
from typing import Final

import msgspec

from postroom.core import Rules, SendMessage, peer

APP: Final = "bench"
SENDER: Final = "sender"
RAW_BATCH_MAX: Final = 1_024
"""About what the broker's writer takes into a commit at most, however much is waiting."""
PICKS: Final = 1 << 18
"""After so many messages the order of recipients repeats: drawing each one anew would cost as much as some puts."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command."""

    producers: int
    batch: int
    payload_bytes: int
    recipients: int
    queued_per_recipient: int
    history: bool
    rate: float | None
    memory: bool
    baseline_batch: int | None
    seed: int

    @property
    def rules(self) -> Rules:
        """The app's: the default cap and time to live."""
        return Rules()

    @property
    def concurrency(self) -> int:
        """Messages under way at a time."""
        return self.producers * self.batch

    @property
    def raw_batch(self) -> int:
        """Messages a commit of the raw loop."""
        return self.baseline_batch or min(self.concurrency, RAW_BATCH_MAX)

    def baselines(self) -> dict[str, "Settings"]:
        """What each raw loop puts: the same rows and, if they keep the messages for history, also all but those for that."""
        if not self.history:
            return {"raw_lmdb": self}
        return {"raw_lmdb": self, "raw_lmdb_no_history": msgspec.structs.replace(self, history=False)}

    def names(self) -> list[str]:
        """The recipients."""
        return [f"user-{number:07}" for number in range(self.recipients)]

    def body(self) -> bytes:
        """What each message says."""
        return "".join(random.Random(self.seed).choices(string.ascii_letters, k=self.payload_bytes)).encode()

    def picks(self) -> Iterator[int]:
        """Which recipient is next, for ever; every side gets the same order."""
        return cycle(random.Random(self.seed).choices(range(self.recipients), k=PICKS))

    def message(self, recipient: str, body: bytes) -> SendMessage:
        """One message."""
        return SendMessage(app=APP, sender=SENDER, to=peer(recipient), body=body, queue=True, history=self.history)
