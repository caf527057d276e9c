"""Rules about source files that import-linter cannot check. Each function returns the violations in a folder."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("config", "contexts", "ops", "shop")
ROLES = (
    "__init__", "interface", "events", "models", "service", "handlers", "rest", "admin", "apps", "migrations",
    "invariants", "schemas",
)  # fmt: skip
OPTIONAL = ("settings", "checkout", "providers", "channels", "management", "templates", "seed", "static")
DYNAMIC_LOOKUPS = {"get_model", "get_models", "get_app_config", "ContentType", "GenericForeignKey"}
LOADERS = {"import_module", "__import__"}
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(folder: Path) -> list[Path]:
    """Return all Python files in a folder and below."""
    return sorted(folder.rglob("*.py"))


def docstrings(tree: ast.AST) -> dict[ast.AST, ast.Expr]:
    """Return the docstring of every module, class and function that has one."""
    found = {}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | DEFINITIONS)
            and ast.get_docstring(node, clean=False) is not None
        ):
            found[node] = node.body[0]
    return found


def iter_strings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the string constants of a Python file without docstrings, or the lines of another file."""
    if file.suffix != ".py":
        yield from enumerate(file.read_text(errors="ignore").splitlines(), 1)
        return
    tree = ast.parse(file.read_text())
    documentation = {docstring.value for docstring in docstrings(tree).values()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            yield node.lineno, node.value


def find_foreign_tables(root: Path, tables: dict[str, set[str]]) -> list[str]:
    """Find SQL and templates of a context that name a table of another context."""
    found = []
    for context in tables:
        foreign = {name for other, names in tables.items() if other != context for name in names}
        word = re.compile(rf"\b({'|'.join(map(re.escape, sorted(foreign)))})\b")
        for file in (root / "contexts" / context).rglob("*.*"):
            if file.suffix in (".py", ".html", ".txt", ".sql"):
                found += [
                    f"{file.relative_to(root)}:{line} {m[1]}" for line, t in iter_strings(file) if (m := word.search(t))
                ]
    return found


def find_dynamic_lookups(root: Path) -> list[str]:
    """Find contexts that load a model or module by name, which import-linter cannot see. Their own submodules they may."""
    found = []
    for file in (file for file in python_files(root / "contexts") if "migrations" not in file.parts):
        for node in ast.walk(ast.parse(file.read_text())):
            name = _name(node.func if isinstance(node, ast.Call) else node)
            loads = isinstance(node, ast.Call) and name in LOADERS and not _loads_own_submodule(node)
            if loads or (name in DYNAMIC_LOOKUPS and not isinstance(node, ast.Call)):
                found.append(f"{file.relative_to(root)}:{getattr(node, 'lineno', 0)} {name}")
    return found


def _name(node: ast.AST) -> str | None:
    return getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "name", None)


def _loads_own_submodule(call: ast.Call) -> bool:
    """Return whether the call is `import_module(f"{__name__}.…")`."""
    return bool(call.args) and ast.unparse(call.args[0]).startswith(("f'{__name__}.", 'f"{__name__}.'))


def find_context_names_in_kernel(root: Path, contexts: tuple[str, ...]) -> list[str]:
    """Find strings in the kernel that name a context."""
    word = re.compile(rf"\b({'|'.join(contexts)})\b")
    return [
        f"{file.relative_to(root)}:{line} {text}"
        for file in python_files(root / "shop")
        for line, text in iter_strings(file)
        if word.search(text)
    ]


def find_lists_of_contexts(root: Path, contexts: tuple[str, ...]) -> list[str]:
    """Find modules of the verifier that name all contexts, so that a new one would need a change there."""
    found = []
    for file in python_files(root / "ops" / "verify"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
                items = node.keys if isinstance(node, ast.Dict) else node.elts
                if {getattr(item, "value", None) for item in items} >= set(contexts):
                    found.append(f"{file.relative_to(root)}:{node.lineno}")
    return found


def find_imports_besides(file: Path, allowed: set[str]) -> list[str]:
    """Find imports of a module that are neither in the standard library nor allowed."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return [name for name in found if name.split(".")[0] not in sys.stdlib_module_names and name not in allowed]


def find_code_in_package_files(root: Path) -> list[str]:
    """Find `__init__` files of contexts that contain more than a docstring."""
    files = [root / "contexts" / "__init__.py", *sorted((root / "contexts").glob("*/__init__.py"))]
    return [
        str(file.relative_to(root))
        for file in files
        if len(body := ast.parse(file.read_text()).body) != 1 or ast.get_docstring(ast.Module(body, [])) is None
    ]


def find_unexpected_files(root: Path) -> list[str]:
    """Find modules that a context lacks, and modules that are not on the list."""
    found = []
    for context in sorted(p for p in (root / "contexts").iterdir() if p.is_dir() and p.name != "__pycache__"):
        present = {entry.stem for entry in context.iterdir() if entry.name != "__pycache__"}
        found += [f"{context.name} has no {role}" for role in ROLES if role not in present]
        found += [f"{context.name} has {extra}" for extra in sorted(present - {*ROLES, *OPTIONAL})]
    return found


def count_lines(folder: Path) -> int:
    """Count the lines that are not empty, comments and docstrings included, migrations excluded."""
    files = (file for file in python_files(folder) if "migrations" not in file.parts)
    return sum(bool(line.strip()) for file in files for line in file.read_text().splitlines())


class Function(NamedTuple):
    """A function and the number of its lines without its docstring."""

    place: str
    name: str
    lines: int


def functions(root: Path) -> list[Function]:
    """Return the functions of all packages, the shortest first."""
    found = []
    for file in (file for package in PACKAGES for file in python_files(root / package)):
        tree = ast.parse(file.read_text())
        documentation = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, DEFINITIONS):
                lines = _count_node_lines(node)
                if node in documentation:
                    lines -= _count_node_lines(documentation[node])
                found.append(Function(f"{file.relative_to(root)}:{node.lineno}", node.name, lines))
    return sorted(found, key=lambda function: function.lines)


def _count_node_lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def find_long_functions(root: Path, limit: int) -> list[str]:
    """Find functions of more than `limit` lines without their docstring."""
    return [f"{one.place} {one.name} has {one.lines} lines" for one in functions(root) if one.lines > limit]


def measure_functions(root: Path) -> tuple[int, int]:
    """Return the median and the 95th percentile of the lines per function."""
    lines = [one.lines for one in functions(root)]
    return lines[len(lines) // 2], lines[len(lines) * 95 // 100]
