"""Who calls (anyRTC 4): which header decides, and what is said when it does not do."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.transports.anyrtc.auth import Tenant, authenticate
from postroom.transports.http.dialect import Caller
from postroom.transports.http.errors import Unauthorized
from postroom.transports.http.types import HttpRequest
from tests.support.rtm_tokens import NOW, VECTORS
from tests.support.web import APP_ID, RTC, basic

OTHER_ID = "0123456789abcdef0123456789abcdef"
BARE_ID = "f" * 32
TENANTS = {
    APP_ID: Tenant("shop", RTC),
    OTHER_ID: Tenant("other", msgspec.structs.replace(RTC, app_id=OTHER_ID, api_secret="s2")),
    BARE_ID: Tenant("bare", msgspec.structs.replace(RTC, app_id=BARE_ID, app_certificate="")),
}

OF_A = VECTORS["P3"]
OF_B = VECTORS["N4"]
OF_ODD = VECTORS["P7"]
NEW_OF_A = VECTORS["Z2"]
EXPIRED = VECTORS["P6"]

TOKEN = "invalid token"
BASIC = "Invalid authentication credentials"

APP = Caller("shop", None)
USER_A = Caller("shop", "userA")
USER_B = Caller("shop", "userB")

Headers = list[tuple[str, str]]


def asked(headers: Headers, user: str | None = None, app_id: str = APP_ID, now: int = NOW) -> Caller | str:
    """Who it is, or the message of the refusal; with a `user` (as it stands in the path) of E1 or E2."""
    request = HttpRequest(
        method="POST",
        path="/",
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers],
        params={"appid": app_id} | ({} if user is None else {"user_id": user}),
    )
    try:
        return authenticate(request, TENANTS, now)
    except Unauthorized as refusal:
        return refusal.message


AR, AGORA, AUTH = "x-ar-token", "x-agora-token", "Authorization"
AR_UID, AGORA_UID = "x-ar-uid", "x-agora-uid"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # every family
        ([(AUTH, basic())], APP),
        ([(AR, OF_A), (AR_UID, "userA")], USER_A),
        ([(AGORA, OF_A), (AGORA_UID, "userA")], USER_A),
        ([(AUTH, f"agora token={OF_A}"), (AR_UID, "userA")], USER_A),
        ([(AUTH, f"agora token={NEW_OF_A}")], USER_A),
        ([(AGORA, NEW_OF_A)], USER_A),
        ([(AR, NEW_OF_A), (AR_UID, "userA")], USER_A),
        ([("X-AR-Token", OF_A), ("X-Ar-Uid", "userA")], USER_A),
        # families mixed
        ([(AR, OF_A), (AGORA_UID, "userA")], USER_A),
        ([(AGORA, OF_A), (AR_UID, "userA")], USER_A),
        ([(AR, OF_A), (AR_UID, "userA"), (AGORA_UID, "userB")], USER_A),
        ([(AR, OF_A), (AR_UID, "userB"), (AGORA_UID, "userA")], TOKEN),
        ([(AR, OF_A), (AR_UID, ""), (AGORA_UID, "userA")], USER_A),
        # 1: a token header goes first, and decides alone
        ([(AR, OF_A), (AGORA, OF_B), (AR_UID, "userA")], USER_A),
        ([(AR, OF_A), (AGORA, OF_B), (AR_UID, "userB")], TOKEN),
        ([(AR, "x"), (AGORA, OF_A), (AR_UID, "userA")], TOKEN),
        ([(AR, ""), (AGORA, OF_A), (AR_UID, "userA")], USER_A),
        ([(AGORA, OF_A), (AGORA_UID, "userA"), (AUTH, "azE6czE=")], USER_A),
        ([(AGORA, OF_A), (AGORA_UID, "userA"), (AUTH, basic(password="wrong"))], USER_A),
        ([(AGORA, OF_A), (AGORA_UID, "userA"), (AUTH, f"agora token={OF_A}")], USER_A),
        ([(AGORA, OF_A), (AGORA_UID, "userA"), (AUTH, "agora token=x")], USER_A),
        ([(AGORA, "x"), (AGORA_UID, "userA"), (AUTH, f"agora token={OF_A}")], TOKEN),
        ([(AR, "x"), (AUTH, basic())], TOKEN),
        ([(AGORA, EXPIRED), (AGORA_UID, "userA"), (AUTH, basic())], TOKEN),
        # 2 and 3: then Authorization
        ([(AR, ""), (AGORA, ""), (AUTH, basic())], APP),
        ([(AR, ""), (AGORA, ""), (AUTH, f"agora token={NEW_OF_A}")], USER_A),
        ([(AUTH, basic()), (AR_UID, "userA")], APP),
        ([(AUTH, basic()), (AR_UID, "\xff")], APP),
        ([(AUTH, "agora token=x"), (AUTH, basic())], TOKEN),
        ([(AUTH, basic()), (AUTH, "agora token=x")], APP),
        # 4: nothing
        ([], BASIC),
        ([(AR, ""), (AR_UID, "userA")], BASIC),
        ([(AUTH, "")], BASIC),
        ([(AUTH, "azE6czE=")], BASIC),
        ([(AUTH, f"Bearer {OF_A}"), (AR_UID, "userA")], BASIC),
        # of a repeated header the first
        ([(AR, OF_A), (AR, "x"), (AR_UID, "userA"), (AR_UID, "userB")], USER_A),
        ([(AR, "x"), (AR, OF_A), (AR_UID, "userA")], TOKEN),
        ([(AR, ""), (AR, OF_A), (AR_UID, "userA")], BASIC),
    ],
)
def test_which_credentials_decide(headers: Headers, expected: Caller | str) -> None:
    assert asked(headers) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"agora token={OF_A}", USER_A),
        (f'agora token="{OF_A}"', USER_A),
        (f"Agora token={OF_A}", USER_A),
        (f"AGORA TOKEN={OF_A}", USER_A),
        (f"  agora   token={OF_A}  ", USER_A),
        ("agora token=", TOKEN),
        ('agora token=""', TOKEN),
        ('agora token="', TOKEN),
        (f'agora token="{OF_A}', TOKEN),
        (f'agora token={OF_A}"', TOKEN),
        (f'agora token=""{OF_A}""', TOKEN),
        (f"agora token='{OF_A}'", TOKEN),
        (f"agora token= {OF_A}", TOKEN),
        (f"agora token={OF_A}, uid=userA", TOKEN),
        ("agora token=\xff", TOKEN),
        (f"agora token={OF_A.lower()}", TOKEN),
        (f"agora {OF_A}", BASIC),
        (f"agoratoken={OF_A}", BASIC),
        (f"agora token {OF_A}", BASIC),
        (f"agora token ={OF_A}", BASIC),
        (f"token={OF_A}", BASIC),
        (f"agora uid=userA, token={OF_A}", BASIC),
    ],
)
def test_tokens_in_authorization(value: str, expected: Caller | str) -> None:
    assert asked([(AUTH, value), (AR_UID, "userA")]) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (basic(), APP),
        (basic().replace("Basic", "bAsIc"), APP),
        (basic(password="wrong"), BASIC),
        (basic(password="s2"), BASIC),
        (basic(user="k2"), BASIC),
        (basic(password=""), BASIC),
        ("Basic", BASIC),
        ("Basic ", BASIC),
        ("Basic !", BASIC),
        ("Basic azE=", BASIC),
    ],
)
def test_basic(value: str, expected: Caller | str) -> None:
    assert asked([(AUTH, value)]) == expected
    assert asked([(AUTH, value)], user="anybody") == expected


def test_a_key_is_that_of_the_app_in_the_path() -> None:
    assert asked([(AUTH, basic())], app_id=OTHER_ID) == BASIC
    assert asked([(AUTH, basic(password="s2"))], app_id=OTHER_ID) == Caller("other", None)
    assert asked([(AUTH, basic())], app_id=BARE_ID) == Caller("bare", None)
    for unknown in ("", "0" * 32, APP_ID.lower(), f"{APP_ID}0"):
        assert asked([(AUTH, basic())], app_id=unknown) == BASIC


@pytest.mark.parametrize("app_id", ["", "0" * 32, OTHER_ID, BARE_ID, APP_ID.lower(), APP_ID[:-1]])
@pytest.mark.parametrize("token", [OF_A, NEW_OF_A])
def test_a_token_is_of_the_app_in_the_path(app_id: str, token: str) -> None:
    assert asked([(AR, token), (AR_UID, "userA")], app_id=app_id) == TOKEN
    assert asked([(AR, token), (AR_UID, "userA"), (AUTH, basic())], app_id=app_id) == TOKEN
    assert asked([(AUTH, f"agora token={token}"), (AR_UID, "userA")], app_id=app_id) == TOKEN


@pytest.mark.parametrize(
    ("token", "uid", "path", "expected"),
    [
        (OF_A, "userA", "userA", USER_A),
        (OF_A, "userA", "userB", USER_A),  # who may not send for userB; that is for the route to say
        (OF_A, "userB", "userA", TOKEN),
        (OF_A, "userB", "userB", TOKEN),
        (OF_A, None, "userA", USER_A),
        (OF_A, "", "userA", USER_A),
        (OF_A, None, "user%41", USER_A),
        (OF_A, None, "userB", TOKEN),
        (OF_A, None, "", TOKEN),
        (OF_A, None, "%ff", TOKEN),
        (OF_A, None, "\xff", TOKEN),
        (OF_A, None, None, TOKEN),
        (OF_B, None, "userB", USER_B),
        (OF_ODD, None, "a%20b+c%26d%3De%40f%2525%23g", Caller("shop", "a b+c&d=e@f%25#g")),
        (OF_ODD, "a b+c&d=e@f%25#g", None, Caller("shop", "a b+c&d=e@f%25#g")),
        (OF_ODD, "a%20b+c%26d%3De%40f%2525%23g", None, TOKEN),
        (NEW_OF_A, None, None, USER_A),
        (NEW_OF_A, None, "userA", USER_A),
        (NEW_OF_A, None, "userB", USER_A),
        (NEW_OF_A, None, "%ff", USER_A),
        (NEW_OF_A, "userA", "userB", USER_A),
        (NEW_OF_A, "userB", "userB", TOKEN),
        (OF_A, "\xff", "userA", TOKEN),
        (NEW_OF_A, "\xff", "userA", TOKEN),
        (OF_A, " userA", "userA", TOKEN),
    ],
)
def test_whom_a_token_is_for(token: str, uid: str | None, path: str | None, expected: Caller | str) -> None:
    for family in ((AR, AR_UID, token), (AGORA, AGORA_UID, token), (AUTH, AR_UID, f"agora token={token}")):
        name, uid_name, value = family
        assert asked([(name, value), *([] if uid is None else [(uid_name, uid)])], user=path) == expected


def test_tokens_expire_by_the_clock_given() -> None:
    assert asked([(AR, OF_A), (AR_UID, "userA")], now=4_102_444_799) == USER_A
    assert asked([(AR, OF_A), (AR_UID, "userA")], now=4_102_444_800) == TOKEN
    assert asked([(AR, EXPIRED), (AR_UID, "userA")], now=1_599_999_999) == USER_A


def test_why_a_token_is_bad_stays_with_us() -> None:
    request = HttpRequest(method="GET", path="/", headers=[(b"x-ar-token", OF_A.encode())], params={"appid": APP_ID})
    with pytest.raises(Unauthorized) as caught:
        authenticate(request, TENANTS, NOW)
    assert caught.value.message == TOKEN
    assert str(caught.value.__cause__) == "no account given"


NAMES = st.sampled_from([AR, AGORA, AUTH, AR_UID, AGORA_UID, "host"])
VALUES = st.sampled_from([OF_A, OF_B, NEW_OF_A, basic(), f"agora token={OF_A}", "userA", "userB", ""]) | st.binary(
    max_size=60
).map(lambda raw: raw.decode("latin-1"))


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.none() | st.sampled_from(["userA", "userB"]) | st.binary(max_size=9).map(lambda raw: raw.decode("latin-1")),
    st.sampled_from([*TENANTS, "", "nobody"]),
)
def test_any_headers_give_a_caller_or_a_refusal(headers: Headers, user: str | None, app_id: str) -> None:
    found = asked(headers, user, app_id)
    if isinstance(found, str):
        assert found in (TOKEN, BASIC)
    elif found.user is None:
        assert found.app == TENANTS[app_id].name
        assert (AUTH, basic()) in headers
    else:
        assert found.app == "shop"
        assert any(found.user == "userA" and good in value for _, value in headers for good in (OF_A, NEW_OF_A)) or (
            found.user == "userB" and OF_B in [value for _, value in headers]
        )
