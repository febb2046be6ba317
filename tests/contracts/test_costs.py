"""What commands are taken to cost covers what they write, with the longest names; and the least reserve covers a fold."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from postroom.core.commands import (
    Ack,
    AddMembers,
    BanUsers,
    BlockConversation,
    CollectResult,
    Command,
    CreateConversation,
    DeleteConversation,
    DeleteMessage,
    EditMessage,
    EndStaleSessions,
    ExpireGaps,
    ExpireHistory,
    ExpireResults,
    ExpireSilences,
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
    RemoveRole,
    ReserveResult,
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
from postroom.core.domain import Decision, Welcome
from postroom.core.events import CopiesExpired, PresenceTaken
from postroom.core.events.deletion import ConversationSwept, CopiesWithdrawn
from postroom.core.ids import ExpiryMs, MessageId, Position, UnixMs
from postroom.core.limits import (
    BODY_BYTES_MAX,
    DEDUP_BYTES_MAX,
    DELETED_LEAVES_MAX,
    FEED_EVENTS_MAX,
    GAP_TTL_MS,
    KICK_REASON_CHARACTERS_MAX,
    MEMBERS_MAX,
    NAME_BYTES_MAX,
    RESULT_MESSAGES_MAX,
    ROOMS_PER_USER_MAX,
    SWEEP_STEP,
    SWEEP_STEP_MIN,
)
from postroom.core.model import FEEDS, PresenceEvent, Receipt, Rules, group, peer, room, service
from postroom.core.rows import UnreadRow
from postroom.core.runtime.pending import Group, Pending
from postroom.core.runtime.spreading import cut
from postroom.core.space import BATCH_BYTES, LEAVE_BYTES, LOGOUT_BYTES, SWEEPING_LEAVES, estimate
from postroom.storage.lmdb import LmdbStore
from postroom.storage.lmdb.space import RESERVE_BYTES_MIN
from tests.support.machine import Machine
from tests.support.rows import engine_of

ALICE, BOB = "a" * NAME_BYTES_MAX, "b" * NAME_BYTES_MAX
QUEUE = 20


def name(number: int) -> str:
    """A room, with a name as long as they come."""
    return f"{number:03}".ljust(NAME_BYTES_MAX, "r")


class Scale(Machine):
    """Weighs commands."""

    def weigh(self, command: Command) -> tuple[Decision, int, int]:
        """Run it: how many rows that wrote or removed, and how many bytes that took by what the store counts."""
        self.begin()
        assert self._batch is not None
        engine = engine_of(self._batch)
        rows = 0

        def counting(write: Callable[..., None]) -> Callable[..., None]:
            def counted(*what: object) -> None:
                nonlocal rows
                rows += 1
                write(*what)

            return counted

        for writes in ("put", "append", "delete", "set_add", "set_remove"):
            setattr(engine, writes, counting(getattr(engine, writes)))
        decision = self.run(command)
        written = self._batch.written_bytes
        self.commit()
        return decision, rows, written

    def covered(self, command: Command) -> Decision:
        """Run it; what it was taken to cost covers what it wrote, in rows and in bytes."""
        most, cost = estimate(command, self.rules)
        decision, rows, written = self.weigh(command)
        assert 0 < rows <= most, command
        assert 0 < written <= cost, command
        return decision

    def spread(self, command: Command, recipients: int, copies: int = 0) -> Decision:
        """The same of what has to do in so many queues, and with so many copies."""
        most, cost = estimate(command, self.rules, recipients, copies)
        decision, rows, written = self.weigh(command)
        assert 0 < rows <= most, command
        assert 0 < written <= cost, command
        return decision

    def send(self, to: str, **fields: object) -> MessageId:
        """A message to a room, or to a peer if it is queued; weighed."""
        conversation = peer(to) if fields.get("queue") else room(to)
        command = SendMessage(**{"app": "demo", "sender": ALICE, "to": conversation, "body": b"hi", **fields})  # type: ignore[arg-type]
        receipt = self.covered(command).result
        assert isinstance(receipt, Receipt)
        return receipt.id

    def send_weighed(self, command: SendMessage) -> MessageId:
        """The message's id."""
        receipt = self.covered(command).result
        assert isinstance(receipt, Receipt)
        return receipt.id

    def login(self, user: str = BOB) -> Position:
        """A session; weighed."""
        result = self.covered(Login(app="demo", user=user)).result
        assert isinstance(result, Welcome)
        return result.session

    def fill_feeds(self) -> None:
        """As many events as feeds keep: each further one takes one out."""
        with self.store.transaction() as transaction:
            for feed in FEEDS:
                for number in range(1, FEED_EVENTS_MAX + 1):
                    event = PresenceEvent("join", UnixMs(1), BOB, "" if feed == "users" else name(0))
                    transaction.views.put_presence("demo", feed, number, event)
            totals = transaction.views.count("demo")
            totals.user_events = totals.room_events = FEED_EVENTS_MAX
            totals.user_events_gone = totals.room_events_gone = 0


@pytest.fixture
def scale(tmp_path: Path) -> Iterator[Scale]:
    """An app with full feeds and a full queue of bob's."""
    machine = Scale(LmdbStore(tmp_path / "data"), Rules(queue_messages=QUEUE, history_ttl_ms=10_000))
    machine.covered(StartEpoch())
    machine.fill_feeds()
    for number in range(QUEUE):
        machine.send(BOB, queue=True, history=number % 2 == 0, dedup=f"first{number}", wait_ack_ms=1_000)
    yield machine
    machine.store.close()


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("size", [0, 1_000, BODY_BYTES_MAX])
def test_messages(scale: Scale, history: bool, size: int) -> None:
    """The queue is full, the room had a message before that was not kept, and a retry may come."""
    scale.login()
    for number in range(3):
        key = f"{number}".ljust(DEDUP_BYTES_MAX, "k")
        scale.send(name(0), history=history, body=b"x" * size, dedup=f"r{key}"[:DEDUP_BYTES_MAX])
        id = scale.send(BOB, queue=True, history=history, body=b"x" * size, dedup=key, wait_ack_ms=1_000)
        for _ in range(2):
            scale.covered(EditMessage(app="demo", id=id, by=ALICE, body=b"y" * size))
        scale.covered((RecallMessage, DeleteMessage)[number % 2](app="demo", id=id, by=ALICE))


def test_joins_and_leaves(scale: Scale) -> None:
    session = scale.login()
    for _ in range(2):
        for number in range(3):
            scale.covered(Join(app="demo", user=BOB, session=session, room=name(number)))
            scale.send(name(number), history=True)
            scale.covered(Leave(app="demo", user=BOB, session=session, room=name(number)))


@pytest.mark.parametrize("rooms", [0, 1, 4, 20, ROOMS_PER_USER_MAX])
@pytest.mark.parametrize("rooms_max", [1, 3, ROOMS_PER_USER_MAX])
def test_a_logout_by_the_rooms_that_are_left_with_it(scale: Scale, rooms: int, rooms_max: int) -> None:
    session = scale.login()
    for number in range(rooms):
        scale.run(Join(app="demo", user=BOB, session=session, room=name(number)))
        scale.run(SendMessage(app="demo", sender=ALICE, to=room(name(number)), body=b"hi", history=True))
    _, _, written = scale.weigh(Logout(app="demo", user=BOB, session=session, rooms_max=rooms_max))
    assert written <= LOGOUT_BYTES + LEAVE_BYTES * min(rooms, rooms_max)


def member(number: int) -> str:
    """A user, with a name as long as they come."""
    return f"{number:03}".ljust(NAME_BYTES_MAX, "m")


def test_records_and_lists(scale: Scale) -> None:
    g = group("g".ljust(NAME_BYTES_MAX, "g"))
    attributes = b'{"a":[%s],"b":"%s"}' % (b",".join(b"%d" % number for number in range(300)), b"x" * 60_000)
    users = tuple(member(number) for number in range(MEMBERS_MAX))
    scale.covered(
        CreateConversation(app="demo", conversation=g, attributes=attributes, members=users[:200], unique=True)
    )
    h = group("h".ljust(NAME_BYTES_MAX, "h"))
    scale.covered(
        CreateConversation(app="demo", conversation=h, attributes=attributes, members=users, muted=users, unique=True)
    )
    scale.covered(AddMembers(app="demo", conversation=g, users=users))
    scale.covered(MuteConversation(app="demo", conversation=g, users=users))
    operations = (Operation("a", "set", b"[%s]" % b",".join(b'"%d"' % number for number in range(300))),)
    scale.covered(UpdateConversation(app="demo", conversation=g, operations=operations))
    scale.covered(UpdateConversation(app="demo", conversation=g, operations=(Operation("c", "increment", b"1"),)))
    steps = (
        UpdateConversation(app="demo", conversation=g, operations=operations),
        RemoveMembers(app="demo", conversation=g, users=users[:250]),
        AddMembers(app="demo", conversation=g, users=users[:200]),
        UnmuteConversation(app="demo", conversation=g, users=users[:250]),
        MuteConversation(app="demo", conversation=g, users=users[:200]),
        BanUsers(app="demo", conversation=g, users=users[200:]),
    )
    scale.covered(Transact(app="demo", conversation=g, steps=steps))
    scale.covered(UnmuteConversation(app="demo", conversation=g, users=users))
    scale.covered(RemoveMembers(app="demo", conversation=g, users=users[:-1]))


@pytest.mark.parametrize("limit", [1, SWEEP_STEP_MIN, 70])
def test_what_is_imported(scale: Scale, limit: int) -> None:
    """The conversation, its messages, what becomes of them, and how they are forgotten."""
    g = group("g".ljust(NAME_BYTES_MAX, "g"))
    attributes = b'{"a":[%s],"b":"%s"}' % (b",".join(b"%d" % number for number in range(300)), b"x" * 60_000)
    users = tuple(member(number) for number in range(MEMBERS_MAX))
    now = scale.clock.wall_ms
    scale.covered(
        ImportConversation(
            app="demo",
            conversation=g,
            created_ms=UnixMs(1),
            updated_ms=UnixMs(2),
            attributes=attributes,
            members=users,
            muted=users,
            unique=True,
        )
    )
    for number in range(90):
        recalled, size = number % 3 == 0, BODY_BYTES_MAX if number == 1 else 2
        receipt = scale.covered(
            ImportMessage(
                app="demo",
                conversation=g,
                sender=member(number),
                body=b"" if recalled else b"x" * size,
                at_ms=UnixMs(now - number),
                alias=f"{number}".ljust(NAME_BYTES_MAX, "m"),
                recalled=recalled,
                mentions=users[:20],
            )
        ).result
        assert isinstance(receipt, Receipt)
        if number % 2:
            scale.covered(DeleteMessage(app="demo", id=receipt.id, by=ALICE))
        elif number % 4 == 0 and not recalled:
            scale.covered(EditMessage(app="demo", id=receipt.id, by=ALICE, body=b"new"))
    scale.clock.run(10_000)
    told: set[str] = set()
    while scale.read(lambda snapshot: next(snapshot.views.outlived_aliases("demo"), None)) is not None:
        told |= {type(event).__name__ for event in scale.covered(ExpireHistory(app="demo", limit=limit)).events}
    assert told == {"HistoryExpired", "AliasesExpired"}


def test_who_may_come_in_and_talk(scale: Scale) -> None:
    attributes, users = b'{"b":"%s"}' % (b"x" * 60_000), tuple(member(number) for number in range(MEMBERS_MAX))
    for conversation in (group("g".ljust(NAME_BYTES_MAX, "g")), room("r".ljust(NAME_BYTES_MAX, "r"))):
        members = users[:400] if conversation.kind == "group" else ()
        scale.run(CreateConversation(app="demo", conversation=conversation, attributes=attributes, members=members))
        scale.covered(SilenceUsers(app="demo", conversation=conversation, users=users))
        scale.covered(UnsilenceUsers(app="demo", conversation=conversation, users=users, temporary=False))
        for _ in range(2):
            scale.covered(SilenceUsers(app="demo", conversation=conversation, users=users, ttl_ms=1_000))
        scale.covered(UnsilenceUsers(app="demo", conversation=conversation, users=users[:9], temporary=True))
        scale.clock.run(2_000)
        scale.covered(ExpireSilences(limit=300))
        scale.covered(SetRole(app="demo", conversation=conversation, user=users[0], role="member"))
        scale.covered(RemoveRole(app="demo", conversation=conversation, user=users[0]))
        scale.covered(BlockConversation(app="demo", conversation=conversation, user=users[0]))
        scale.covered(UnblockConversation(app="demo", conversation=conversation, user=users[0]))
        if conversation.kind == "room":
            for user in users:
                session = scale.run(Login(app="demo", user=user)).result
                assert isinstance(session, Welcome)
                scale.run(Join(app="demo", user=user, session=session.session, room=conversation.id))
        scale.covered(BanUsers(app="demo", conversation=conversation, users=users))
        scale.covered(UnbanUsers(app="demo", conversation=conversation, users=users))


@pytest.mark.parametrize("members", [0, 1, 3, 40, MEMBERS_MAX])
def test_messages_to_groups(scale: Scale, members: int) -> None:
    """Some are online, all queues are full, and what they push out are changes."""
    scale.rules = Rules(queue_messages=2, history_ttl_ms=10_000)
    g, users = group("g"), tuple(member(number) for number in range(members))
    scale.run(CreateConversation(app="demo", conversation=g, members=users))
    for user in users[::2]:
        scale.run(Login(app="demo", user=user))
    for number in range(3):
        send = SendMessage(
            app="demo", sender=ALICE, to=g, body=b"hi", queue=True, history=True, dedup=f"{number}", push=b"p" * 4_000
        )
        receipt = scale.spread(send, members).result
        assert isinstance(receipt, Receipt)
        for _ in range(2):
            scale.spread(EditMessage(app="demo", id=receipt.id, by=ALICE, body=b"ho"), members)
        scale.spread((RecallMessage, DeleteMessage)[number % 2](app="demo", id=receipt.id, by=ALICE), members)


def test_what_members_have_read(scale: Scale) -> None:
    """Who joins was a guest before; who leaves has something noted."""
    g, users = group("g".ljust(NAME_BYTES_MAX, "g")), tuple(member(number) for number in range(MEMBERS_MAX - 1))
    scale.run(CreateConversation(app="demo", conversation=g, members=(BOB,)))
    send = SendMessage(app="demo", sender=BOB, to=g, body=b"hi", history=True, dedup="k" * DEDUP_BYTES_MAX)
    scale.covered(send)
    row = scale.read(lambda snapshot: snapshot.views.conversation("demo", g))
    assert row is not None
    with scale.store.transaction() as transaction:
        for user in users:
            guest = UnreadRow("group", g.id, extra=1, guest=True)
            transaction.views.put_unread("demo", user, row.number, guest)
    scale.covered(MarkRead(app="demo", user=users[0], conversation=g, until_ms=UnixMs(1)))
    scale.covered(MarkRead(app="demo", user=BOB, conversation=g, until_ms=scale.clock.wall_ms))
    scale.covered(AddMembers(app="demo", conversation=g, users=users))
    scale.covered(RemoveMembers(app="demo", conversation=g, users=users[:200]))
    scale.covered(BanUsers(app="demo", conversation=g, users=users[:400]))


def test_streams(scale: Scale) -> None:
    """Of a service with everybody in it, and of a group that has a stream; who leaves had something in it."""
    s, g = service("s".ljust(NAME_BYTES_MAX, "s")), group("g".ljust(NAME_BYTES_MAX, "g"))
    users = tuple(member(number) for number in range(MEMBERS_MAX))
    for place in (s, g):
        scale.covered(CreateConversation(app="demo", conversation=place, attributes=b'{"b":"%s"}' % (b"x" * 60_000)))
        scale.covered(AddMembers(app="demo", conversation=place, users=users))
        sent = []
        for number in range(3):
            send = SendMessage(
                app="demo",
                sender=ALICE,
                to=place,
                body=b"hi",
                queue=True,
                history=True,
                dedup=f"{place.kind}{number}",
                push=b"p",
            )
            sent.append(scale.send_weighed(send))
            for _ in range(2):
                scale.covered(EditMessage(app="demo", id=sent[-1], by=ALICE, body=b"ho"))
        scale.covered(RecallMessage(app="demo", id=sent[0], by=ALICE))
        opening = scale.covered(Login(app="demo", user=users[0])).opening
        assert opening is not None
        session = opening.login.position
        through = scale.read(lambda snapshot: snapshot.views.position)
        ack = Ack(app="demo", user=users[0], session=session, through=through, opened=opening.login)
        scale.covered(ack)
        for number in (0, 1):
            scale.covered(DeleteMessage(app="demo", id=sent[number], by=ALICE))
        scale.covered(RemoveMembers(app="demo", conversation=place, users=users[:200]))
        scale.covered(BanUsers(app="demo", conversation=place, users=users[200:]))


@pytest.mark.parametrize("limit", [1, SWEEP_STEP_MIN, 70])
def test_streams_of_age(scale: Scale, limit: int) -> None:
    """Edited messages, each to a service of its own, then the memberships of who left them, then notices of deletions; and what
    becomes of that when it is folded in the least reserve."""
    for number in range(60):
        place = service(name(number))
        scale.run(CreateConversation(app="demo", conversation=place))
        scale.run(AddMembers(app="demo", conversation=place, users=(BOB,)))
        for deleted in (False, True):
            send = SendMessage(app="demo", sender=ALICE, to=place, body=b"hi", queue=True, history=True)
            id = scale.send_weighed(send)
            scale.run(EditMessage(app="demo", id=id, by=ALICE, body=b"ho"))
            if deleted:
                scale.run(DeleteMessage(app="demo", id=id, by=ALICE))
        scale.run(RemoveMembers(app="demo", conversation=place, users=(BOB,)))
    scale.clock.run(10_000)
    swept = Counter[str]()
    while scale.read(lambda snapshot: next(snapshot.views.ended_notices("demo"), None)) is not None:
        events = scale.covered(ExpireHistory(app="demo", limit=limit)).events
        swept.update(type(event).__name__ for event in events)
    assert set(swept) == {"HistoryExpired", "StaysExpired", "StreamNoticesExpired"}
    while True:
        with scale.store.transaction() as transaction:
            record = next(transaction.log(), None)
            if record is None:
                return
            before = transaction.written_bytes
            transaction.trim(ExpiryMs(1 << 60), 1)
            written = transaction.written_bytes - before
        assert written + BATCH_BYTES + SWEEPING_LEAVES <= RESERVE_BYTES_MIN, record.event


@pytest.mark.parametrize("users", [1, 3, 40, 600])
def test_messages_to_users_by_name(scale: Scale, users: int) -> None:
    """As above; and some see another text of it, or nothing, before it is changed for all."""
    scale.rules = Rules(queue_messages=2, history_ttl_ms=10_000)
    news, named = service("news"), tuple(member(number) for number in range(users))
    scale.run(CreateConversation(app="demo", conversation=news))
    for user in named[::2]:
        scale.run(Login(app="demo", user=user))
    for number in range(3):
        send = SendMessage(
            app="demo",
            sender=ALICE,
            to=news,
            body=b"hi",
            queue=True,
            history=True,
            recipients=named,
            dedup=f"{number}",
            push=b"p" * 4_000,
        )
        receipt = scale.covered(send).result
        assert isinstance(receipt, Receipt)
        which = {"app": "demo", "id": receipt.id, "by": ALICE}
        copies = 0
        for change, some in (
            (EditMessage(**which, body=b"for some", recipients=named[1:]), named[1:]),
            (EditMessage(**which, body=b"others", recipients=named[2:]), named[2:]),
            (RecallMessage(**which, recipients=named[-2:-1]), named[-2:-1]),
            (DeleteMessage(**which, recipients=named[1:][:1]), named[1:][:1]),
        ):
            if some:
                rows = users // 32 if isinstance(change, DeleteMessage) else 0
                scale.spread(change, len(some), len(some) + rows)
                copies = users
        for change in (EditMessage(**which, body=b"ho"), (RecallMessage, DeleteMessage)[number % 2](**which)):
            scale.spread(change, users, users + copies)


def test_copies_that_leave_with_the_history_can_be_folded(scale: Scale) -> None:
    """In the least reserve: trimming must not stand still at what a sweep did while the disk was full."""
    users = tuple(member(number) for number in range(60))
    scale.run(CreateConversation(app="demo", conversation=group("g"), members=users))
    scale.run(SendMessage(app="demo", sender=ALICE, to=group("g"), body=b"hi", queue=True, history=True))
    scale.clock.run(10_000)
    kinds = []
    while (events := scale.run(ExpireHistory(app="demo")).events) != ():
        kinds += [type(event).__name__ for event in events]
    assert kinds.count("CopiesExpired") == 3
    while True:
        with scale.store.transaction() as transaction:
            record = next(transaction.log(), None)
            if record is None:
                return
            before = transaction.written_bytes
            transaction.trim(ExpiryMs(1 << 60), 1)
            written = transaction.written_bytes - before
        if isinstance(record.event, CopiesExpired):
            assert written + BATCH_BYTES + SWEEPING_LEAVES <= RESERVE_BYTES_MIN


def test_kicks_and_first_logins_of_a_day(scale: Scale) -> None:
    for _ in range(2):
        scale.login()
        for user in (BOB, ALICE):
            scale.covered(Kick(app="demo", user=user, reason="😀" * KICK_REASON_CHARACTERS_MAX))
        scale.clock.run(86_400_000)


@pytest.mark.parametrize("members", [0, 40, MEMBERS_MAX])
@pytest.mark.parametrize("values", [1, 900])
def test_a_group_that_is_deleted(scale: Scale, members: int, values: int) -> None:
    g, users = group("g".ljust(NAME_BYTES_MAX, "g")), tuple(member(number) for number in range(members))
    attributes = b'{"a":[%s]}' % b",".join(b"%d" % number for number in range(values))
    scale.run(CreateConversation(app="demo", conversation=g, attributes=attributes, members=users, unique=True))
    scale.run(MuteConversation(app="demo", conversation=g, users=users[::2]))
    deletes(scale, DeleteConversation(app="demo", conversation=g, by=ALICE))
    sweeps(scale, SweepConversation(app="demo", conversation=g, unblocked=True))


@pytest.mark.parametrize("limit", [1, SWEEP_STEP_MIN, 250])
def test_what_is_known_of_users_of_a_deleted_group(scale: Scale, limit: int) -> None:
    g, users = group("g".ljust(NAME_BYTES_MAX, "g")), tuple(member(number) for number in range(60))
    scale.run(CreateConversation(app="demo", conversation=g, members=users))
    scale.run(BanUsers(app="demo", conversation=g, users=users))
    for ttl_ms in (None, 60_000):
        scale.run(SilenceUsers(app="demo", conversation=g, users=users, ttl_ms=ttl_ms))
    for user in users:
        scale.run(SetRole(app="demo", conversation=g, user=user, role="owner"))
        scale.run(BlockConversation(app="demo", conversation=g, user=user))
    deletes(scale, DeleteConversation(app="demo", conversation=g, by=ALICE))
    for number in range(0, len(users), limit):
        blockers = users[number : number + limit]
        scale.covered(SweepConversation(app="demo", conversation=g, limit=limit, blockers=blockers))
    sweeps(scale, SweepConversation(app="demo", conversation=g, limit=limit, unblocked=True))


@pytest.mark.parametrize("limit", [1, SWEEP_STEP_MIN, 70])
def test_a_room_that_is_deleted(scale: Scale, limit: int) -> None:
    """More are in it than leave it at once; its messages were edited."""
    count = DELETED_LEAVES_MAX + 30
    r = room(name(0))
    for number in range(count):
        user = member(number)
        welcome = scale.run(Login(app="demo", user=user)).result
        assert isinstance(welcome, Welcome)
        scale.run(Join(app="demo", user=user, session=welcome.session, room=r.id))
    for _ in range(40):
        receipt = scale.run(SendMessage(app="demo", sender=ALICE, to=r, body=b"hi", history=True)).result
        assert isinstance(receipt, Receipt)
        scale.run(EditMessage(app="demo", id=receipt.id, by=ALICE, body=b"ho"))
    deletes(scale, DeleteConversation(app="demo", conversation=r, by=ALICE))
    sweeps(scale, SweepConversation(app="demo", conversation=r, limit=limit, unblocked=True))


def sweeps(scale: Scale, command: SweepConversation) -> None:
    """To the end."""
    while scale.read(lambda snapshot: snapshot.views.is_deleted("demo", command.conversation)):
        assert scale.covered(command).events


def deletes(scale: Scale, command: DeleteConversation) -> None:
    """Weighed as it is where its batch begins."""
    pending = Pending(command, scale.rules, Group())
    cut([pending], scale.store)
    decision, rows, written = scale.weigh(command)
    assert decision.events
    assert 0 < rows <= pending.rows
    assert 0 < written <= pending.cost


def test_copies_that_are_withdrawn_can_be_folded(scale: Scale) -> None:
    """In the least reserve, as those that leave with the history."""
    users = tuple(member(number) for number in range(60))
    scale.run(CreateConversation(app="demo", conversation=group("g"), members=users))
    for _ in range(30):
        scale.run(SendMessage(app="demo", sender=ALICE, to=group("g"), body=b"hi", queue=True, history=True))
    scale.run(DeleteConversation(app="demo", conversation=group("g"), by=ALICE))
    while scale.run(SweepConversation(app="demo", conversation=group("g"), unblocked=True)).events:
        pass
    kinds: list[type] = []
    while True:
        with scale.store.transaction() as transaction:
            record = next(transaction.log(), None)
            if record is None:
                break
            before = transaction.written_bytes
            transaction.trim(ExpiryMs(1 << 60), 1)
            written = transaction.written_bytes - before
        kinds.append(type(record.event))
        if isinstance(record.event, CopiesWithdrawn | ConversationSwept):
            assert written + BATCH_BYTES + SWEEPING_LEAVES <= RESERVE_BYTES_MIN
    assert (kinds.count(CopiesWithdrawn), kinds.count(ConversationSwept)) == (3 * QUEUE, 5)


def test_results(scale: Scale) -> None:
    ids = tuple(MessageId((1 << 53) - 1 - number) for number in range(RESULT_MESSAGES_MAX))
    for number in range(130):
        handle = f"{number:024}"
        reserve = ReserveResult(app="demo", handle=handle, ids=ids, ttl_ms=1_000)
        scale.covered(reserve) if number < 3 else scale.run(reserve)
    scale.covered(CollectResult(app="demo", handle=f"{0:024}"))
    scale.clock.run(1_000)
    for limit in (1, SWEEP_STEP_MIN, SWEEP_STEP):
        assert scale.covered(ExpireResults(limit=limit)).events


@pytest.mark.parametrize("limit", [1, SWEEP_STEP_MIN, 70, SWEEP_STEP])
def test_history_of_age(scale: Scale, limit: int) -> None:
    """Messages edited and queued, whose copies get their bodies; edited and not queued; then stays; and what rooms lost."""
    session = scale.login()
    for number in range(90):
        scale.run(Join(app="demo", user=BOB, session=session, room=name(number)))
        scale.run(SendMessage(app="demo", sender=ALICE, to=room(name(number)), body=b"lost"))
        for to, queue in ((room(name(number)), False), (peer(f"{number}".ljust(NAME_BYTES_MAX, "p")), True)):
            receipt = scale.run(
                SendMessage(app="demo", sender=ALICE, to=to, body=b"kept", history=True, queue=queue)
            ).result
            assert isinstance(receipt, Receipt)
            scale.run(EditMessage(app="demo", id=receipt.id, by=ALICE, body=b"edited"))
    scale.run(Logout(app="demo", user=BOB, session=session))
    scale.clock.run(10_000)
    told: set[str] = set()
    while scale.read(lambda snapshot: next(snapshot.views.ended_stays("demo"), None)) is not None:
        told |= {type(event).__name__ for event in scale.covered(ExpireHistory(app="demo", limit=limit)).events}
    assert told == {"HistoryExpired", "StaysExpired"}
    scale.clock.run(GAP_TTL_MS)
    names = tuple(name(number) for number in range(90))
    while scale.read(lambda snapshot: next(snapshot.views.gaps(), None)) is not None:
        command = ExpireGaps(app="demo", rooms=names, limit=limit)
        told |= {type(event).__name__ for event in scale.covered(command).events}
    assert told == {"HistoryExpired", "StaysExpired", "GapsExpired"}


@pytest.mark.parametrize("limit", [1, SWEEP_STEP_MIN, 50])
def test_sessions_of_a_dead_process(scale: Scale, limit: int) -> None:
    for user in range(10):
        session = scale.login(f"{user}".ljust(NAME_BYTES_MAX, "u"))
        for number in range(3):
            scale.run(Join(app="demo", user=f"{user}".ljust(NAME_BYTES_MAX, "u"), session=session, room=name(number)))
    scale.send(name(0), history=True)
    scale.run(StartEpoch())
    assert scale.covered(EndStaleSessions(limit=limit)).events


def test_a_feed_that_is_taken(scale: Scale) -> None:
    """Some of it by what it is taken to cost; of more, what lies side by side is counted as if it did not."""
    for limit in (1, 10, 25):
        assert scale.covered(TakeFeed(app="demo", feed="rooms", limit=limit)).events
    taken = [
        event.count
        for event in scale.run(TakeFeed(app="demo", feed="rooms")).events
        if isinstance(event, PresenceTaken)
    ]
    assert sum(taken) == 1_000
    assert max(taken) == 50


def test_every_event_can_be_folded_in_the_least_reserve(scale: Scale) -> None:
    """Or trimming would stand still while the disk is full."""
    session = scale.login()
    for number in range(60):
        if number < 40:
            scale.run(Join(app="demo", user=BOB, session=session, room=name(number)))
        scale.run(SendMessage(app="demo", sender=ALICE, to=room(name(number)), body=b"lost"))
        scale.run(SendMessage(app="demo", sender=ALICE, to=room(name(number)), body=b"kept", history=True))
        scale.run(ReserveResult(app="demo", handle=f"{number}", ids=(), ttl_ms=1_000))
    scale.run(Logout(app="demo", user=BOB, session=session))
    scale.clock.run(10_000)
    scale.run(ExpireResults())
    while scale.run(ExpireHistory(app="demo")).events:
        pass
    for feed in FEEDS:
        scale.run(TakeFeed(app="demo", feed=feed))
    while True:
        with scale.store.transaction() as transaction:
            before = transaction.written_bytes
            kind = type(next(transaction.log()).event).__name__
            trimmed = transaction.trim(ExpiryMs(1 << 60), 1)
            written = transaction.written_bytes - before
        assert written + BATCH_BYTES + SWEEPING_LEAVES <= RESERVE_BYTES_MIN, kind
        assert trimmed == 1
        if kind == "PresenceTaken" and scale.read(lambda snapshot: next(snapshot.log(), None)) is None:
            return
