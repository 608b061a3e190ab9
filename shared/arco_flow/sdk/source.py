"""Where a function stands in the user's files.

Nothing is read at import: errors and manifests need places, running an asset does not.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from types import FunctionType

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
