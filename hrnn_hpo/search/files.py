"""Where search-space files are, and how one extends another.

The rules that they must keep stand in reader.py; what a finished space can do, in space.py.
"""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrnn_hpo.errors import SpaceError
from hrnn_hpo.search.document import Document, Problems, read_document
from hrnn_hpo.search.reader import ParsedSpace, SpaceReader
from hrnn_hpo.search.values import show
from hrnn_hpo.settings import nearest


def spaces_folder() -> Path:
    """Return the folder of the shipped spaces: inside an installed package, else at the top of the repository."""
    package = Path(str(importlib.resources.files("hrnn_hpo")))
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def list_spaces() -> list[str]:
    """Return the names of the shipped spaces in alphabetical order."""
    return sorted(path.stem for path in spaces_folder().glob("*.yaml"))


def find_space(name_or_path: str | Path, folder: Path | None = None) -> Path:
    """Return the file of a shipped space's name, or of a path (anything with a slash or ending in .yaml).

    Paths are relative to `folder`, or else to the working folder. Raises SpaceError for a name that is not shipped
    and for a file that is not there.
    """
    text = str(name_or_path)
    shipped = list_spaces()
    if isinstance(name_or_path, Path) or "/" in text or "\\" in text or text.endswith((".yaml", ".yml")):
        path = (folder or Path()) / Path(text).expanduser()
        if not path.is_file():
            raise SpaceError(f"there is no file {path}{nearest(path.stem, shipped) or '.'}")
        return path
    if text in shipped:
        return spaces_folder() / f"{text}.yaml"
    beside = (folder or Path()) / f"{text}.yaml"
    hint = f"; for the file {beside} write {text}.yaml." if beside.is_file() else nearest(text, shipped) or "."
    raise SpaceError(f"{text!r} is neither a shipped space ({', '.join(shipped)}) nor a file's path (.yaml){hint}")


def read_space(path: Path) -> ParsedSpace:
    """Return the space in a file. Raises SpaceError with every problem of it and of the files it extends."""
    problems = Problems()
    parsed = _read(path, problems, chain=())
    if parsed is None or problems:
        raise SpaceError("\n".join(problems.lines))
    return parsed


def parse_space(content: Mapping[str, Any], source: str, parent: ParsedSpace | None = None) -> ParsedSpace:
    """Return the space that a mapping in the YAML format describes, on top of a parent instead of `extends`.

    Raises SpaceError with every problem, `source` standing for the file.
    """
    problems = Problems()
    document = Document(source, dict(content), problems)
    empty = ParsedSpace(parent.name, parent.path, parent.summary) if parent else ParsedSpace(source)
    parsed = SpaceReader(document, parent).read(empty)
    if problems:
        raise SpaceError("\n".join(problems.lines))
    return parsed


def _read(path: Path, problems: Problems, chain: tuple[Path, ...]) -> ParsedSpace | None:
    document = read_document(path, problems)
    if document is None:
        return None
    parent = None
    parent_is_broken = False
    if "extends" in document.content:
        n_before = len(problems)
        parent = _read_parent(document, path, (*chain, path.resolve()))
        parent_is_broken = parent is None or len(problems) > n_before
    return SpaceReader(document, parent, parent_is_broken).read(ParsedSpace(path.stem, path, _summary(path)))


def _read_parent(document: Document, path: Path, chain: tuple[Path, ...]) -> ParsedSpace | None:
    target = document.content["extends"]
    if not isinstance(target, str):
        document.problem(("extends",), f"the name or path of one space must stand here, but got {show(target)}.")
        return None
    try:
        parent_path = find_space(target, path.parent)
    except SpaceError as error:
        document.problem(("extends",), str(error))
        return None
    if parent_path.resolve() in chain:
        circle = [*chain[chain.index(parent_path.resolve()) :], parent_path]
        document.problem(("extends",), f"goes in a circle: {' -> '.join(file.name for file in circle)}.")
        return None
    return _read(parent_path, document.problems, chain)


def _summary(path: Path) -> str:
    """Return the first line of the comment that opens a file: what the space is for."""
    first = path.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""
