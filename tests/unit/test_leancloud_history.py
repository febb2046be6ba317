"""History queries: bounds, scope, signatures (LeanCloud 6.3, 7.10)."""

from typing import Any

import msgspec
import pytest

from postroom.core.errors import InvalidCommand
from postroom.core.ids import MessageId, UnixMs
from postroom.core.model import group
from postroom.core.queries import Bound, FindMessages, GetConversation
from postroom.transports.http.dialect import Call, Caller
from postroom.transports.leancloud import history
from postroom.transports.leancloud.errors import NotSigned
from postroom.transports.leancloud.ids import message_name
from tests.support.web import request
from tests.unit.test_leancloud_auth import SETTINGS

ID = message_name(MessageId(4096))
FOREIGN = "EjRWeJq83vASNFZ4mrze8A"
SIGNED = msgspec.structs.replace(SETTINGS, sign_history=True)
C1 = "6560aa00c0ffee0000000001"


def call(query: str, **params: str) -> Call:
    """A call about conversation C1."""
    return Call(request("/", b"", query=query, params={"cid": C1, **params}), "4711", Caller("demo", role="master"))


def found(query: str, settings: Any = SETTINGS) -> FindMessages:
    """What a query looks for."""
    step = next(history.parse_conversation(call(query), "group", settings))
    assert isinstance(step, FindMessages)
    return step


def test_without_parameters() -> None:
    assert found("") == FindMessages(
        app="demo", conversations=(group(C1),), newest_first=True, limit=100, recalled=True
    )


def test_scopes() -> None:
    assert history.parse_client(call("", uid="al%20ice")) == FindMessages(
        app="demo", sender="al ice", kinds=("peer", "group", "room"), newest_first=True, limit=100, recalled=True
    )
    assert history.parse_app(call("reversed=True&limit=7")) == FindMessages(
        app="demo", everything=True, newest_first=False, limit=7, recalled=True
    )


@pytest.mark.parametrize(
    ("query", "start", "stop"),
    [
        ("timestamp=17", Bound(UnixMs(17)), None),
        ("max_ts=17", Bound(UnixMs(17)), None),
        ("max_ts=17&timestamp=18", Bound(UnixMs(18)), None),
        (f"timestamp=17&msgid={ID}", Bound(UnixMs(17), MessageId(4096), alias=ID), None),
        (f"timestamp=17&msgid={FOREIGN}&include_start=1", Bound(UnixMs(17), None, True, FOREIGN), None),
        (f"till_timestamp=3&till_msgid={ID}&include_stop=TRUE", None, Bound(UnixMs(3), MessageId(4096), True, ID)),
        ("timestamp=-5&till_timestamp=999999999999999999", Bound(UnixMs(0)), Bound(UnixMs(999_999_999_999_999_999))),
        ("include_start=true&include_stop=true", None, None),
        ("timestamp=&till_timestamp=", None, None),
    ],
)
def test_bounds(query: str, start: Bound | None, stop: Bound | None) -> None:
    looks = found(query)
    assert (looks.start, looks.stop) == (start, stop)
    looks.check()


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**9])
def test_a_limit_out_of_range_is_the_default(limit: int) -> None:
    assert found(f"limit={limit}").limit == 100


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (f"msgid={ID}", "msgid: needs timestamp"),
        (f"timestamp=5&till_msgid={ID}", "till_msgid: needs till_timestamp"),
        ("timestamp=now", "timestamp: must be a whole number"),
        ("reversed=up", "reversed: must be true or false"),
        ("include_start=2", "include_start: must be true or false"),
    ],
)
def test_queries_that_are_wrong(query: str, says: str) -> None:
    with pytest.raises(InvalidCommand) as caught:
        found(query)
    assert caught.value.message == says


def test_only_where_nothing_is_found_the_conversation_is_asked_for() -> None:
    steps = history.of_conversation(found(""))
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(("message",))
    steps = history.of_conversation(found(""))
    next(steps)
    assert steps.send(()) == GetConversation(app="demo", conversation=group(C1))
    with pytest.raises(StopIteration):
        steps.send("there")


# Signatures.

VECTOR = "client_id=alice&nonce=n0nce1&signature_ts=1700000000000&signature=89e931e87d574ecd7bf79a6b5ae474879929bed4"


def test_the_vector_of_a_history_signature() -> None:
    assert found(VECTOR, SIGNED) == found("")


def test_the_vector_of_a_login_signature_is_made_the_same_way() -> None:
    """Of no conversation. Nothing here hands one out, since there are no users."""
    text = history.login_signature_of(SETTINGS, "alice", "1700000000000", "n0nce1")
    assert text == "71614d630557aae569bb0f6057a226f609467fef"


@pytest.mark.parametrize(
    "query",
    [
        "",
        VECTOR.replace("alice", "bob"),
        VECTOR.replace("n0nce1", "n0nce2"),
        VECTOR.replace("1700000000000", "1700000000"),
        VECTOR.upper().replace("CLIENT_ID", "client_id"),
        VECTOR[:-1],
        VECTOR.partition("&signature=")[0],
        "client_id=&nonce=&signature_ts=&signature=",
        VECTOR.replace("89e9", "%C3%A9"),
    ],
)
def test_what_is_not_signed(query: str) -> None:
    with pytest.raises(NotSigned):
        found(query, SIGNED)
    found(query.replace("CLIENT_ID", "client_id"))  # nobody looks unless the app wants it


def test_a_signature_is_for_one_conversation() -> None:
    other = Call(request("/", b"", query=VECTOR, params={"cid": "c2"}), "1", Caller("demo", role="master"))
    with pytest.raises(NotSigned):
        history.parse_conversation(other, "group", SIGNED)
