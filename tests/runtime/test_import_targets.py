"""Which conversation a message of an export belongs to, where its name is made of others."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from postroom.core import Broker, group, open_broker, peer, service
from postroom.core.commands import ImportConversation
from postroom.core.ids import Position, UnixMs
from postroom.storage.memory import MemoryStore
from postroom.transports.leancloud.importing import targets
from postroom.transports.leancloud.importing.records import Message, Where
from postroom.transports.leancloud.importing.targets import Target, Targets

S1, S2 = "6560aa00c0ffee0000000003", "6560aa00c0ffee0000000004"


def message(conversation: str, sender: str = "system", to: str | None = None) -> Message:
    """One of a conversation of this name."""
    return Message(
        where=Where("f", 1),
        alias="m",
        conversation=conversation,
        sender=sender,
        to=to,
        at_ms=UnixMs(1),
        body=b"hi",
        format="text",
        recalled=False,
        mentions=(),
        mention_all=False,
    )


def derived(text: str) -> str:
    """A name that is made of others."""
    return hashlib.md5(text.encode()).hexdigest()


@pytest.fixture
async def broker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    """Two services; carol, dave and erin subscribe to the second."""
    monkeypatch.setattr(targets, "_PAGE", 2)
    store = MemoryStore()
    async with open_broker(store) as broker:
        for conversation in (service(S1), service(S2), group("g")):
            await broker.submit(
                ImportConversation(app="demo", conversation=conversation, created_ms=UnixMs(1), updated_ms=UnixMs(1))
            )
        with store.transaction() as transaction:
            row = transaction.views.conversation("demo", service(S2))
            assert row is not None
            transaction.views.list_users("demo", row, "members", ("carol", "dave", "erin"), Position(9))
        yield broker


@pytest.mark.parametrize(
    ("said", "target"),
    [
        (message("g"), Target(group("g"))),
        (message(S1), Target(service(S1))),
        (message("nowhere"), None),
        (message(""), None),
        (message(derived("peer:alice:bob"), "alice", "bob"), Target(peer("bob"))),
        (message(derived("peer:alice:bob"), "bob", "alice"), Target(peer("alice"))),
        (message(derived("peer:alice:bob"), "bob"), None),
        (message(derived(f"{S1}:ann"), "system", "ann"), Target(service(S1), ("ann",))),
        (message(derived(f"{S1}:ann"), "ann", S1), Target(service(S1), ("ann",))),
        (message(derived(f"{S1}:ann"), "ann"), Target(service(S1), ("ann",))),
        (message(derived(f"{S1}:ann"), "system", S1), None),
        (message(derived(f"{S2}:erin"), "system", S2), Target(service(S2), ("erin",))),
        (message(derived(f"{S2}:erin"), "system"), Target(service(S2), ("erin",))),
        (message(derived(f"{S2}:erin"), "system", S1), None),
        (message(derived(f"{S1}:erin"), "system", S1), None),
    ],
)
async def test_targets(broker: Broker, said: Message, target: Target | None) -> None:
    found = Targets(broker, "demo")
    assert found.of(said) == target
    assert found.of(said) == target  # as it is remembered


async def test_only_so_many_are_remembered(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_SUBSCRIBERS_MAX", 2)
    monkeypatch.setattr(targets, "_REMEMBERED_MAX", 1)
    found = Targets(broker, "demo")
    for user, known in (("dave", True), ("erin", False), ("carol", True)):
        target = found.of(message(derived(f"{S2}:{user}"), "system", S2))
        assert target == (Target(service(S2), (user,)) if known else None)
    assert found.of(message("g")) == Target(group("g"))


async def test_one_that_was_made_meanwhile(broker: Broker) -> None:
    found = Targets(broker, "demo")
    assert found.of(message("new")) is None
    await broker.submit(
        ImportConversation(app="demo", conversation=group("new"), created_ms=UnixMs(1), updated_ms=UnixMs(1))
    )
    found.forget("new")
    assert found.of(message("new")) == Target(group("new"))
