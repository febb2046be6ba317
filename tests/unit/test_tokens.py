"""Session tokens: what opens a session, and that nothing else does, whatever it looks like."""

import base64
import hmac
import json
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.core.ids import UnixMs
from postroom.core.limits import NAME_BYTES_MAX
from postroom.transports.native.tokens import TOKEN_CHARS_MAX, TTL_S_MAX, BadToken, TokenClaims, issue, verify

NOW = UnixMs(1_790_000_000_123)
SECRET = "a session secret of more than 32 bytes"
SECRETS = {"shop": SECRET, "other": SECRET[::-1]}
GOOD: dict[str, Any] = {"app": "shop", "sub": "bob", "exp": NOW // 1000 + 60}


def part(value: object) -> str:
    """A part of a token as it is sent."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(payload: object, header: object = None, secret: str = SECRET, digest: str = "sha256") -> str:
    """A token made by hand, so that anything can be put in it."""
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{part(payload)}"
    return f"{text}.{part(hmac.new(secret.encode(), text.encode(), digest).digest())}"


def refused(token: str, now: UnixMs = NOW) -> str:
    """Why a token opens nothing."""
    with pytest.raises(BadToken) as caught:
        verify(token, SECRETS, now)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


names = st.text(min_size=1, max_size=80).filter(lambda name: len(name.encode()) <= NAME_BYTES_MAX)


@given(app=names, user=names, ttl_s=st.integers(1, TTL_S_MAX), now=st.integers(0, 1 << 42))
def test_what_is_issued_is_verified_to_the_millisecond(app: str, user: str, ttl_s: int, now: int) -> None:
    token = issue(SECRET, app, user, ttl_s, UnixMs(now))
    claims = verify(token, {app: SECRET}, UnixMs(now))
    assert claims == TokenClaims(app=app, user=user, issued_at_ms=UnixMs(now), expires_at_ms=UnixMs(now + ttl_s * 1000))
    verify(token, {app: SECRET}, UnixMs(now + ttl_s * 1000 - 1))
    with pytest.raises(BadToken, match="expired"):
        verify(token, {app: SECRET}, UnixMs(now + ttl_s * 1000))


@pytest.mark.parametrize("letter", ["a", "\x01", "\u00fc", "\U0001f4ee"])
def test_the_longest_names_fit_a_token(letter: str) -> None:
    name = letter * (NAME_BYTES_MAX // len(letter.encode()))
    token = issue(SECRET, name, name, TTL_S_MAX, NOW)
    assert len(token) <= TOKEN_CHARS_MAX
    assert verify(token, {name: SECRET}, NOW).user == name


@pytest.mark.parametrize(
    ("app", "user", "ttl_s", "what"),
    [
        ("", "bob", 1, "app"),
        ("shop", "", 1, "user"),
        ("shop", "b" * (NAME_BYTES_MAX + 1), 1, "user"),
        ("shop", "\ud800", 1, "user"),
        ("shop", "bob", 0, "ttl"),
        ("shop", "bob", TTL_S_MAX + 1, "ttl"),
    ],
)
def test_no_token_is_issued_that_nobody_could_use(app: str, user: str, ttl_s: int, what: str) -> None:
    with pytest.raises(ValueError, match=f"^{what}: "):
        issue(SECRET, app, user, ttl_s, NOW)


def test_an_issued_token_is_an_ordinary_jwt_with_iat_in_milliseconds() -> None:
    token = issue(SECRET, "shop", "bob", 60, NOW)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}) == {
        "app": "shop",
        "sub": "bob",
        "iat": 1_790_000_000.123,
        "exp": 1_790_000_060.123,
    }


def test_a_token_of_another_maker_is_accepted() -> None:
    claims = verify(jwt.encode(GOOD, SECRET, algorithm="HS256"), SECRETS, NOW)
    assert claims == TokenClaims(
        app="shop", user="bob", issued_at_ms=UnixMs(0), expires_at_ms=UnixMs(GOOD["exp"] * 1000)
    )


@pytest.mark.parametrize("iat", [0, 1, NOW // 1000, NOW / 1000, NOW // 1000 + 86_400, 253_402_300_799])
def test_iat_may_be_any_time_the_future_included(iat: float) -> None:
    assert verify(signed(GOOD | {"iat": iat}), SECRETS, NOW).issued_at_ms == round(iat * 1000)


def test_other_claims_and_headers_are_ignored() -> None:
    extra = GOOD | {"aud": "x", "iss": 5, "nested": {"a": [1]}, "jti": None}
    assert verify(signed(extra, {"alg": "HS256", "kid": "k"}), SECRETS, NOW).user == "bob"


@pytest.mark.parametrize("alg", ["none", "None", "HS384", "HS512", "RS256", "hs256", "", None, 5, ["HS256"], {}])
def test_only_hs256_is_accepted(alg: object) -> None:
    refused(signed(GOOD, {"alg": alg, "typ": "JWT"}))


def test_an_unsigned_token_is_refused() -> None:
    assert refused(jwt.encode(GOOD, None, algorithm="none")) == "only HS256 is accepted"
    assert refused(signed(GOOD, {"typ": "JWT"})) == "only HS256 is accepted"
    assert refused(signed(GOOD, {"alg": "HS512"}, digest="sha512")) == "only HS256 is accepted"


def test_the_signature_is_of_the_apps_own_secret() -> None:
    assert refused(signed(GOOD, secret=SECRETS["other"])) == "wrong signature"
    assert refused(signed(GOOD | {"app": "other"})) == "wrong signature"
    assert verify(signed(GOOD | {"app": "other"}, secret=SECRETS["other"]), SECRETS, NOW).app == "other"


def test_an_unknown_app_is_refused() -> None:
    assert refused(signed(GOOD | {"app": "nobody"})) == "unknown app"
    assert refused(signed(GOOD | {"app": ""})) == "unknown app"


def test_a_changed_token_is_refused() -> None:
    head, payload, signature = signed(GOOD).split(".")
    assert refused(f"{head}.{part(GOOD | {'sub': 'eve'})}.{signature}") == "wrong signature"
    assert refused(f"{head}.{payload}.") == "wrong signature"
    assert refused(f"{part({'alg': 'HS256'})}.{payload}.{signature}") == "wrong signature"
    for wrong in (head, f"{head}.{payload}", f"{head}.{payload}.{signature}.x", "", ".", "..", "...", payload):
        refused(wrong)


@pytest.mark.parametrize("claim", ["app", "sub", "exp"])
@pytest.mark.parametrize("value", [None, True, [], {}, "absent"])
def test_a_claim_that_is_missing_or_of_another_type_is_refused(claim: str, value: object) -> None:
    payload = GOOD | {claim: value}
    if value == "absent":
        del payload[claim]
    refused(signed(payload))


@pytest.mark.parametrize("value", [None, True, "1790000000", [], -1, 253_402_300_800, 1e300, 10**40])
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_a_time_is_a_number_of_seconds(claim: str, value: object) -> None:
    assert refused(signed(GOOD | {claim: value})) != "expired"


def test_times_in_milliseconds_are_recognised() -> None:
    assert "seconds" in refused(signed(GOOD | {"exp": NOW + 60_000}))


@pytest.mark.parametrize("value", [b'{"app":"shop","sub":"b","exp":1e999}', b'{"app":"shop","sub":"b","exp":NaN}'])
def test_numbers_that_are_none_are_refused(value: bytes) -> None:
    refused(signed(value))


@pytest.mark.parametrize("sub", ["", "b" * (NAME_BYTES_MAX + 1), "\u00fc" * 129])
def test_sub_is_a_name(sub: str) -> None:
    assert "sub" in refused(signed(GOOD | {"sub": sub}))
    assert verify(signed(GOOD | {"sub": "b" * NAME_BYTES_MAX}), SECRETS, NOW).user == "b" * NAME_BYTES_MAX


@pytest.mark.parametrize(("exp", "good"), [(NOW / 1000, False), (NOW / 1000 + 0.001, True), (0, False), (0.0, False)])
def test_exp_is_the_first_moment_at_which_a_token_is_over(exp: float, *, good: bool) -> None:
    token = signed(GOOD | {"exp": exp})
    if good:
        verify(token, SECRETS, NOW)
    else:
        assert refused(token) == "expired"


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"shop"', b"\xff", b"{", b'{"app":"shop"}x', b'{"app":"\xff"}', b"[" * 2_000]
)
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    refused(signed(payload))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b"[" * 1_500,
        b"9" * 2_900,
        b"\xff",
        b'{"alg":"HS256","crit":["x"]}',
        {"alg": "HS256", "kid": 1},
        {"alg": "HS256", "b64": False},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
    ],
)
def test_a_header_that_is_none_is_refused(header: object) -> None:
    refused(signed(GOOD, header))


def test_a_token_of_any_length_is_refused_before_it_is_read() -> None:
    assert refused("a" * (TOKEN_CHARS_MAX + 1)) == "token too long"
    assert refused(signed(GOOD | {"x": "y" * TOKEN_CHARS_MAX})) == "token too long"


def test_no_reason_quotes_the_token_or_the_secret() -> None:
    for token in ("hunter2", signed(GOOD | {"app": "hunter2"}), signed(GOOD | {"sub": ["hunter2"]}), "hunter2.a.b"):
        reason = refused(token)
        assert "hunter2" not in reason
        assert SECRET not in reason


@given(st.binary(max_size=300))
def test_any_bytes_are_a_bad_token(raw: bytes) -> None:
    refused(raw.decode("latin-1"))
    refused(raw.decode("utf-8", "surrogateescape"))


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=60))
def test_any_three_parts_are_a_bad_token(header: str, payload: str, signature: str) -> None:
    refused(f"{header}.{payload}.{signature}")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_signed_content_gives_claims_or_a_bad_token(header: bytes, payload: bytes) -> None:
    refused(signed(payload, header))
    refused(signed(payload))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "x"]), JSON, max_size=3),
    st.fixed_dictionaries({}, optional={"app": JSON, "sub": JSON, "exp": JSON, "iat": JSON, "nbf": JSON}),
)
def test_any_claims_give_claims_or_a_bad_token(header: dict[str, Any], claims: dict[str, Any]) -> None:
    for token in (signed(GOOD | claims), signed(GOOD | claims, header), signed(claims, {"alg": "HS256"} | header)):
        try:
            found = verify(token, SECRETS, NOW)
        except BadToken:
            continue
        assert found.app in SECRETS
        assert 1 <= len(found.user.encode()) <= NAME_BYTES_MAX
        assert found.expires_at_ms > NOW


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_flipped_byte_is_a_bad_token(where: int, flip: int) -> None:
    token = signed(GOOD)
    head, payload, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    raw[where % len(raw)] ^= flip
    refused(f"{head}.{part(bytes(raw))}.{signature}")


def test_claims_are_a_value() -> None:
    claims = verify(signed(GOOD), SECRETS, NOW)
    assert msgspec.structs.asdict(claims) == {
        "app": "shop",
        "user": "bob",
        "issued_at_ms": 0,
        "expires_at_ms": 1790000060000,
    }
    assert SECRET not in repr(claims)
