"""Which test modules are fast: those in which Beam, servers and other processes have no part.

It is read off their imports, without importing them, so that nobody has to keep a list. A test module is not fast if
Beam is loaded with it, however long the way there is, or if it or a helper in `tests/` starts a process or a server.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SLOW_TO_IMPORT = frozenset({"apache_beam", "boto3", "flask", "starlette", "uvicorn"})
"""What makes a test module slow wherever it is imported on the way."""
STARTS_SOMETHING = frozenset({"http", "multiprocessing", "socket", "socketserver", "subprocess"})
"""What makes a test module slow where it or a helper imports it: they start a process or a server."""
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def why_slow(test_module: Path) -> list[str] | None:
    """The chain of imports that makes a test module slow, or None if it is fast."""
    start = test_module.resolve()
    chains = {start: [start.name]}
    open_files = [start]
    while open_files:
        path = open_files.pop()
        slow = SLOW_TO_IMPORT if _is_product(path) else SLOW_TO_IMPORT | STARTS_SOMETHING
        for name in sorted(_imports(path)):
            if name.partition(".")[0] in slow:
                return [*chains[path], name]
            for file in _files(name, path.parent):
                if file not in chains:
                    chains[file] = [*chains[path], name]
                    open_files.append(file)
    return None


def _is_product(path: Path) -> bool:
    return ROOT / "kimi_beam" in path.parents


@cache
def _files(name: str, beside: Path) -> tuple[Path, ...]:
    """The files of this repository that importing a name loads: those of its packages, and its own."""
    for base in (TESTS, ROOT, beside):
        at, files = base, []
        for part in name.split("."):
            at /= part
            found = [path for path in (at / "__init__.py", at.with_suffix(".py")) if path.is_file()]
            if not found and not at.is_dir():
                break
            files += found
        if files:
            return tuple(files)
    return ()


@cache
def _imports(path: Path) -> frozenset[str]:
    """The dotted names that a file imports when it is loaded. Of a test or a helper also what its functions import."""
    text = path.read_text(encoding="utf-8")
    names: set[str] = set()
    packages: dict[str, str] = {}
    statements: list[ast.AST] = [ast.parse(text)]
    while statements:
        statement = statements.pop()
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
            packages |= {alias.asname or alias.name: alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            package = _package(path, statement)
            names |= {package, *(_home(package, alias.name) or f"{package}.{alias.name}" for alias in statement.names)}
        elif _is_never_run(statement) or (isinstance(statement, _FUNCTION) and _is_product(path)):
            continue
        for block in ("body", "orelse", "handlers", "finalbody"):
            statements += getattr(statement, block, ()) if not isinstance(statement, ast.expr) else ()
    for name, package in packages.items():  # `kb.Extract` loads Extract's module, where `kb` is a package with a table
        if _files(package, ROOT):
            used = re.findall(rf"\b{re.escape(name)}\.(\w+)", text)
            names |= {home for home in (_home(package, attribute) for attribute in used) if home}
    return frozenset(names)


def _is_never_run(statement: ast.AST) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _package(path: Path, node: ast.ImportFrom) -> str:
    """The dotted name of what stands after `from`."""
    if not node.level:
        return node.module or ""
    at = path.parents[node.level - 1]
    parts = at.relative_to(ROOT if _is_product(path) else TESTS).parts
    return ".".join([*parts, *([node.module] if node.module else [])])


@cache
def _home(package: str, name: str) -> str | None:
    """The module from which a package takes one of its names when it is first used, or None."""
    for path in _files(package, ROOT)[-1:]:
        return _homes(path).get(name)
    return None


@cache
def _homes(path: Path) -> dict[str, str]:
    """The names that a package loads late, by its table `_HOME`."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME":
            homes: dict[str, str] = ast.literal_eval(node.value)
            return homes
    return {}
