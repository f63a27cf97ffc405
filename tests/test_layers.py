"""Who may import whom: `ir` NumPy alone, `tracer` and `codegen` never each other, Numba in `codegen` only."""

import ast
import functools
import sys
import tomllib
from pathlib import Path

import pytest

import adjit

ROOT = Path(adjit.__file__).resolve().parent
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
FOLDERS = [Path(*package.split(".")[1:]) for package in PACKAGES]
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))

# the layers and other people's packages that a layer may import; the standard library is open to all
PEERS = {"jax", "torch", "autograd"}
ALLOWED = {
    "ir": {"ir", "numpy"},
    "tracer": {"tracer", "ir", "numpy"},
    "codegen": {"codegen", "ir", "numpy", "numba", "llvmlite", "scipy", "platformdirs"},
    "api": {"api", "tracer", "ir", "codegen", "numpy", "optree", "scipy", "matplotlib"},
    "benchmarks": {"benchmarks", "api", "ir", "numpy", "numba", "scipy", *PEERS, "rich", "matplotlib"},
}
# scripts for developers inside the package, which nothing imports, and what else they need
TOOLS = {"codegen/vecmath/minimax.py": {"mpmath"}}
ROOT_MODULES = {"api", "ir", "benchmarks", "explorer", "numpy"}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@functools.cache
def imported(path: Path) -> set[tuple[str, int]]:
    """The layers of adjit and the foreign packages that a file imports anywhere in it, with line numbers."""
    here = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = [] if node.level == 0 else ["adjit", *here[: len(here) - node.level + 1]]
            module = [*start, *(node.module.split(".") if node.module else [])]
            names = [[*module, alias.name] for alias in node.names] if module == ["adjit"] else [module]
        else:
            continue
        for name in names:
            if name[0] == "adjit":
                found.add((name[1] if len(name) > 1 else "adjit", node.lineno))
            elif name[0] not in sys.stdlib_module_names:
                found.add((name[0], node.lineno))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_stay_within_the_layers(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    allowed = ALLOWED.get(parts[0], ROOT_MODULES) if len(parts) > 1 else ROOT_MODULES
    allowed = allowed | TOOLS.get(path.relative_to(ROOT).as_posix(), set())
    outside = [f"{name} (line {line})" for name, line in sorted(imported(path)) if name not in allowed]
    assert not outside


def test_relative_imports_below_the_root_and_absolute_ones_in_it() -> None:
    for path in FILES:
        below = path.parent != ROOT
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and not below:
                assert node.level == 0, f"{path.name}:{node.lineno}"
            elif isinstance(node, ast.ImportFrom) and below and node.level == 0:
                assert (node.module or "").split(".")[0] != "adjit", f"{path}:{node.lineno}"


def test_the_parts_that_must_not_need_numba_do_not_load_it() -> None:
    """Importing `adjit.ir` loads NumPy and nothing that compiles (the root's own imports aside)."""
    for path in (ROOT / "ir").rglob("*.py"):
        assert not {name for name, _ in imported(path)} & {"numba", "scipy", "optree"}, path


def test_nothing_imports_the_tools_of_developers() -> None:
    tools = {Path(tool).stem for tool in TOOLS}
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                assert not tools & {part for name in names for part in name.split(".")}, path


def test_every_package_folder_is_listed() -> None:
    """A package that pyproject.toml does not list would be missing from what users install."""
    for init in ROOT.glob("*/**/__init__.py"):
        folder = init.parent.relative_to(ROOT)
        if folder.parts[0] in {"tests", "examples", "docs", "build"} or folder.parts[0].startswith("."):
            continue
        assert folder in FOLDERS, f"{folder} is not in [tool.setuptools] packages"
    for folder in FOLDERS:
        assert (ROOT / folder / "__init__.py").exists()


def test_every_module_says_what_it_is() -> None:
    for path in FILES:
        assert ast.get_docstring(tree_of(path)), f"{path} has no docstring"
