"""The configuration file: what it becomes, every way it can be wrong, and that the documentation says all of it."""

import datetime
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from postroom.core.buckets import Rate
from postroom.core.expiry import DAY_MS
from postroom.core.model import Rules
from postroom.transports.config import (
    DEMO_APP,
    LIMIT_KEYS,
    Address,
    AppConfig,
    Config,
    ConfigError,
    Limits,
    check_exposure,
    check_tls,
    demo_credentials,
    development,
    load,
    parse,
    parse_address,
    secret_values,
)
from postroom.transports.config.errors import MESSAGE_CHARS_MAX
from postroom.transports.config.load import FILE_BYTES_MAX, convert
from postroom.transports.http.lean.settings import LeanSettings

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = (DOCS / "postroom.example.toml").read_text(encoding="utf-8")

SECRET = "a session secret of more than 32 bytes"
APP = f'[[apps]]\nname = "shop"\nsession_secret = "{SECRET}"\n'
ANYRTC = '[apps.anyrtc]\napp_id = "ABCDEF0123456789ABCDEF0123456789"\napi_key = "k"\napi_secret = "s"\n'
EASEMOB = '[apps.easemob]\norg_name = "o"\napp_name = "a"\nclient_id = "c"\nclient_secret = "s"\n'
LEANCLOUD = '[apps.leancloud]\napp_id = "i"\napp_key = "k"\nmaster_key = "m"\n'
WILDFIRE = '[apps.wildfire]\nsecret = "w"\n'


def read(text: str) -> Config:
    """The configuration in a text."""
    return parse(text.encode())[0]


def refused(text: str | bytes) -> str:
    """The one line that a wrong file is answered with."""
    with pytest.raises(ConfigError) as caught:
        parse(text if isinstance(text, bytes) else text.encode())
    assert caught.value.message == str(caught.value)
    assert caught.value.message.isprintable()
    return caught.value.message


def outcome(call: Callable[[], object]) -> str:
    """The line that a call is refused with; empty if it is not."""
    try:
        call()
    except ConfigError as error:
        return error.message
    return ""


def test_the_smallest_file_has_every_default() -> None:
    config, warnings = parse(APP.encode())
    assert warnings == []
    server = config.server
    assert (server.bind, server.bind_h11, server.data) == (("127.0.0.1:8080",), (), "postroom-data")
    assert (server.tls_certificate, server.tls_key, server.metrics) == ("", "", "loopback")
    assert (server.log_retention_days, server.session_buffer_kib, server.heartbeat_s) == (31, 1024, 25)
    assert server.h11.settings(25) == LeanSettings()
    assert (server.log_retention_ms, server.session_buffer_bytes) == (31 * DAY_MS, 1 << 20)
    (app,) = config.apps
    assert (app.name, app.session_secret, app.dialects, app.day_utc_offset_min) == ("shop", SECRET, (), 0)
    assert (app.queue.messages, app.queue.days, app.queue.overflow) == (200, 7, "oldest")
    assert (app.history.days, app.history.ttl_ms) == (180, 180 * DAY_MS)


def test_dialect_tables_have_their_defaults() -> None:
    (app,) = read(APP + ANYRTC + EASEMOB + LEANCLOUD + WILDFIRE).apps
    assert app.dialects == ("anyrtc", "easemob", "leancloud", "wildfire")
    assert app.anyrtc
    assert app.easemob
    assert app.leancloud
    assert app.wildfire
    assert (app.anyrtc.app_certificate, app.anyrtc.ack_timeout_s, app.anyrtc.ack_timeout_ms) == ("", 5, 5000)
    assert (app.anyrtc.history_days, app.anyrtc.handle_ttl_s) == (7, 600)
    switches = (app.anyrtc.lenient_history_limit, app.anyrtc.lenient_ids, app.anyrtc.omit_result_when_offline)
    assert switches == (False, False, False)
    assert (app.easemob.room_lane, app.easemob.broadcast, app.easemob.recall_minutes) == (20, True, 2)
    assert (app.leancloud.strict_conversation_acl, app.leancloud.sign_history) == (False, False)
    assert (app.wildfire.check_time, app.wildfire.auth_failure_http_status) == (True, 200)


def test_what_a_file_says_is_what_comes_out() -> None:
    config = read(
        '[server]\nbind = ["0.0.0.0:80", "[::1]:0"]\ndata = "/d"\nmetrics = "public"\nheartbeat_s = 2.5\n'
        'session_buffer_kib = 256\nlog_retention_days = 1\nbind_h11 = ["127.0.0.1:81"]\n'
        "[server.h11]\nheader_kib = 8\nbody_kib = 256\nrequests = 5\nconnections = 6\nconnections_per_address = 7\n"
        "idle_s = 1\nheader_s = 2.5\nbody_s = 3\nwrite_s = 4\n"
        + APP
        + "day_utc_offset_min = -210\n"
        + ANYRTC
        + 'app_certificate = ""\nack_timeout_s = 0.5\n[apps.queue]\nmessages = 10\ndays = 1\noverflow = "refuse"\n'
        + '[apps.history]\ndays = "forever"\n'
    )
    assert config.server.addresses == (Address("0.0.0.0", 80), Address("::1", 0))
    assert config.server.addresses_h11 == (Address("127.0.0.1", 81),)
    assert config.server.h11.settings(2.5) == LeanSettings(
        header_bytes=8 * 1024,
        body_bytes=256 * 1024,
        requests=5,
        connections=6,
        connections_per_address=7,
        idle_s=1,
        header_s=2.5,
        body_s=3,
        write_s=4,
        heartbeat_s=2.5,
    )
    assert (config.server.metrics, config.server.heartbeat_s) == ("public", 2.5)
    (app,) = config.apps
    assert app.anyrtc
    assert app.anyrtc.ack_timeout_ms == 500
    assert app.history.ttl_ms is None
    assert config.rules == {
        "shop": Rules(
            queue_messages=10, queue_ttl_ms=DAY_MS, overflow="refuse", history_ttl_ms=None, day_offset_ms=-210 * 60_000
        )
    }
    assert config.session_secrets == {"shop": SECRET}


def test_the_lean_host_listens_beside_the_other_or_alone() -> None:
    beside = read('[server]\nbind_h11 = ["127.0.0.1:8081", "[::1]:0"]\n' + APP).server
    assert beside.addresses == (Address("127.0.0.1", 8080),)
    assert beside.addresses_h11 == (Address("127.0.0.1", 8081), Address("::1", 0))
    alone = read('[server]\nbind = []\nbind_h11 = ["127.0.0.1:8080"]\n' + APP).server
    assert (alone.addresses, alone.addresses_h11) == ((), (Address("127.0.0.1", 8080),))
    free = read('[server]\nbind = ["127.0.0.1:0"]\nbind_h11 = ["127.0.0.1:0", "127.0.0.1:0"]\n' + APP).server
    assert len(free.addresses_h11) == 2  # two free ports


def test_dialects_that_are_not_built_cost_one_warning_line_each() -> None:
    _, warnings = parse((APP + ANYRTC + EASEMOB + LEANCLOUD + WILDFIRE).encode())
    assert [line.partition(":")[0] for line in warnings] == [
        "apps[0].easemob",
        "apps[0].wildfire",
    ]
    assert all("not built yet" in line and line.isprintable() for line in warnings)


# ---------------------------------------------------------------------------------------------------------- errors

UNKNOWN_KEYS = [
    ("colour = 1\n" + APP, "colour"),
    ("[server]\ncolour = 1\n" + APP, "server.colour"),
    ("[server.h11]\ncolour = 1\n" + APP, "server.h11.colour"),
    (APP + "colour = 1", "apps[0].colour"),
    (APP + "[apps.native]\nx = 1", "apps[0].native"),
    (APP + ANYRTC + "colour = 1", "apps[0].anyrtc.colour"),
    (APP + EASEMOB + "colour = 1", "apps[0].easemob.colour"),
    (APP + LEANCLOUD + "colour = 1", "apps[0].leancloud.colour"),
    (APP + WILDFIRE + "colour = 1", "apps[0].wildfire.colour"),
    (APP + "[apps.queue]\ncolour = 1", "apps[0].queue.colour"),
    (APP + "[apps.history]\ncolour = 1", "apps[0].history.colour"),
    (APP + '[apps.limits]\n"colour.x" = "1/s"', 'apps[0].limits."colour.x"'),
]


@pytest.mark.parametrize(("text", "place"), UNKNOWN_KEYS)
def test_an_unknown_key_is_named_with_its_table(text: str, place: str) -> None:
    assert refused(text).startswith(f"{place}: unknown key")


def test_the_second_app_is_counted_and_a_misspelling_is_recognised() -> None:
    text = APP + APP.replace("shop", "other") + "[apps.queue]\nmesages = 1"
    assert refused(text) == "apps[1].queue.mesages: unknown key; did you mean messages?"


def test_a_key_cannot_forge_a_second_line() -> None:
    assert refused('"a\\nb\\u2028\\u001b[31m" = 1') == ("a\\nb\\u2028\\x1b[31m: unknown key; known here: server, apps")
    assert len(refused('"' + "x" * 5000 + '" = 1')) <= MESSAGE_CHARS_MAX


# Each key with values of a wrong type or out of its range, and a word of what the line has to say.
WRONG_VALUES: list[tuple[str, str, list[str], str]] = [
    ("server", "bind", ['"127.0.0.1:1"', "1"], "list of strings"),
    ("server", "bind", ["[1]", '[""]'], "a string"),
    ("server", "bind", ['["127.0.0.1"]', '["http://x:1"]', '[":8080"]', '["a b:1"]', '["::1:80"]'], "HOST:PORT"),
    ("server", "bind", ['["127.0.0.1:65536"]'], "port"),
    ("server", "bind", ['["1.2.3:80"]', '["256.0.0.1:80"]'], "IPv4"),
    ("server", "bind", ['["[1.2.3.4]:80"]', '["[::g]:80"]'], "IPv6"),
    ("server", "bind", ['["a:1", "a:1"]'], "twice"),
    ("server", "bind", ["[]"], "at least one"),
    ("server", "bind_h11", ['["x"]'], "HOST:PORT"),
    ("server", "bind_h11", ['["a:1", "a:1"]', '["127.0.0.1:8080"]'], "twice"),
    ("server", "data", ["1", '""', '"a\\u0000b"'], "must be a"),
    ("server", "tls_certificate", ["true", "[]"], "a string"),
    ("server", "metrics", ["true", '"off"', "1"], '"loopback" or "public"'),
    ("server", "log_retention_days", ["0", "-1", "1.0", '"31"', "true", "3651", "9" * 30], "1 to 3650"),
    ("server", "session_buffer_kib", ["255", "1048577", '"1"'], "256 to 1048576"),
    ("server", "heartbeat_s", ["0", "0.01", "nan", "inf", "-inf", '"25"', "true", "3601"], "0.1 to 3600"),
    ("server", "h11", ["1", "[]"], "a table"),
    ("server.h11", "header_kib", ["0", "1025", '"16"'], "1 to 1024"),
    ("server.h11", "body_kib", ["255", "16385", "true"], "256 to 16384"),
    ("server.h11", "requests", ["0", "1.0"], "1 to 1000000000"),
    ("server.h11", "connections", ["0", '"many"'], "1 to 1000000"),
    ("server.h11", "connections_per_address", ["0", "[]"], "1 to 1000000"),
    ("server.h11", "idle_s", ["0", "3601", '"75"', "nan"], "0.1 to 3600"),
    ("server.h11", "header_s", ["0.05", "inf"], "0.1 to 3600"),
    ("server.h11", "body_s", ["-1", "true"], "0.1 to 3600"),
    ("server.h11", "write_s", ["0", "3601"], "0.1 to 3600"),
    ("apps", "name", ["1", '""'], "string"),
    ("apps", "name", ['"' + "\u00fc" * 129 + '"'], "256 bytes"),
    ("apps", "name", ['"a\\nb"', '" a"'], "control characters"),
    ("apps", "session_secret", ["1", "[]"], "string"),
    ("apps", "session_secret", ['"' + "x" * 31 + '"', '""'], "32 bytes"),
    ("apps", "session_secret", ['"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ"'], "PEM"),
    ("apps", "day_utc_offset_min", ["-841", "841", "1.5", '"480"', "true"], "-840 to 840"),
    ("apps", "queue", ["1", "[]"], "a table"),
    ("apps", "limits", ["1", "[]"], "a table"),
    ("apps", "anyrtc", ["1", "true"], "a table"),
    ("anyrtc", "app_id", ["1", "[]"], "a string"),
    ("anyrtc", "app_id", ['"x"', '""', '"' + "g" * 32 + '"', '"' + "0" * 33 + '"'], "32 hexadecimal characters"),
    ("anyrtc", "app_certificate", ['"x"', '"' + "0" * 31 + '"'], "32 hexadecimal characters"),
    ("anyrtc", "api_key", ['"a:b"', '"a\\tb"', '"a "'], "control characters"),
    ("anyrtc", "api_key", ['""', "1"], "not empty"),
    ("anyrtc", "api_secret", ['""', "1"], "not empty"),
    ("anyrtc", "ack_timeout_s", ["0", "61", '"5"', "true", "nan"], "0.1 to 60"),
    ("anyrtc", "history_days", ["0", "1.5", '"forever"'], "1 to 3650"),
    ("anyrtc", "handle_ttl_s", ["0", "86401"], "1 to 86400"),
    ("anyrtc", "lenient_history_limit", ["1", '"true"'], "true or false"),
    ("anyrtc", "lenient_ids", ["1"], "true or false"),
    ("anyrtc", "omit_result_when_offline", ["0"], "true or false"),
    ("easemob", "org_name", ['"a/b"', '"a#b"', '" a"'], "control characters"),
    ("easemob", "app_name", ['""'], "not empty"),
    ("easemob", "client_id", ["1"], "not empty"),
    ("easemob", "client_secret", ['""'], "not empty"),
    ("easemob", "room_lane", ["0", "10001"], "1 to 10000"),
    ("easemob", "broadcast", ["1"], "true or false"),
    ("easemob", "recall_minutes", ["-1", "10081"], "0 to 10080"),
    ("leancloud", "app_id", ['"a,b"'], "control characters"),
    ("leancloud", "app_key", ['"a,b"'], "control characters"),
    ("leancloud", "master_key", ['"a,b"', '"a\\u007f"'], "control characters"),
    ("leancloud", "strict_conversation_acl", ["1"], "true or false"),
    ("leancloud", "sign_history", ['"no"'], "true or false"),
    ("wildfire", "secret", ['""', "123456"], "not empty"),
    ("wildfire", "secret", ['" w"'], "control characters"),
    ("wildfire", "check_time", ["1"], "true or false"),
    ("wildfire", "auth_failure_http_status", ["500", '"200"', "true"], "200 or 401"),
    ("queue", "messages", ["0", "10001", "1.0", '"200"', "true"], "1 to 10000"),
    ("queue", "days", ["0", "3651", '"forever"', "1.5"], "1 to 3650"),
    ("queue", "overflow", ['"newest"', "1"], '"oldest" or "refuse"'),
    ("history", "days", ["0", "1.5", '"never"', "true", "3651"], '1 to 3650 or "forever"'),
    ("history", "days", ["6"], "queue.days (7)"),
]
TABLES = {"anyrtc": ANYRTC, "easemob": EASEMOB, "leancloud": LEANCLOUD, "wildfire": WILDFIRE, "apps": APP}
TABLES |= {
    "queue": "[apps.queue]\n",
    "history": "[apps.history]\n",
    "server": "[server]\n",
    "server.h11": "[server.h11]\n",
}


@pytest.mark.parametrize(
    ("table", "key", "value", "says"),
    [(table, key, value, says) for table, key, values, says in WRONG_VALUES for value in values],
)
def test_a_wrong_value_is_named_with_its_table(table: str, key: str, value: str, says: str) -> None:
    lines = [line for line in TABLES[table].splitlines() if not line.startswith(f"{key} =")]
    changed = "\n".join([*lines, f"{key} = {value}", ""])
    text = changed + APP if table.startswith("server") else changed if table == "apps" else APP + changed
    place = table if table.startswith("server") else "apps[0]" if table == "apps" else f"apps[0].{table}"
    message = refused(text)
    assert re.match(rf"{re.escape(place)}\.{key}(\[\d\])?: ", message)
    assert says in message


def test_every_key_with_a_wrong_type_is_covered() -> None:
    covered = {(table, key) for table, key, _, _ in WRONG_VALUES}
    for table, struct in documented_tables().items():
        for item in struct.fields:
            name = (table.removeprefix("apps.") or "apps", item.encode_name)
            assert name in covered or item.encode_name in {*DIALECTS, "queue", "history", "limits", "tls_key"}


REQUIRED = [
    (APP, "name", "apps[0].name"),
    (APP, "session_secret", "apps[0].session_secret"),
    (ANYRTC, "app_id", "apps[0].anyrtc.app_id"),
    (ANYRTC, "api_key", "apps[0].anyrtc.api_key"),
    (ANYRTC, "api_secret", "apps[0].anyrtc.api_secret"),
    (EASEMOB, "org_name", "apps[0].easemob.org_name"),
    (EASEMOB, "client_secret", "apps[0].easemob.client_secret"),
    (LEANCLOUD, "app_id", "apps[0].leancloud.app_id"),
    (LEANCLOUD, "master_key", "apps[0].leancloud.master_key"),
    (WILDFIRE, "secret", "apps[0].wildfire.secret"),
]


@pytest.mark.parametrize(("table", "key", "place"), REQUIRED)
def test_a_missing_key_is_named_with_its_table(table: str, key: str, place: str) -> None:
    without = "".join(f"{line}\n" for line in table.splitlines() if not line.startswith(f"{key} ="))
    assert refused(without if table == APP else APP + without).startswith(f"{place}: is missing; it must be a string")


@pytest.mark.parametrize("text", ["", "[server]\n", "apps = []"])
def test_a_file_without_an_app_is_refused(text: str) -> None:
    assert refused(text) == "apps: at least one [[apps]] table is needed"


@pytest.mark.parametrize("text", ["apps = 1", '[apps]\nname = "a"', '[apps.anyrtc]\napp_id = "x"'])
def test_apps_is_a_list_of_tables(text: str) -> None:
    assert refused(text) == "apps: must be a list of tables, each under its own [[apps]]"


def test_a_list_of_other_things_is_refused_too() -> None:
    assert refused("apps = [1]") == "apps[0]: must be a table"
    assert refused("server = 1\n" + APP) == "server: must be a table"


@pytest.mark.parametrize(("given", "missing"), [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")])
def test_tls_needs_both_files(given: str, missing: str) -> None:
    assert refused(f'[server]\n{given} = "f.pem"\n' + APP) == f"server.{missing}: must be set together with {given}"


SHARED = [
    (ANYRTC, "anyrtc.app_id"),
    (EASEMOB, "easemob.app_name"),
    (LEANCLOUD, "leancloud.app_id"),
    (WILDFIRE, "wildfire.secret"),
]


@pytest.mark.parametrize(("table", "key"), SHARED)
def test_what_selects_an_app_is_its_own(table: str, key: str) -> None:
    message = refused(APP + table + APP.replace("shop", "between") + APP.replace("shop", "other") + table)
    assert message.startswith(f"apps[2].{key}: must differ from apps[0].{key}")
    assert "shop" not in message


def test_two_apps_of_one_name_are_refused() -> None:
    assert refused(APP + APP) == "apps[1].name: must differ from apps[0].name"


def test_other_credentials_may_be_shared() -> None:
    other = (ANYRTC + EASEMOB + LEANCLOUD + WILDFIRE).replace("ABCDEF0", "1111111")
    other = other.replace('app_name = "a"', 'app_name = "b"').replace('app_id = "i"', 'app_id = "j"')
    other = other.replace('"w"', '"v"')
    text = APP + ANYRTC + EASEMOB + LEANCLOUD + WILDFIRE + APP.replace("shop", "other") + other
    assert len(read(text).apps) == 2


def test_one_org_may_have_several_apps_and_an_id_is_compared_as_text() -> None:
    other_case = ANYRTC.replace("ABCDEF", "abcdef")
    assert len(read(APP + ANYRTC + APP.replace("shop", "other") + other_case).apps) == 2


def test_no_error_shows_a_secret() -> None:
    assert "hunter" not in refused(APP.replace(SECRET, "hunter2"))
    assert "hunter" not in refused(APP + WILDFIRE.replace('"w"', '" hunter2"'))
    assert "hunter" not in refused(APP + ANYRTC + 'app_certificate = "hunter2"')


def test_a_repr_shows_no_secret() -> None:
    shown = repr(development())
    for secret in secret_values(development()):
        assert f"'{secret}'" not in shown
    assert "org_name='demo-org'" in shown


# ---------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("value", "tokens", "per_ms"),
    [
        ("7/s", 7, 1_000),
        ("7/10s", 7, 10_000),
        ("7/min", 7, 60_000),
        ("7/day", 7, DAY_MS),
        ("1000000000/s", 10**9, 1000),
    ],
)
@pytest.mark.parametrize("key", LIMIT_KEYS)
def test_a_limit_sets_number_and_time_and_keeps_how_it_refills(key: str, value: str, tokens: int, per_ms: int) -> None:
    if key.endswith(".day") and not value.endswith("/day"):
        assert "must be N/day" in refused(f'{APP}[apps.limits]\n"{key}" = "{value}"')
        return
    limits = read(f'{APP}[apps.limits]\n"{key}" = "{value}"').apps[0].limits
    default = Limits().rates.get(key) or Rate(1, 1)
    assert limits.rates[key] == Rate(tokens, per_ms, default.refill, default.penalty_ms)
    others = {name: rate for name, rate in limits.rates.items() if name != key}
    assert others == {name: rate for name, rate in Limits().rates.items() if name != key}


@pytest.mark.parametrize("key", LIMIT_KEYS)
def test_a_limit_can_be_off(key: str) -> None:
    config = read(f'{APP}[apps.limits]\n"{key}" = "off"')
    assert key not in config.apps[0].limits.rates
    assert ("shop", key) not in config.rates
    assert len(config.rates) == len(LIMIT_KEYS) - (1 if key == "native.messages" else 2)


@pytest.mark.parametrize("value", ['""', '"5"', '"5/h"', '"5/sec"', '"-5/s"', '" 5/s"', '"5/s "', '"5.5/s"', '"Off"'])
@pytest.mark.parametrize("key", ["anyrtc.history", "leancloud.broadcast.day"])
def test_a_limit_of_another_form_is_refused(key: str, value: str) -> None:
    assert refused(f'{APP}[apps.limits]\n"{key}" = {value}').startswith(f'apps[0].limits."{key}": must be N/')


@pytest.mark.parametrize("value", ["5", "true", "[]", "{}", "1.5", "2020-01-01", '"\u0665/s"'])
def test_a_limit_of_another_type_is_refused(value: str) -> None:
    assert refused(f'{APP}[apps.limits]\n"anyrtc.history" = {value}').startswith(
        'apps[0].limits."anyrtc.history": must be N/s'
    )


@pytest.mark.parametrize("value", ["0/s", "00/s", "1000000001/s"])
def test_a_limit_is_a_number_that_makes_sense(value: str) -> None:
    assert "from 1 to 1000000000" in refused(f'{APP}[apps.limits]\n"anyrtc.history" = "{value}"')


def test_a_limit_without_quotes_is_explained() -> None:
    assert "needs quotes" in refused(APP + '[apps.limits]\nanyrtc.history = "5/s"')
    assert "did you mean" in refused(APP + '[apps.limits]\n"anyrtc.histroy" = "5/s"')


def test_the_vendors_shapes() -> None:
    limits = Limits()
    assert limits.wildfire_admin == Rate(10_000, 10_000)  # a burst of 10000, then 1000 a second
    assert limits.easemob_chatrooms_messages == Rate(100, 1_000, "interval")
    assert limits.leancloud_normal == Rate(1_800, 60_000, "interval", 60_000)
    assert limits.native_messages is None


# ---------------------------------------------------------------------------------------------------------- syntax


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nbind = [\n  'a', ?]", "line 3, column 8: "),
        ("[server]\ndata = ", "line 2, at the end of the file: Invalid value"),
        ("[server]\n[server]\n", "line 2, column 8: Cannot declare"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
        ('a = "\n"', "line 1, column 6: Illegal character"),
        ("a = " + "[" * 5_000, "nested too deeply"),
        ("a = " + "9" * 5_000, "cannot be read"),
        (b"# one\na = '\xff'", "line 2: not UTF-8 text"),
    ],
)
def test_a_syntax_error_says_where_and_what(text: str | bytes, says: str) -> None:
    assert says in refused(text)


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "postroom.toml"
    with pytest.raises(ConfigError, match=r"postroom\.toml: No such file"):
        load(path)
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="not a path"):
        load("a\0b")
    path.write_text("x = ")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.message == f"{path}: line 1, at the end of the file: Invalid value"
    path.write_text(APP)
    assert load(str(path)) == (read(APP), [])
    path.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(path)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_configuration_or_one_line(content: bytes) -> None:
    assert outcome(lambda: parse(content)).isprintable()


TOML_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(datetime.date(2020, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["server", "apps", "anyrtc", "queue", "limits", "bind", "days", "name", "session_secret", "anyrtc.history"]


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        TOML_VALUES | st.lists(st.dictionaries(st.sampled_from(NAMES), TOML_VALUES, max_size=3), max_size=2),
        max_size=3,
    )
)
def test_any_tables_give_a_configuration_or_one_line(raw: dict[str, object]) -> None:
    assert outcome(lambda: convert(raw)).isprintable()


# -------------------------------------------------------------------------------------- addresses, demo credentials


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.255.3.4:0", "127.255.3.4", 0, True),
        ("localhost:80", "localhost", 80, True),
        ("LOCALHOST:80", "LOCALHOST", 80, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[0:0:0:0:0:0:0:1]:1", "0:0:0:0:0:0:0:1", 1, True),
        ("0.0.0.0:65535", "0.0.0.0", 65535, False),
        ("[::]:80", "::", 80, False),
        ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80, False),
        ("128.0.0.1:80", "128.0.0.1", 80, False),
        ("localhost.example.org:80", "localhost.example.org", 80, False),
        ("my-host_1:80", "my-host_1", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, *, loopback: bool) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)
    assert str(address) == text


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


def bound_to(config: Config, *bind: str) -> Config:
    """The same configuration on other addresses."""
    return msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, bind=bind))


@pytest.mark.parametrize("bind", ["127.0.0.1:8080", "[::1]:0", "localhost:1", "127.9.9.9:1"])
def test_demo_credentials_may_listen_on_loopback(bind: str) -> None:
    check_exposure(bound_to(development(), bind))


@pytest.mark.parametrize("bind", ["0.0.0.0:8080", "[::]:8080", "192.168.0.1:1", "example.org:1"])
def test_demo_credentials_may_not_be_reached_from_outside(bind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_exposure(bound_to(development(), "127.0.0.1:1", bind))
    assert caught.value.message.startswith(f"server.bind: {bind} is not a loopback address, and apps[0].session_secret")


@pytest.mark.parametrize("bind", [("127.0.0.1:1",), ()])
def test_demo_credentials_may_not_be_reached_through_the_lean_host(bind: tuple[str, ...]) -> None:
    config = bound_to(development(), *bind)
    lean = msgspec.structs.replace(config.server, bind_h11=("[::1]:0", "127.0.0.1:2"))
    check_exposure(msgspec.structs.replace(config, server=lean))
    lean = msgspec.structs.replace(config.server, bind_h11=("127.0.0.1:2", "0.0.0.0:3"))
    with pytest.raises(ConfigError, match=r"^server\.bind_h11: 0\.0\.0\.0:3 is not a loopback address, and apps\[0\]"):
        check_exposure(msgspec.structs.replace(config, server=lean))


# Every value of the demo app, by its place, and whether it lets anybody in.
@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        (SECRET, "demo-session-secret-demo-session-secret", "session_secret"),
        ('api_key = "k"', 'api_key = "demo-key"', "anyrtc.api_key"),
        ('api_secret = "s"', 'api_secret = "demo-secret"', "anyrtc.api_secret"),
        (
            'api_key = "k"',
            'api_key = "k"\napp_certificate = "fedcba9876543210fedcba9876543210"',
            "anyrtc.app_certificate",
        ),
        ('client_id = "c"', 'client_id = "demo-client"', "easemob.client_id"),
        ('client_secret = "s"', 'client_secret = "demo-client-secret"', "easemob.client_secret"),
        ('app_key = "k"', 'app_key = "demo-app-key"', "leancloud.app_key"),
        ('master_key = "m"', 'master_key = "demo-master-key"', "leancloud.master_key"),
        ('secret = "w"', 'secret = "123456"', "wildfire.secret"),
    ],
)
def test_one_demo_credential_is_enough(old: str, new: str, place: str) -> None:
    own = APP + ANYRTC + EASEMOB + LEANCLOUD + WILDFIRE
    check_exposure(bound_to(read(own), "0.0.0.0:1"))
    config = read(own.replace(old, new))
    assert demo_credentials(config) == [f"apps[0].{place}"]
    check_exposure(config)
    with pytest.raises(ConfigError, match=re.escape(f"apps[0].{place} is a demo credential")):
        check_exposure(bound_to(config, "0.0.0.0:1"))


def test_an_empty_certificate_and_the_demo_names_are_no_credentials() -> None:
    own = APP.replace("shop", "demo") + ANYRTC.replace("ABCDEF0123456789ABCDEF0123456789", "0123456789abcdef" * 2)
    assert demo_credentials(read(own)) == []


def test_the_development_configuration_is_a_valid_one() -> None:
    config = development()
    assert config.apps == (DEMO_APP,)
    assert DEMO_APP.dialects == ("anyrtc", "easemob", "leancloud", "wildfire")
    assert convert(msgspec.to_builtins(config, builtin_types=()) | {"apps": [as_table(DEMO_APP)]}) == config


def as_table(app: AppConfig) -> dict[str, object]:
    """An app as its file would have it, without limits."""
    table: dict[str, object] = msgspec.to_builtins(app)
    del table["limits"]
    return table


def test_tls_files_are_looked_at(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    config = read(f'[server]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n' + APP)
    check_tls(read(APP))
    with pytest.raises(ConfigError, match=r"^server\.tls_certificate: cannot read .*c\.pem: No such file"):
        check_tls(config)
    certificate.write_text("x")
    with pytest.raises(ConfigError, match=r"^server\.tls_key: cannot read"):
        check_tls(config)
    key.write_text("x")
    with pytest.raises(ConfigError, match=r"^server\.tls_certificate: "):
        check_tls(config)


# ---------------------------------------------------------------------------------------------------- documentation


DIALECTS = ("anyrtc", "easemob", "leancloud", "wildfire")


def documented_tables() -> dict[str, inspect.StructType]:
    """Every table but limits, by its name in a file."""
    root = inspect.type_info(Config)
    assert isinstance(root, inspect.StructType)
    server, apps = (item.type for item in root.fields)
    assert isinstance(server, inspect.StructType)
    assert isinstance(apps, inspect.VarTupleType)
    assert isinstance(apps.item_type, inspect.StructType)
    (h11,) = (item.type for item in server.fields if item.encode_name == "h11")
    assert isinstance(h11, inspect.StructType)
    found = {"server": server, "server.h11": h11, "apps": apps.item_type}
    for item in apps.item_type.fields:
        kinds = item.type.types if isinstance(item.type, inspect.UnionType) else (item.type,)
        for kind in kinds:
            if isinstance(kind, inspect.StructType) and item.encode_name != "limits":
                found[f"apps.{item.encode_name}"] = kind
    return found


def documented(table: str) -> dict[str, str]:
    """The keys of a table and their defaults, as docs/config.md has them."""
    heading = "[[apps]]" if table == "apps" else f"[{table}]"
    section = (DOCS / "config.md").read_text(encoding="utf-8").split(f"## `{heading}`\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| `?([^|`]+)`? \|", section, re.M))


@pytest.mark.parametrize("table", documented_tables())
def test_every_key_is_documented_with_its_default(table: str) -> None:
    keys = documented(table)
    fields = {item.encode_name: item for item in documented_tables()[table].fields}
    subtables = {"server": {"h11"}, "apps": {*DIALECTS, "queue", "history", "limits"}}.get(table, set())
    assert set(keys) == set(fields) - subtables
    for key, shown in keys.items():
        if shown == "required":
            assert fields[key].required
        else:
            default = fields[key].default
            assert tomllib.loads(f"v = {shown}")["v"] == (list(default) if isinstance(default, tuple) else default)


def test_the_ranges_of_the_lean_host_are_documented() -> None:
    section = (DOCS / "config.md").read_text(encoding="utf-8").split("## `[server.h11]`\n")[1].split("\n## ")[0]
    shown = {
        key: (low, high) for key, low, high in re.findall(r"^\| `(\w+)` \| [^|]+ \| (\S+) to (\S+) \|", section, re.M)
    }
    for item in documented_tables()["server.h11"].fields:
        assert isinstance(item.type, inspect.IntType | inspect.FloatType)
        assert shown.pop(item.encode_name) == (str(item.type.ge), str(item.type.le)), item.encode_name
    assert shown == {}


def test_what_a_client_sees_at_each_limit_of_the_lean_host_is_documented() -> None:
    section = (DOCS / "operating.md").read_text(encoding="utf-8").split("## Two hosts\n")[1].split("\n## ")[0]
    rows = "".join(re.findall(r"^\| ([^|]+) \|", section, re.M))
    for item in documented_tables()["server.h11"].fields:
        assert f"`{item.encode_name}`" in rows


def test_every_limit_is_documented_with_its_default() -> None:
    keys = documented("apps.limits")
    assert tuple(keys) == LIMIT_KEYS
    lines = "\n".join(f'"{key}" = {shown}' for key, shown in keys.items())
    assert read(f"{APP}[apps.limits]\n{lines}").apps[0].limits == Limits()


def test_the_example_is_the_demo_app() -> None:
    config, warnings = parse(EXAMPLE.encode())
    assert config == development()
    assert len(warnings) == 2
    check_exposure(config)


def test_what_the_example_has_in_comments_are_all_the_other_keys_and_their_defaults() -> None:
    everything = re.sub(r'^# ("?[a-z0-9_.]+"? = )', r"\1", EXAMPLE, flags=re.M)
    assert read(everything) == development()
    raw = tomllib.loads(everything)
    (app,) = raw["apps"]
    assert tuple(app["limits"]) == LIMIT_KEYS
    found = {"server": raw["server"], "server.h11": raw["server"]["h11"], "apps": app}
    found |= {f"apps.{name}": app[name] for name in app if name in TABLES}
    for table, struct in documented_tables().items():
        assert {item.encode_name for item in struct.fields} == set(found[table]), table


def test_the_example_is_refused_elsewhere_than_on_loopback() -> None:
    with pytest.raises(ConfigError):
        check_exposure(read(EXAMPLE.replace("127.0.0.1:8080", "0.0.0.0:8080")))
    with pytest.raises(ConfigError):
        check_exposure(read(EXAMPLE.replace("# bind_h11 = []", 'bind_h11 = ["0.0.0.0:8081"]')))
