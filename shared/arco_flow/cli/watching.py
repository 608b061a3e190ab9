"""Noticing that code has changed, by looking: no dependency, and it works on every file system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})

Snapshot = dict[str, tuple[int, int]]
"""Path -> (modification time in nanoseconds, size in bytes)."""


def snapshot(root: Path) -> Snapshot:
    """The Python files below a folder, and pyproject.toml; hidden folders and environments not."""
    found: Snapshot = {}
    for path in _files(root):
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            continue  # deleted between the listing and the look
        found[path] = (stat.st_mtime_ns, stat.st_size)
    return found


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Paths that were added, changed or deleted, sorted."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def _files(root: Path) -> Iterator[str]:
    yield from (str(path) for path in (root / "pyproject.toml",) if path.is_file())
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if _is_code(parent, name)]
        for name in files:
            if name.endswith(".py"):
                yield os.path.join(parent, name)


def _is_code(parent: str, name: str) -> bool:
    if name.startswith(".") or name in _SKIPPED:
        return False
    return not os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))
