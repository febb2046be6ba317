"""The core decides and applies without clock, chance, disk or config of its own: read from its source."""

import ast
import inspect
from pathlib import Path

import pytest

from postroom.core import domain
from postroom.core.domain import (
    bans,
    blocks,
    broadcasts,
    changes,
    conversations,
    copy_changes,
    deletion,
    groups,
    history,
    imports,
    marks,
    messages,
    presence,
    queues,
    quotas,
    results,
    roles,
    rooms,
    sessions,
    silences,
    streams,
    unread,
    users,
)
from postroom.core.domain.decision import Now
from postroom.core.model import Rules
from postroom.core.ports import Headers, ReadViews, Views

CORE = Path(__file__).resolve().parents[2] / "core"
NOT_PURE = {"__init__", "open"}  # what `postroom.core` offers, and the one module that opens a store
PURE = sorted(
    [
        *(CORE / "checks").rglob("*.py"),
        *(CORE / "commands").rglob("*.py"),
        *(CORE / "domain").rglob("*.py"),
        *(CORE / "events").rglob("*.py"),
        *(CORE / "queries").rglob("*.py"),
        *(CORE / "search").rglob("*.py"),
        *(CORE / "where").rglob("*.py"),
        *(path for path in CORE.glob("*.py") if path.stem not in NOT_PURE),
    ]
)
IMPURE = {"trio", "lmdb", "time", "random", "secrets", "uuid", "datetime", "os", "socket", "threading", "logging", "io"}
IMPURE_CALLS = {"open", "print", "input", "hash", "id"}
"""`hash` of a str differs between processes, and `id` between runs."""
RUNTIME = {"runtime", "open"}

MODULES = (
    bans,
    blocks,
    broadcasts,
    changes,
    conversations,
    copy_changes,
    deletion,
    groups,
    history,
    marks,
    imports,
    messages,
    presence,
    queues,
    quotas,
    results,
    roles,
    rooms,
    sessions,
    silences,
    streams,
    unread,
    users,
)
PARTS = {"decide_expire_stays", "decide_expire_notices", "decide_expire_aliases", "decide_copies_expired"}
"""Of what is decided about an app's history."""
DECIDES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": what
    for module in MODULES
    for name, what in vars(module).items()
    if name.startswith("decide_") and name not in PARTS and what.__module__ == module.__name__
}
APPLIES = {
    f"{module.__name__.rpartition('.')[2]}.{name}": what
    for module in MODULES
    for name, what in vars(module).items()
    if (name == "apply" or name.startswith("apply_")) and what.__module__ == module.__name__
}


def named(path: Path) -> str:
    return path.relative_to(CORE).as_posix()


def imported_by(path: Path) -> set[str]:
    """The first part of everything a module imports; of its own package, the module's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.removeprefix("postroom.core.").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            found |= {name.name for name in node.names}
    return found


@pytest.mark.parametrize("path", PURE, ids=named)
def test_a_pure_module_imports_no_clock_no_chance_and_no_disk(path: Path) -> None:
    assert not imported_by(path) & (IMPURE | RUNTIME)


@pytest.mark.parametrize("path", PURE, ids=named)
def test_a_pure_module_calls_nothing_that_differs_between_runs(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & IMPURE_CALLS


@pytest.mark.parametrize("path", [path for path in PURE if path.parent.name == "domain"], ids=named)
def test_the_domain_iterates_over_no_set_into_an_event(path: Path) -> None:
    """The order of a set of strings differs between processes. (Asking whether something is in one does not.)"""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    loops = [node.iter for node in ast.walk(tree) if isinstance(node, ast.For | ast.comprehension)]
    assert not any(isinstance(loop, ast.Set | ast.SetComp) for loop in loops)


@pytest.mark.parametrize("name", APPLIES)
def test_apply_gets_the_views_the_event_and_nothing_else(name: str) -> None:
    parameters = inspect.signature(APPLIES[name]).parameters
    assert next(iter(parameters)) == "views"
    assert not {"rules", "now", "headers", "bodies", "clock", "command"} & set(parameters)
    assert not {Rules, Now, Headers} & {parameter.annotation for parameter in parameters.values()}


@pytest.mark.parametrize("name", DECIDES)
def test_decide_reads(name: str) -> None:
    """It gets views that have no way to change anything, and no fact that the writer did not give it."""
    parameters = inspect.signature(DECIDES[name]).parameters
    assert list(parameters) == ["command", "views", "headers", "now", "rules"]
    assert parameters["views"].annotation is ReadViews


def test_there_is_something_to_look_at() -> None:
    assert set(DECIDES.values()) >= set(domain._DECIDE.values())
    assert len(APPLIES) >= 18


def test_apply_is_one_function_of_views_and_record() -> None:
    assert list(inspect.signature(domain.apply).parameters) == ["views", "record"]
    assert inspect.signature(domain.apply).parameters["views"].annotation is Views


@pytest.mark.parametrize("name", APPLIES)
def test_apply_refuses_nothing(name: str) -> None:
    tree = ast.parse(inspect.getsource(APPLIES[name]))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
