"""The log: one line a record in either format, times in UTC, and never a secret."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.transports import logs
from postroom.transports.config import development, secret_values
from postroom.transports.redaction import HIDDEN, TEXT_CHARS_MAX, Redactor, is_secret

log = logs.get_logger("postroom.test")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("postroom")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def text_line() -> io.StringIO:
    """Where text lines go from now on."""
    stream = io.StringIO()
    logs.setup("text", stream=stream)
    return stream


def json_lines(secrets: tuple[str, ...] = ()) -> io.StringIO:
    """Where JSON lines go from now on."""
    stream = io.StringIO()
    logs.setup("json", secrets=secrets, stream=stream)
    return stream


def only(stream: io.StringIO) -> dict[str, Any]:
    """The one JSON line written."""
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    found: dict[str, Any] = json.loads(line)
    assert list(found) == ["ts", "level", "event", "logger", "fields"]
    assert re.fullmatch(TIME, found["ts"])
    return found


def test_a_text_line() -> None:
    stream = text_line()
    log.info("request-done", path="/v1/send", status=200, ms=1.5, user="bob ross", who=None, ok=True, empty="")
    assert re.fullmatch(
        TIME + r' INFO request-done path=/v1/send status=200 ms=1\.5 user="bob ross" who=null ok=true empty=""\n',
        stream.getvalue(),
    )


def test_a_json_line() -> None:
    stream = json_lines()
    log.warning("queue-full", user="b\u00f6b", size=200, lanes={"high": [1, 2]}, raw=b"\xff\x00")
    found = only(stream)
    assert (found["level"], found["event"], found["logger"]) == ("warning", "queue-full", "postroom.test")
    assert found["fields"] == {"user": "b\u00f6b", "size": 200, "lanes": {"high": [1, 2]}, "raw": "\\xff\0"}


def test_levels() -> None:
    stream = json_lines()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == ["info", "warning", "error"]
    logging.getLogger("postroom").setLevel(logging.DEBUG)
    log.debug("a")
    assert json.loads(stream.getvalue().splitlines()[-1])["event"] == "a"


def test_a_field_may_have_any_name() -> None:
    stream = json_lines()
    log.info("x", event=1, level=2, self=3, msg=4, fields=5)
    assert only(stream)["fields"] == {"event": 1, "level": 2, "self": 3, "msg": 4, "fields": 5}


def test_setup_again_replaces_what_was_there() -> None:
    first, second = text_line(), text_line()
    log.info("x")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_the_default_is_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup()
    log.info("x")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(" INFO x\n")


def test_other_libraries_are_heard_from_warning_on_and_cleaned() -> None:
    stream = json_lines()
    other = logging.getLogger("hypercorn.error")
    other.info("Running on http://…")
    other.warning("bad request %s", "/v1/connect?token=abc")
    found = only(stream)
    assert (found["event"], found["logger"]) == ("log", "hypercorn.error")
    assert found["fields"] == {"message": f"bad request /v1/connect?token={HIDDEN}"}


def test_without_setup_a_host_reads_the_same_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="postroom"):
        log.info("login", user="bob", token="abc")
    (record,) = caplog.records
    assert record.getMessage() == f"login user=bob token={HIDDEN}"
    assert "abc" not in repr(record.msg)


def test_a_traceback_is_one_line_of_text_too() -> None:
    stream = text_line()
    try:
        raise ValueError("GET /v1/connect?token=abcdef")
    except ValueError:
        log.exception("incident", id="17")
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert " ERROR incident id=17 traceback=" in line
    assert "ValueError: GET /v1/connect?token=[redacted]" in line
    assert "abcdef" not in line.replace('token=abcdef")', "")  # the source line of this very test


def test_an_exception_can_be_handed_over() -> None:
    stream = json_lines()
    log.exception("incident", ValueError("why"), id="17")
    fields = only(stream)["fields"]
    assert fields["id"] == "17"
    assert fields["traceback"] == "ValueError: why\n"
    stream = json_lines()
    log.exception("no-exception-here")
    assert only(stream)["fields"] == {}


def test_a_record_that_cannot_be_shown_leaves_a_line_that_says_so() -> None:
    class Stubborn:
        def __str__(self) -> str:
            raise TypeError("secret")

    logging.getLogger().handlers.clear()  # pytest's own would raise
    stream = json_lines()
    log.info("x", password="hunter2", thing=Stubborn())
    found = only(stream)
    assert (found["event"], found["fields"]) == ("log-failure", {"from": "postroom.test", "error": "TypeError"})


def test_a_closed_stream_is_survived() -> None:
    stream = text_line()
    stream.close()
    log.info("x")


def test_line_ends_of_every_kind_stay_inside() -> None:
    value = "a\nb\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\x1b[31m\U000e0001"
    stream = json_lines()
    log.info("x", v=value, **{"k\ney": {"in\nner": 1}})
    assert only(stream)["fields"] == {"v": value, "k\ney": {"in\nner": 1}}
    stream = text_line()
    log.info("x\ny", v=value, **{"k\ney": 1})
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()


# ------------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "Proxy-Authorization",
        "cookie",
        "Set-Cookie",
        "token",
        "access_token",
        "secret",
        "client_secret",
        "apiSecret",
        "api_secret",
        "session_secret",
        "password",
        "passwd",
        "api_key",
        "master_key",
        "key",
        "X-LC-Key",
        "Idempotency-Key",
        "sign",
        "X-LC-Sign",
        "signature",
        "app_certificate",
    ],
)
def test_what_is_secret_by_its_name(name: str) -> None:
    assert is_secret(name)
    clean = Redactor().fields({"headers": [{name: "hunter2"}], name: ["hunter2"]})
    assert clean == {"headers": [{name: HIDDEN}], name: HIDDEN}


@pytest.mark.parametrize("name", ["user", "keys", "monkey", "design", "status", "app", "tokens_left", "path", "signal"])
def test_what_is_not(name: str) -> None:
    assert not is_secret(name)


def test_an_absent_secret_is_shown_as_absent() -> None:
    assert Redactor().fields({"token": None}) == {"token": None}


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl-_"
RTM = "006" + "0123456789abcdef" * 2 + "IAB" + "x" * 40 + "="


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/v1/connect?token=abc", f"/v1/connect?token={HIDDEN}"),
        ("/v1/connect?a=1&token=abc&b=2", f"/v1/connect?a=1&token={HIDDEN}&b=2"),
        ("?TOKEN=abc#x", f"?TOKEN={HIDDEN}#x"),
        ("access_token=abc secret=def", f"access_token={HIDDEN} secret={HIDDEN}"),
        ('{"token": "abc", "n": 1}', f'{{"token": "{HIDDEN}", "n": 1}}'),
        ("{'client_secret': 'abc'}", f"{{'client_secret': '{HIDDEN}'}}"),
        ("Authorization: Bearer abcdef.ghi-_", f"Authorization: Bearer {HIDDEN}"),
        ("authorization: basic ZGVtbzpkZW1v==", f"authorization: basic {HIDDEN}"),
        (f"it was {JWT}, sent twice", f"it was {HIDDEN}, sent twice"),
        (f"x-agora-token {RTM}", f"x-agora-token {HIDDEN}"),
        ("nothing to see, 200 tokens, key = none", "nothing to see, 200 tokens, key = none"),
        ("006 is a number", "006 is a number"),
    ],
)
def test_what_is_secret_by_its_form(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


def test_the_servers_own_secrets_never_appear() -> None:
    secrets = secret_values(development())
    stream = json_lines(secrets)
    for secret in secrets:
        log.info("x", body=f"he said {secret}!", raw=secret.encode(), deep=[{"a": (secret,)}], error=ValueError(secret))
    for secret in (secret for secret in secrets if len(secret) >= 8):
        assert secret not in stream.getvalue()
    assert "he said 123456!" in stream.getvalue()  # too short: it would blot out parts of ids and times


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    assert Redactor(["abcdefgh", "abcdefgh-and-more"]).text("abcdefgh-and-more") == HIDDEN


def test_what_is_shown_is_bounded() -> None:
    nested: Any = "deep"
    for _ in range(50):
        nested = {"password": "hunter2", "n": [nested]}
    clean = Redactor().fields(
        {"t": "x" * 10**6, "l": list(range(10**5)), "d": dict.fromkeys(range(10**5)), "n": nested}
    )
    assert len(json.dumps(clean)) < TEXT_CHARS_MAX + 5_000
    assert "hunter2" not in str(clean)
    assert "deep" not in str(clean)


@pytest.mark.parametrize("unit", ["eyJ-", "eyJ.", "006/", "basic ", "token=", "a_token", "_", '"token":"', "bearer\t"])
def test_long_texts_cost_linear_time(unit: str) -> None:
    Redactor().text(unit * 100_000)  # quadratic time would be minutes here


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters())
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(st.characters(), max_size=5), VALUES, max_size=4), st.text(st.characters(), max_size=5))
def test_anything_becomes_one_line(fields: dict[str, Any], event: str) -> None:
    for log_format in ("text", "json"):
        formatter = logs.LineFormatter(log_format, Redactor(["a secret to be hidden"]))
        record = logging.LogRecord("n", logging.INFO, "", 0, logs.Entry(event, fields), None, None)
        line = formatter.format(record)
        assert line.isprintable()
        if log_format == "json":
            json.loads(line)
