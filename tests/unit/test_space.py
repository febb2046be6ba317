"""What may be written when the disk is nearly full: who is served from the reserve, in which order, and who is not."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core import commands
from postroom.core.commands import (
    Ack,
    AddMembers,
    BanUsers,
    BlockConversation,
    ChangeBroadcast,
    ChangeMessage,
    CollectResult,
    Command,
    ConversationCommand,
    CreateConversation,
    DeleteBroadcast,
    DeleteConversation,
    DeleteMessage,
    EditBroadcast,
    EditMessage,
    EndStaleSessions,
    ExpireBroadcasts,
    ExpireDedup,
    ExpireGaps,
    ExpireHistory,
    ExpireQueue,
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
    MembersCommand,
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
    UserCommand,
    UsersCommand,
)
from postroom.core.ids import MessageId, Position, UnixMs
from postroom.core.limits import (
    BODY_BYTES_MAX,
    COMMAND_ROWS_MAX,
    FEED_TAKE_MAX,
    MIB,
    QUEUE_MESSAGES_MAX,
    RESULT_MESSAGES_MAX,
    ROOMS_PER_USER_MAX,
    SWEEP_STEP,
    SWEEP_STEP_MIN,
)
from postroom.core.model import Rules, group, peer, service
from postroom.core.space import BATCH_BYTES, SWEEPING_LEAVES, Room, admit, estimate, is_full, leaves
from postroom.storage.lmdb.space import RESERVE_BYTES_MIN

RESERVE = 16 * MIB


def send(size: int = 2) -> SendMessage:
    """A message of so many bytes."""
    return SendMessage(app="demo", sender="alice", to=peer("bob"), body=b"x" * size, queue=True)


EVERY: list[Command] = [
    StartEpoch(),
    EndStaleSessions(limit=1),
    ExpireDedup(limit=1),
    ExpireQueue(app="demo", user="bob", limit=1),
    ExpireResults(limit=1),
    ExpireSilences(limit=1),
    ExpireGaps(app="demo", rooms=("r",), limit=1),
    ExpireHistory(app="demo", limit=1),
    SweepConversation(app="demo", conversation=group("g"), limit=1),
    ExpireBroadcasts(app="demo", limit=1),
    Ack(app="demo", user="bob", session=Position(1), through=Position(1), count=3),
    Logout(app="demo", user="bob", session=Position(1)),
    Leave(app="demo", user="bob", session=Position(1), room="r"),
    TakeFeed(app="demo", feed="users"),
    CollectResult(app="demo", handle="1"),
    RecallMessage(app="demo", id=MessageId(1), by="alice"),
    DeleteMessage(app="demo", id=MessageId(1), by="alice"),
    DeleteConversation(app="demo", conversation=group("g"), by="alice"),
    DeleteBroadcast(app="demo", id=MessageId(1), by="alice"),
    Login(app="demo", user="bob"),
    Kick(app="demo", user="bob"),
    Join(app="demo", user="bob", session=Position(1), room="r"),
    ReserveResult(app="demo", handle="1", ids=(MessageId(1),) * RESULT_MESSAGES_MAX, ttl_ms=1),
    EditMessage(app="demo", id=MessageId(1), by="alice", body=b"hi"),
    SendBroadcast(app="demo", sender="alice", conversation=service("s"), body=b"hi"),
    EditBroadcast(app="demo", id=MessageId(1), by="alice", body=b"hi"),
    CreateConversation(app="demo", conversation=group("g"), members=("bob",)),
    UpdateConversation(app="demo", conversation=group("g"), operations=(Operation("a", "set", b"1"),)),
    AddMembers(app="demo", conversation=group("g"), users=("bob",)),
    RemoveMembers(app="demo", conversation=group("g"), users=("bob",)),
    MuteConversation(app="demo", conversation=group("g"), users=("bob",)),
    UnmuteConversation(app="demo", conversation=group("g"), users=("bob",)),
    BanUsers(app="demo", conversation=group("g"), users=("bob",)),
    UnbanUsers(app="demo", conversation=group("g"), users=("bob",)),
    SilenceUsers(app="demo", conversation=group("g"), users=("bob",)),
    UnsilenceUsers(app="demo", conversation=group("g"), users=("bob",), temporary=True),
    SetRole(app="demo", conversation=group("g"), user="bob", role="owner"),
    RemoveRole(app="demo", conversation=group("g"), user="bob"),
    BlockConversation(app="demo", conversation=group("g"), user="bob"),
    UnblockConversation(app="demo", conversation=group("g"), user="bob"),
    Transact(
        app="demo",
        conversation=group("g"),
        steps=(
            RemoveMembers(app="demo", conversation=group("g"), users=("bob",)),
            AddMembers(app="demo", conversation=group("g"), users=("bob",)),
        ),
    ),
    MarkRead(app="demo", conversation=group("g"), user="bob", until_ms=UnixMs(1)),
    ImportConversation(
        app="demo",
        conversation=group("g"),
        created_ms=UnixMs(1),
        updated_ms=UnixMs(2),
        members=("bob",),
        muted=("bob",),
    ),
    ImportMessage(app="demo", conversation=group("g"), sender="alice", body=b"hi", at_ms=UnixMs(1), alias="m"),
    send(),
]
"""One of each kind, in the order in which the reserve serves them."""
KINDS = [type(command).__name__ for command in EVERY]


def tail(size: int, reserve: int = RESERVE) -> Room:
    """So much room for a transaction besides what a commit takes."""
    return Room(BATCH_BYTES + size, 0, reserve)


def test_every_command_is_here() -> None:
    kinds = {kind for kind in vars(commands).values() if isinstance(kind, type) and issubclass(kind, Command)}
    abstract = {Command, ChangeMessage, ChangeBroadcast, ConversationCommand, MembersCommand, UsersCommand, UserCommand}
    assert {type(command) for command in EVERY} == kinds - abstract


@pytest.mark.parametrize("command", EVERY, ids=KINDS)
def test_it_fits_where_its_cost_and_what_it_leaves_fit(command: Command) -> None:
    cost = estimate(command, Rules())[1]
    needed = cost + leaves(command, RESERVE)
    assert admit([(command, cost)], tail(needed)) == [True]
    assert admit([(command, cost)], tail(needed - 1)) == [False]
    assert admit([(command, cost)], Room(0, 0, RESERVE)) == [False]


def test_the_reserve_serves_them_in_this_order() -> None:
    left = [leaves(command, RESERVE) for command in EVERY]
    assert left == sorted(left)
    assert left[0] == 0
    assert leaves(EVERY[KINDS.index("Ack")], RESERVE) < leaves(Login(app="demo", user="bob"), RESERVE) == RESERVE // 2
    assert leaves(send(), RESERVE) == leaves(EVERY[KINDS.index("EditMessage")], RESERVE) == RESERVE


@pytest.mark.parametrize("reserve", [0, 1, 4096, MIB, 16 * MIB])
@pytest.mark.parametrize("command", EVERY, ids=KINDS)
def test_nobody_leaves_more_than_the_whole_reserve(command: Command, reserve: int) -> None:
    assert 0 <= leaves(command, reserve) <= reserve


def test_messages_are_refused_while_the_rest_goes_on() -> None:
    batch = [(command, 1_000) for command in EVERY]
    fits = dict(zip(KINDS, admit(batch, tail(RESERVE)), strict=True))
    assert [kind for kind, fit in fits.items() if not fit] == KINDS[KINDS.index("Join") :]


def test_what_is_admitted_counts_against_what_follows() -> None:
    cost = 100_000
    room = tail(RESERVE + 3 * cost)
    assert admit([(send(), cost)] * 5, room) == [True, True, True, False, False]


def test_something_smaller_behind_what_does_not_fit_may_fit() -> None:
    room = tail(RESERVE + 100_000)
    assert admit([(send(), 200_000), (send(), 90_000)], room) == [False, True]


def test_pages_freed_within_the_file_count() -> None:
    assert admit([(send(), 100_000)], Room(BATCH_BYTES + RESERVE, 100_000, RESERVE)) == [True]
    assert admit([(send(), 100_000)], Room(0, BATCH_BYTES + RESERVE + 100_000, RESERVE)) == [True]


def test_but_a_long_body_needs_pages_side_by_side() -> None:
    """Those within the file may lie anywhere."""
    long = send(100_000)
    cost = estimate(long, Rules())[1]
    free = BATCH_BYTES + RESERVE + 10 * cost
    assert admit([(long, cost), (send(), 100_000)], Room(0, free, RESERVE)) == [False, True]
    assert admit([(long, cost)], Room(RESERVE // 2 + 2 * cost, free, RESERVE)) == [True]


def test_the_empty_batch_fits_anywhere() -> None:
    assert admit([], Room(0, 0, RESERVE)) == []


costs = st.sampled_from([0, 1, 10_000, 300_000, 2 * MIB])
batches = st.lists(st.tuples(st.sampled_from(EVERY), costs), max_size=30)


@given(batches, st.integers(0, 30 * MIB), st.integers(0, 4 * MIB), st.sampled_from([MIB, 16 * MIB]))
def test_whatever_comes_everything_admitted_fits_and_leaves_what_it_must(
    batch: list[tuple[Command, int]], size: int, free: int, reserve: int
) -> None:
    room = Room(size, free, reserve)
    fits = admit(batch, room)
    assert len(fits) == len(batch)
    taken = 0
    for (command, cost), fit in zip(batch, fits, strict=True):
        left = size + free - BATCH_BYTES - taken - cost
        if fit:
            taken += cost
            assert left >= leaves(command, reserve)
        elif not isinstance(command, SendMessage | EditMessage):
            assert left < leaves(command, reserve)


@given(st.integers(0, 3 * MIB), st.sampled_from([MIB, 16 * MIB]))
def test_full_is_when_not_even_a_small_message_fits(above: int, reserve: int) -> None:
    room = tail(reserve + above, reserve)
    small = send()
    if admit([(small, estimate(small, Rules())[1])], room) == [False]:
        assert is_full(room)
    if is_full(room):
        assert admit([(small, estimate(send(2_500), Rules())[1])], room) == [False]


# What a command may take.

LARGEST = Rules(queue_messages=QUEUE_MESSAGES_MAX)


@pytest.mark.parametrize("command", EVERY, ids=KINDS)
def test_no_command_writes_more_rows_than_one_may(command: Command) -> None:
    if isinstance(command, Ack):
        command = msgspec.structs.replace(command, count=QUEUE_MESSAGES_MAX)
    if isinstance(command, ExpireQueue | ExpireDedup | ExpireResults | ExpireHistory | ExpireGaps | EndStaleSessions):
        command = msgspec.structs.replace(command, limit=SWEEP_STEP)
    rows, cost = estimate(command, LARGEST)
    assert 0 < rows <= COMMAND_ROWS_MAX + QUEUE_MESSAGES_MAX
    assert cost > 0


SWEEPS: list[Command] = [
    EndStaleSessions(limit=SWEEP_STEP_MIN),
    ExpireDedup(limit=SWEEP_STEP_MIN),
    ExpireQueue(app="demo", user="bob", limit=SWEEP_STEP_MIN),
    ExpireResults(limit=SWEEP_STEP_MIN),
    ExpireGaps(app="demo", rooms=("r",) * 9, limit=SWEEP_STEP_MIN),
    ExpireHistory(app="demo", limit=SWEEP_STEP_MIN),
]


@pytest.mark.parametrize("command", SWEEPS, ids=lambda command: type(command).__name__)
def test_the_smallest_step_of_a_sweep_fits_the_least_reserve(command: Command) -> None:
    """Where nothing is free any more, it is what gives room back; and it leaves enough for a start."""
    room = Room(RESERVE_BYTES_MIN, 0, RESERVE_BYTES_MIN)
    cost = estimate(command, LARGEST)[1]
    assert admit([(command, cost)], room) == [True]
    assert admit([(StartEpoch(), estimate(StartEpoch(), LARGEST)[1])], Room(SWEEPING_LEAVES, 0, RESERVE_BYTES_MIN)) == [
        True
    ]


def test_a_kept_message_costs_its_rows_in_the_timelines() -> None:
    kept = msgspec.structs.replace(send(), history=True)
    (rows, cost), (more_rows, more) = estimate(send(), Rules()), estimate(kept, Rules())
    assert more_rows - rows == 4
    assert more > cost


def test_a_feed_costs_by_how_much_of_it_is_taken() -> None:
    few, many = (estimate(TakeFeed(app="demo", feed="users", limit=limit), Rules())[0] for limit in (1, FEED_TAKE_MAX))
    assert many - few == FEED_TAKE_MAX - 1


def test_a_logout_costs_some_rooms_and_is_weighed_anew_where_room_is_scarce() -> None:
    """See `core.runtime.admission`."""
    none, some, all_ = (
        estimate(Logout(app="demo", user="bob", session=Position(1), rooms=rooms), Rules())[0]
        for rooms in (0, 2, ROOMS_PER_USER_MAX)
    )
    assert none < some < all_
    step = Logout(app="demo", user="bob", session=Position(1), rooms=ROOMS_PER_USER_MAX, rooms_max=2)
    assert estimate(step, Rules())[0] == some


def test_a_body_counts() -> None:
    small, large = (estimate(send(size), Rules())[1] for size in (0, BODY_BYTES_MAX))
    assert large - small == BODY_BYTES_MAX


def test_an_ack_costs_what_it_takes_out() -> None:
    def cost(count: int, confirmed: int = 0, **rules: Any) -> int:
        ids = tuple(MessageId(number) for number in range(confirmed))
        command = Ack(app="demo", user="bob", session=Position(1), through=Position(1), count=count, confirmed=ids)
        return estimate(command, Rules(**rules))[1]

    assert cost(1) < cost(10) < cost(100) < cost(100, 1)
    assert cost(5_000) == cost(200)  # no queue holds more


def test_one_message_fits_the_least_room_a_disk_is_asked_for() -> None:
    """Or a small disk could never take one."""
    kept = msgspec.structs.replace(send(BODY_BYTES_MAX), history=True)
    assert estimate(kept, LARGEST)[1] + BATCH_BYTES < MIB
