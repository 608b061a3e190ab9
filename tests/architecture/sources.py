"""The files that the house rules are about, read once."""

from __future__ import annotations

import ast
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "shared" / "arco_flow"
PACKAGES = (PACKAGE, ROOT / "emulators" / "arco_emulators")


@lru_cache
def modules() -> tuple[Path, ...]:
    """Every module of both distributions."""
    return tuple(sorted(path for package in PACKAGES for path in package.rglob("*.py")))


@lru_cache
def tree_of(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    """Dotted name of a module of a distribution."""
    package = next(package for package in PACKAGES if path.is_relative_to(package))
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def shown(path: Path) -> str:
    """The path as messages name it."""
    return path.relative_to(ROOT).as_posix()


@lru_cache
def committed_texts() -> dict[str, str]:
    """Every text file that git knows, or would take up; without git, all but what make built."""
    found = {}
    for path in _committed():
        if not path.is_file() or path.is_symlink():
            continue
        raw = path.read_bytes()
        if b"\0" not in raw:
            found[shown(path)] = raw.decode("utf-8")
    return found


def _committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]
