"""Several changes of a conversation as one: what may be among them, what they come to, and that they are all or none."""

from typing import Any

import pytest

from postroom.core.checks import check
from postroom.core.commands import (
    AddMembers,
    BanUsers,
    BlockConversation,
    Command,
    CreateConversation,
    DeleteConversation,
    ImportConversation,
    MarkRead,
    MuteConversation,
    Operation,
    RemoveMembers,
    SetRole,
    Transact,
    UnmuteConversation,
    UpdateConversation,
)
from postroom.core.errors import Banned, ConversationFull, InvalidCommand, UnknownConversation
from postroom.core.events import ConversationMuted, ConversationUpdated, MembersAdded, MembersRemoved
from postroom.core.ids import UnixMs
from postroom.core.limits import MEMBERS_MAX, MUTED_MAX, STEPS_MAX
from postroom.core.model import Conversation, Receipt, Rules, group, service
from postroom.core.runtime.pending import Group, Pending
from postroom.core.space import estimate
from postroom.storage.engine import LIVE
from tests.support.desk import APP, Desk
from tests.support.rows import engine_of, replayed, rows

G = group("g")
ABOUT: dict[str, Any] = {"app": APP, "conversation": G}
SET = UpdateConversation(**ABOUT, operations=(Operation("a", "set", b"1"),))


def together(*steps: Command, **fields: Any) -> Transact:
    """About `g` unless it says otherwise."""
    return Transact(**ABOUT | {"steps": steps} | fields)


def add(*users: str, **fields: Any) -> AddMembers:
    return AddMembers(**ABOUT | {"users": users} | fields)


def remove(*users: str) -> RemoveMembers:
    return RemoveMembers(**ABOUT, users=users)


class Hall(Desk):
    """The group of ann and bob, from which `ban` is banned."""

    def __init__(self) -> None:
        super().__init__()
        self.run(CreateConversation(**ABOUT, members=("ann", "bob")))
        self.run(BanUsers(**ABOUT, users=("ban",)))
        self.clock.run(1_000)
        self.before = len(self.records)

    def do(self, command: Command) -> Receipt:
        check(command)
        return self.receipt(self.run(command))

    def members(self) -> list[str]:
        def listed(snapshot: Any) -> list[str]:
            return list(snapshot.views.listed(snapshot.views.conversation(APP, G).number, "members"))

        return self.read(listed)


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_each_sees_what_those_before_it_did(hall: Hall) -> None:
    """A full group has room when somebody has left it."""
    hall.do(add(*(f"u{number}" for number in range(MEMBERS_MAX - 2))))
    before = len(hall.records)
    receipt = hall.do(together(SET, remove("ann", "bob"), add("cy", "dan"), MuteConversation(**ABOUT, users=("dan",))))
    records = hall.records[before:]
    kinds = [ConversationUpdated, MembersRemoved, MembersAdded, ConversationMuted]
    assert [type(record.event) for record in records] == kinds
    assert [record.position - records[0].position for record in records] == [0, 1, 2, 3]
    assert receipt == Receipt(id=receipt.id, at_ms=hall.clock.wall_ms, conversation=G)
    assert receipt.id == records[-1].position
    assert hall.members()[-2:] == ["cy", "dan"]


def test_its_receipt_is_of_the_last_that_had_something_to_do(hall: Hall) -> None:
    receipt = hall.do(together(add("cy"), remove("nobody"), SET, add("ann")))
    assert len(hall.records) == hall.before + 2
    assert (receipt.id, receipt.at_ms, receipt.duplicate) == (hall.records[-1].position, hall.clock.wall_ms, False)
    again = hall.do(together(add("cy"), remove("nobody")))
    assert (again.duplicate, again.at_ms, again.conversation) == (True, receipt.at_ms, G)
    assert len(hall.records) == hall.before + 2


@pytest.mark.parametrize(
    ("steps", "refusal"),
    [
        ((remove("ann"), add("cy", "ban")), Banned),
        ((SET, add("ban")), Banned),
        ((SET, remove("ann"), add(*(f"u{number}" for number in range(MEMBERS_MAX)))), ConversationFull),
        ((SET, UpdateConversation(**ABOUT, operations=(Operation("a", "add", b"[1]"),))), InvalidCommand),
        ((add("ban"), SET), Banned),
    ],
    ids=["banned", "banned after attributes", "full", "no array", "the first"],
)
def test_if_one_is_refused_none_happened(hall: Hall, steps: Any, refusal: type[Exception]) -> None:
    def stored() -> Any:
        return hall.read(lambda snapshot: rows(engine_of(snapshot), LIVE))

    before = stored()
    with pytest.raises(refusal):
        hall.do(together(*steps))
    assert stored() == before
    assert len(hall.records) == hall.before
    hall.do(together(SET, add("cy")))
    assert hall.read(lambda snapshot: replayed(snapshot) == rows(engine_of(snapshot), LIVE))


def test_of_what_is_not_there(hall: Hall) -> None:
    with pytest.raises(UnknownConversation):
        hall.do(together(add("ann", conversation=group("h")), conversation=group("h")))


@pytest.mark.parametrize(
    "command",
    [
        together(SET),
        together(*[SET] * STEPS_MAX),
        together(
            add("ann"),
            UnmuteConversation(**ABOUT, users=("ann",)),
            BanUsers(**ABOUT, users=("ann",)),
            SetRole(**ABOUT, user="bob", role="owner"),
            BlockConversation(**ABOUT, user="ann"),
        ),
        together(add("ann", conversation=service("s")), conversation=service("s")),
    ],
    ids=str,
)
def test_good_ones(command: Command) -> None:
    check(command)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (together(), "steps"),
        (together(*[SET] * (STEPS_MAX + 1)), "steps"),
        (together(add("ann", app="other")), "steps"),
        (together(SET, add("ann", conversation=group("h"))), "steps"),
        (together(add("ann", conversation=service("g"))), "steps"),
        (together(together(SET)), "steps: a Transact"),
        (together(CreateConversation(**ABOUT), add("ann")), "steps: a CreateConversation"),
        (together(DeleteConversation(**ABOUT, by="ann")), "steps: a DeleteConversation"),
        (together(ImportConversation(**ABOUT, created_ms=UnixMs(1), updated_ms=UnixMs(1))), "steps"),
        (together(MarkRead(**ABOUT, user="ann", until_ms=UnixMs(1))), "steps"),
        (together(SET, conversation=Conversation("peer", "g")), "conversation"),
        # Each by itself.
        (together(SET, add("")), "users"),
        (together(SET, UpdateConversation(**ABOUT, operations=(Operation("", "unset"),))), "attributes"),
        (
            together(
                MuteConversation(**ABOUT | {"conversation": service("s")}, users=("a",)), conversation=service("s")
            ),
            "conversation",
        ),
    ],
    ids=str,
)
def test_those_of_the_wrong_form(command: Command, field: str) -> None:
    with pytest.raises(InvalidCommand, match=f"^{field}"):
        check(command)


def test_a_list_that_is_too_long_by_itself() -> None:
    with pytest.raises(ConversationFull):
        check(together(SET, MuteConversation(**ABOUT, users=tuple(f"u{number}" for number in range(MUTED_MAX + 1)))))


def test_it_costs_what_its_steps_cost() -> None:
    steps = (SET, add("ann", "bob"), remove("cy"))
    whole = Pending(together(*steps), Rules(), Group())
    parts = [Pending(step, Rules(), Group()) for step in steps]
    assert whole.rows == sum(part.rows for part in parts)
    assert whole.cost == sum(part.cost for part in parts)
    assert whole.size == sum(part.size for part in parts) - 2 * Pending(remove(), Rules(), Group()).size
    assert whole.lane == parts[0].lane
    assert estimate(together(*steps), Rules()) == (whole.rows, whole.cost)
