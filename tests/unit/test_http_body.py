"""Reading bodies within bounds."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from postroom.transports.http.body import (
    BODY_BYTES_MAX,
    BODY_DEADLINE_S,
    DISCARD_BYTES_MAX,
    BodyTooSlow,
    ClientGone,
    discard,
    read_body,
)
from tests.support.web import Wire


def part(body: bytes, *, more: bool = True) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


async def test_a_body_in_one_or_more_parts() -> None:
    assert await read_body(Wire([{"type": "http.request"}]).receive) == b""
    assert await read_body(Wire([part(b"x", more=False)]).receive) == b"x"
    assert await read_body(Wire([part(b"x"), part(b""), part(b"y"), part(b"", more=False)]).receive) == b"xy"


async def test_the_largest_body_and_one_more_byte() -> None:
    half = b"x" * (BODY_BYTES_MAX // 2)
    assert await read_body(Wire([part(half), part(half, more=False)]).receive) == half * 2
    assert await read_body(Wire([part(half), part(half), part(b"x", more=False)]).receive) is None


async def test_what_is_too_large_is_read_on_for_a_while() -> None:
    wire = Wire([part(b"x" * BODY_BYTES_MAX), part(b"x" * DISCARD_BYTES_MAX), part(b"x"), part(b"x")])
    assert await read_body(wire.receive) is None
    assert (await wire.receive())["body"] == b"x"  # the one after the bound was passed


async def test_a_client_that_leaves() -> None:
    with pytest.raises(ClientGone):
        await read_body(Wire([part(b"x"), GONE]).receive)


async def test_a_body_that_never_ends(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    with pytest.raises(BodyTooSlow):
        await read_body(Wire([part(b"x")]).receive)
    assert trio.current_time() - start == BODY_DEADLINE_S


async def test_discarding_goes_on_until_the_client_is_gone() -> None:
    wire = Wire([part(b"x"), part(b"", more=False)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discard, wire.receive)
        await wait_all_tasks_blocked()
        wire.say(GONE)
