"""Whose fault it is: `Refusal` is the caller's or the moment's, `StorageFailure` the machine's, AssertionError ours."""

from typing import ClassVar


class Refusal(Exception):
    """A command was not carried out and nothing was written. `code` is stable and part of the API."""

    code: ClassVar[str] = "refused"

    def __init__(self, message: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_ms = retry_after_ms
        """How long waiting may help, or None if it does not."""


class InvalidCommand(Refusal):
    """A field is missing, of the wrong form or over its limit; the message names it."""

    code = "invalid"


class UnknownApp(Refusal):
    """No such app is configured here."""

    code = "unknown_app"


class UnknownMessage(Refusal):
    """The app keeps no message of this id: never sent, transient, expired, collected without history, or deleted."""

    code = "unknown_message"


class MessageIsRecalled(Refusal):
    """A recalled message has no text to edit."""

    code = "recalled"


class UnknownConversation(Refusal):
    """The app has no such conversation: nobody created it."""

    code = "unknown_conversation"


class ConversationExists(Refusal):
    """The app has a conversation of this kind and name, or one that was deleted and is still being swept."""

    code = "conversation_exists"


class ConversationFull(Refusal):
    """The group would have more members than one may have, or the list of its muted users more names."""

    code = "conversation_full"


class Banned(Refusal):
    """The user, whom the message names, may not come into the conversation, or does not want to; or may not talk there."""

    code = "banned"


class BansFull(Refusal):
    """As many users are banned from the conversation as may be."""

    code = "bans_full"


class Silenced(Refusal):
    """The sender may not talk in the conversation, for a while (then `retry_after_ms` says how long) or for good."""

    code = "silenced"


class SilencesFull(Refusal):
    """As many users are silenced in the conversation as may be."""

    code = "silences_full"


class OwnerNeeded(Refusal):
    """The conversation's only owner stays its owner."""

    code = "owner_needed"


class RolesFull(Refusal):
    """As many users have a role in the conversation as may."""

    code = "roles_full"


class BlocksFull(Refusal):
    """The user blocks as many conversations as one may."""

    code = "blocks_full"


class TooOld(Refusal):
    """What should be imported is past the app's retention."""

    code = "too_old"


class InTheFuture(Refusal):
    """What should be imported is more than a day ahead of the clock."""

    code = "in_the_future"


class CopiesFull(Refusal):
    """As many recipients of the message see something else of it than others as may."""

    code = "copies_full"


class UnknownId(Refusal):
    """An ack named a frame that this session was not sent, or not within its window."""

    code = "unknown_id"


class QueueFull(Refusal):
    """The recipient's queue is full and its app refuses rather than drops (`overflow = "refuse"`)."""

    code = "queue_full"


class DedupMismatch(Refusal):
    """The dedup key was used within 24 hours for another command."""

    code = "dedup_mismatch"


class TooManySessions(Refusal):
    """The user has as many sessions open as one user may."""

    code = "too_many_sessions"


class TokenRevoked(Refusal):
    """The user was kicked since the token that should open the session was issued."""

    code = "token_revoked"


class TooManyRooms(Refusal):
    """The user is in as many rooms as one user may be."""

    code = "too_many_rooms"


class SessionEnded(Refusal):
    """The session that asks is closed."""

    code = "session_ended"


class UnknownResult(Refusal):
    """No result waits under this handle in the app: never reserved, collected before, or over."""

    code = "unknown_result"


class RateLimited(Refusal):
    """Over a configured rate; `retry_after_ms` says when the next one would pass."""

    code = "rate_limited"


class QuotaExceeded(Refusal):
    """The day's quota is used up; `retry_after_ms` says when the day is over."""

    code = "quota_exceeded"


class BroadcastsFull(Refusal):
    """As many broadcasts of the app are valid at the same time as may be."""

    code = "broadcasts_full"


class Overloaded(Refusal):
    """The broker has no room for the command now; `retry_after_ms` says when to try again."""

    code = "overloaded"


class NoSpace(Refusal):
    """The disk is full: messages wait until space returns; reading, acks, recalls and deletes go on."""

    code = "no_space"


class ShuttingDown(Refusal):
    """The broker is closing in good order and takes nothing new."""

    code = "shutting_down"


class Internal(Refusal):
    """The broker met a fault of its own in this command, which wrote nothing; the log has the cause under `incident`."""

    code = "internal"

    def __init__(self, incident: str) -> None:
        super().__init__(f"internal error {incident}")
        self.incident = incident


class Kicked(Exception):
    """The session was closed because its user was kicked. `reason` is what the kicker said, maybe nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"kicked: {reason}" if reason else "kicked")
        self.reason = reason


class StorageFailure(Exception):
    """The machine failed under the broker, which is closed for good.

    The outcome of what was waiting is unknown: after reopening, repeat only what carries a `dedup` key.
    """


class StoreInUse(StorageFailure):
    """Another process holds this data directory."""


class UnknownFormat(StorageFailure):
    """The data directory was written by a version this one does not know."""


class Corruption(Exception):
    """A stored record is not what was written; the message names it. Nothing was deleted."""
