"""Lane order: high first, with a floor so that nothing starves; within a lane, apps take turns.

Order within a lane and app is order of arrival, so order within a conversation and lane holds.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from .model import Lane

NORMAL_WAIT_PICKS_MAX: Final = 8
"""Of the picks while something waits in the normal lane, one in so many is its own, however much waits above it."""
LOW_WAIT_PICKS_MAX: Final = 32
"""The same for the low lane."""

_BY_RANK: Final[tuple[Lane, ...]] = ("high", "normal", "low")
_NORMAL_FIRST: Final[tuple[Lane, ...]] = ("normal", "high", "low")
_LOW_FIRST: Final[tuple[Lane, ...]] = ("low", "high", "normal")

# So the low lane's pick, the last but one of its round, is never one that the normal lane was promised.
assert LOW_WAIT_PICKS_MAX % NORMAL_WAIT_PICKS_MAX == 0
assert NORMAL_WAIT_PICKS_MAX > 2


def preference(pick: int) -> Sequence[Lane]:
    """In which order the lanes are asked at the `pick`-th pick."""
    if pick % LOW_WAIT_PICKS_MAX == LOW_WAIT_PICKS_MAX - 2:
        return _LOW_FIRST
    if pick % NORMAL_WAIT_PICKS_MAX == NORMAL_WAIT_PICKS_MAX - 1:
        return _NORMAL_FIRST
    return _BY_RANK


T = TypeVar("T")


class Lanes(Generic[T]):
    """Things in waiting, in lanes."""

    def __init__(self) -> None:
        # Within a lane, the app whose turn it is stands first.
        self._lanes: dict[Lane, dict[str, deque[T]]] = {lane: {} for lane in _BY_RANK}
        self._pick = 0
        self.count = 0
        """How many things wait."""

    def push(self, lane: Lane, app: str, item: T) -> None:
        """Add at the end of its lane and app."""
        apps = self._lanes[lane]
        queue = apps.get(app)
        if queue is None:
            apps[app] = deque((item,))
        else:
            queue.append(item)
        self.count += 1

    def pop(self) -> T:
        """The next one. Raises IndexError if nothing waits."""
        lanes = self._lanes
        for lane in preference(self._pick):
            apps = lanes[lane]
            if apps:
                self._pick += 1
                self.count -= 1
                app = next(iter(apps))
                queue = apps[app]
                item = queue.popleft()
                if len(apps) > 1:
                    del apps[app]
                    if queue:
                        apps[app] = queue
                elif not queue:
                    del apps[app]
                return item
        raise IndexError("nothing waits")
