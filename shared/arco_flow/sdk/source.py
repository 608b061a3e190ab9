"""Where a function stands in the user's files, and the digest of what it says.

Nothing is read at import: errors and manifests need places, running an asset does not.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ast


_HEAD = re.compile(r"\s*(?:async\s+)?def\s+(\w+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file: absolute path ("" when unknown) and 1-based line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{shown_path(self.file)}:{self.line}"

    def relative_to(self, root: str) -> str:
        """The path below `root` with forward slashes; the file's name when it lies elsewhere."""
        return relative_path(self.file, root)


def relative_path(file: str, root: str) -> str:
    """`file` below `root` with forward slashes; its name alone when it lies elsewhere.

    A manifest holds no absolute path: equal code in two folders is one manifest.
    """
    if root and is_below(file, root):
        return os.path.relpath(file, root).replace(os.sep, "/")
    return os.path.basename(file)


def is_below(file: str, root: str) -> bool:
    """Whether `file` lies in `root` or in a folder of it; both absolute."""
    return file.startswith(root.rstrip(os.sep) + os.sep)


def shown_path(file: str) -> str:
    """The path as people know it: relative to the working folder when it lies below it."""
    folder = os.getcwd()
    return os.path.relpath(file, folder) if is_below(file, folder) else file


def place_of(function: FunctionType) -> Place:
    """File of a function and the line of its `def` (not of its first decorator)."""
    import linecache

    code = function.__code__
    file = os.path.abspath(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    for number in range(code.co_firstlineno, len(lines) + 1):
        head = _HEAD.match(lines[number - 1])
        if head and head[1] == code.co_name:
            return Place(file, number)
    return Place(file, code.co_firstlineno)


class SourceReader:
    """Digests of functions' sources; each file is read and parsed once per reader."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[list[str], dict[int, ast.AST]] | None] = {}

    def digest(self, function: FunctionType) -> str:
        """Digest of the function from `def` to its last line; "" when there is no source.

        Decorators are left out, so that a new owner or tag makes nothing stale; indentation is
        removed and line ends are normalised; comments and docstrings count, because telling
        them apart from code (`# type:`, `# noqa`) is not ours to do.
        """
        from arco_flow.domain.wire import sha256_hex

        found = self._file(function.__code__.co_filename)
        if found is None:
            return ""
        lines, nodes = found
        node = nodes.get(function.__code__.co_firstlineno)
        if node is None:
            return ""
        import textwrap

        start, end = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        text = textwrap.dedent("\n".join(lines[start - 1 : end]))
        return sha256_hex(text.encode())[:32]

    def _file(self, path: str) -> tuple[list[str], dict[int, ast.AST]] | None:
        if path not in self._files:
            self._files[path] = _parse(path)
        return self._files[path]


def _parse(path: str) -> tuple[list[str], dict[int, ast.AST]] | None:
    """Lines of a file and its functions by the first line that the compiler gives them."""
    import ast
    import tokenize

    try:
        with tokenize.open(path) as handle:
            text = handle.read()
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = (node for node in ast.walk(tree) if isinstance(node, kinds))
    nodes: dict[int, ast.AST] = {
        min([node.lineno, *(mark.lineno for mark in node.decorator_list)]): node
        for node in functions
    }
    return text.split("\n"), nodes
