"""The rules of the house that no tool checks: lengths, docstrings, loose ends, packaging."""

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
ROOTS = ("core", "storage", "transports", "bench")

FILE_LINES_MAX = 400  # past that a file owns more than one thing
FUNCTION_LINES_MAX = 60  # about what fits on a screen

# Put together from halves, so that this file does not break its own rules.
LOOSE_ENDS = re.compile(r"\b(" + "|".join(("FIX" + "ME", "TO" + "DO", "XX" + "X")) + r")\b")
REGISTRY_HOSTS = ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb." + "debian.org")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    """Our Python files, without the tests."""
    return sorted(path for root in ROOTS for path in (HOME / root).rglob("*.py"))


def named(path: Path) -> str:
    """The file as a reader would look for it."""
    return path.relative_to(HOME).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The file as Python reads it."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=named(path))


def tracked_files() -> list[Path]:
    """What is in the repository; skips the test where there is none, as in an unpacked source distribution."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.split("\0") if name and (path := HOME / name).is_file()]


def refuse(offences: Iterable[str]) -> None:
    """Fail with every offence on a line of its own."""
    listed = list(offences)
    assert not listed, "\n" + "\n".join(listed)


@cache
def promised() -> frozenset[str]:
    """Methods that a port documents: whoever implements one need not say it again."""
    classes = [node for path in sources() for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
    ports = [node for node in classes if any(ast.unparse(base) in ("Protocol", "Engine") for base in node.bases)]
    ports += [node for node in classes if node.name in ("ReadViews", "Views", "Bodies", "Snapshot", "Transaction")]
    return frozenset(item.name for port in ports for item in port.body if isinstance(item, Function))


def is_exempt(function: Function) -> bool:
    """Whether another definition of the same name carries the docstring: a port's, an overload's, an override's."""
    marks = {ast.unparse(decorator).rsplit(".", 1)[-1] for decorator in function.decorator_list}
    return function.name in promised() or not marks.isdisjoint({"overload", "override", "setter", "deleter"})


def undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[int, str]]:
    """The public classes, functions and methods in `body` that have no docstring; not what lies inside a function."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):  # a definition that depends on the platform or on typing
            inside = [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)]
            yield from undocumented(inside, prefix)
        elif isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            name = prefix + node.name
            if ast.get_docstring(node) is None and not (isinstance(node, Function) and is_exempt(node)):
                yield node.lineno, name
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{name}.")


def test_no_file_is_too_long() -> None:
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    refuse(f"{name}: {lines} lines" for name, lines in lengths.items() if lines > FILE_LINES_MAX)


def test_no_function_is_too_long() -> None:
    refuse(
        f"{named(path)}:{node.lineno} {node.name}: {lines} lines"
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, Function)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    )


def test_every_module_says_what_it_owns() -> None:
    refuse(named(path) for path in sources() if ast.get_docstring(tree_of(path)) is None)


def test_everything_public_has_a_docstring() -> None:
    refuse(f"{named(path)}:{line} {name}" for path in sources() for line, name in undocumented(tree_of(path).body))


def test_no_loose_ends() -> None:
    refuse(
        f"{named(path)}:{number}"
        for path in [*sources(), *sorted((HOME / "tests").rglob("*.py"))]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if LOOSE_ENDS.search(line)
    )


def test_no_package_registry_is_named() -> None:
    """Where packages come from is for whoever installs them to say, not for a lock file or a pip option of ours."""
    hosts = [host.encode() for host in REGISTRY_HOSTS]
    refuse(named(path) for path in tracked_files() if any(host in path.read_bytes().lower() for host in hosts))


def test_every_folder_of_code_is_a_package() -> None:
    """setup.py finds packages by their `__init__.py`: a folder without one works here and is missing from the wheel."""
    folders = {path.parent for path in sources()}
    refuse(named(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file())


def test_every_root_is_typed() -> None:
    refuse(root for root in ROOTS if not (HOME / root / "py.typed").is_file())
