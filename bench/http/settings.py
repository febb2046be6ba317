"""What a run of `http` sends, the same to both servers."""

import base64
import hashlib
import json
import random
import string
from collections.abc import Iterator
from itertools import cycle
from typing import Final

import msgspec

from ..hosts import Host, server_table

PICKS: Final = 1 << 16
"""After so many requests the order of recipients repeats."""
SENDER: Final = "sender"
MARK: Final = b'"message_sent"'
"""In the body of every answer that says that a message was taken."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, and the credentials that follow from its seed."""

    connections: int
    payload_bytes: int
    recipients: int
    history: bool
    rate: float | None
    seed: int
    host: Host = "hypercorn"

    @property
    def app_id(self) -> str:
        """32 hexadecimal characters, as the API wants them."""
        return self._made_up("app id")

    @property
    def api_key(self) -> str:
        """The user of the Basic credentials."""
        return self._made_up("key")

    @property
    def api_secret(self) -> str:
        """Their password. It opens a server on loopback for as long as the run lasts."""
        return self._made_up("secret")

    @property
    def session_secret(self) -> str:
        """A configuration has to have one; nobody receives here."""
        return self._made_up("sessions")

    def config(self) -> str:
        """The configuration file of the measured server: one app, and nothing that would hold it back."""
        return (
            f"{server_table(self.host)}\n"
            f'[[apps]]\nname = "bench"\nsession_secret = "{self.session_secret}"\n\n'
            f'[apps.anyrtc]\napp_id = "{self.app_id}"\napi_key = "{self.api_key}"\napi_secret = "{self.api_secret}"\n\n'
            '[apps.limits]\n"anyrtc.peer_messages" = "off"\n'
        )

    def requests(self) -> Iterator[bytes]:
        """The requests, for ever: a peer message to one random recipient each, all of the same length."""
        before, after = self._around_recipient()
        picks = random.Random(self.seed).choices(range(self.recipients), k=PICKS)
        return (before + b"user-%07d" % number + after for number in cycle(picks))

    def _around_recipient(self) -> tuple[bytes, bytes]:
        recipient = "user-0000000"
        body = json.dumps(
            {
                "destination": recipient,
                "payload": "".join(random.Random(self.seed).choices(string.ascii_letters, k=self.payload_bytes)),
                "enable_offline_messaging": True,
                "enable_historical_messaging": self.history,
            }
        )
        credentials = base64.b64encode(f"{self.api_key}:{self.api_secret}".encode()).decode()
        head = (
            f"POST /dev/v2/project/{self.app_id}/rtm/users/{SENDER}/peer_messages HTTP/1.1\r\n"
            "Host: 127.0.0.1\r\n"
            f"Authorization: Basic {credentials}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        before, _, after = (head + body).encode().partition(recipient.encode())
        return before, after

    def _made_up(self, what: str) -> str:
        return hashlib.blake2b(f"{self.seed} {what}".encode(), digest_size=16).hexdigest()
