"""What a run of `history` keeps, and what it asks for.

The store is filled in two stages, a tenth of the messages and then the rest, and measured after each. What a query finds
is of the first stage, wherever that makes its answer the same at both sizes.
"""

import random
import string
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from postroom.core import SendMessage, group, peer, room
from postroom.core.commands import CreateConversation
from postroom.core.ids import UnixMs
from postroom.core.queries import CountMessages, FindConversations, FindMessages, Query
from postroom.storage import keys

APP: Final = "bench"
SENDER: Final = "sender"
"""Of every message: so there is a timeline of all of them."""
MEMBER: Final = "member"
"""Has few messages as a peer, and was in the rooms during the first stage."""
BIG: Final = room("big")
"""Half of all messages go to it."""
SMALL: Final = room("small")
STAGES: Final = 10
"""The first stage is one part in so many."""
MEMBER_MESSAGES: Final = 50
SMALL_MESSAGES: Final = 1_000
MEMBER_GROUPS: Final = 20
GROUP_MESSAGES: Final = 100
"""There is a group for so many messages, though none is sent to it."""
FEW: Final = 20
PAGE: Final = 100
_BIG, _SMALL, _MEMBER = -1, -2, -3
"""In the place of a user's number."""


class Case(msgspec.Struct, frozen=True):
    """Something to ask, and what must come back."""

    kind: str
    query: Query[Any]
    answer: int
    """How many messages or groups are found or counted."""
    prefix: bytes
    """What the keys begin with that the raw cursor walks along."""
    rows: int
    """How far: the answer and what is passed over."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command."""

    messages: int
    clients: int
    payload_bytes: int
    recipients: int
    seed: int

    @property
    def first(self) -> int:
        """Messages of the first stage."""
        return self.messages // STAGES

    @property
    def small(self) -> int:
        """Messages to the small room."""
        return min(SMALL_MESSAGES, self.first // 10)

    @property
    def member(self) -> int:
        """Messages to the member."""
        return min(MEMBER_MESSAGES, self.first // 10)

    def body(self) -> bytes:
        """What each message says."""
        return "".join(random.Random(self.seed).choices(string.ascii_letters, k=self.payload_bytes)).encode()

    def first_stage(self) -> Iterator[SendMessage]:
        """A tenth: half to the big room, few to the small one and to the member, the rest to anybody."""
        targets = [_BIG] * (self.first // 2) + [_SMALL] * self.small + [_MEMBER] * self.member
        return self._stage(targets, self.first, self.seed)

    def second_stage(self) -> Iterator[SendMessage]:
        """The rest: half to the big room, half to anybody."""
        count = self.messages - self.first
        return self._stage([_BIG] * (count // 2), count, self.seed + 1)

    def first_groups(self) -> Iterator[CreateConversation]:
        """The member's, and others."""
        for number in range(MEMBER_GROUPS):
            yield _group(f"member-{number}", MEMBER)
        yield from self._groups(0, self.first)

    def second_groups(self) -> Iterator[CreateConversation]:
        """Others."""
        yield from self._groups(self.first, self.messages)

    def _groups(self, first: int, last: int) -> Iterator[CreateConversation]:
        for number in range(first, last, GROUP_MESSAGES):
            yield _group(f"{number}", f"user-{number % self.recipients:07}")

    def _stage(self, targets: list[int], count: int, seed: int) -> Iterator[SendMessage]:
        chance, body = random.Random(seed), self.body()
        targets += chance.choices(range(self.recipients), k=count - len(targets))
        chance.shuffle(targets)
        special = {_BIG: BIG, _SMALL: SMALL, _MEMBER: peer(MEMBER)}
        for number in targets:
            to = special[number] if number < 0 else peer(f"user-{number:07}")
            yield SendMessage(app=APP, sender=SENDER, to=to, body=body, history=True)

    def cases(self, size: int, first_until: UnixMs) -> list[Case]:
        """What is asked of a store with so many messages; the first stage's last one was sent at `first_until`."""
        big = self.first // 2 + (size - self.first) // 2
        few, page, offset = min(FEW, self.member), min(PAGE, self.first // 4), self.first // 10
        assert page + offset <= self.first // 2 <= big
        of_member, of_big, of_small = (keys.to_key(APP, to) + keys.ANYBODY for to in (peer(MEMBER), BIG, SMALL))
        of_all = keys.from_key(APP, SENDER)
        groups = FindConversations(app=APP, kinds=("group",), where=b'{"members":"%s"}' % MEMBER.encode())
        return [
            Case("newest", _find(few, conversations=(peer(MEMBER),)), few, of_member, few),
            Case("page", _find(page, conversations=(BIG,)), page, of_big, page),
            Case("received", _find(page, receiver=MEMBER), page, of_big, page),
            Case("offset", _find(page, conversations=(BIG,), offset=offset), page, of_big, page + offset),
            Case("everything", _find(page, everything=True), page, keys.KEPT + keys.app_digest(APP), page),
            Case("groups", groups, MEMBER_GROUPS, keys.MEMBER_OF + keys.user_key(APP, MEMBER), MEMBER_GROUPS),
            Case("count_small", CountMessages(app=APP, conversations=(SMALL,)), self.small, of_small, self.small),
            Case(
                "count_tenth", CountMessages(app=APP, sender=SENDER, end_ms=first_until), self.first, of_all, self.first
            ),
            Case("count_all", CountMessages(app=APP, sender=SENDER), size, of_all, size),
        ]


def _find(limit: int, **of: Any) -> FindMessages:
    return FindMessages(app=APP, limit=limit, newest_first=True, **of)


def _group(name: str, member: str) -> CreateConversation:
    attributes = b'{"topic":"%s"}' % name.encode()
    return CreateConversation(app=APP, conversation=group(name), attributes=attributes, members=(SENDER, member))
