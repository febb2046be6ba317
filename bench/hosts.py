"""Which of our HTTP hosts a measured server listens with."""

from typing import Final, Literal

Host = Literal["hypercorn", "h11"]

HOSTS: Final[tuple[Host, ...]] = ("hypercorn", "h11")
_BIND: Final[dict[Host, str]] = {
    "hypercorn": 'bind = ["127.0.0.1:0"]',
    "h11": 'bind = ["127.0.0.1:0"]\nbind_h11 = ["127.0.0.1:0"]',
}
ADDRESSES: Final[dict[Host, int]] = {"hypercorn": 1, "h11": 2}
"""How many are announced; ours is the last. Hypercorn listens, too, beside the other one: nobody connects to it."""


def server_table(host: Host) -> str:
    """`[server]` of a configuration file: a free port on loopback; more keys may follow."""
    return f"[server]\n{_BIND[host]}\n"
