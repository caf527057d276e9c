"""What can be read off the sources: small rules over a folder, each returning what breaks it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROLES = ("__init__", "interface", "events", "models", "service", "handlers", "rest", "admin", "apps", "migrations")
OPTIONAL = ("saga", "providers", "channels", "management", "templates", "seed", "static")
TRICKS = {"get_model", "get_models", "get_app_config", "ContentType", "GenericForeignKey"}
LOADERS = {"import_module", "__import__"}
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """The constants that are documentation."""
    documented = (n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | DEFINITIONS) and n.body)
    return {n.body[0].value for n in documented if isinstance(n.body[0], ast.Expr)}


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Every text that a program works with: its string constants without docstrings, or a whole other file."""
    if file.suffix != ".py":
        yield from enumerate(file.read_text(errors="ignore").splitlines(), 1)
        return
    tree = ast.parse(file.read_text())
    documentation = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
            yield node.lineno, node.value


def foreign_tables(root: Path, tables: dict[str, set[str]]) -> list[str]:
    """Where a context's SQL or templates name a table of another one."""
    found = []
    for context in tables:
        foreign = {name for other, names in tables.items() if other != context for name in names}
        word = re.compile(rf"\b({'|'.join(map(re.escape, sorted(foreign)))})\b")
        for file in (root / "contexts" / context).rglob("*.*"):
            if file.suffix in (".py", ".html", ".txt", ".sql"):
                found += [f"{file.relative_to(root)}:{line} {m[1]}" for line, t in texts(file) if (m := word.search(t))]
    return found


def tricks(root: Path) -> list[str]:
    """Where a context reaches for a model or module by name, past the linter; its own adapters it may load."""
    found = []
    for file in (file for file in python_files(root / "contexts") if "migrations" not in file.parts):
        for node in ast.walk(ast.parse(file.read_text())):
            name = _name(node.func if isinstance(node, ast.Call) else node)
            loads = isinstance(node, ast.Call) and name in LOADERS and not _below_itself(node)
            if loads or (name in TRICKS and not isinstance(node, ast.Call)):
                found.append(f"{file.relative_to(root)}:{getattr(node, 'lineno', 0)} {name}")
    return found


def _name(node: ast.AST) -> str | None:
    return getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "name", None)


def _below_itself(call: ast.Call) -> bool:
    """`import_module(f"{__name__}.…")`"""
    return bool(call.args) and ast.unparse(call.args[0]).startswith(("f'{__name__}.", 'f"{__name__}.'))


def contexts_named_in_the_kernel(root: Path, contexts: tuple[str, ...]) -> list[str]:
    """Where the kernel, which knows no context, names one."""
    word = re.compile(rf"\b({'|'.join(contexts)})\b")
    return [
        f"{file.relative_to(root)}:{line} {text}"
        for file in python_files(root / "shop")
        for line, text in texts(file)
        if word.search(text)
    ]


def code_in_package_files(root: Path) -> list[str]:
    """`__init__` files of contexts that hold more than a docstring."""
    files = [root / "contexts" / "__init__.py", *sorted((root / "contexts").glob("*/__init__.py"))]
    return [
        str(file.relative_to(root))
        for file in files
        if len(body := ast.parse(file.read_text()).body) != 1 or ast.get_docstring(ast.Module(body, [])) is None
    ]


def misshapen(root: Path) -> list[str]:
    """Files that a context lacks, or has besides those that every context has."""
    found = []
    for context in sorted(p for p in (root / "contexts").iterdir() if p.is_dir() and p.name != "__pycache__"):
        there = {entry.stem for entry in context.iterdir() if entry.name != "__pycache__"}
        found += [f"{context.name} has no {role}" for role in ROLES if role not in there]
        found += [f"{context.name} has {extra}" for extra in sorted(there - {*ROLES, *OPTIONAL})]
    return found


def lines(folder: Path) -> int:
    """Lines to read: all that are not empty, documentation included; of everything but migrations."""
    files = (file for file in python_files(folder) if "migrations" not in file.parts)
    return sum(bool(line.strip()) for file in files for line in file.read_text().splitlines())


def long_functions(root: Path, longest: int) -> list[str]:
    """Functions of more than `longest` lines, their docstrings not counted."""
    found = []
    for file in (file for package in ("shop", "contexts", "config") for file in python_files(root / package)):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, DEFINITIONS):
                said = next((d.end_lineno - d.lineno + 1 for d in docstrings(node) if d.lineno == node.body[0].lineno), 0)
                if (length := node.end_lineno - node.lineno + 1 - said) > longest:
                    found.append(f"{file.relative_to(root)}:{node.lineno} {node.name} has {length} lines")
    return found
