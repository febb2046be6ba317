"""Session tokens: who may open a native session, as a JWT signed with the app's `session_secret`.

Pure: the time is passed in. It is raw wall time, as for every token and signature; the secrets are those of the config.
"""

from collections.abc import Mapping
from typing import Final

import jwt
import msgspec

from postroom.core.ids import UnixMs
from postroom.core.limits import NAME_BYTES_MAX

TOKEN_CHARS_MAX: Final = 6_144
"""The longest token we issue, two names of 256 control characters escaped by JSON, has some 4,300."""
TTL_S_MAX: Final = 10 * 366 * 86_400
"""Ten years. Who needs longer wants no expiry, which a token must have."""

_ALGORITHM: Final = "HS256"
_TIME_S_MAX: Final = 253_402_300_799  # the end of the year 9999: in milliseconds exact in JSON, in events, everywhere
_JWS: Final = jwt.PyJWS(algorithms=[_ALGORITHM])


class BadToken(Exception):
    """The token opens nothing. `reason` may be shown to whoever sent it: it quotes neither the token nor the secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid token says."""

    app: str
    user: str
    issued_at_ms: UnixMs
    """0 for a token without `iat`, so that a kick of the user ends it."""
    expires_at_ms: UnixMs


class _Issuer(msgspec.Struct, frozen=True):
    """All that is read of a token before its signature is known to be good: whose secret should verify it."""

    app: str


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims as JSON has them; others are allowed and ignored."""

    app: str
    sub: str
    exp: int | float
    iat: int | float = 0


def issue(secret: str, app: str, user: str, ttl_s: int, now_ms: UnixMs) -> str:
    """A token for `user` of `app`, good for `ttl_s` seconds from `now_ms`; both its times keep their milliseconds.

    Raises ValueError, naming what is wrong, if nobody could use the token: a name that is empty or over NAME_BYTES_MAX,
    or a `ttl_s` that is not from 1 to TTL_S_MAX.
    """
    for what, name in (("app", app), ("user", user)):
        if not _is_name(name):
            raise ValueError(f"{what}: must have 1 to {NAME_BYTES_MAX} bytes of UTF-8")
    if not 1 <= ttl_s <= TTL_S_MAX:
        raise ValueError(f"ttl: must be from 1 to {TTL_S_MAX} seconds")
    claims = {"app": app, "sub": user, "iat": now_ms / 1000, "exp": (now_ms + ttl_s * 1000) / 1000}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def verify(token: str, secrets: Mapping[str, str], now_ms: UnixMs) -> TokenClaims:
    """What the token claims, once its app's secret (`secrets`, by app) has verified it and it has not expired.

    Only HS256 counts, whatever the token's header asks for. An `iat` ahead of `now_ms` is tolerated: clocks differ. The
    signature is compared in constant time (PyJWT). Raises BadToken and nothing else, whatever the text is.
    """
    if len(token) > TOKEN_CHARS_MAX:
        raise BadToken("token too long")
    try:
        app = msgspec.json.decode(_payload(token, key=None), type=_Issuer).app
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        # TypeError: a header that is JSON but not what JWT allows, such as an algorithm that is a list.
        raise BadToken("not a token") from None
    secret = secrets.get(app)
    if secret is None:
        raise BadToken("unknown app")
    try:
        payload = _payload(token, key=secret)
    except jwt.InvalidAlgorithmError:
        raise BadToken("only HS256 is accepted") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise BadToken("wrong signature") from None
    return _checked(payload, now_ms)


def _payload(token: str, *, key: str | None) -> bytes:
    """The token's payload; with a key, only if that key verifies it."""
    if key is None:
        # The algorithm is left to the second call, which alone decides.
        return _bytes(_JWS.decode_complete(token, options={"verify_signature": False})["payload"])
    return _bytes(_JWS.decode_complete(token, key, algorithms=[_ALGORITHM])["payload"])


def _bytes(payload: object) -> bytes:
    assert isinstance(payload, bytes)
    return payload


def _checked(payload: bytes, now_ms: UnixMs) -> TokenClaims:
    """The claims of a payload whose signature is good. Raises BadToken."""
    try:
        claims = msgspec.json.decode(payload, type=_Claims)
    except (ValueError, RecursionError):
        raise BadToken("needs the claims app, sub and exp; iat is optional, times are numbers of seconds") from None
    if not _is_name(claims.sub):
        raise BadToken(f"sub must have 1 to {NAME_BYTES_MAX} bytes")
    if not all(0 <= time_s <= _TIME_S_MAX for time_s in (claims.exp, claims.iat)):
        raise BadToken("exp and iat must be seconds since 1970")
    expires_at_ms = UnixMs(round(claims.exp * 1000))
    if expires_at_ms <= now_ms:
        raise BadToken("expired")
    issued_at_ms = UnixMs(round(claims.iat * 1000))
    return TokenClaims(app=claims.app, user=claims.sub, issued_at_ms=issued_at_ms, expires_at_ms=expires_at_ms)


def _is_name(name: str) -> bool:
    """Whether an app or user may be called so."""
    try:
        return 1 <= len(name.encode()) <= NAME_BYTES_MAX
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
