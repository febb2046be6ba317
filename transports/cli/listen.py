"""`postroom listen`: a session of a user, in rooms if asked for, each of its frames a line of JSON on stdout."""

import itertools
import json
import os
import signal
import sys
from typing import Final

import click
import msgspec
import trio

from .client import Closed, Head, NoSession, Rejected, Session, Target, carry
from .failures import EXIT_INTERRUPTED

UNAUTHORIZED: Final = 401


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    target: Target
    token: str
    advice: str
    """What to check if the token is refused."""
    app: str | None
    user: str | None
    """Whose token it must be; None: anybody's."""
    rooms: tuple[str, ...] = ()
    """What to join, in this order."""
    since: int | None = None
    """The message after which the one room's are wanted."""
    ack: bool
    count: int | None
    """How many messages; None: until the end."""


def run(wishes: Wishes) -> int:
    """Print frames until there were as many messages as asked for, or until Ctrl-C. The exit status.

    Ctrl-C ends well what has no other end, and cuts short what has one. Raises ClickException for everything else that
    ends it.
    """
    try:
        return trio.run(_listen, wishes)
    except* BrokenPipeError:
        # Whoever read has seen enough. What Python would flush at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _listen(wishes: Wishes) -> int:
    """The whole command, in trio."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as listening:  # inside the nursery: the session outlives it, for a clean close
            nursery.start_soon(_cancel_when_interrupted, listening)
            try:
                session: Session = await nursery.start(carry, wishes.target, wishes.token)
            except NoSession as error:
                raise click.ClickException(_no_session(error, wishes)) from None
            try:
                await _Listener(session, wishes).run()
            except Closed as closed:
                raise click.ClickException(_closed(closed, wishes)) from None
            finally:
                await session.close()
        nursery.cancel_scope.cancel()
    return EXIT_INTERRUPTED if listening.cancelled_caught and wishes.count is not None else 0


async def _cancel_when_interrupted(scope: trio.CancelScope) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell puts in the background is not ended by Ctrl-C
        return
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


class _Listener:
    """Joins, prints, acknowledges, counts."""

    def __init__(self, session: Session, wishes: Wishes) -> None:
        self._session = session
        self._wishes = wishes
        self._refs = itertools.count(1)
        self._printed = 0
        """Messages."""
        self._acked = 0
        """Messages; `ok` came."""
        self._newest: Head | None = None
        """Of what was printed and is to be acknowledged."""
        self._asked: tuple[int, int, Head] | None = None
        """The ack under way: its `ref`, the messages it covers, the newest frame it covers."""
        self._joining: dict[int, str] = {}
        """Rooms by the `ref` of the join under way."""

    async def run(self) -> None:
        """Until there were as many messages as wished for. Raises Closed, ClickException."""
        while (self._acked if self._wishes.ack else self._printed) != self._wishes.count:
            frame = await self._session.frame()
            room = self._joining.pop(frame.head.ref, None) if isinstance(frame.head.ref, int) else None
            answers = self._asked is not None and frame.head.ref == self._asked[0]
            if self._printed == self._wishes.count and not answers:
                continue  # it stays unacknowledged, and so comes again
            if frame.head.type == "welcome":
                self._check(frame.head)
            _print(frame.json)
            if answers:
                self._settle(frame.head)
            elif room is not None:
                _joined(room, frame.head)
            elif frame.head.type == "welcome":
                await self._join()
            elif frame.head.type == "message" or frame.head.queued is True:
                self._printed += frame.head.type == "message"
                self._newest = frame.head
            await self._acknowledge()

    def _check(self, welcome: Head) -> None:
        """Nobody else's messages are printed, let alone acknowledged, because of a token left in the environment."""
        for what, wished, is_for in (("app", self._wishes.app, welcome.app), ("user", self._wishes.user, welcome.user)):
            if wished not in (None, is_for):
                raise click.ClickException(f"--{what}: the token is for {what} {is_for!r}, not {wished!r}")

    async def _join(self) -> None:
        """Ask for the rooms, once it is known that it is the right user who enters them."""
        for room in self._wishes.rooms:
            ref = next(self._refs)
            self._joining[ref] = room
            since = {"since": str(self._wishes.since)} if self._wishes.since is not None else {}
            await self._session.say({"type": "join", "ref": ref, "room": room, **since})

    async def _acknowledge(self) -> None:
        """Ask for the newest to be acknowledged, and with it all before it, one ask at a time."""
        newest = self._newest
        if not self._wishes.ack or newest is None or self._asked is not None:
            return
        self._newest, ref = None, next(self._refs)
        self._asked = ref, self._printed, newest
        seq = {"seq": newest.seq} if newest.seq is not None else {}
        await self._session.say({"type": "ack", "ref": ref, "id": newest.id, **seq})

    def _settle(self, answer: Head) -> None:
        assert self._asked is not None
        _, covered, newest = self._asked
        if answer.type != "ok":
            raise click.ClickException(f"message {newest.id} is not acknowledged: {answer.code}: {answer.message}")
        self._asked, self._acked = None, covered


def _joined(room: str, answer: Head) -> None:
    if answer.type != "ok":
        raise click.ClickException(f"room {room!r} is not joined: {answer.code}: {answer.message}")


def _print(frame: bytes) -> None:
    """One line, whatever blanks its sender put into a payload; nothing in it that a terminal might obey."""
    line = msgspec.json.format(frame, indent=-1).decode()
    if not line.isprintable():  # only strings can hold such characters, and there an escape says the same
        line = "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)
    click.echo(line.encode())  # JSON is UTF-8 wherever it goes; flushed, so it is out before it is acknowledged


def _no_session(error: NoSession, wishes: Wishes) -> str:
    if isinstance(error, Rejected) and error.status == UNAUTHORIZED:
        return f"{wishes.target.url} refuses the token ({error}); {wishes.advice}"
    if isinstance(error, Rejected):
        return f"{wishes.target.url} refuses: {error}"
    return f"cannot connect to {wishes.target.url}: {error}"


def _closed(closed: Closed, wishes: Wishes) -> str:
    if closed.code is None:
        return f"{closed}; is the broker at {wishes.target.url} still running?"
    return f"the broker closed the session: {closed}"
