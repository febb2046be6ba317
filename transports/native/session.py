"""One native connection, from its opening request to its end.

One task reads what the client says, one writes what the outbox holds; sends are submitted by a task for each lane in
use, joins and leaves by one of their own, acks that want an answer wait in a task each. The gate bounds all that, the
outbox what waits for the client.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Final, NamedTuple, Protocol, assert_never

import msgspec
import trio

from postroom.core import Broker, InvalidCommand, Joined, Refusal, SendMessage, Session, StorageFailure, UnknownId
from postroom.core.ids import UnixMs
from postroom.core.model import LANES, Lane
from postroom.transports.http.types import HttpReply
from postroom.transports.http.websocket import Socket
from postroom.transports.logs import get_logger

from .encode import Memo, encode_error, encode_ok, encode_welcome
from .frames import (
    AckFrame,
    BadFrame,
    ClientFrame,
    JoinFrame,
    LeaveFrame,
    Malformed,
    ReadFrame,
    Ref,
    SendFrame,
    TooLarge,
    parse,
)
from .gate import Gate
from .handshake import SUBPROTOCOL, Rejected, admit, problem, refused
from .outbox import Outbox
from .tokens import TokenClaims

LIMIT: Final = "native.messages"
"""The operation's name in `[apps.limits]`."""
STUCK_HEARTBEATS: Final = 3
"""How many heartbeats the client may leave a message of ours unread before its connection is given up."""
SETTLE_S: Final = 1
"""How long the end of a connection waits for the outcomes of what its client asked for; a commit takes milliseconds."""

_log = get_logger("postroom.native")


class Limiter(Protocol):
    """Counts calls against the configured rates."""

    def take(self, app: str, operation: str) -> object:
        """Count one call. Raises RateLimited."""


class NativeService(msgspec.Struct, frozen=True, kw_only=True):
    """What all native connections of a server share."""

    broker: Broker
    secrets: Mapping[str, str]
    """Each app's `session_secret`."""
    limiter: Limiter
    wall_ms: Callable[[], UnixMs]
    heartbeat_s: float = 25
    memo: Memo = msgspec.field(default_factory=Memo)


class Close(NamedTuple):
    """Why a connection ends, as its close frame says it. The codes' ranges are explained in docs/protocol.md."""

    code: int
    reason: str


class _Send(NamedTuple):
    """A send on its way to the broker, and what the gate counts for it."""

    ref: Ref
    command: SendMessage
    size_bytes: int


LEFT: Final = Close(1000, "")
"""The client closed, or is gone."""
SHUTDOWN: Final = Close(1012, "the server is shutting down")
INTERNAL: Final = Close(1011, "internal error")
TOO_LARGE: Final = 1009
BAD_FRAME: Final = 4400
REASON_BYTES_MAX: Final = 123
"""A control frame has 125 bytes (RFC 6455 5.5), two of them for the code."""
STUCK: Final = Close(4508, "too slow")
KICKED: Final = Close(4115, "")
"""The reason is the kicker's."""
_ENDS: Final = {"shutdown": SHUTDOWN, "kicked": KICKED}
"""By why the broker closes a session."""


async def serve_session(socket: Socket, service: NativeService) -> None:
    """Serve one connection to its end: reject it, or log its user in and carry frames until either side closes.

    Returns when the session is logged out and the socket closed; cancelled, it does the same without settling anything.
    """
    try:
        claims = admit(socket, service.secrets, service.wall_ms())
    except Rejected as rejected:
        await socket.reject(rejected.reply)
        return
    await _Connection(socket, service, claims).run()


class _Connection:
    """The tasks of a connection and what they share."""

    def __init__(self, socket: Socket, service: NativeService, claims: TokenClaims) -> None:
        self._socket = socket
        self._service = service
        self._claims = claims
        self._gate = Gate()
        self._outbox = Outbox(service.memo, self._broker_closes, socket.hand_over)
        # Lists: the gate keeps them short, and an empty deque has 700 bytes.
        self._lanes: dict[Lane, list[_Send]] = {lane: [] for lane in LANES}
        self._submitting: set[Lane] = set()
        self._moves: list[JoinFrame | LeaveFrame] = []
        self._accepted = False
        self._end: Close | None = None
        self._ended = trio.Event()
        self._sending_since: float | None = None
        self._session: Session
        self._workers: trio.Nursery

    async def run(self) -> None:
        """From the login to the closed socket."""
        # The writer outlives the session: a host may be unable to cancel a send that the client does not read, and only
        # closing the socket, after the logout, ends that one.
        async with trio.open_nursery() as nursery:
            try:
                async with AsyncExitStack() as stack:
                    rejection = await self._log_in(stack)
                    if rejection is not None:
                        await self._socket.reject(rejection)
                        return
                    nursery.start_soon(self._write)
                    await self._serve()
            except StorageFailure:
                self._finish(INTERNAL)
            except trio.Cancelled:
                self._finish(SHUTDOWN)
                raise
            finally:
                await self._close()
                nursery.cancel_scope.cancel()

    async def _log_in(self, stack: AsyncExitStack) -> HttpReply | None:
        """Log in and upgrade, or return what to answer instead."""
        app, user = self._claims.app, self._claims.user
        issued_at_ms = self._claims.issued_at_ms
        connecting = self._service.broker.connect(app=app, user=user, sink=self._outbox, token_ms=issued_at_ms)
        try:
            self._session = session = await stack.enter_async_context(connecting)
        except Refusal as refusal:
            return refused(refusal)
        except StorageFailure:
            return problem(503, "internal", "the store failed")
        welcome = session.welcome
        self._outbox.welcome(
            encode_welcome(app=app, user=user, session=welcome.session, queued=welcome.queued, missed=welcome.missed)
        )
        self._accepted = True
        await self._socket.accept(SUBPROTOCOL)
        return None

    async def _close(self) -> None:
        if self._accepted:
            end = self._end or INTERNAL
            if end is KICKED:
                end = _closing(KICKED.code, self._session.kick_reason)
            with trio.CancelScope(shield=True):  # it takes a bounded time, and ends what cannot be cancelled
                await self._socket.close(end.code, end.reason)

    def _broker_closes(self, reason: str) -> None:
        self._finish(_ENDS.get(reason, INTERNAL))

    def _finish(self, end: Close) -> None:
        """End the connection; the first reason counts."""
        if self._end is None:
            self._end = end
            self._ended.set()
            self._outbox.shut()

    async def _serve(self) -> None:
        """Everything between welcome and logout."""
        try:
            async with trio.open_nursery() as nursery:
                self._workers = nursery
                reading = trio.CancelScope()
                nursery.start_soon(self._read, reading)
                await self._watch()
                reading.cancel()
                if self._end not in (INTERNAL, STUCK):  # there would be no answer, or nobody to take it
                    with trio.move_on_after(SETTLE_S):
                        await self._gate.wait_idle()
                nursery.cancel_scope.cancel()
        except Exception:  # noqa: BLE001  a fault of ours costs its session, and nobody else anything
            _log.exception("incident", app=self._claims.app, user=self._claims.user)
            self._finish(INTERNAL)

    async def _watch(self) -> None:
        """Wait for the end, and bring it about if the client takes nothing of what it is sent."""
        heartbeat_s = self._service.heartbeat_s
        while not self._ended.is_set():
            with trio.move_on_after(heartbeat_s):
                await self._ended.wait()
            since = self._sending_since
            if since is not None and trio.current_time() - since >= STUCK_HEARTBEATS * heartbeat_s:
                self._finish(STUCK)

    async def _write(self) -> None:
        """Send what the outbox holds, as much as waits at a time."""
        while True:
            chunk = await self._outbox.take()
            self._sending_since = trio.current_time()
            await self._socket.send(chunk.text)
            self._sending_since = None
            self._gate.leave(chunk.answers)
            if self._outbox.sent(chunk):
                self._session.resume()

    # What the client says.

    async def _read(self, reading: trio.CancelScope) -> None:
        with reading:
            try:
                while (text := await self._socket.receive()) is not None:
                    for frame in parse(text):
                        await self._take(frame)
                self._finish(LEFT)
            except BadFrame as bad:
                code = TOO_LARGE if isinstance(bad, TooLarge) else BAD_FRAME
                self._finish(_closing(code, str(bad)))

    async def _take(self, frame: ClientFrame) -> None:
        match frame:
            case AckFrame():
                await self._acknowledge(frame)
            case SendFrame():
                await self._gate.enter(len(frame.payload))
                self._send(frame)
            case JoinFrame() | LeaveFrame():
                await self._gate.enter()
                self._move(frame)
            case ReadFrame():
                await self._gate.enter()
                self._workers.start_soon(self._mark_read, frame)
            case Malformed():
                await self._gate.enter()
                self._refuse(frame.ref, InvalidCommand(frame.message))
            case _:
                assert_never(frame)

    def _refuse(self, ref: Ref | None, refusal: Refusal) -> None:
        self._outbox.answer(encode_error(ref, refusal))

    # Acks and marks.

    async def _acknowledge(self, frame: AckFrame) -> None:
        # Which frame an id means is settled by what was acknowledged before: here, and not in tasks that overtake each other.
        if frame.ref is None:
            if frame.message is not None:
                with suppress(UnknownId):  # without a `ref` nobody waits to hear it
                    self._session.ack_id_soon(frame.message, frame.seq)
            return
        await self._gate.enter()
        try:
            if frame.message is None:
                raise UnknownId(f"message {frame.id} was not sent to this session")
            on_disk = self._session.ack_id_now(frame.message, frame.seq)
        except Refusal as refusal:
            self._refuse(frame.ref, refusal)
        except StorageFailure:
            self._finish(INTERNAL)
        else:
            self._workers.start_soon(self._ack, on_disk, frame.ref)

    async def _ack(self, on_disk: Callable[[], Awaitable[None]], ref: Ref) -> None:
        try:
            await on_disk()
        except Refusal as refusal:
            self._refuse(ref, refusal)
        except StorageFailure:
            self._finish(INTERNAL)
        else:
            self._outbox.answer(encode_ok(ref))

    async def _mark_read(self, frame: ReadFrame) -> None:
        # These may overtake each other, too: a mark does not go back.
        try:
            await self._service.broker.submit(frame.command(app=self._claims.app, user=self._claims.user))
        except Refusal as refusal:
            self._refuse(frame.ref, refusal)
        except StorageFailure:
            self._finish(INTERNAL)
        else:
            if frame.ref is None:
                self._gate.leave(1)
            else:
                self._outbox.answer(encode_ok(frame.ref))

    # Rooms.

    def _move(self, frame: JoinFrame | LeaveFrame) -> None:
        """Queue a join or leave for the one task that carries them out in order, while there are any."""
        self._moves.append(frame)
        if len(self._moves) == 1:
            self._workers.start_soon(self._carry_out_moves)

    async def _carry_out_moves(self) -> None:
        try:
            while self._moves:
                await self._carry_out_move(self._moves[0])
                del self._moves[0]
        except StorageFailure:
            self._finish(INTERNAL)

    async def _carry_out_move(self, frame: JoinFrame | LeaveFrame) -> None:
        def answer(joined: Joined | None = None) -> None:
            self._outbox.answer(encode_ok(frame.ref, joined))

        try:
            if isinstance(frame, JoinFrame):
                await self._session.join(frame.room, frame.since_id, answer=answer)
            else:
                await self._session.leave(frame.room)
                answer()
        except Refusal as refusal:
            self._refuse(frame.ref, refusal)

    # Sends.

    def _send(self, frame: SendFrame) -> None:
        """Queue a send for its lane's task, which runs while there is something to submit.

        One task a lane and `submit_many` keep the order within a lane; lanes do not wait for each other.
        """
        size_bytes = len(frame.payload)
        try:
            self._service.limiter.take(self._claims.app, LIMIT)
            command = frame.command(app=self._claims.app, user=self._claims.user)
        except Refusal as refusal:
            self._gate.settle(size_bytes)
            self._refuse(frame.ref, refusal)
            return
        self._lanes[command.lane].append(_Send(frame.ref, command, size_bytes))
        if command.lane not in self._submitting:
            self._submitting.add(command.lane)
            self._workers.start_soon(self._submit, command.lane)

    async def _submit(self, lane: Lane) -> None:
        waiting = self._lanes[lane]
        try:
            while waiting:
                batch = list(waiting)
                waiting.clear()
                outcomes = await self._service.broker.submit_many([send.command for send in batch])
                for send, outcome in zip(batch, outcomes, strict=True):
                    self._gate.settle(send.size_bytes)
                    if isinstance(outcome, Refusal):
                        self._refuse(send.ref, outcome)
                    else:
                        self._outbox.answer(encode_ok(send.ref, outcome))
        except StorageFailure:
            self._finish(INTERNAL)
        finally:
            self._submitting.discard(lane)


def _closing(code: int, reason: str) -> Close:
    """With as much of the reason as a close frame holds."""
    return Close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))
