"""Which of the user's files a code location consists of: what it imports from its own root.

Imports are read from the text and not from sys.modules, which depends on what else the process
has imported: the same files must give the same version everywhere.
"""

from __future__ import annotations

import ast
import os
import tokenize
from collections.abc import Iterable, Iterator

from arco_flow.domain.wire import sha256_hex
from arco_flow.sdk.source import is_below


def source_files(entries: Iterable[str], root: str) -> tuple[str, ...]:
    """The entry files and every file below `root` that they import, sorted; absolute paths."""
    waiting = list(entries)
    found: set[str] = set()
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        waiting.extend(path for path in _imports(file, root) if path not in found)
    return tuple(sorted(found))


def _imports(file: str, root: str) -> Iterator[str]:
    try:
        with tokenize.open(file) as handle:
            tree = ast.parse(handle.read())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _files_of(root, name.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = import_base(file, node.level, root)
            parts = node.module.split(".") if node.module else []
            yield from _files_of(base, parts)
            for name in node.names:
                yield from _files_of(base, [*parts, name.name])


def import_base(file: str, level: int, root: str) -> str:
    """The folder from which `from … import` in a file starts; level: its leading dots."""
    if not level:
        return root
    folder = os.path.dirname(file)
    for _ in range(level - 1):
        folder = os.path.dirname(folder)
    return folder


def module_file(path: str, root: str) -> str | None:
    """The file of a module or package, given without suffix, when it lies below the root."""
    for file in (os.path.join(path, "__init__.py"), path + ".py"):
        if root and is_below(file, root) and os.path.isfile(file):
            return file
    return None


def is_module(path: str, root: str) -> bool:
    """Whether a path without suffix is a module or a package, with or without `__init__.py`."""
    return module_file(path, root) is not None or os.path.isdir(path)


def file_digest(path: str) -> str:
    """SHA-256 of a file's text. Line ends are normalised: a checkout on Windows is the same."""
    with open(path, "rb") as handle:
        return sha256_hex(handle.read().replace(b"\r\n", b"\n").replace(b"\r", b"\n"))


def _files_of(base: str, parts: list[str]) -> Iterator[str]:
    """The module's file and the `__init__.py` of every package on the way to it."""
    path = base
    for part in parts:
        path = os.path.join(path, part)
        init = os.path.join(path, "__init__.py")
        if os.path.isfile(init):
            yield init
    if os.path.isfile(path + ".py"):
        yield path + ".py"
