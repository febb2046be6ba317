"""What a transport is: a value with a name, a config type and, bound to the configured apps, a dialect with routes.

Nothing here awaits or sees a socket. The shell (`transports.http.shell`) carries a request through a route, the hosts
carry bytes to and from the shell.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from postroom.core.commands import Command
from postroom.core.errors import Refusal
from postroom.core.queries import Query

from .types import HttpReply, HttpRequest

T = TypeVar("T")

FIRST: Final = 0
"""The tier of dialects whose paths nobody else claims."""
LAST: Final = 9
"""The tier of a dialect that would match nearly any path."""


Steps = Generator[Command | Query[Any], Any, Any]
"""What takes more than one: it yields commands and queries, is given what each was answered with or has its Refusal raised
in it, and returns the outcome. Between two of them anything may happen."""
Work = Command | Query[Any] | Steps

Counted = Literal["calls", "successes"]
"""What uses up a rate: every permitted call, before its parameters are looked at, or what is carried out: the rate is
looked at after the parameters, and a call that is refused after that gives back what it took."""


class Caller(msgspec.Struct, frozen=True):
    """Whom the credentials of a request belong to."""

    app: str
    """The app's name in the config."""
    user: str | None = None
    """The one user the caller may speak for; None: for anyone in the app."""
    role: str = ""
    """What else its credentials say, in a word of the dialect's own."""


class Call(msgspec.Struct, frozen=True):
    """An authenticated request on its way through a route."""

    request: HttpRequest
    id: str
    """Decimal digits, unique; the log has it too."""
    caller: Caller


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a dialect. The functions are pure; what they raise is a Refusal."""

    method: str
    template: str
    """The path; a segment `{name}` matches any one segment, also an empty one."""
    limit: str | Callable[[Call], str] = ""
    """The operation's name in `[apps.limits]`, if it has one; where a request decides which, what says so of one whose
    parameters are right (with `counted="successes"`)."""
    bucket: str = ""
    """Routes of one limit that each have a bucket of their own name it here."""
    counted: Counted = "calls"
    authenticate: Callable[[HttpRequest], Caller]
    """Raises Unauthorized."""
    permit: Callable[[Call], None]
    """Whether this caller may do this. Raises Unauthorized, Forbidden."""
    parse: Callable[[Call], Work]
    """Raises InvalidCommand; of steps before the first is taken."""
    render: Callable[[Call, Any], HttpReply]
    """Of a command it is given the Receipt, of a query the answer, of steps what they return."""


class LocalRoute(msgspec.Struct, frozen=True, kw_only=True):
    """An answer the server gives about itself: no caller, no command."""

    method: str
    template: str
    answer: Callable[[HttpRequest], HttpReply]


AnyRoute = Route | LocalRoute


class Cors(msgspec.Struct, frozen=True):
    """What browsers may do with a dialect's answers; any origin may read them, since no cookie is ever looked at."""

    methods: str
    headers: str

    def preflight(self) -> HttpReply:
        """The answer to OPTIONS."""
        allow = ("Access-Control-Allow-Methods", self.methods), ("Access-Control-Allow-Headers", self.headers)
        return self.opened(HttpReply(204, allow))

    def opened(self, reply: HttpReply) -> HttpReply:
        """The reply, readable from any origin."""
        return HttpReply(reply.status, (*reply.headers, ("Access-Control-Allow-Origin", "*")), reply.body)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """A transport bound to the apps that speak it."""

    name: str
    prefixes: tuple[str, ...]
    """Where its paths begin: an unknown path below is refused in its form."""
    routes: tuple[AnyRoute, ...]
    refuse: Callable[[Refusal, str], HttpReply]
    """The answer to a refusal; the text is the call's id. Knows every subclass of Refusal."""
    cors: Cors | None = None
    tier: int = FIRST
    """Lower tiers are asked first; the first that knows the path has it."""


class Transport(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's API as a value."""

    name: str
    config: type
    """Of its table below `[[apps]]`."""
    bind: Callable[..., Dialect]
    """Takes the configured apps (those without its table are passed over)."""


def everyone(call: Call) -> None:
    """Permits every caller that authenticated."""


def named(refusal: type[Refusal], table: Mapping[type[Refusal], T]) -> T:
    """The entry of a refusal in a dialect's table, or of its nearest ancestor there. KeyError if there is none."""
    for kind in refusal.__mro__:
        if issubclass(kind, Refusal) and kind in table:
            return table[kind]
    raise KeyError(refusal)
