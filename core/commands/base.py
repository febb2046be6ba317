"""What every command is made of."""

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something the broker is asked to do for one app."""

    app: str
