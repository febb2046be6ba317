"""What every event is made of."""

from typing import ClassVar

import msgspec


class Event(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag_field="event", gc=False
):
    """Something that happened."""

    brings_body: ClassVar[bool] = False
    """Whether a body may lie under the event's position."""
