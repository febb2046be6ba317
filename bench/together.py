"""The same work in several tasks at a time."""

from collections.abc import Awaitable, Callable

import trio

from postroom.core import Refusal, StorageFailure

from .failure import BenchFailure


async def together(work: Callable[[], Awaitable[None]], tasks: int, *, what: str) -> None:
    """Run it in so many tasks, until all of them are done. Raises BenchFailure with the first thing that went wrong.

    `what` the tasks do with the broker, for a person.
    """
    failures: list[str] = []
    async with trio.open_nursery() as nursery:

        async def one() -> None:
            try:
                await work()
            except BenchFailure as failure:
                failures.append(failure.message)
                nursery.cancel_scope.cancel()
            except (Refusal, StorageFailure) as error:
                failures.append(f"{what} failed: {error}")
                nursery.cancel_scope.cancel()

        for _ in range(tasks):
            nursery.start_soon(one)
    if failures:
        raise BenchFailure(failures[0])
