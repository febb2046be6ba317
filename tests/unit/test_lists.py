"""Who may come into a conversation, who may talk there, who is what, and who does not want to be put into it."""

from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    AddMembers,
    BanUsers,
    BlockConversation,
    Command,
    CreateConversation,
    ExpireSilences,
    Join,
    RemoveRole,
    SendMessage,
    SetRole,
    SilenceUsers,
    UnbanUsers,
    UnblockConversation,
    UnsilenceUsers,
)
from postroom.core.domain import Decision
from postroom.core.errors import (
    Banned,
    BansFull,
    BlocksFull,
    InvalidCommand,
    OwnerNeeded,
    RolesFull,
    Silenced,
    SilencesFull,
    UnknownConversation,
)
from postroom.core.events import MembersRemoved, RoomJoined, RoomLeft
from postroom.core.events.lists import SilencesExpired, UsersBanned, UsersSilenced
from postroom.core.ids import message_at
from postroom.core.limits import BLOCKED_MAX, DEDUP_EXPIRED_MAX, LISTED_MAX, MEMBERS_MAX, ROLES_MAX
from postroom.core.model import Conversation, Receipt, group, peer, room, service
from postroom.core.rows import ConversationRow
from postroom.storage.views import StoredViews
from tests.support.desk import APP, Desk

G, R, S = group("g"), room("r"), service("s")


class House(Desk):
    """A desk with a group, a room and a service; everything is about the group unless it says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.do(CreateConversation, members=("ann", "bob", "cy"))
        self.do(CreateConversation, R)
        self.do(CreateConversation, S)

    def carry_out(self, command: Command) -> Decision:
        """Check it first."""
        check(command)
        return self.run(command)

    def do(self, kind: type[Command], conversation: Conversation = G, **fields: Any) -> Receipt:
        command = kind(app=APP, conversation=conversation, **fields)  # type: ignore[call-arg]
        return self.receipt(self.carry_out(command))

    def ban(self, *users: str, of: Conversation = G) -> Receipt:
        return self.do(BanUsers, of, users=users)

    def silence(self, *users: str, of: Conversation = G, ttl_ms: int | None = None) -> Receipt:
        return self.do(SilenceUsers, of, users=users, ttl_ms=ttl_ms)

    def unsilence(self, *users: str, of: Conversation = G, temporary: bool = False) -> Receipt:
        return self.do(UnsilenceUsers, of, users=users, temporary=temporary)

    def row(self, conversation: Conversation = G) -> ConversationRow:
        row = self.read(lambda snapshot: snapshot.views.conversation(APP, conversation))
        assert row is not None
        return row

    def on(self, users: Any, conversation: Conversation = G) -> list[str]:
        number = self.row(conversation).number
        return self.read(lambda snapshot: list(snapshot.views.listed(number, users)))

    def enter(self, user: str) -> Decision:
        session = self.login(user).session
        return self.carry_out(Join(app=APP, user=user, session=session, room=R.id))

    def in_room(self) -> list[str]:
        return self.read(lambda snapshot: sorted(snapshot.views.members(APP, R.id)))

    def say(self, user: str, to: Conversation = G, *, speaks: bool = True, **fields: Any) -> Receipt:
        command = SendMessage(app=APP, sender=user, to=to, body=b"hi", history=True, speaks=speaks, **fields)
        return self.receipt(self.carry_out(command))


@pytest.fixture
def house() -> House:
    return House()


# Bans.


def test_who_is_banned_is_out_of_the_group_and_stays_out(house: House) -> None:
    before = house.row().updated_ms
    house.clock.run(1_000)
    receipt = house.ban("cy", "stranger", "cy")
    *_, removed, banned = house.records
    assert removed.event == MembersRemoved(app=APP, conversation=G, at_ms=receipt.at_ms, users=("cy",))
    assert banned.event == UsersBanned(app=APP, conversation=G, at_ms=receipt.at_ms, users=("cy", "stranger"))
    assert receipt == Receipt(id=message_at(banned.position), at_ms=before + 1_000, conversation=G)
    assert (house.on("members"), house.on("banned"), house.row().members) == (["ann", "bob"], ["cy", "stranger"], 2)
    with pytest.raises(Banned, match="'cy'"):
        house.do(AddMembers, users=("dan", "cy"))
    assert house.on("members") == ["ann", "bob"]
    house.do(AddMembers, users=("ann", "dan"))
    house.do(UnbanUsers, users=("cy", "dan"))
    assert (house.on("banned"), house.row().banned) == (["stranger"], 1)
    assert house.on("members") == ["ann", "bob", "dan"]
    house.do(AddMembers, users=("cy",))


def test_a_ban_alone_does_not_touch_the_record(house: House) -> None:
    before = house.row().updated_ms
    house.clock.run(1_000)
    house.ban("stranger")
    assert house.row().updated_ms == before


def test_who_is_banned_is_out_of_the_room(house: House) -> None:
    for user in ("bob", "cy"):
        house.enter(user)
    house.ban("cy", "dan", of=R)
    assert house.in_room() == ["bob"]
    assert any(isinstance(event, RoomLeft) and event.user == "cy" for event in house.events)
    for user in ("cy", "dan"):
        with pytest.raises(Banned, match=user):
            house.enter(user)
    house.do(UnbanUsers, R, users=("cy",))
    house.enter("cy")
    assert house.in_room() == ["bob", "cy"]


def test_a_ban_after_a_restart_ends_the_stay_of_the_dead_process(house: House) -> None:
    house.enter("cy")
    house.restart()
    house.ban("cy", of=R)
    house.end_stale()
    assert sum(isinstance(event, RoomLeft) for event in house.events) == 1
    house.do(UnbanUsers, R, users=("cy",))
    house.enter("cy")
    assert house.in_room() == ["cy"]


def test_a_room_of_the_same_name_as_a_group(house: House) -> None:
    house.do(CreateConversation, room("g"))
    house.ban("bob", of=room("g"))
    assert house.on("members") == ["ann", "bob", "cy"]
    house.ban("bob", of=S)
    assert house.on("banned", S) == ["bob"]
    house.say("bob")


def test_a_room_that_nobody_created_has_banned_nobody(house: House) -> None:
    session = house.login("bob").session
    house.run(Join(app=APP, user="bob", session=session, room="new"))
    assert isinstance(house.events[-1], RoomJoined)
    assert house.say("bob", room("newer"))
    with pytest.raises(UnknownConversation):
        house.ban("bob", of=room("newest"))


@pytest.mark.parametrize("of", [G, R, S])
def test_so_many_are_banned_at_most(house: House, of: Conversation) -> None:
    full, most = [f"u{number}" for number in range(LISTED_MAX[of.kind])], LISTED_MAX[of.kind]
    for first in range(0, most, MEMBERS_MAX):
        house.ban(*full[first : first + MEMBERS_MAX], of=of)
    count = len(house.records)
    with pytest.raises(BansFull):
        house.ban("one more", of=of)
    assert house.ban(full[7], of=of).duplicate
    assert (len(house.records), house.row(of).banned) == (count, most)


# Silences.


def test_who_is_silenced_for_good(house: House) -> None:
    house.silence("bob", "stranger", "bob")
    assert (house.on("silenced"), house.row().silenced) == (["bob", "stranger"], 2)
    with pytest.raises(Silenced) as refused:
        house.say("bob")
    assert refused.value.retry_after_ms is None
    assert house.say("bob", speaks=False)
    assert house.say("bob", R)
    house.unsilence("bob", temporary=True)
    assert house.on("silenced") == ["bob", "stranger"]
    house.unsilence("bob", "ann")
    assert house.say("bob")
    assert (house.on("silenced"), house.row().silenced) == (["stranger"], 1)


def test_who_is_silenced_for_a_while(house: House) -> None:
    house.silence("bob", of=R, ttl_ms=60_000)
    house.clock.run(59_000)
    with pytest.raises(Silenced) as refused:
        house.say("bob", R)
    assert refused.value.retry_after_ms == 1_000
    house.silence("bob", "bob", of=R, ttl_ms=2_000)  # from now on, again
    house.clock.run(1_999)
    with pytest.raises(Silenced):
        house.say("bob", R)
    house.clock.run(1)
    assert house.say("bob", R)
    assert house.unsilence("bob", of=R, temporary=True).duplicate  # it is over by itself
    house.silence("bob", of=R, ttl_ms=60_000)
    house.unsilence("bob", "cy", of=R, temporary=True)
    assert house.say("bob", R)
    assert house.row(R).silenced == 0


def test_a_jump_of_the_clock_ends_no_silence(house: House) -> None:
    house.silence("bob", ttl_ms=60_000)
    house.clock.jump(86_400_000)
    with pytest.raises(Silenced):
        house.say("bob")


def test_silences_that_are_over_are_forgotten_in_steps(house: House) -> None:
    users = [f"u{number}" for number in range(DEDUP_EXPIRED_MAX + 1)]
    house.silence(*users, ttl_ms=1_000)
    house.silence("bob", of=R, ttl_ms=5_000)
    house.clock.run(1_000)
    house.run(ExpireSilences(limit=1))
    assert isinstance(house.events[-1], SilencesExpired)
    house.run(ExpireSilences())
    assert [event.count for event in house.events if isinstance(event, SilencesExpired)] == [1, DEDUP_EXPIRED_MAX]
    assert len(house.read(lambda snapshot: list(snapshot.views.silence_ends()))) == 1
    assert not house.run(ExpireSilences()).events
    with pytest.raises(Silenced):
        house.say("bob", R)


@pytest.mark.parametrize("of", [G, R])
def test_so_many_are_silenced_for_good_at_most(house: House, of: Conversation) -> None:
    most = LISTED_MAX[of.kind]
    for first in range(0, most, MEMBERS_MAX):
        house.silence(*(f"u{number}" for number in range(first, first + MEMBERS_MAX)), of=of)
    with pytest.raises(SilencesFull):
        house.silence("one more", of=of)
    house.silence("one more", of=of, ttl_ms=1_000)
    assert isinstance(house.events[-1], UsersSilenced)
    with pytest.raises(Silenced):
        house.say("one more", of)


# Speaking.


@pytest.mark.parametrize("to", [G, R])
def test_who_is_banned_does_not_talk_there_either(house: House, to: Conversation) -> None:
    house.ban("bob", of=to)
    with pytest.raises(Banned, match="'bob'"):
        house.say("bob", to)
    assert house.say("bob", to, speaks=False)


def test_a_retry_of_what_was_said_before_gets_its_outcome(house: House) -> None:
    first = house.say("bob", dedup="k")
    house.silence("bob")
    again = house.say("bob", dedup="k")
    assert (again.id, again.duplicate) == (first.id, True)


def test_between_peers_nobody_is_silenced_and_nothing_is_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.silence("bob")
    for name in ("conversation", "is_listed", "silence"):
        monkeypatch.setattr(StoredViews, name, None)
    assert house.say("bob", peer("ann"), queue=True)


# Roles.


def roles(house: House, of: Conversation = G) -> dict[str, str]:
    number = house.row(of).number
    found = house.read(lambda snapshot: list(snapshot.views.roles(number)))
    return {row.user: row.role for row in sorted(found, key=lambda row: row.since)}


@pytest.mark.parametrize("of", [G, R])
def test_who_is_what(house: House, of: Conversation) -> None:
    house.do(SetRole, of, user="bob", role="owner")
    house.do(SetRole, of, user="stranger", role="member")
    house.do(SetRole, of, user="cy", role="manager")
    house.do(SetRole, of, user="stranger", role="manager")
    assert roles(house, of) == {"bob": "owner", "stranger": "manager", "cy": "manager"}
    assert (house.row(of).roles, house.row(of).owners) == (3, 1)
    assert house.do(SetRole, of, user="cy", role="manager").duplicate
    assert house.do(RemoveRole, of, user="ann").duplicate
    house.do(RemoveRole, of, user="stranger")
    assert roles(house, of) == {"bob": "owner", "cy": "manager"}


def test_the_only_owner_stays(house: House) -> None:
    house.do(SetRole, user="bob", role="owner")
    with pytest.raises(OwnerNeeded, match="'bob'"):
        house.do(SetRole, user="bob", role="manager")
    with pytest.raises(OwnerNeeded):
        house.do(RemoveRole, user="bob")
    house.do(SetRole, user="cy", role="owner")
    house.do(SetRole, user="bob", role="member")
    assert (roles(house), house.row().owners) == ({"bob": "member", "cy": "owner"}, 1)
    with pytest.raises(OwnerNeeded):
        house.do(RemoveRole, user="cy")
    house.do(SetRole, user="bob", role="owner")
    house.do(RemoveRole, user="cy")
    assert (house.row().roles, house.row().owners) == (1, 1)


def test_so_many_roles_at_most(house: House) -> None:
    for number in range(ROLES_MAX):
        house.do(SetRole, user=f"u{number}", role="member")
    with pytest.raises(RolesFull):
        house.do(SetRole, user="one more", role="member")
    house.do(SetRole, user="u3", role="owner")


# Blocks.


def test_who_blocks_a_group_is_not_put_into_it(house: House) -> None:
    house.do(BlockConversation, user="dan")
    with pytest.raises(Banned, match="'dan'"):
        house.do(AddMembers, users=("erin", "dan"))
    assert house.do(BlockConversation, user="dan").duplicate
    house.do(BlockConversation, user="bob")  # members stay
    assert house.on("members") == ["ann", "bob", "cy"]
    house.do(UnblockConversation, user="dan")
    assert house.do(UnblockConversation, user="dan").duplicate
    house.do(AddMembers, users=("dan",))
    assert house.on("members") == ["ann", "bob", "cy", "dan"]


def test_blocks_are_in_the_order_of_creation(house: House) -> None:
    for conversation in (S, R, G):
        house.do(BlockConversation, conversation, user="dan")
    blocked = house.read(lambda snapshot: [each for _, each in snapshot.views.blocked(APP, "dan")])
    assert blocked == [G, R, S]
    house.enter("dan")  # one's own steps are one's own


def test_so_many_blocks_at_most(house: House) -> None:
    for number in range(BLOCKED_MAX):
        house.do(CreateConversation, group(f"b{number}"))
        house.do(BlockConversation, group(f"b{number}"), user="dan")
    with pytest.raises(BlocksFull):
        house.do(BlockConversation, user="dan")
    house.do(BlockConversation, user="erin")


# Forms.


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (BanUsers, {"users": ("bob",)}),
        (UnbanUsers, {"users": ("bob",)}),
        (SilenceUsers, {"users": ("bob",)}),
        (UnsilenceUsers, {"users": ("bob",), "temporary": True}),
        (SetRole, {"user": "bob", "role": "owner"}),
        (RemoveRole, {"user": "bob"}),
        (BlockConversation, {"user": "bob"}),
        (UnblockConversation, {"user": "bob"}),
    ],
)
def test_a_conversation_that_nobody_created_or_that_has_no_lists(
    house: House, kind: type[Command], fields: dict[str, Any]
) -> None:
    with pytest.raises(UnknownConversation):
        house.do(kind, group("h"), **fields)
    with pytest.raises(InvalidCommand):
        house.do(kind, peer("bob"), **fields)
    with pytest.raises(InvalidCommand):
        house.do(kind, **fields | ({"users": ("",)} if "users" in fields else {"user": "x" * 257}))
    if "users" in fields:
        assert house.do(kind, **fields | {"users": ()}).duplicate
        many = {"users": tuple(f"u{number}" for number in range(MEMBERS_MAX + 1))}
        # They alone are more than a group has on such a list.
        full = {BanUsers: BansFull, SilenceUsers: SilencesFull}.get(kind, InvalidCommand)
        with pytest.raises(full):
            house.do(kind, **fields | many)
        with pytest.raises(InvalidCommand):
            house.do(kind, R, **fields | many)


@pytest.mark.parametrize(
    "command",
    [
        SilenceUsers(app=APP, conversation=S, users=("bob",)),
        UnsilenceUsers(app=APP, conversation=S, users=("bob",), temporary=False),
        SetRole(app=APP, conversation=S, user="bob", role="owner"),
        RemoveRole(app=APP, conversation=S, user="bob"),
        SetRole(app=APP, conversation=G, user="bob", role="king"),  # type: ignore[arg-type]
        SilenceUsers(app=APP, conversation=G, users=("bob",), ttl_ms=999),
        SilenceUsers(app=APP, conversation=G, users=("bob",), ttl_ms=86_400_001),
    ],
    ids=str,
)
def test_commands_of_the_wrong_form(command: Command) -> None:
    with pytest.raises(InvalidCommand):
        check(command)


@pytest.mark.parametrize("ttl_ms", [1_000, 86_400_000])
def test_the_shortest_and_the_longest_while(house: House, ttl_ms: int) -> None:
    house.silence("bob", ttl_ms=ttl_ms)
    house.clock.run(ttl_ms - 1)
    with pytest.raises(Silenced):
        house.say("bob")
    house.clock.run(1)
    house.say("bob")
