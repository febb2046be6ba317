"""The core's refusals in the words of LeanCloud's parameters."""

from collections.abc import Generator
from typing import Any

import pytest

from postroom.core.commands import RemoveMembers, SendMessage
from postroom.core.errors import InvalidCommand, Refusal, UnknownConversation
from postroom.core.model import peer, service
from postroom.core.queries import FindConversations
from postroom.transports.leancloud.words import worded

REMOVE = RemoveMembers(app="shop", conversation=service("s1"), users=("bob",))
FIND = FindConversations(app="shop", kinds=("group",))
SEND = SendMessage(app="shop", sender="ann", to=peer("bob"), body=b"hi")


@pytest.mark.parametrize(
    ("step", "refusal", "told"),
    [
        (REMOVE, InvalidCommand("users: at most 500"), "client_ids: at most 500"),
        (FIND, InvalidCommand("offset: too large: really"), "skip: too large: really"),
        (FIND, InvalidCommand("users: whose"), "users: whose"),
        (SEND, InvalidCommand("offset: of what"), "offset: of what"),
        (REMOVE, InvalidCommand("no colon"), "no colon"),
        (REMOVE, UnknownConversation("users: are not"), "users: are not"),
    ],
)
def test_refusals(step: Any, refusal: Refusal, told: str) -> None:
    seen = []

    def steps() -> Generator[Any, Any, Any]:
        try:
            yield step
        except Refusal as error:
            seen.append(error)
            return (yield FIND)

    work = worded(steps())
    assert next(work) is step
    assert work.throw(refusal) is FIND
    with pytest.raises(StopIteration) as end:
        work.send(5)
    assert (end.value.value, [type(error) for error in seen]) == (5, [type(refusal)])
    assert [error.message for error in seen] == [told]


def test_what_is_not_caught_goes_on_its_way() -> None:
    def steps() -> Generator[Any, Any, Any]:
        yield REMOVE

    work = worded(steps())
    next(work)
    with pytest.raises(InvalidCommand, match=r"^client_ids: at most 500$"):
        work.throw(InvalidCommand("users: at most 500"))


def test_steps_that_are_given_up_are_closed() -> None:
    closed = []

    def steps() -> Generator[Any, Any, Any]:
        try:
            yield REMOVE
        finally:
            closed.append(True)

    work = worded(steps())
    next(work)
    work.close()
    assert closed == [True]


def test_steps_that_take_none() -> None:
    def steps() -> Generator[Any, Any, Any]:
        if False:
            yield
        return 7

    with pytest.raises(StopIteration) as end:
        next(worded(steps()))
    assert end.value.value == 7
