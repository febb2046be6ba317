"""Questions for messages."""

from typing import Generic

import msgspec

from ..checks import check_name, check_time
from ..errors import InvalidCommand, UnknownResult
from ..ids import MessageId, Place, UnixMs
from ..limits import FIND_MESSAGES_MAX, QUERY_CONVERSATIONS_MAX, RESULT_MESSAGES_MAX
from ..model import KINDS, Conversation, Kind, Message
from ..ports import LAST_PLACE
from .base import A, Query, check_page


class MessageQuery(Query[A], Generic[A], frozen=True, kw_only=True):
    """Which kept messages are meant: those that meet everything that is given, of which something must be.

    Every message whose send was answered before is among them. One that was deleted or recalled is not (but see
    `FindMessages.recalled`), nor one past the app's retention.
    """

    sender: str | None = None
    conversations: tuple[Conversation, ...] = ()
    """Sent to one of these, at most 100; a peer conversation is named by the recipient."""
    receiver: str | None = None
    """Or received by this user: as a peer, or in a room while the user was in it, their own excepted."""
    kinds: tuple[Kind, ...] = ()
    """Only of conversations of these kinds; of all, if none is named."""
    start_ms: UnixMs = UnixMs(0)
    end_ms: UnixMs = LAST_PLACE.at_ms
    """The first and the last time, both included; if they are in the wrong order, nothing is between them."""
    everything: bool = False
    """Or every kept message of the app; then none of the others is given."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        some = self.sender is not None or self.receiver is not None or bool(self.conversations)
        if some and self.everything:
            raise InvalidCommand("everything: leaves no room for sender, conversations or receiver")
        if not some and not self.everything:
            raise InvalidCommand("sender, conversations, receiver: one of them must be given")
        for field, name in (("sender", self.sender), ("receiver", self.receiver)):
            if name is not None:
                check_name(field, name)
        if len(self.conversations) > QUERY_CONVERSATIONS_MAX:
            raise InvalidCommand(f"conversations: at most {QUERY_CONVERSATIONS_MAX}")
        if not set(self.kinds) <= set(KINDS):
            raise InvalidCommand(f"kinds: some of {', '.join(KINDS)}")
        for conversation in self.conversations:
            check_name("conversations", conversation.id)
        check_time("start_ms", self.start_ms)
        check_time("end_ms", self.end_ms)


class Bound(msgspec.Struct, frozen=True):
    """Where a search begins or ends: a place, or a whole millisecond."""

    at_ms: UnixMs
    id: MessageId | None = None
    """A kept message stands for its own place, whatever `at_ms` says; another id for `(at_ms, id)`; none for the whole
    millisecond. Up to 64 bits."""
    included: bool = False
    alias: str | None = None
    """What an imported message is called elsewhere: if there is one, it stands for its own place, before any `id`."""

    def check(self, field: str) -> None:
        """Raises InvalidCommand."""
        check_time(field, self.at_ms)
        if self.id is not None and not 0 <= self.id < 1 << 64:
            raise InvalidCommand(f"{field}: no message can have this id")
        if self.alias is not None:
            check_name(field, self.alias)


class FindMessages(MessageQuery[tuple[Message, ...]], frozen=True, kw_only=True):
    """The messages, ordered by `(at_ms, id)`."""

    offset: int = 0
    """How many to pass over; the time that takes grows with it."""
    limit: int = RESULT_MESSAGES_MAX
    """At most 1,000."""
    newest_first: bool = False
    recipient: str | None = None
    """Of one service, which `conversations` names: what it sent to this user, as the user sees it; of what was imported, what
    was to users by name."""
    recalled: bool = False
    """Recalled ones are among them, with an empty body and so marked."""
    start: Bound | None = None
    """Where the search begins, in its own direction: with `newest_first` the newest place."""
    stop: Bound | None = None
    """Where it ends."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        super().check()
        check_page(self.limit, FIND_MESSAGES_MAX, offset=self.offset)
        for field, bound in (("start", self.start), ("stop", self.stop)):
            if bound is not None:
                bound.check(field)
        if self.recipient is not None:
            check_name("recipient", self.recipient)
            if [conversation.kind for conversation in self.conversations] != ["service"]:
                raise InvalidCommand("recipient: conversations must name one service")
            if self.receiver is not None or self.sender is not None:
                raise InvalidCommand("recipient: leaves no room for receiver or sender")


class GetMessage(Query[Message | None], frozen=True, kw_only=True):
    """A kept message as its conversation shows it, a recalled one included; None if there is none of this id there."""

    id: MessageId
    conversation: Conversation
    """As its sender named it."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("conversation", self.conversation.id)


class FindAlias(Query[Place | None], frozen=True, kw_only=True):
    """The place of an imported message by what it is called where it came from; None if no such message was imported.

    Also of one that was deleted since, as long as it would not be past retention.
    """

    alias: str

    def check(self) -> None:
        """Raises InvalidCommand."""
        check_name("alias", self.alias)


class CountMessages(MessageQuery[int], frozen=True, kw_only=True):
    """How many there are; no body is read for it."""


class ReserveMessages(Query[str], frozen=True, kw_only=True):
    """Find messages now and keep the result, at most 100 of them, for one collection; the answer is a handle of 24 digits.

    It survives a restart. What is deleted or recalled before it is collected is not in it then.
    """

    find: FindMessages
    ttl_ms: int
    """How long it waits to be collected."""

    def check(self) -> None:
        """Raises InvalidCommand."""
        self.find.check()
        if self.find.app != self.app:
            raise InvalidCommand("find: must be of the same app")
        if self.find.recalled:
            raise InvalidCommand("recalled: what is recalled is not in a result")
        if self.find.recipient is not None:
            raise InvalidCommand("recipient: a result holds messages as everybody sees them")
        if self.find.limit > RESULT_MESSAGES_MAX:
            raise InvalidCommand(f"limit: a result holds at most {RESULT_MESSAGES_MAX} messages")
        if not 1 <= self.ttl_ms <= LAST_PLACE.at_ms:
            raise InvalidCommand("ttl_ms: must be at least 1, and an end that can be written down")


class CollectMessages(Query[tuple[Message, ...]], frozen=True, kw_only=True):
    """What waits under a handle; of any number of calls one gets it, the others are refused (UnknownResult)."""

    handle: str

    def check(self) -> None:
        """Raises UnknownResult if no row could have this handle."""
        try:
            self.handle.encode()
        except UnicodeEncodeError as error:
            raise UnknownResult("no result waits under this handle") from error
