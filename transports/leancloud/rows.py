"""Conversations as rows (LeanCloud 4.2)."""

from typing import Any, Final

import msgspec

from postroom.core.model import ConversationInfo

from .ids import unique_id
from .times import date, iso

OWN_KEYS: Final = frozenset(("objectId", "createdAt", "updatedAt", "tr", "sys", "unique", "uniqueId", "lm"))
"""What the server says of a row, and nobody else."""
LIST_KEYS: Final = frozenset(("m", "mu"))
"""What a row says of people, who come and go by calls of their own."""
ERROR: Final = "error"
"""No field's name: clients take whatever has it for a failure, whatever the status is (LeanCloud 3)."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


def row(info: ConversationInfo) -> dict[str, Any]:
    """All of its fields; what is not set is not there."""
    attributes = _OBJECT.decode(info.attributes)
    shown = {key: value for key, value in attributes.items() if key not in OWN_KEYS | LIST_KEYS}
    if info.conversation.kind == "group":
        shown["m"] = info.members
        if info.muted:
            shown["mu"] = info.muted
        if info.unique:
            shown |= {"unique": True, "uniqueId": unique_id(info.members)}
    elif info.conversation.kind == "room":
        shown["tr"] = True
    else:
        shown["sys"] = True
        if attributes.get("tr") is True:  # of a row that 1.1 made with both
            shown["tr"] = True
    if info.last_message_ms is not None:
        shown["lm"] = date(info.last_message_ms)
    return shown | {
        "objectId": info.conversation.id,
        "createdAt": iso(info.created_ms),
        "updatedAt": iso(info.updated_ms),
    }


def alone(info: ConversationInfo) -> dict[str, Any]:
    """The row as a whole answer. One that was imported may have the field that none can be given here."""
    return {key: value for key, value in row(info).items() if key != ERROR}


def narrowed(shown: dict[str, Any], keys: str | None) -> dict[str, Any]:
    """The row with the fields that `keys` lists (`name,m`) or without those that it takes away (`-attr`), and its id and
    times in any case."""
    if not keys:
        return shown
    listed = [key.strip().partition(".")[0] for key in keys.split(",")]
    without = {key[1:] for key in listed if key.startswith("-")}
    only = {key for key in listed if key and not key.startswith("-")}
    always = ("objectId", "createdAt", "updatedAt")
    return {
        key: value
        for key, value in shown.items()
        if key in always or (key not in without and (key in only or not only))
    }
