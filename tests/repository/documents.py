"""Find links, paths and titles in Markdown documents that do not fit the tree."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The folders whose paths are checked. Others, such as deploy/kubernetes/ours, are examples of what a reader creates.
FOLDERS = ("bench", "config", "contexts", "docs", "ops", "shop", "tests")
_CODE_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_PATH = re.compile(rf"(?<![\w./>-])(?:{'|'.join(FOLDERS)})/[\w./*<>-]*")
_SHELL_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_ASSIGNMENTS = re.compile(r"(?: *[A-Z_]+=[^\s($]*)+ *…? *(?:#.*)?")
_DECISION_NAME = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


def list_documents(root: Path = ROOT) -> list[Path]:
    """Return the documents at the root of the repository and those in docs/."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def find_broken_links(document: Path) -> list[str]:
    """Return the relative links of a document whose file or heading does not exist."""
    links = _LINK.findall(_CODE.sub("", _remove_code_blocks(document)))
    return [link for link in links if not _is_valid(link, document)]


def _is_valid(link: str, document: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    return target.exists() and (not anchor or anchor in list_anchors(target))


def list_anchors(document: Path) -> list[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    headings = _HEADING.findall(_remove_code_blocks(document))
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def find_missing_paths(document: Path, root: Path = ROOT) -> list[str]:
    """Return the paths in a document's inline code that do not exist. `*` and `<name>` stand for any name."""
    spans = _CODE.findall(_remove_code_blocks(document))
    paths = [path.rstrip(".") for span in spans for path in _PATH.findall(span)]
    return [path for path in paths if not any(root.glob(re.sub(r"<[^>]*>", "*", path)))]


def list_folders(root: Path = ROOT) -> list[str]:
    """Return the folders of the tree that hold code or documents: those at the root, and one level below them."""
    files = [path.relative_to(root).parts for name in FOLDERS for path in (root / name).rglob("*.*") if path.is_file()]
    kept = [parts for parts in files if "__pycache__" not in parts]  # a folder that was deleted may still have one
    return sorted({"/".join(parts[:depth]) for parts in kept for depth in (1, 2) if len(parts) > depth})


def find_unlisted_folders(document: Path, root: Path = ROOT) -> list[str]:
    """Return the folders that the tables of a document do not list. A folder with listed subfolders needs no row.

    `<context>` stands for the name of each context.
    """
    first_cells = re.findall(r"^\|([^|]+)\|", document.read_text(), re.MULTILINE)
    contexts = [path.name for path in (root / "contexts").glob("[a-z]*") if path.is_dir()]
    spans = {span for cell in first_cells for span in _CODE.findall(cell)}
    listed = {span.replace("<context>", context) for span in spans for context in contexts}
    return [folder for folder in list_folders(root) if not any(f"{one}/".startswith(f"{folder}/") for one in listed)]


def find_wrong_titles(folder: Path) -> list[str]:
    """Return the decision records whose first line is not `# N. title` with the number of the file, counted from 1."""
    files = sorted(folder.glob("*.md"))
    return [file.name for number, file in enumerate(files, 1) if not _has_title(file, number)]


def _has_title(file: Path, number: int) -> bool:
    name = _DECISION_NAME.fullmatch(file.name)
    title = file.read_text().split("\n")[0]
    return name is not None and int(name[1]) == number and re.fullmatch(rf"# {number}\. \S.*[^.]", title) is not None


def _remove_code_blocks(document: Path) -> str:
    return _CODE_BLOCK.sub("", document.read_text())


def find_unexported_variables(document: Path) -> list[str]:
    """Return the lines of shell blocks that only set variables, which no command after them gets: they lack `export`."""
    blocks = _SHELL_BLOCK.findall(document.read_text())
    return [line for block in blocks for line in block.splitlines() if _ASSIGNMENTS.fullmatch(line)]
