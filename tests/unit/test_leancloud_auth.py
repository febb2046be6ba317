"""Who calls, by every way that clients prove it (LeanCloud 2.3)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.transports.config import LeancloudConfig
from postroom.transports.http.dialect import Call, Caller
from postroom.transports.http.errors import Forbidden, Unauthorized
from postroom.transports.http.types import HttpRequest
from postroom.transports.leancloud.auth import Tenant, authenticate, refuse_by_acl, require_master
from tests.support.web import request

SETTINGS = LeancloudConfig(app_id="demo-app", app_key="demo-app-key", master_key="demo-master-key")
TENANTS = {b"demo-app": Tenant("demo", SETTINGS)}
ID = {"X-LC-Id": "demo-app"}
APP_SIGN = "a615addbec0246c0be3695851f384aff,1700000000000"
MASTER_SIGN = "88500459f205e3c67ee68684f71a48a4,1700000000000,master"
"""The contract's vectors."""


def role(headers: dict[str, str]) -> str | None:
    """As what a request with these headers is known; None if it is refused."""
    try:
        caller = authenticate(request("/", b"", headers=headers), TENANTS)
    except Unauthorized:
        return None
    assert caller.app == "demo"
    return caller.role


@pytest.mark.parametrize(
    ("headers", "known_as"),
    [
        # Keys.
        ({"X-LC-Key": "demo-app-key"}, "app"),
        ({"x-lc-key": " demo-app-key "}, "app"),
        ({"X-LC-Key": "demo-master-key,master"}, "master"),
        ({"X-LC-Key": " demo-master-key , master "}, "master"),
        ({"X-LC-Key": "demo-master-key"}, None),
        ({"X-LC-Key": "demo-app-key,master"}, None),
        ({"X-LC-Key": "demo-master-key,MASTER"}, None),
        ({"X-LC-Key": "demo-master-key,master,master"}, None),
        ({"X-LC-Key": "demo-app-key,"}, None),
        ({"X-LC-Key": "demo-app-key,other"}, None),
        ({"X-LC-Key": ",master"}, None),
        ({"X-LC-Key": "wrong"}, None),
        # Signatures.
        ({"X-LC-Sign": APP_SIGN}, "app"),
        ({"X-LC-Sign": MASTER_SIGN}, "master"),
        ({"X-LC-Sign": MASTER_SIGN.replace(",", " , ")}, "master"),
        ({"X-LC-Sign": APP_SIGN + ",ax-sig-1"}, "app"),
        ({"X-LC-Sign": MASTER_SIGN + ",ax-sig-1"}, "master"),
        ({"X-LC-Sign": MASTER_SIGN.replace(",master", ",ax-sig-1,master")}, "master"),
        ({"X-LC-Sign": APP_SIGN.upper()}, None),
        ({"X-LC-Sign": APP_SIGN + ",master"}, None),
        ({"X-LC-Sign": MASTER_SIGN.removesuffix(",master")}, None),
        ({"X-LC-Sign": APP_SIGN + ",other"}, None),
        ({"X-LC-Sign": APP_SIGN + ","}, None),
        ({"X-LC-Sign": APP_SIGN[:-1]}, None),
        ({"X-LC-Sign": APP_SIGN.partition(",")[0]}, None),
        ({"X-LC-Sign": "," + APP_SIGN.partition(",")[2]}, None),
        # A key decides alone (rule 2).
        ({"X-LC-Key": "demo-master-key,master", "X-LC-Sign": APP_SIGN}, "master"),
        ({"X-LC-Key": "demo-app-key", "X-LC-Sign": MASTER_SIGN}, "app"),
        ({"X-LC-Key": "wrong", "X-LC-Sign": APP_SIGN}, None),
        ({"X-LC-Key": "", "X-LC-Sign": APP_SIGN}, "app"),
        # Nothing.
        ({}, None),
        ({"X-LC-Session": "x", "X-LC-Hook-Key": "y", "X-LC-Prod": "1"}, None),
        # Old names.
        ({"X-AVOSCloud-Application-Key": "demo-app-key"}, "app"),
        ({"X-AVOSCloud-Application-Key": "demo-master-key"}, None),
        ({"X-AVOSCloud-Master-Key": "demo-master-key"}, "master"),
        ({"X-AVOSCloud-Master-Key": "demo-app-key"}, None),
        ({"X-AVOSCloud-Application-Key": "demo-app-key", "X-AVOSCloud-Master-Key": "demo-master-key"}, "master"),
        ({"X-AVOSCloud-Application-Key": "demo-app-key", "X-AVOSCloud-Master-Key": "wrong"}, None),
        ({"X-AVOSCloud-Request-Sign": APP_SIGN}, "app"),
        ({"X-AVOSCloud-Request-Sign": MASTER_SIGN}, "master"),
        ({"X-Uluru-Application-Key": "demo-app-key"}, "app"),
        ({"X-Uluru-Master-Key": "demo-master-key"}, "master"),
    ],
)
def test_proofs(headers: dict[str, str], known_as: str | None) -> None:
    assert role(ID | headers) == known_as


@pytest.mark.parametrize("name", ["X-LC-Id", "X-AVOSCloud-Application-Id", "X-Uluru-Application-Id"])
def test_names_of_the_app_id(name: str) -> None:
    assert role({name: "demo-app", "X-LC-Key": "demo-app-key"}) == "app"
    assert role({name: " demo-app ", "X-LC-Key": "demo-app-key"}) == "app"
    assert role({name: "other-app", "X-LC-Key": "demo-app-key"}) is None
    assert role({name: "", "X-LC-Key": "demo-app-key"}) is None


def test_without_an_app_id_no_key_is_good() -> None:
    assert role({"X-LC-Key": "demo-master-key,master"}) is None


@pytest.mark.parametrize("timestamp", ["1700000000", "0", "1", "9" * 40])
def test_a_signature_may_be_of_any_age_and_unit(timestamp: str) -> None:
    digest = hashlib.md5(f"{timestamp}demo-app-key".encode()).hexdigest()
    assert role(ID | {"X-LC-Sign": f"{digest},{timestamp}"}) == "app"


@pytest.mark.parametrize("timestamp", ["", "x", "-1", "1.5", "1e3", "\u0661"])
def test_what_is_no_time_signs_nothing(timestamp: str) -> None:
    digest = hashlib.md5(f"{timestamp}demo-app-key".encode()).hexdigest()
    assert role(ID | {"X-LC-Sign": f"{digest},{timestamp}"}) is None


def test_each_app_has_its_own_keys() -> None:
    other = LeancloudConfig(app_id="other", app_key="k", master_key="m")
    tenants = TENANTS | {b"other": Tenant("second", other)}
    good = HttpRequest(method="GET", path="/", headers=[(b"x-lc-id", b"other"), (b"x-lc-key", b"k")])
    assert authenticate(good, tenants) == Caller("second", role="app")
    mixed = HttpRequest(method="GET", path="/", headers=[(b"x-lc-id", b"other"), (b"x-lc-key", b"demo-app-key")])
    with pytest.raises(Unauthorized):
        authenticate(mixed, tenants)


@given(
    st.dictionaries(
        st.sampled_from(["x-lc-id", "x-lc-key", "x-lc-sign", "x-avoscloud-master-key"]),
        st.binary(max_size=30) | st.sampled_from([b"demo-app", b"a,1", b",", b",,", b"\xff,1"]),
    )
)
def test_any_bytes_are_refused_or_known(headers: dict[str, bytes]) -> None:
    asked = HttpRequest(method="GET", path="/", headers=[(name.encode(), value) for name, value in headers.items()])
    with pytest.raises(Unauthorized):
        authenticate(asked, TENANTS)


def by(known_as: str) -> Call:
    """A call of a caller."""
    return Call(request("/", b""), "4711", Caller("demo", role=known_as))


def test_only_the_master_key() -> None:
    require_master(by("master"))
    refuse_by_acl(by("master"))
    with pytest.raises(Forbidden, match=r"The request must be signed by master key\."):
        require_master(by("app"))
    with pytest.raises(Forbidden, match=r"Forbidden to read/write by class permissions\."):
        refuse_by_acl(by("app"))
