"""The rates of `[apps.limits]`: their text form, the vendors' numbers, and how each limiter gives its tokens back.

A value is `"N/s"`, `"N/10s"`, `"N/min"`, `"N/day"` or `"off"`. It sets the number and the time; how a limiter refills
is the dialect's and cannot be configured:

- anyRTC, Wildfire, native and the dispatcher of an Easemob room refill smoothly: N at once, then N per time, evenly.
- Easemob's calls count in windows (its documented examples refuse the eleventh call of ten rooms whatever time the
  first ten took), and so do LeanCloud's, where the first call over the limit starts a minute in which all are refused.
- The keys ending in `.day` are quotas of a calendar day, counted from events, so that a restart does not renew them: of
  their rate only `tokens` is used, and no other unit than a day makes sense for them.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from postroom.core.buckets import Rate

from .errors import ConfigError

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
TOKENS_MAX: Final = 1_000_000_000
"""No machine comes near it; beyond, a number is a slip of the keyboard."""

_UNITS: Final = {"s": SECOND_MS, "10s": 10 * SECOND_MS, "min": MINUTE_MS, "day": DAY_MS}
_RATE: Final = re.compile(r"(?P<tokens>[0-9]{1,12})/(?P<unit>s|10s|min|day)")

# "Over the minute limit: all calls of the group answer 429 for the next minute", whatever the limit was set to.
_LEANCLOUD_PENALTY_MS: Final = MINUTE_MS


def _window(tokens: int, per_ms: int) -> Rate:
    return Rate(tokens, per_ms, "interval")


def _penalised(tokens: int) -> Rate:
    return Rate(tokens, MINUTE_MS, "interval", _LEANCLOUD_PENALTY_MS)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """One app's rates; None is "off". A field is named as its key, with `_` for the dot.

    A single call may cost more than a configured rate has tokens (ten rooms against "5/s"); whoever takes the tokens
    has to refuse that call without asking the bucket.
    """

    anyrtc_peer_messages: Rate | None = Rate(500, SECOND_MS)
    anyrtc_channel_messages: Rate | None = Rate(500, SECOND_MS)
    anyrtc_user_events: Rate | None = Rate(10, SECOND_MS)
    anyrtc_channel_events: Rate | None = Rate(10, SECOND_MS)
    anyrtc_history: Rate | None = Rate(100, SECOND_MS)
    """For each of the three history calls, which have a bucket each."""
    easemob_chatrooms_calls: Rate | None = _window(20, SECOND_MS)
    easemob_chatrooms_messages: Rate | None = _window(100, SECOND_MS)
    easemob_directed: Rate | None = _window(100, SECOND_MS)
    easemob_broadcast_minute: Rate | None = _window(10, MINUTE_MS)
    easemob_broadcast_day: Rate | None = _window(100, DAY_MS)
    easemob_room: Rate | None = Rate(20, SECOND_MS)
    """What the dispatcher of one room lets out."""
    wildfire_admin: Rate | None = Rate(10_000, 10 * SECOND_MS)
    leancloud_normal: Rate | None = _penalised(1_800)
    native_messages: Rate | None = None
    leancloud_subscription_minute: Rate | None = _penalised(30)
    leancloud_subscription_day: Rate | None = _window(1_000, DAY_MS)
    leancloud_broadcast_minute: Rate | None = _penalised(10)
    leancloud_broadcast_day: Rate | None = _window(30, DAY_MS)

    @property
    def rates(self) -> Mapping[str, Rate]:
        """The rates by their keys in the file, without those that are "off"."""
        return {key: rate for key in LIMIT_KEYS if (rate := getattr(self, key.replace(".", "_"))) is not None}


LIMIT_KEYS: Final = (
    "anyrtc.peer_messages",
    "anyrtc.channel_messages",
    "anyrtc.user_events",
    "anyrtc.channel_events",
    "anyrtc.history",
    "easemob.chatrooms.calls",
    "easemob.chatrooms.messages",
    "easemob.directed",
    "easemob.broadcast.minute",
    "easemob.broadcast.day",
    "easemob.room",
    "wildfire.admin",
    "leancloud.normal",
    "native.messages",
    "leancloud.subscription.minute",
    "leancloud.subscription.day",
    "leancloud.broadcast.minute",
    "leancloud.broadcast.day",
)
"""The keys of `[apps.limits]` as they are written; the dot is part of the name, so TOML wants them quoted."""

assert tuple(key.replace(".", "_") for key in LIMIT_KEYS) == Limits.__struct_fields__


def parse_limits(table: dict[str, object], where: str) -> Limits:
    """The table `[apps.limits]` as rates; what it does not name keeps the vendor's number.

    Raises ConfigError; `where` is the table's place in the file, as in `apps[0].limits`.
    """
    defaults = Limits()
    changes: dict[str, Rate | None] = {}
    for key, value in table.items():
        if key not in LIMIT_KEYS:
            raise ConfigError(f"{where}.{_quoted(key)}: unknown key{_hint(key, value)}")
        field = key.replace(".", "_")
        try:
            changes[field] = parse_rate(value, key, getattr(defaults, field))
        except ValueError as error:
            raise ConfigError(f"{where}.{_quoted(key)}: {error}") from None
    return msgspec.structs.replace(defaults, **changes)


def parse_rate(value: object, key: str, default: Rate | None) -> Rate | None:
    """A value of `[apps.limits]` as a rate that refills as `default` does; None is "off". Raises ValueError."""
    if value == "off":
        return None
    daily = key.endswith(".day")
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None or (daily and match["unit"] != "day"):
        raise ValueError(f'must be {"N/day" if daily else "N/s, N/10s, N/min, N/day"} or "off", as a string')
    tokens = int(match["tokens"])
    if not 1 <= tokens <= TOKENS_MAX:
        raise ValueError(f'the number must be from 1 to {TOKENS_MAX}; "off" takes the limit away')
    shape = default or Rate(1, SECOND_MS)
    return Rate(tokens, _UNITS[match["unit"]], shape.refill, shape.penalty_ms)


def _quoted(key: str) -> str:
    return f'"{key}"'


def _hint(key: str, value: object) -> str:
    if isinstance(value, dict):  # anyrtc.history = "10/s" without quotes is a table `anyrtc` to TOML
        return '; a key with dots needs quotes, as in "anyrtc.history"'
    close = difflib.get_close_matches(key, LIMIT_KEYS, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
