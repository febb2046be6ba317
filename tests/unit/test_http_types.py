"""Requests and replies as values."""

import pytest

from postroom.core.errors import InvalidCommand
from postroom.transports.http.types import HttpReply, HttpRequest, json_reply, retry_after


def test_headers_are_found_in_any_letter_case_and_the_first_counts() -> None:
    request = HttpRequest(method="GET", path="/", headers=[(b"X-One", b"1"), (b"x-one", b"2")])
    assert request.header("x-ONE") == b"1"
    assert request.header("x-two") is None


def test_segments_and_queries_are_decoded_on_demand() -> None:
    request = HttpRequest(method="GET", path="/u/a%20b", query_string=b"q=%ff", params={"user": "a%20b"})
    assert request.param("user") == "a b"
    with pytest.raises(InvalidCommand):
        request.query()


def test_of_a_repeated_query_name_the_last_counts() -> None:
    assert HttpRequest(method="GET", path="/", query_string=b"a=1&a=2").query() == {"a": "2"}


@pytest.mark.parametrize(
    ("client", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("2001:db8::1", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_who_is_on_this_machine(client: str | None, loopback: bool) -> None:
    assert HttpRequest(method="GET", path="/", client=client).from_loopback is loopback


def test_json_replies_say_what_they_are() -> None:
    reply = json_reply(400, {"code": "x"}, ("Retry-After", "1"))
    assert reply == HttpReply(
        400, (("Content-Type", "application/json; charset=utf-8"), ("Retry-After", "1")), b'{"code":"x"}'
    )


@pytest.mark.parametrize(("wait_ms", "seconds"), [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (60_000, "60")])
def test_waits_are_rounded_up_to_seconds(wait_ms: int, seconds: str) -> None:
    assert retry_after(wait_ms) == ("Retry-After", seconds)
