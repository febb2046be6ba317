"""RTM tokens (anyRTC 5): the vectors of the contract, every rule broken by itself, and anything at all."""

import base64
import random
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroom.transports.anyrtc.token_fields import INFLATED_BYTES_MAX
from postroom.transports.anyrtc.tokens import TOKEN_CHARS_MAX, BadToken, names_its_user, verify
from tests.support.rtm_tokens import (
    APP_ID,
    CERTIFICATE,
    LATER,
    NOW,
    VECTORS,
    make_006,
    make_007,
    packed,
    rtc,
    rtm,
    str16,
)

OTHER_ID = "0123456789abcdef0123456789abcdef"
OTHER_CERTIFICATE = "fedcba9876543210fedcba9876543210"
Y2100 = 4_102_444_800
ODD = "a b+c&d=e@f%25#g"


def check(token: str, account: str | None = "userA", now: int = NOW, **app: str) -> str:
    """`verify` for the usual app."""
    return verify(token, **({"app_id": APP_ID, "certificate": CERTIFICATE} | app), account=account, now_s=now)


def refused(token: str, account: str | None = "userA", now: int = NOW, **app: str) -> str:
    """Why a token is bad."""
    with pytest.raises(BadToken) as caught:
        check(token, account, now, **app)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


def content_of_007(token: str) -> bytes:
    """What is signed, and the signature."""
    return zlib.decompress(base64.b64decode(token[3:]))


@pytest.mark.parametrize(
    ("name", "account"),
    [
        ("P3", "userA"),
        ("P4", "userA"),
        ("P7", ODD),
        ("P9", "u" * 64),
        ("P10", "1001"),
        ("P11", "userA"),
        ("J1", "userA"),
        ("N4", "userB"),
        ("Z2", "userA"),
        ("Z2", None),
        ("Z3", "userA"),
        ("Z3", None),
    ],
)
def test_vectors_that_are_good_until_2100(name: str, account: str | None) -> None:
    user = account or "userA"
    assert check(VECTORS[name], account) == user
    assert check(VECTORS[name], account, Y2100 - 1) == user
    assert refused(VECTORS[name], account, Y2100) == "expired"


@pytest.mark.parametrize(
    ("name", "account", "reason"),
    [
        ("P1", "test_user", "expired"),
        ("P2", "test_user", "expired"),
        ("P5", "userA", "expired"),
        ("P6", "userA", "expired"),
        ("P8", "SYSTEM", "for another app"),
        ("N1", "userA", "wrong signature"),
        ("N2", "userA", "not for RTM"),
        ("N3", "userA", "for another user"),
        ("N4", "userA", "for another user"),
        ("P3", "userB", "for another user"),
        ("P3", "usera", "for another user"),
        ("P3", None, "no account given"),
        ("P3", "", "no account given"),
        ("Z1", "test_user", "expired"),
        ("Z1", None, "expired"),
        ("Z2", "userB", "for another user"),
        ("Z2", "", "for another user"),
    ],
)
def test_vectors_that_are_bad(name: str, account: str | None, reason: str) -> None:
    assert refused(VECTORS[name], account) == reason


@pytest.mark.parametrize(("name", "last"), [("P1", 1_111_110), ("P2", 99), ("Z1", 1_111_710)])
def test_vectors_of_long_ago_were_good_then(name: str, last: int) -> None:
    assert check(VECTORS[name], "test_user", last) == "test_user"
    assert refused(VECTORS[name], "test_user", last + 1) == "expired"


def test_the_builder_of_these_tests_makes_the_vectors() -> None:
    fixed: dict[str, Any] = {"ts": Y2100, "salt": 12_345_678}
    assert make_006("userA", [(1000, Y2100)], **fixed) == VECTORS["P3"]
    assert make_006("userA", [(1, Y2100), (1000, Y2100)], **fixed) == VECTORS["P11"]
    assert make_006("test_user", [(1000, 100)], ts=1_111_111, salt=1) == VECTORS["P2"]
    made = make_007(rtm(privileges=[(1, 86_400)]), issued=4_102_358_400, expire=86_400, salt=12_345_678)
    # zlib may pack the same content in another way.
    assert content_of_007(made) == content_of_007(VECTORS["Z2"])


def test_a_vector_of_the_other_app() -> None:
    assert check(VECTORS["P8"], "SYSTEM", app_id=OTHER_ID, certificate=OTHER_CERTIFICATE) == "SYSTEM"
    assert refused(VECTORS["P8"], "SYSTEM", app_id=OTHER_ID) == "wrong signature"
    assert refused(VECTORS["P3"], app_id=OTHER_ID, certificate=OTHER_CERTIFICATE) == "for another app"
    assert refused(VECTORS["Z2"], app_id=OTHER_ID, certificate=OTHER_CERTIFICATE) == "for another app"


@pytest.mark.parametrize("name", ["P3", "Z2"])
def test_ids_and_certificates_are_text_whose_case_matters(name: str) -> None:
    assert refused(VECTORS[name], app_id=APP_ID.lower()) == "for another app"
    assert refused(VECTORS[name], certificate=CERTIFICATE.lower()) == "wrong signature"


@pytest.mark.parametrize("token", [make_006(certificate=""), make_007(certificate="")])
def test_an_app_without_a_certificate_has_no_tokens(token: str) -> None:
    assert refused(token, certificate="") == "the app has no certificate"


def test_which_tokens_say_whom_they_are_for() -> None:
    assert names_its_user(VECTORS["Z2"])
    assert not names_its_user(VECTORS["P3"])


@pytest.mark.parametrize("account", ["userA", ODD, "\u7528\u6237", "\U0001f4ee", "u" * 255, "x\x00y"])
def test_tokens_made_here_are_good(account: str) -> None:
    assert check(make_006(account), account) == account
    service = rtm(account.encode())
    assert check(make_007(service), account) == account
    assert check(make_007(rtc(), service), None) == account


@pytest.mark.parametrize("app_id", ["a", "0" * 31, "0" * 40])
def test_the_whole_app_id_is_compared(app_id: str) -> None:
    for token in (make_006(app_id=app_id), make_007(app_id=app_id)):
        assert check(token, app_id=app_id) == "userA"
        refused(token, app_id=app_id[:-1])
        refused(token, app_id=app_id + "0")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"signature": b""}, "wrong signature"),
        ({"signature": b"s" * 31}, "wrong signature"),
        ({"signature": b"s" * 32}, "wrong signature"),
        ({"signature": b"s" * 33}, "wrong signature"),
        ({"crc": 0}, "for another user"),
        ({"uid_crc": 1}, "for another user"),
        ({"tail": b"\0"}, "bytes left over"),
        ({"m_tail": b"\0"}, "bytes left over"),
        ({"m": b""}, "ends too early"),
        ({"m": struct.pack("<IIH", 7, LATER, 1)}, "ends too early"),
        ({"m": struct.pack("<IIH", 7, LATER, 65_535) + b"\xe8\x03" * 4_000}, "too long"),
        ({"m": struct.pack("<IIH", 7, LATER, 65_535) + b"\xe8\x03" * 1_000}, "ends too early"),
        ({"privileges": []}, "not for RTM"),
        ({"privileges": [(1, LATER)]}, "not for RTM"),
        ({"privileges": [(1000, LATER), (1000, LATER)]}, "a privilege twice"),
        ({"privileges": [(1000, NOW)]}, "expired"),
        ({"privileges": [(1000, 1)]}, "expired"),
        ({"ts": NOW}, "expired"),
        ({"ts": 0}, "expired"),
        ({"ts": 0, "privileges": [(1000, 0)]}, "expired"),
        ({"certificate": OTHER_CERTIFICATE}, "wrong signature"),
        ({"app_id": OTHER_ID}, "for another app"),
    ],
)
def test_a_006_token_with_one_thing_wrong(broken: dict[str, Any], reason: str) -> None:
    assert refused(make_006(**broken)) == reason


@pytest.mark.parametrize(
    "fine",
    [
        {"ts": NOW + 1},
        {"ts": 0xFFFF_FFFF},
        {"salt": 0},
        {"salt": 0xFFFF_FFFF},
        {"privileges": [(1000, NOW + 1)]},
        {"privileges": [(1000, 0)]},
        {"privileges": [(1000, 0xFFFF_FFFF)]},
        {"privileges": [(1000, LATER), (1, LATER)]},
        {"privileges": [(1, 0), (2, 1_000_000_000), (3, NOW), (4, LATER), (1000, LATER), (65_535, LATER)]},
    ],
)
def test_what_a_006_token_may_have(fine: dict[str, Any]) -> None:
    assert check(make_006(**fine)) == "userA"


def test_a_name_cannot_be_shortened_by_moving_its_end_into_the_message() -> None:
    """The signature covers app id, name and message without a mark between them; see the comment in the code."""
    token = make_006("alice" + "xxxxyy", salt=0x0002_F000)
    assert check(token, "alicexxxxyy") == "alicexxxxyy"
    content = base64.b64decode(token[35:])
    signature, m = content[2:34], content[44:]
    forged = make_006("alice", signature=signature, m=b"xxxxyy" + m)
    assert refused(forged, "alice") == "a privilege from before there were any"


@pytest.mark.parametrize(
    ("services", "broken", "reason"),
    [
        ([rtm()], {"signature": b""}, "wrong signature"),
        ([rtm()], {"signature": b"s" * 32}, "wrong signature"),
        ([rtm()], {"signature": b"s" * 33}, "wrong signature"),
        ([rtm()], {"certificate": OTHER_CERTIFICATE}, "wrong signature"),
        ([rtm()], {"app_id": OTHER_ID}, "for another app"),
        ([rtm()], {"info": b""}, "ends too early"),
        ([rtm()], {"tail": b"\0"}, "bytes left over"),
        ([rtm()], {"count": 0}, "bytes left over"),
        ([rtm()], {"count": 2}, "ends too early"),
        ([rtm()], {"count": 65_535}, "ends too early"),
        ([rtm()[:-1]], {}, "ends too early"),
        ([rtc()], {}, "not for RTM"),
        ([rtm(b"")], {}, "not for RTM"),
        ([rtm(privileges=[])], {}, "not for RTM"),
        ([rtm(privileges=[(2, 3_600)])], {}, "not for RTM"),
        ([rtm(privileges=[(1, 3_600), (1, 3_600)])], {}, "a privilege twice"),
        ([rtm(privileges=[(1, 0)])], {}, "expired"),
        ([rtm(b"\xff")], {}, "the user is no text"),
        ([rtm(b"\xed\xa0\x80")], {}, "the user is no text"),
        ([rtm(), rtc()], {}, "services out of order"),
        ([rtm(), rtm()], {}, "two RTM services"),
        ([b"\x03\0\0\0", rtm()], {}, "not for RTM"),
        ([b"\0\0\0\0", rtm()], {}, "not for RTM"),
        ([rtc(), b"\0\0\0\0", rtm()], {}, "services out of order"),
        ([rtm()], {"expire": 0}, "expired"),
        ([rtm()], {"issued": NOW - 3_600}, "expired"),
        ([rtm()], {"issued": 0}, "expired"),
        ([rtm(b"userB")], {}, "for another user"),
    ],
)
def test_a_007_token_with_one_thing_wrong(services: list[bytes], broken: dict[str, Any], reason: str) -> None:
    assert refused(make_007(*services, **broken)) == reason


@pytest.mark.parametrize(
    ("services", "fine"),
    [
        ([rtm()], {"salt": 0}),
        ([rtm()], {"salt": 0xFFFF_FFFF}),
        ([rtm()], {"issued": NOW - 3_599}),
        ([rtm()], {"issued": NOW + 86_400}),
        ([rtm()], {"issued": 0xFFFF_FFFF, "expire": 0xFFFF_FFFF}),
        ([rtm(privileges=[(1, 1)])], {}),
        ([rtm(privileges=[(9, 0), (1, 0xFFFF_FFFF)])], {}),
        ([rtc(), rtm()], {}),
        ([rtc(b"a"), rtc(b"b", b"\xff"), rtm()], {}),  # agora-token adds services of a type without replacing any
        ([rtc(), rtm(), b"\x05\0"], {}),  # how long the rest is nobody knows
        ([rtm(), b"\x09\0\0\0\0\0\0"], {}),
    ],
)
def test_what_a_007_token_may_have(services: list[bytes], fine: dict[str, Any]) -> None:
    assert check(make_007(*services, **fine)) == "userA"


@pytest.mark.parametrize(
    ("expire", "login", "ends"),
    [
        (600, 3_600, 600),
        (3_600, 600, 600),
        (86_399, 0xFFFF_FFFF, 86_399),
        (86_401, 86_401, 86_400),
        (0xFFFF_FFFF, 0xFFFF_FFFF, 86_400),
    ],
)
def test_a_007_token_ends_with_itself_its_privilege_or_its_day(expire: int, login: int, ends: int) -> None:
    token = make_007(rtm(privileges=[(1, login)]), expire=expire)
    assert check(token, None, NOW + ends - 1) == "userA"
    assert refused(token, None, NOW + ends) == "expired"


@pytest.mark.parametrize(
    "token", [make_006(), make_006(privileges=[(1, 0), (1000, 0)]), make_007(), make_007(rtm(), b"")]
)
def test_a_token_cut_short_or_made_longer_is_bad(token: str) -> None:
    for end in range(len(token)):
        refused(token[:end])
    for more in ("A", "=", "AAAA", " ", "\n", "\0"):
        refused(token + more)
        refused(more + token)
        refused(token[:40] + more + token[40:])


@pytest.mark.parametrize("token", [make_006(), make_006(privileges=[(1, 0), (1000, 0)])])
def test_a_006_token_cut_at_every_byte_of_its_content_is_bad(token: str) -> None:
    content = base64.b64decode(token[35:])
    for end in range(len(content)):
        assert refused(token[:35] + packed(content[:end])) == "ends too early"


def test_a_007_token_cut_at_every_byte_is_bad() -> None:
    content = zlib.decompress(base64.b64decode(make_007(rtc(), rtm())[3:]))
    for end in range(len(content)):
        refused("007" + packed(zlib.compress(content[:end])))
    deflated = zlib.compress(content)
    for end in range(len(deflated)):
        assert refused("007" + packed(deflated[:end])) == "not zlib" if end else "ends too early"


def test_a_007_token_properly_signed_but_cut_is_bad() -> None:
    info = str16(APP_ID.encode()) + struct.pack("<IIIH", NOW, 3_600, 7, 2) + rtc() + rtm()
    assert check(make_007(info=info)) == "userA"
    for end in range(len(info)):
        assert refused(make_007(info=info[:end])) == "ends too early"


@pytest.mark.parametrize("size", [1, 2])
def test_base64_is_read_in_one_way_only(size: int) -> None:
    """Of a last group that is not full, two or four bits are not part of the content: they must be zero."""
    token = make_006("userA", m_tail=b"\0" * size, certificate=CERTIFICATE)
    assert token.endswith("=" * (3 - size))
    last = token.rstrip("=")[-1]
    assert refused(token) == "bytes left over"
    assert refused(token.rstrip("=")[:-1] + chr(ord(last) + 1) + "=" * (3 - size)) == "not base64"
    assert refused(token.rstrip("=")) == "not base64"
    assert refused(token + "=") == "not base64"


@pytest.mark.parametrize(("name", "swap"), [("P11", ("+", "-")), ("P3", ("/", "_")), ("Z1", ("/", "_"))])
def test_url_safe_base64_is_another_alphabet(name: str, swap: tuple[str, str]) -> None:
    assert swap[0] in VECTORS[name]
    assert refused(VECTORS[name].replace(*swap)) == "not base64"


def test_a_token_of_any_length_is_refused_before_it_is_read() -> None:
    assert refused("006" + APP_ID + "A" * TOKEN_CHARS_MAX) == "too long"
    assert refused("A" * (TOKEN_CHARS_MAX + 1)) == "too long"
    assert refused("A" * TOKEN_CHARS_MAX) == "neither 006 nor 007"


def test_the_longest_names_fit() -> None:
    draw = random.Random(255)
    user = "".join(chr(draw.randrange(0x21, 0x7F)) for _ in range(255))
    token = make_007(rtc(draw.randbytes(255), draw.randbytes(255)), rtm(user.encode()))
    assert check(token, None) == user
    assert 1_000 < len(token) < 1_300


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = "007" + packed(zlib.compress(bytes(3_000_000), 9))
    assert len(bomb) <= TOKEN_CHARS_MAX
    tracemalloc.start()
    try:
        assert refused(bomb) == "too much in it"
        assert tracemalloc.get_traced_memory()[1] < 5 * INFLATED_BYTES_MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("size", "fits"), [(-1, True), (0, True), (1, False)])
def test_the_bound_of_what_is_unpacked(size: int, *, fits: bool) -> None:
    head = 2 + 32 + 2 + 32 + 14 + len(rtm())
    token = make_007(rtm(), b"\x03\0", tail=bytes(INFLATED_BYTES_MAX + size - head - 2))
    if fits:
        assert check(token) == "userA"
    else:
        assert refused(token) == "too much in it"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        zlib.compress(b"")[:-1],
        zlib.compress(b"x" * 100)[:-4],
        zlib.compress(b"x") + b"\0",
        zlib.compress(b"x") * 2,
        zlib.compress(b"x" * 100)[:-1] + b"\0",
        zlib.compressobj(wbits=-15).flush(),
        zlib.compressobj(wbits=31).flush(),
        b"\x78\xbb\0\0\0\1" + zlib.compress(b"x")[2:],  # wants a dictionary
    ],
)
def test_what_is_not_one_whole_zlib_stream(raw: bytes) -> None:
    assert refused("007" + packed(raw)) == "not zlib"


def test_a_stream_with_more_behind_it_is_bad_though_its_content_is_good() -> None:
    token = make_007()
    raw = base64.b64decode(token[3:])
    assert refused("007" + packed(raw + b"\0")) == "not zlib"
    assert refused("007" + packed(raw + raw)) == "not zlib"


@pytest.mark.parametrize("account", ["\ud800", "userA\udfff"])
def test_an_account_that_is_half_a_character(account: str) -> None:
    assert refused(VECTORS["P3"], account) == "the account is no text"
    assert refused(VECTORS["Z2"], account) == "for another user"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "0",
        "006",
        "007",
        "006" + APP_ID,
        "007=",
        "005" + VECTORS["P3"][3:],
        "\u0660\u0660\u0666",
        "006\ud800",
        "007\ud800",
    ],
)
def test_what_is_no_token(token: str) -> None:
    refused(token)
    refused(token, None)


def test_no_reason_quotes_the_token_the_account_or_the_certificate() -> None:
    for token in ("006hunter2", "007hunter2=", "hunter2", f"006{APP_ID}hunter2=", make_006("hunter2"), make_007()):
        reason = refused(token, "hunter3")
        assert not any(word in reason for word in ("hunter", CERTIFICATE, APP_ID))


@given(st.text(max_size=200), st.none() | st.text(max_size=20))
@example("006" + APP_ID, "\ud800")
def test_any_text_is_a_bad_token(text: str, account: str | None) -> None:
    refused(text, account)
    for prefix in ("006", "007", "006" + APP_ID):
        refused(prefix + text, account)


@given(st.binary(max_size=200))
def test_any_content_is_a_bad_token(raw: bytes) -> None:
    refused("006" + APP_ID + packed(raw))
    refused("007" + packed(raw))
    refused("007" + packed(zlib.compress(raw)))


@given(st.binary(max_size=100))
def test_any_signed_content_gives_the_user_or_a_bad_token(raw: bytes) -> None:
    head = str16(APP_ID.encode()) + struct.pack("<III", NOW, 3_600, 7)
    tokens = [
        make_006(m=raw),
        make_006(m_tail=raw),
        make_007(info=raw),
        make_007(info=head + raw),
        make_007(raw, rtm()),
    ]
    for token in tokens:
        for account in ("userA", None):
            try:
                user = check(token, account)
            except BadToken:
                continue
            assert user
            assert account in (user, None)


@given(st.sampled_from(["P3", "P7", "P11"]), st.integers(0, 200), st.characters(max_codepoint=0x2FF))
def test_a_006_token_with_one_character_changed_is_bad(name: str, where: int, character: str) -> None:
    token, account = VECTORS[name], ODD if name == "P7" else "userA"
    where %= len(token)
    changed = token[:where] + character + token[where + 1 :]
    if changed == token:
        assert check(changed, account) == account
    else:
        refused(changed, account)


@given(st.sampled_from(["P3", "P11", "Z2", "Z3"]), st.lists(st.tuples(st.integers(0), st.characters()), max_size=4))
def test_a_changed_token_is_bad_or_says_the_same(name: str, changes: list[tuple[int, str]]) -> None:
    """zlib has bits that nobody reads, so a changed 007 token may still hold what was signed."""
    token = VECTORS[name]
    for where, character in changes:
        at = where % len(token)
        token = token[:at] + character + token[at + 1 :]
    try:
        assert check(token) == "userA"
    except BadToken:
        assert token != VECTORS[name]


def test_every_single_bit_of_what_is_signed_counts() -> None:
    for token, start, unpack, pack in (
        (make_006(), 35, bytes, bytes),
        (make_007(rtc(), rtm()), 3, zlib.decompress, zlib.compress),
    ):
        content = unpack(base64.b64decode(token[start:]))
        for bit in range(len(content) * 8):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            refused(token[:start] + packed(pack(bytes(changed))))
        assert check(token[:start] + packed(pack(content))) == "userA"
