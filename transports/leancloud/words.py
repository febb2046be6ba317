"""What the core refuses, in the words of this API: its texts begin with the name of a field, ours with that of a parameter."""

from contextlib import closing
from functools import partial
from typing import Final

from postroom.core.commands import SendBroadcast, UsersCommand
from postroom.core.errors import InvalidCommand, Refusal
from postroom.core.queries import FindConversations
from postroom.transports.http.dialect import Steps

PARAMETERS: Final[dict[type, dict[str, str]]] = {
    UsersCommand: {"users": "client_ids", "conversation": "conv_id"},
    FindConversations: {"offset": "skip"},
    SendBroadcast: {"valid_until_ms": "valid_till"},
}
"""By what was to be done, the parameters that became its fields; of those alone that the dialect does not check itself."""


def worded(steps: Steps) -> Steps:
    """The same steps, which are told of a refusal in the words of whoever called."""
    with closing(steps):
        advance = partial(next, steps)
        while True:
            try:
                step = advance()
            except StopIteration as end:
                return end.value
            try:
                advance = partial(steps.send, (yield step))
            except InvalidCommand as refusal:
                advance = partial(steps.throw, _in_our_words(refusal, step))
            except Refusal as refusal:
                advance = partial(steps.throw, refusal)


def _in_our_words(refusal: InvalidCommand, step: object) -> InvalidCommand:
    field, colon, reason = refusal.message.partition(":")
    for kind, names in PARAMETERS.items():
        if isinstance(step, kind) and field in names:
            return InvalidCommand(names[field] + colon + reason)
    return refusal
