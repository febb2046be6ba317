"""The command line: what each command hands on, what it prints, and how it fails (one line, the right status)."""

import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jwt
import pytest

from postroom.core.errors import StorageFailure, StoreInUse
from postroom.core.ids import POSITION_MAX, UnixMs
from postroom.transports import cli as package
from postroom.transports.cli import offline
from postroom.transports.cli.main import cli, main, version
from postroom.transports.config import Config, ConfigError, development
from postroom.transports.native.tokens import verify

EXAMPLE = str(Path(__file__).resolve().parents[2] / "docs" / "postroom.example.toml")
OWN = '[[apps]]\nname = "shop"\nsession_secret = "a session secret of more than 32 bytes"\n'
FAR_FUTURE = UnixMs(0)  # no token has expired at the beginning of time

Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def calls() -> Calls:
    """What the commands handed on."""
    return []


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Callable[..., Any]) -> None:
    """Put a module with these functions where a command imports its implementation from."""
    fake = types.ModuleType(module)
    for name, function in functions.items():
        setattr(fake, name, function)
    monkeypatch.setitem(sys.modules, module, fake)
    if module.rpartition(".")[0] == package.__name__:
        monkeypatch.setattr(package, module.rpartition(".")[2], fake, raising=False)


def recorder(calls: Calls, name: str, outcome: int | BaseException = 0) -> Callable[..., int]:
    """A function that records how it was called."""

    def record(*args: Any, **kwargs: Any) -> int:
        calls.append((name, args, kwargs))
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return record


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch, calls: Calls) -> Calls:
    """`serve` and `demo` without a broker."""
    stand_in(monkeypatch, "postroom.transports.serve", run=recorder(calls, "serve"))
    stand_in(monkeypatch, "postroom.transports.cli.demo", run=recorder(calls, "demo", 1))
    return calls


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """The one line on stderr of a command that ends with this status; nothing on stdout."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("postroom: ")
    assert captured.err.endswith("\n")
    assert captured.err[:-1].isprintable()
    return captured.err[len("postroom: ") : -1]


def config_file(tmp_path: Path, text: str) -> str:
    """A configuration file with this text."""
    path = tmp_path / "postroom.toml"
    path.write_text(text)
    return str(path)


# ------------------------------------------------------------------------------------------------------ help, version


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command there is, without what `bench` has to import."""
    found: list[tuple[str, ...]] = [path]
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", [path for path in commands() if path != ("bench",)], ids=" ".join)
def test_help_works_at_every_level_and_explains_every_option(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--help"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith(f"Usage: {' '.join(('postroom', *path))}")
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert len(command.help or "") > 30
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name


def test_the_commands_of_the_product() -> None:
    names = ["serve", "demo", "token", "listen", "config", "verify", "rebuild", "backup", "log", "inspect"]
    names += ["import", "bench"]
    assert list(cli.commands) == names
    assert cli.list_commands(click.Context(cli)) == names


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"postroom {version()}\n"


def test_ids_end_where_positions_do() -> None:
    assert offline._ID_MAX == POSITION_MAX


def test_help_imports_neither_the_broker_nor_a_benchmark() -> None:
    script = (
        "import sys\nfrom postroom.transports.cli.main import main\nassert main(['--help']) == 0\n"
        "heavy = {'trio', 'lmdb', 'postroom.core', 'postroom.bench.main', 'hypercorn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bench" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing command"),
        (["config"], "Missing command"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["serve", "--port", "1"], "No such option '--port'"),
        (["serve", "extra"], "unexpected extra argument"),
        (["serve", "--log-format", "xml"], "'xml' is not one of"),
        (["token", "--user", "bob"], "Missing option '--app'"),
        (["token", "--app", "demo"], "Missing option '--user'"),
        (["token", "--app", "demo", "--user", "bob", "--ttl", "soon"], "'soon' is not a valid integer"),
        (["token", "--app", "demo", "--user", "bob", "--ttl", "0"], "--ttl"),
        (["verify"], "Missing argument 'DIR'"),
        (["verify", "/does/not/exist"], "does not exist"),
        (["verify", EXAMPLE], "is a file"),
        (["inspect", "."], "Missing option '--app'"),
        (["log", ".", "--after", "-1"], "--after"),
        (["config", "check"], "Missing argument 'FILE'"),
        (["a\nb\x1b"], "No such command"),
    ],
)
def test_a_usage_error_is_one_line_and_says_where_to_look(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(capsys, *arguments)
    assert says in line
    assert re.search(r"\(see: postroom( \w+)* --help\)$", line)


# --------------------------------------------------------------------------------------------------------------- serve


def test_serve_without_a_file_runs_the_development_broker(serving: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve"]) == 0
    options = {"data": "postroom-data", "bind": None, "log_format": "text", "development": True}
    assert serving == [("serve", (development(),), options)]
    assert capsys.readouterr() == ("", "")


def test_serve_lays_its_options_over_the_file(serving: Calls, tmp_path: Path) -> None:
    path = config_file(tmp_path, '[server]\nbind = ["127.0.0.1:1"]\ndata = "d"\n' + OWN)
    assert main(["serve", "--config", path]) == 0
    arguments = ["--data", "e", "--bind", "0.0.0.0:0", "--bind", "[::1]:2", "--log-format", "json"]
    assert main(["serve", "--config", path, *arguments]) == 0
    (_, (first,), plain), (_, (second,), changed) = serving
    assert isinstance(first, Config)
    assert (first.server.bind, first.server.data) == (("127.0.0.1:1",), "d")
    assert plain == {"data": "d", "bind": None, "log_format": "text", "development": False}
    assert (second.server.bind, second.server.data) == (("0.0.0.0:0", "[::1]:2"), "e")
    assert changed == {"data": "e", "bind": ["0.0.0.0:0", "[::1]:2"], "log_format": "json", "development": False}


def test_serve_takes_the_lean_host_from_the_file_or_an_option(serving: Calls, tmp_path: Path) -> None:
    alone = config_file(tmp_path, '[server]\nbind = []\nbind_h11 = ["127.0.0.1:81"]\n' + OWN)
    assert main(["serve", "--config", alone]) == 0
    assert main(["serve", "--config", alone, "--bind", "127.0.0.1:80"]) == 0
    assert main(["serve", "--config", alone, "--bind-h11", "[::1]:0", "--bind-h11", "127.0.0.1:0"]) == 0
    assert main(["serve", "--bind-h11", "127.0.0.1:81"]) == 0
    servers = [config.server for _, (config,), _ in serving if isinstance(config, Config)]
    assert [(server.bind, server.bind_h11) for server in servers] == [
        ((), ("127.0.0.1:81",)),
        (("127.0.0.1:80",), ("127.0.0.1:81",)),
        ((), ("[::1]:0", "127.0.0.1:0")),
        (("127.0.0.1:8080",), ("127.0.0.1:81",)),
    ]


def test_serve_says_what_waits_for_its_dialect(serving: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", EXAMPLE]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("postroom: warning: apps[0].") for line in lines)


@pytest.mark.parametrize("config", [(), ("--config", EXAMPLE)])
def test_serve_refuses_demo_credentials_on_other_addresses(
    config: tuple[str, ...], serving: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(capsys, "serve", *config, "--bind", "127.0.0.1:0", "--bind", "0.0.0.0:8080")
    assert "0.0.0.0:8080 is not a loopback address" in line
    line = fails(capsys, "serve", *config, "--bind-h11", "127.0.0.1:0", "--bind-h11", "0.0.0.0:8081")
    assert "server.bind_h11: 0.0.0.0:8081 is not a loopback address" in line
    assert serving == []


def test_serve_refuses_the_lean_host_of_a_file_with_demo_credentials(
    serving: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(EXAMPLE).read_text(encoding="utf-8").replace("# bind_h11 = []", 'bind_h11 = ["0.0.0.0:81"]')
    path = config_file(tmp_path, text)
    for command in (["serve", "--config", path], ["config", "check", path]):
        assert "server.bind_h11: 0.0.0.0:81 is not a loopback address" in fails(capsys, *command)
    assert serving == []


def test_serve_refuses_what_it_could_not_run(
    serving: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails(capsys, "serve", "--bind", "8080").startswith("--bind: must be HOST:PORT")
    assert fails(capsys, "serve", "--bind-h11", "8080").startswith("--bind-h11: must be HOST:PORT")
    assert "127.0.0.1:8080 is there twice" in fails(capsys, "serve", "--bind-h11", "127.0.0.1:8080")
    lean = config_file(tmp_path, '[server]\nbind_h11 = ["127.0.0.1:81"]\n' + OWN)
    assert "127.0.0.1:81 is there twice" in fails(capsys, "serve", "--config", lean, "--bind", "127.0.0.1:81")
    assert "No such file" in fails(capsys, "serve", "--config", str(tmp_path / "none.toml"))
    tls = config_file(tmp_path, '[server]\ntls_certificate = "none.pem"\ntls_key = "none.pem"\n' + OWN)
    assert "server.tls_certificate: cannot read none.pem" in fails(capsys, "serve", "--config", tls)
    wrong = config_file(tmp_path, OWN + "[apps.queue]\nmessages = 0")
    assert "apps[0].queue.messages: must be" in fails(capsys, "serve", "--config", wrong)
    assert serving == []


def test_the_status_is_that_of_the_implementation(serving: Calls) -> None:
    assert main(["demo"]) == 1
    assert main(["demo", "--json"]) == 1
    assert serving == [("demo", (), {"as_json": False}), ("demo", (), {"as_json": True})]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("server.bind: no"), 2, "postroom: server.bind: no\n"),
        (StoreInUse("another process\nholds it"), 1, "postroom: another process holds it\n"),
        (StorageFailure("the disk failed"), 1, "postroom: the disk failed\n"),
        (ExceptionGroup("", [ExceptionGroup("", [StorageFailure("no")])]), 1, "postroom: no\n"),
        (PermissionError(13, "Permission denied", "/d"), 1, "postroom: /d: Permission denied\n"),
        (
            OSError(98, "Address already in use"),
            1,
            "postroom: Address already in use; is another broker running here?\n",
        ),
        (click.ClickException("no"), 1, "postroom: no\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (BaseExceptionGroup("", [BaseExceptionGroup("", [KeyboardInterrupt()])]), 130, ""),
    ],
)
def test_how_what_is_not_our_fault_ends(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    calls: Calls,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in(monkeypatch, "postroom.transports.serve", run=recorder(calls, "serve", error))
    assert main(["serve"]) == status
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("error", [AssertionError("ours"), ExceptionGroup("", [ValueError()]), SystemExit(7)])
def test_our_own_faults_go_through(error: BaseException, monkeypatch: pytest.MonkeyPatch, calls: Calls) -> None:
    stand_in(monkeypatch, "postroom.transports.serve", run=recorder(calls, "serve", error))
    with pytest.raises(type(error)):
        main(["serve"])


# --------------------------------------------------------------------------------------------------------------- token


def test_token_prints_a_token_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--app", "demo", "--user", "bob"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", captured.out)
    claims = verify(captured.out.strip(), development().session_secrets, FAR_FUTURE)
    assert (claims.app, claims.user) == ("demo", "bob")
    assert claims.expires_at_ms - claims.issued_at_ms == 86_400_000
    raw = jwt.decode(captured.out.strip(), options={"verify_signature": False})
    assert isinstance(raw["iat"], float)


def test_token_of_an_app_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_file(tmp_path, OWN)
    assert main(["token", "--app", "shop", "--user", "\u00fcser", "--config", path, "--ttl", "5"]) == 0
    secrets = {"shop": "a session secret of more than 32 bytes"}
    claims = verify(capsys.readouterr().out.strip(), secrets, FAR_FUTURE)
    assert claims.user == "\u00fcser"
    assert claims.expires_at_ms - claims.issued_at_ms == 5_000


def test_token_prints_no_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--app", "demo", "--user", "bob", "--config", EXAMPLE]) == 0
    assert capsys.readouterr().err == ""


def test_token_refuses_what_nobody_could_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "token", "--app", "x", "--user", "bob").startswith('--app: no app "x"')
    line = fails(capsys, "token", "--app", "x", "--user", "bob", "--config", config_file(tmp_path, OWN))
    assert line.endswith("postroom.toml, which has shop")
    assert fails(capsys, "token", "--app", "demo", "--user", "").startswith("--user: must have 1 to 256 bytes")
    assert fails(capsys, "token", "--app", "demo", "--user", "b", "--ttl", "9" * 12).startswith("--ttl: must be")


# -------------------------------------------------------------------------------------------------------- config check


def test_config_check_of_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", EXAMPLE]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines()[:4] == [
        "ok",
        "listens on http://127.0.0.1:8080 (hypercorn)",
        "keeps its data in postroom-data",
        "app demo: native, anyrtc, easemob, leancloud, wildfire",
    ]
    warnings = [":".join(line.split(":")[:2]) for line in captured.out.splitlines()[4:]]
    assert warnings == [f"warning: apps[0].{name}" for name in ("easemob", "wildfire")]


def test_config_check_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--json", config_file(tmp_path, OWN)]) == 0
    listens = '[{"url":"http://127.0.0.1:8080","host":"hypercorn"}]'
    apps = '[{"name":"shop","dialects":["native"]}]'
    assert capsys.readouterr().out == f'{{"ok":true,"listens":{listens},"apps":{apps},"warnings":[]}}\n'


def test_config_check_says_which_host_listens_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tls = 'tls_certificate = "/no"\ntls_key = "/no"\n'
    path = config_file(tmp_path, f'[server]\nbind_h11 = ["0.0.0.0:81", "[::1]:0"]\n{tls}' + OWN)
    assert main(["config", "check", path]) == 0
    assert capsys.readouterr().out.splitlines()[:5] == [
        "ok",
        "listens on https://127.0.0.1:8080 (hypercorn)",
        "listens on http://0.0.0.0:81 (h11)",  # TLS is not spoken there
        "listens on http://[::1]:0 (h11)",
        "keeps its data in postroom-data",
    ]
    alone = config_file(tmp_path, '[server]\nbind = []\nbind_h11 = ["127.0.0.1:81"]\n' + OWN)
    assert main(["config", "check", "--json", alone]) == 0
    assert '"listens":[{"url":"http://127.0.0.1:81","host":"h11"}]' in capsys.readouterr().out


def test_config_check_does_not_need_the_tls_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config_file(tmp_path, '[server]\ntls_certificate = "/no"\ntls_key = "/no"\n' + OWN)
    assert main(["config", "check", path]) == 0
    assert "listens on https://127.0.0.1:8080" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OWN + "[apps.queue]\nmesages = 1", "apps[0].queue.mesages: unknown key; did you mean messages?"),
        (OWN + "[apps.queue]\nmessages = '1'", "apps[0].queue.messages: must be a whole number from 1 to 10000"),
        (OWN + OWN, "apps[1].name: must differ from apps[0].name"),
        ("[server", "line 1, at the end of the file: "),
        (
            '[server]\nbind = ["0.0.0.0:1"]\n[[apps]]\nname = "a"\n'
            'session_secret = "demo-session-secret-demo-session-secret"',
            "server.bind: 0.0.0.0:1 is not a loopback address",
        ),
    ],
)
def test_config_check_of_a_wrong_file(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in fails(capsys, "config", "check", config_file(tmp_path, text))


# --------------------------------------------------------------------------------------------------------- tools, bench


def test_the_tools_are_called_with_what_was_typed(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, tmp_path: Path
) -> None:
    tools = {name: recorder(calls, name) for name in ("verify", "rebuild", "backup", "log", "inspect")}
    stand_in(monkeypatch, "postroom.transports.cli.tools", **tools)
    here = str(tmp_path)
    assert main(["verify", here]) == 0
    assert main(["verify", here, "--scratch", here, "--json"]) == 0
    assert main(["rebuild", here]) == 0
    assert main(["backup", here, "there"]) == 0
    assert main(["log", here]) == 0
    assert main(["log", here, "--follow", "--json", "--after", "17"]) == 0
    assert main(["inspect", here, "--app", "a", "--user", "u"]) == 0
    assert calls == [
        ("verify", (here,), {"scratch": None, "as_json": False}),
        ("verify", (here,), {"scratch": here, "as_json": True}),
        ("rebuild", (here,), {}),
        ("backup", (here, "there"), {}),
        ("log", (here,), {"follow": False, "as_json": False, "after": None}),
        ("log", (here,), {"follow": True, "as_json": True, "after": 17}),
        ("inspect", (here,), {"app": "a", "user": "u", "as_json": False}),
    ]


def test_a_failed_check_ends_with_1(monkeypatch: pytest.MonkeyPatch, calls: Calls, tmp_path: Path) -> None:
    stand_in(monkeypatch, "postroom.transports.cli.tools", verify=recorder(calls, "verify", 1))
    assert main(["verify", str(tmp_path)]) == 1


def test_bench_is_imported_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.group()
    def bench() -> None:
        """The real group."""

    @bench.command(short_help="How fast it writes.")
    @click.option("--seconds", type=int, default=3)
    def publish(seconds: int) -> int:
        calls.append(("publish", (seconds,), {}))
        return 0

    stand_in(monkeypatch, "postroom.bench.main", bench=bench)
    assert main(["bench", "publish", "--seconds", "1"]) == 0
    assert calls == [("publish", (1,), {})]
    assert main(["bench", "--help"]) == 0
    assert "How fast it writes." in capsys.readouterr().out
    assert "(see: postroom bench publish --help)" in fails(capsys, "bench", "publish", "--no")
    assert "No such command 'x'" in fails(capsys, "bench", "x")
