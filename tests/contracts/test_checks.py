"""The checks find nothing wrong with what `decide` and `apply` do, whatever order things happen in."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from postroom.core.commands import (
    Ack,
    AddMembers,
    BanUsers,
    BlockConversation,
    CollectResult,
    Command,
    CreateConversation,
    DeleteBroadcast,
    DeleteConversation,
    DeleteMessage,
    EditBroadcast,
    EditMessage,
    EndStaleSessions,
    ExpireBroadcasts,
    ExpireDedup,
    ExpireHistory,
    ExpireQueue,
    ExpireResults,
    ExpireSilences,
    Join,
    Kick,
    Leave,
    Login,
    Logout,
    MuteConversation,
    Operation,
    RecallMessage,
    RemoveMembers,
    RemoveRole,
    ReserveResult,
    SendBroadcast,
    SendMessage,
    SetRole,
    SilenceUsers,
    StartEpoch,
    SweepConversation,
    TakeFeed,
    Transact,
    UnbanUsers,
    UnblockConversation,
    UnmuteConversation,
    UnsilenceUsers,
    UpdateConversation,
)
from postroom.core.domain import Welcome
from postroom.core.errors import Refusal
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.model import FEEDS, ROLES, Conversation, Quota, Receipt, Rules, group, peer, room, service
from postroom.storage.checking.accounts import AccountCheck
from postroom.storage.checking.bodies import BodyCheck
from postroom.storage.checking.compare import differences
from postroom.storage.checking.conversations import ConversationCheck
from postroom.storage.checking.owned import Owned
from postroom.storage.checking.report import Problem, Problems
from postroom.storage.engine import BASE, LIVE
from postroom.storage.lmdb import LmdbStore
from postroom.storage.memory import MemoryStore
from postroom.storage.verify import verify
from postroom.storage.views import StoredViews
from tests.support.machine import Machine
from tests.support.rows import engine_of

USERS = ("ann", "bob", "cy")
APPS = ("demo", "other")
ROOMS = ("hall", "lobby")
STEPS = 300


class Undo(Exception):
    """Breaks off a transaction that was for looking only."""


class Chance:
    """Draws commands, mostly about what was sent lately."""

    def __init__(self, seed: int, machine: Machine) -> None:
        self._random = Random(seed)
        self._machine = machine
        self._sent: list[tuple[str, MessageId]] = []
        self._sessions: list[tuple[str, str, Position]] = []

    def step(self) -> None:
        """Something happens: a command, time, another cap, trimming."""
        random, machine = self._random, self._machine
        what = random.randrange(20)
        if what == 0:
            machine.clock.run(random.choice([1, 1_000, 3_600_000, 4 * 86_400_000]))
        elif what == 1:
            machine.rules = Rules(
                queue_messages=random.randint(1, 6),
                overflow=random.choice(["oldest", "oldest", "refuse"]),
                history_ttl_ms=random.choice([180 * 86_400_000, 3_600_000, 2_000, None]),
                day_offset_ms=random.choice([0, 0, 12 * 3_600_000, -14 * 3_600_000]),
            )
        elif what == 2:
            machine.trim(ExpiryMs(machine.clock.expiry_ms - random.choice([0, 500, 5_000])), random.randint(1, 40))
        else:
            machine.clock.run(random.randint(0, 300))
            self._run(self._of_broadcasts(random.choice(APPS)) if random.randrange(12) == 0 else self._command())

    def _run(self, command: Command) -> None:
        try:
            result = self._machine.run(command).result
        except Refusal:
            return
        if isinstance(result, Receipt):
            self._sent.append((command.app, result.id))
        elif isinstance(result, Welcome):
            assert isinstance(command, Login)
            self._sessions.append((command.app, command.user, result.session))

    def _command(self) -> Command:
        random = self._random
        app, user = random.choice(APPS), random.choice(USERS)
        kind = random.randrange(32)
        if kind >= 28:
            return Kick(app=app, user=user) if kind == 31 else self._of_lists(app)
        if kind >= 25:
            return self._of_groups(app)
        if kind < 6 or not self._sent or not self._sessions:
            queue, history = random.choice([(True, False), (True, True), (False, True), (False, False)])
            dedup = random.choice([None, None, f"k{random.randrange(9)}"])
            text = b"x" * random.randrange(5)
            if random.randrange(3) == 0:
                token_ms = random.choice([None, None, UnixMs(self._machine.clock.wall_ms - random.randrange(10_000))])
                return Login(app=app, user=user, token_ms=token_ms)
            if random.randrange(2) == 0:
                to = random.choice([room(random.choice(ROOMS)), group(random.choice("gh"))])
                queue &= to.kind == "group"
                return SendMessage(app=app, sender=user, to=to, body=text, queue=queue, history=queue or history)
            return SendMessage(
                app=app,
                sender=user,
                to=peer(random.choice(USERS)),
                body=text,
                queue=queue,
                history=history,
                dedup=dedup,
            )
        if kind < 11:
            app, id = random.choice(self._sent[-12:])
            if kind < 8:
                return EditMessage(app=app, id=id, by="ann", body=b"edited")
            return (RecallMessage if kind == 8 else DeleteMessage)(app=app, id=id, by="ann")
        if kind >= 21:
            return self._of_the_house(app)
        app, user, session = random.choice(self._sessions[-6:])
        if kind >= 16:
            stays = Leave if kind == 16 else Join
            return stays(app=app, user=user, session=session, room=random.choice(ROOMS))
        if kind < 14:
            queue_now = self._machine.queue(app, user)
            through = random.choice(queue_now).position if queue_now else session
            return Ack(app=app, user=user, session=session, through=through)
        if kind == 14:
            return Logout(app=app, user=user, session=session)
        rest = [ExpireQueue(app=app, user=user), ExpireDedup(), StartEpoch(), EndStaleSessions()]
        return random.choice(rest)

    def _of_groups(self, app: str) -> Command:
        """Their records, and who is in them."""
        random = self._random
        conversation = random.choice([group("g"), group("h"), room("hall"), service("s")])
        users = tuple(random.choice(USERS) for _ in range(random.randrange(4)))
        json = random.choice(
            [b"1", b'["x",1,1.0]', b'{"y":[null]}', b"[%s]" % b",".join(b"%d" % n for n in range(1_001))]
        )
        if random.randrange(3) == 0:
            if conversation.kind != "group":
                return CreateConversation(app=app, conversation=conversation, attributes=b'{"a":%s}' % json)
            unique = random.random() < 0.5
            return CreateConversation(app=app, conversation=conversation, members=users, unique=unique)
        if random.randrange(4) == 0:
            if random.randrange(3) == 0:
                return DeleteConversation(app=app, conversation=conversation, by="ann")
            return self._sweep(app, conversation)
        if random.randrange(3) == 0:
            operations = (Operation(random.choice("ab"), "set", json), Operation(random.choice("ab"), "unset"))
            return UpdateConversation(app=app, conversation=conversation, operations=operations)
        kinds = [AddMembers, RemoveMembers, MuteConversation, UnmuteConversation]
        return random.choice(kinds)(app=app, conversation=group(random.choice("gh")), users=users)

    def _sweep(self, app: str, conversation: Conversation) -> SweepConversation:
        """As the sweeper does, who knows whether somebody blocks it."""
        blocks = self._machine.read(lambda snapshot: [each[1:] for each in snapshot.views.blocks()])
        blockers = tuple(user for of, user, (_, blocked) in blocks if (of, blocked) == (app, conversation))
        limit, unblocked = self._random.choice([1, 3, 1_000]), not blockers
        blockers = blockers if self._random.randrange(2) else ()
        return SweepConversation(
            app=app, conversation=conversation, limit=limit, blockers=blockers, unblocked=unblocked
        )

    def _of_lists(self, app: str) -> Command:
        """Who may come in, who may talk, who is what."""
        random = self._random
        conversation = random.choice([group("g"), group("h"), room("hall")])
        users = tuple(random.choice(USERS) for _ in range(random.randrange(4)))
        kinds: list[Command] = [
            BanUsers(app=app, conversation=random.choice([conversation, service("s")]), users=users),
            UnbanUsers(app=app, conversation=random.choice([conversation, service("s")]), users=users),
            SilenceUsers(app=app, conversation=conversation, users=users, ttl_ms=random.choice([None, 1_000, 9_000])),
            UnsilenceUsers(app=app, conversation=conversation, users=users, temporary=random.random() < 0.5),
            ExpireSilences(limit=random.choice([1, 1_000])),
            SetRole(app=app, conversation=conversation, user=random.choice(USERS), role=random.choice(ROLES)),
            RemoveRole(app=app, conversation=conversation, user=random.choice(USERS)),
            BlockConversation(app=app, conversation=conversation, user=random.choice(USERS)),
            UnblockConversation(app=app, conversation=conversation, user=random.choice(USERS)),
        ]
        if random.randrange(6) == 0:
            return self._together(app)
        return random.choice(kinds)

    def _together(self, app: str) -> Command:
        """Some of these as one, of which any may be refused."""
        random = self._random
        of = random.choice([group("g"), group("h")])
        crowd = tuple(random.choice(USERS) for _ in range(2))
        steps = [
            UpdateConversation(
                app=app, conversation=of, operations=(Operation("a", random.choice(["set", "add"]), b"[1]"),)
            ),
            AddMembers(app=app, conversation=of, users=crowd),
            RemoveMembers(app=app, conversation=of, users=crowd),
            BanUsers(app=app, conversation=of, users=crowd),
            UnbanUsers(app=app, conversation=of, users=crowd),
            MuteConversation(app=app, conversation=of, users=crowd),
        ]
        return Transact(app=app, conversation=of, steps=tuple(random.sample(steps, random.randint(1, 4))))

    def _of_broadcasts(self, app: str) -> Command:
        """What everybody is sent, and what becomes of it."""
        random = self._random
        of, id = random.choice([*self._sent[-12:], (app, MessageId(7))])
        quota = random.choice([None, Quota(name="q", per_day=3)])
        until = UnixMs(self._machine.clock.wall_ms + random.choice([0, 500, 90_000]))
        send = SendBroadcast(
            app=app,
            sender="ann",
            conversation=service("s"),
            body=b"x" * random.randrange(5),
            valid_until_ms=random.choice([None, until, until]),
            transient=random.randrange(4) == 0,
            dedup=random.choice([None, None, f"k{random.randrange(9)}"]),
            quota=quota,
        )
        kinds: list[Command] = [
            send,
            send,
            EditBroadcast(app=of, id=id, by="ann", body=b"edited", quota=quota),
            DeleteBroadcast(app=of, id=id, by="ann"),
            ExpireBroadcasts(app=app, limit=random.choice([1, 1_000])),
        ]
        return random.choice(kinds)

    def _of_the_house(self, app: str) -> Command:
        """What is looked up, and what is swept, in large steps and in small ones."""
        random = self._random
        limit = random.choice([1, 3, 1_000])
        handle = f"{app}{random.randrange(3)}"
        rest: list[Command] = [
            TakeFeed(app=app, feed=random.choice(FEEDS), limit=limit),
            CollectResult(app=app, handle=handle),
            ExpireResults(limit=limit),
            ExpireHistory(app=app, limit=limit),
            ExpireHistory(app=app, limit=limit),
        ]
        if self._machine.read(lambda snapshot: snapshot.views.result(app, handle)) is None:
            ids = tuple(id for of, id in self._sent[-5:] if of == app)
            rest.append(ReserveResult(app=app, handle=handle, ids=ids, ttl_ms=random.choice([1, 60_000])))
        return random.choice(rest)


def problems_of(machine: Machine, scratch: Path) -> Iterator[str]:
    """What the checks say of a store that is open."""
    with machine.store.snapshot() as snapshot, Owned(scratch) as owned:
        engine = engine_of(snapshot)
        told: list[Problem] = []
        problems = Problems(told.append)
        list(AccountCheck(engine, problems).run())
        list(BodyCheck(engine, StoredViews(engine, LIVE), owned, problems).run())
        list(ConversationCheck(engine, StoredViews(engine, LIVE), problems).run())
        yield from (f"{problem.check}: {problem.what}" for problem in told)
    differing: list[str] = []
    with suppress(Undo), machine.store.transaction() as transaction:
        transaction.trim(ExpiryMs(1 << 60), 1 << 60)
        differing += differences(engine_of(transaction), BASE, LIVE)
        raise Undo
    yield from differing


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_wrong_whatever_happens(seed: int, tmp_path: Path) -> None:
    machine = Machine(MemoryStore(), Rules(queue_messages=3))
    machine.run(StartEpoch())
    chance = Chance(seed, machine)
    for step in range(STEPS):
        chance.step()
        if step % 25 == 24:
            assert list(problems_of(machine, tmp_path / f"owned{step}")) == []


@pytest.mark.parametrize("seed", range(40, 44))
def test_nothing_is_wrong_on_disk(seed: int, tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "data")
    machine = Machine(store, Rules(queue_messages=3))
    machine.run(StartEpoch())
    chance = Chance(seed, machine)
    for _ in range(STEPS):
        chance.step()
    # Beside the open store, as beside a broker: the check is a process of its own.
    report = verify(tmp_path / "data", progress=lambda _: None)
    assert report.problems == ()
    assert report.position == machine.records[-1].position
    store.close()
