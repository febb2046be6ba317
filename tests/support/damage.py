"""A data directory in which much happened, and ways to damage it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from postroom.core.commands import (
    Ack,
    AddMembers,
    BanUsers,
    BlockConversation,
    CollectResult,
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    ImportConversation,
    ImportMessage,
    Join,
    Kick,
    Leave,
    Login,
    Logout,
    MarkRead,
    MuteConversation,
    Operation,
    RecallMessage,
    RemoveMembers,
    ReserveResult,
    SendBroadcast,
    SendMessage,
    SetRole,
    SilenceUsers,
    StartEpoch,
    TakeFeed,
    UnmuteConversation,
    UpdateConversation,
)
from postroom.core.domain import Decision, Welcome
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import Quota, Receipt, Rules, group, peer, room, service
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.environment import data_file, open_databases, open_environment

from .machine import START_MS, Machine


def send(machine: Machine, to: str, text: str, *, history: bool = False, dedup: str | None = None) -> MessageId:
    """A queued message; its id."""
    decision = machine.run(
        SendMessage(
            app="demo", sender="alice", to=peer(to), body=text.encode(), queue=True, history=history, dedup=dedup
        )
    )
    assert isinstance(decision.result, Receipt)
    return decision.result.id


def login(machine: Machine, user: str) -> Position:
    """A session."""
    decision: Decision = machine.run(Login(app="demo", user=user))
    assert isinstance(decision.result, Welcome)
    return decision.result.session


def happen(machine: Machine) -> list[MessageId]:
    """Messages, overflow, sessions, acks, rooms, results, every kind of change, a lower cap, trimming.

    The ids of what was sent to bobs.
    """
    machine.rules = Rules(queue_messages=6)
    machine.run(StartEpoch())
    ids = []
    for number in range(24):
        history = number % 2 == 0
        ids.append(send(machine, f"bob{number % 3}", f"text number {number}.", history=history, dedup=f"k{number}"))
        machine.clock.run(1_000)
    session = login(machine, "bob0")
    happen_in_rooms(machine, session)
    happen_to_groups(machine)
    happen_to_a_deleted_group(machine)
    happen_elsewhere(machine)
    happen_to_everybody(machine)
    machine.run(EditMessage(app="demo", id=ids[21], by="alice", body=b"edited once."))
    machine.run(EditMessage(app="demo", id=ids[21], by="alice", body=b"edited twice."))
    machine.run(RecallMessage(app="demo", id=ids[18], by="alice"))
    machine.run(DeleteMessage(app="demo", id=ids[12], by="alice"))
    machine.run(EditMessage(app="demo", id=ids[23], by="alice", body=b"edited for the offline."))
    machine.run(DeleteMessage(app="demo", id=ids[20], by="alice"))
    machine.rules = Rules(queue_messages=4)
    ids.append(send(machine, "bob1", "under a lower cap."))
    machine.run(Ack(app="demo", user="bob0", session=session, through=Position(ids[18])))
    machine.run(RecallMessage(app="demo", id=ids[21], by="alice"))
    machine.run(Kick(app="demo", user="bob0"))
    machine.trim(ExpiryMs(machine.clock.expiry_ms - 12_000), 1_000)
    machine.run(Logout(app="demo", user="bob0", session=session))
    return ids


def happen_in_rooms(machine: Machine, session: Position) -> None:
    """bob0 is in two rooms; in one he was before. One had a message that was not kept. Carol is there, too, and stays.

    A result waits; another was collected.
    """

    def enter(kind: type[Join | Leave], name: str) -> None:
        machine.run(kind(app="demo", user="bob0", session=session, room=name))

    def say(name: str, text: str, *, history: bool) -> None:
        machine.run(SendMessage(app="demo", sender="alice", to=room(name), body=text.encode(), history=history))
        machine.clock.run(1_000)

    enter(Join, "lobby")
    say("lobby", "said in the lobby.", history=True)
    enter(Leave, "lobby")
    say("lobby", "said and not kept.", history=False)
    for name in ("lobby", "hall"):
        enter(Join, name)
    machine.run(Join(app="demo", user="carol", session=login(machine, "carol"), room="hall"))
    say("hall", "said in the hall.", history=True)
    machine.run(TakeFeed(app="demo", feed="users", limit=1))
    for handle in ("1", "2"):
        machine.run(ReserveResult(app="demo", handle=handle, ids=(MessageId(5),), ttl_ms=60_000))
    machine.run(CollectResult(app="demo", handle="1"))


def happen_to_groups(machine: Machine) -> None:
    """A group of its members, of whom one came later, one left and one wants no push notifications."""
    g = group("g")
    attributes = b'{"name":"friends","tags":["a","b"]}'
    machine.run(
        CreateConversation(app="demo", conversation=g, attributes=attributes, members=("gil", "hal"), unique=True)
    )
    machine.run(AddMembers(app="demo", conversation=g, users=("carol", "dan")))
    machine.run(RemoveMembers(app="demo", conversation=g, users=("dan",)))
    machine.run(MuteConversation(app="demo", conversation=g, users=("hal", "erin")))
    machine.run(UnmuteConversation(app="demo", conversation=g, users=("erin",)))
    machine.run(UpdateConversation(app="demo", conversation=g, operations=(Operation("name", "set", b'"f"'),)))
    machine.run(SilenceUsers(app="demo", conversation=g, users=("carol",)))
    machine.run(SilenceUsers(app="demo", conversation=g, users=("carol",), ttl_ms=86_400_000))
    machine.run(BanUsers(app="demo", conversation=g, users=("dan", "mallory")))
    machine.run(SetRole(app="demo", conversation=g, user="carol", role="owner"))
    machine.run(BlockConversation(app="demo", conversation=g, user="erin"))
    machine.run(SendMessage(app="demo", sender="hal", to=g, body=b"said and read.", history=True))
    machine.run(MarkRead(app="demo", conversation=g, user="gil", until_ms=machine.clock.wall_ms))
    for change in (EditMessage, RecallMessage, DeleteMessage):
        said = machine.run(
            SendMessage(app="demo", sender="alice", to=g, body=b"said to the group.", queue=True, history=True)
        ).result
        assert isinstance(said, Receipt)
        body = {"body": b"edited in the group."} if change is EditMessage else {}
        machine.run(change(app="demo", id=said.id, by="alice", **body))
    happen_to_a_service(machine)


def happen_to_a_service(machine: Machine) -> None:
    """It has a subscriber, and sent something to all of them and something to users by name, of whom one sees another text."""
    news = service("news")

    def say(text: bytes, *recipients: str) -> MessageId:
        said = machine.run(
            SendMessage(app="demo", sender="desk", to=news, body=text, queue=True, history=True, recipients=recipients)
        ).result
        assert isinstance(said, Receipt)
        return said.id

    machine.run(CreateConversation(app="demo", conversation=news))
    machine.run(AddMembers(app="demo", conversation=news, users=("hal",)))
    for _ in range(2):
        say(b"for all.")
    named = say(b"for some.", "eve", "hal")
    machine.run(EditMessage(app="demo", id=named, by="desk", body=b"for eve alone.", recipients=("eve",)))


def happen_to_a_deleted_group(machine: Machine) -> None:
    """It is not swept."""
    g = group("gone")
    attributes = b'{"name":"gone"}'
    machine.run(CreateConversation(app="demo", conversation=g, attributes=attributes, members=("gil",), unique=True))
    machine.run(MuteConversation(app="demo", conversation=g, users=("hal",)))
    machine.run(SilenceUsers(app="demo", conversation=g, users=("hal",), ttl_ms=86_400_000))
    machine.run(BanUsers(app="demo", conversation=g, users=("dan",)))
    machine.run(SetRole(app="demo", conversation=g, user="gil", role="manager"))
    machine.run(BlockConversation(app="demo", conversation=g, user="erin"))
    machine.run(SendMessage(app="demo", sender="alice", to=g, body=b"said in vain.", history=True))
    machine.run(DeleteConversation(app="demo", conversation=g, by="alice"))


def happen_elsewhere(machine: Machine) -> None:
    """A conversation and messages of another service: one is deleted here, one was recalled there."""
    there = group("there")
    machine.run(
        ImportConversation(
            app="demo", conversation=there, created_ms=UnixMs(START_MS - 9_000), updated_ms=START_MS, members=("gil",)
        )
    )
    for number, body in enumerate((b"said there.", b"said there and deleted here.", b"")):
        said = machine.run(
            ImportMessage(
                app="demo",
                conversation=there,
                sender="gil",
                body=body,
                at_ms=UnixMs(START_MS - 1_000),
                alias=f"there{number}",
                recalled=not body,
            )
        ).result
        assert isinstance(said, Receipt)
        if number == 1:
            machine.run(DeleteMessage(app="demo", id=said.id, by="alice"))


def happen_to_everybody(machine: Machine) -> None:
    """A broadcast, of which there are so many a day."""
    machine.run(
        SendBroadcast(
            app="demo",
            sender="alice",
            conversation=service("news"),
            body=b"said to all.",
            quota=Quota(name="broadcasts", per_day=2),
        )
    )


def populated(directory: Path) -> list[MessageId]:
    """Make a directory in which `happen` happened; nobody has it open."""
    store = LmdbStore(directory)
    try:
        return happen(Machine(store))
    finally:
        store.close()


@contextmanager
def raw(directory: Path) -> Iterator[tuple["lmdb.Transaction[bytes]", dict[str, lmdb._Database]]]:
    """One write transaction behind everybody's back."""
    environment = open_environment(directory)
    try:
        databases = open_databases(environment, create=False)
        with environment.begin(write=True) as transaction:
            yield transaction, databases
    finally:
        environment.close()


def tables(directory: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    """Everything in the file."""
    with raw(directory) as (transaction, databases):
        return {name: list(transaction.cursor(database)) for name, database in databases.items()}


def flip(directory: Path, needle: bytes, *, at: int = 0) -> None:
    """Flip a bit of the byte `at` behind the start of `needle`, wherever the file holds it."""
    file = data_file(directory)
    data = bytearray(file.read_bytes())
    found, start = 0, data.find(needle)
    while start >= 0:
        data[start + at] ^= 1
        found, start = found + 1, data.find(needle, start + len(needle))
    assert found
    file.write_bytes(data)


def cut(directory: Path, *, keep: int) -> None:
    """Cut the file short."""
    file = data_file(directory)
    with file.open("r+b") as opened:
        opened.truncate(keep)
