"""What `postroom log` says of who may come in, who may talk, who is what, who has read what; of broadcasts, quotas,
imports, some recipients' copies and deleted conversations."""

from typing import Any

import pytest

from postroom.core.events import MessageDeleted, MessageEdited, MessageRecalled, MessageSent, Queued, Record, Withdrawn
from postroom.core.events.broadcasts import (
    BroadcastDeleted,
    BroadcastEdited,
    BroadcastSent,
    BroadcastsExpired,
)
from postroom.core.events.deletion import ConversationDeleted, ConversationSwept, CopiesWithdrawn
from postroom.core.events.imports import AliasesExpired, ConversationImported, MessageImported
from postroom.core.events.lists import (
    ConversationBlocked,
    ConversationUnblocked,
    RoleRemoved,
    RoleSet,
    SilencesExpired,
    UsersBanned,
    UsersSilenced,
    UsersUnbanned,
    UsersUnsilenced,
)
from postroom.core.events.quotas import QuotaUsed
from postroom.core.events.unread import ConversationRead
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import group, service
from postroom.transports.cli.wording import line, words

UNTIL = ExpiryMs(1_790_000_000_123)
ABOUT: dict[str, Any] = {"app": "demo", "conversation": group("g"), "at_ms": UnixMs(7)}
TWO: dict[str, Any] = ABOUT | {"users": ("bob", "al ice")}
BOB: dict[str, Any] = ABOUT | {"user": "bob"}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (UsersBanned(**TWO), "bob, 'al ice' banned from group g"),
        (UsersUnbanned(**TWO), "bob, 'al ice' no longer banned from group g"),
        (UsersSilenced(**TWO), "bob, 'al ice' silenced in group g for good"),
        (UsersSilenced(**TWO, until_ms=UNTIL), "bob, 'al ice' silenced in group g until 2026-09-21T14:13:20.123Z"),
        (UsersUnsilenced(**TWO, temporary=False), "silence of bob, 'al ice' in group g lifted"),
        (UsersUnsilenced(**TWO, temporary=True), "temporary silence of bob, 'al ice' in group g lifted"),
        (SilencesExpired(until_ms=UNTIL, count=1), "1 silence forgotten, up to 2026-09-21T14:13:20.123Z"),
        (RoleSet(**BOB, role="owner"), "bob is owner of group g"),
        (RoleRemoved(**BOB), "bob has no role in group g"),
        (ConversationBlocked(**BOB), "bob blocks group g"),
        (ConversationUnblocked(**BOB), "bob no longer blocks group g"),
    ],
)
def test_lists_in_words(event: Any, says: str) -> None:
    assert words(event) == says


@pytest.mark.parametrize(
    ("counted", "says"),
    [
        ({"read": 7, "own": 0, "extra": 0}, "through number 7"),
        ({"read": 7, "own": 2, "extra": 1}, "through number 7, 2 behind it their own, 1 by name unread"),
    ],
)
def test_what_is_read_in_words(counted: dict[str, int], says: str) -> None:
    event = ConversationRead(**BOB, until_ms=UnixMs(UNTIL), **counted)
    assert words(event) == f"bob has read group g until 2026-09-21T14:13:20.123Z, {says}"


SENT: dict[str, Any] = {
    "app": "demo",
    "id": MessageId(7),
    "conversation": service("news"),
    "sender": "desk",
    "at_ms": UnixMs(7),
}
CHANGED: dict[str, Any] = {"app": "demo", "id": MessageId(7), "by": "an n", "at_ms": UnixMs(7)}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (BroadcastSent(**SENT), "broadcast 7 desk → all, by service news"),
        (
            BroadcastSent(**SENT, transient=True, dedup="k"),
            "broadcast 7 desk → all, by service news, for whoever is online only, dedup key k",
        ),
        (
            BroadcastSent(**SENT, valid_until_ms=UnixMs(UNTIL)),
            "broadcast 7 desk → all, by service news, valid until 2026-09-21T14:13:20.123Z",
        ),
        (BroadcastEdited(**CHANGED), "broadcast 7 edited by 'an n'"),
        (BroadcastDeleted(**CHANGED), "broadcast 7 deleted by 'an n'"),
        (
            BroadcastsExpired(app="demo", ids=(MessageId(7), MessageId(9))),
            "2 broadcasts forgotten, up to 9",
        ),
        (QuotaUsed(app="demo", name="q", day=9, count=2), "q used, number 2 of day 9"),
    ],
)
def test_broadcasts_in_words(event: Any, says: str) -> None:
    assert words(event) == says


def test_imports_in_words() -> None:
    at = {"app": "demo", "conversation": group("g")}
    times = {"created_ms": UnixMs(0), "updated_ms": UnixMs(1)}
    made = ConversationImported(**at, **times, members=("bob", "al ice"))
    assert words(made) == "group g of 1970-01-01T00:00:00.000Z imported, with bob, 'al ice'"
    assert words(ConversationImported(**at, **times)) == "group g of 1970-01-01T00:00:00.000Z imported"
    of = {**at, "id": MessageId(5), "sender": "bob", "at_ms": UnixMs(1), "alias": "Ej RW"}
    assert words(MessageImported(**of)) == ("message 5 of 1970-01-01T00:00:00.001Z, bob → group g imported, as 'Ej RW'")
    assert words(MessageImported(**of, recalled=True, recipients=("al",))).endswith("as 'Ej RW', recalled, for al")
    swept = AliasesExpired(app="demo", at_ms=UnixMs(1), count=2)
    assert words(swept) == "2 deleted imports forgotten, up to 1970-01-01T00:00:00.001Z"
    for event in (swept, MessageImported(**of)):  # it says when it happened, not when what it is about did
        assert line(Record(Position(9), UNTIL, event)).split()[1] == "~2026-09-21T14:13:20.123Z"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (ConversationDeleted(**ABOUT, by="eve"), "group g deleted by eve"),
        (
            CopiesWithdrawn(app="demo", id=MessageId(9), copies=(Withdrawn("bob", (Position(9), Position(11))),)),
            "message 9 goes with its conversation, 2 entries of bob withdrawn",
        ),
        (ConversationSwept(**ABOUT, what="messages", count=25), "25 messages of deleted group g forgotten"),
        (ConversationSwept(**ABOUT, what="members", count=1), "1 member of deleted group g forgotten"),
        (ConversationSwept(**ABOUT, what="silences", count=2), "2 temporary silences of deleted group g forgotten"),
        (ConversationSwept(**ABOUT, what="record"), "nothing is left of deleted group g"),
    ],
)
def test_the_end_of_a_conversation_in_words(event: Any, says: str) -> None:
    assert words(event) == says


CHANGE: dict[str, Any] = {"app": "demo", "id": MessageId(5), "by": "desk", "at_ms": UnixMs(7)}
QUEUED = (Queued("bob", 2, 1),)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (MessageEdited(**CHANGE, queued=QUEUED), "message 5 edited by desk, queued for bob as seq 2"),
        (MessageEdited(**CHANGE, copies=("al ice", "bob")), "message 5 edited by desk for 'al ice', bob"),
        (MessageRecalled(**CHANGE, copies=("bob",)), "message 5 recalled by desk from bob"),
        (MessageRecalled(**CHANGE), "message 5 recalled by desk"),
        (
            MessageDeleted(**CHANGE, copies=("a", "b", "c", "d"), withdrawn=(Withdrawn("a", (Position(5),)),)),
            "message 5 hidden by desk from a, b, c, and 1 more, 1 entry withdrawn from a",
        ),
        (MessageDeleted(**CHANGE), "message 5 deleted by desk"),
        (
            MessageSent(
                app="demo",
                id=MessageId(5),
                conversation=service("s"),
                sender="desk",
                lane="normal",
                at_ms=UnixMs(7),
                history=True,
                recipients=("bob", "cy"),
            ),
            "message 5 desk → service s, kept for history, to bob, cy by name",
        ),
    ],
)
def test_copies_in_words(event: Any, says: str) -> None:
    assert words(event) == says
