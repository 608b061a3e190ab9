"""What no committed file may hold."""

from __future__ import annotations

import ast
import re

import pytest

from architecture.sources import ROOT, committed_texts, modules, name_of, shown, tree_of

UNFINISHED = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "X" * 3 + ":")
MACHINE_PATHS = re.compile(
    r"(?<![\w.@:/-])/(?:" + "|".join(("work", "root", "home", "Users", "opt")) + r")/[\w.-]+"
)
REGISTRIES = re.compile(
    r"[\w.-]*(?:"
    + "|".join(
        (r"pypi\.(?:org|python)", r"python" + r"hosted\.org", r"npm" + r"js\.(?:org|com)",
         r"regis" + r"try\.terraform", r"dock" + r"er\.io", r"gh" + r"cr\.io", r"anaconda\.org")
    )
    + r")"
)  # fmt: skip
LOCKS = ("uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "package-lock.json", "yarn.lock")

ENTRY_POINT = r"arco_(?:flow|emulators)[\w.]*"

SLEEPS = ("shared/arco_flow/cli/",)
"""Where time.sleep is right: commands are a synchronous client that asks again after a pause.
Everything else waits on something that can be woken."""


def _found(pattern, *, under=""):
    compiled = re.compile(pattern) if isinstance(pattern, str) else pattern
    return [
        f"{name}:{number} {line.strip()[:100]}"
        for name, text in committed_texts().items()
        if name.startswith(under) and not name.startswith("tests/vectors/")
        for number, line in enumerate(text.splitlines(), 1)
        if compiled.search(line)
    ]


@pytest.mark.parametrize("word", UNFINISHED)
def test_nothing_is_left_to_be_done_in_a_file(word):
    assert not _found(rf"\b{re.escape(word)}")


def test_no_file_names_a_path_of_one_machine():
    assert not _found(MACHINE_PATHS)


def test_no_file_names_the_host_of_a_package_registry():
    assert not _found(REGISTRIES)


def test_no_lock_file_with_addresses_is_committed():
    assert not [name for name in committed_texts() if name.rpartition("/")[2] in LOCKS]


def test_nobody_sleeps_for_a_fixed_time():
    sleeping = [
        f"{name}:{node.lineno}"
        for name, text in committed_texts().items()
        if name.endswith(".py") and not name.startswith(SLEEPS) and "sleep" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]
    assert not sleeping


def test_every_module_is_imported_by_something():
    named = {name for path in modules() for name in _names(tree_of(path))}
    named |= {match for text in _entry_points() for match in re.findall(ENTRY_POINT, text)}
    unused = [
        shown(path)
        for path in modules()
        if path.name not in ("__init__.py", "__main__.py") and name_of(path) not in named
        if not _is_command(path)
    ]
    assert not unused


def _names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _entry_points():
    """What names a module without importing it from the library, and may be its only reason."""
    texts = committed_texts()
    yield texts["pyproject.toml"]
    for name, text in texts.items():
        public = name.startswith(("functions/", "examples/", "tests/", "bench/"))
        if public and name.endswith(".py"):
            yield text


def _is_command(path):
    """A command is found by its name in the table of commands of its distribution."""
    if path.parent.name != "commands":
        return False
    table, entry = (
        ("emulators/arco_emulators/__main__.py", f'"{path.stem}": "')
        if "arco_emulators" in path.parts
        else ("shared/arco_flow/cli/main.py", f'Entry("{path.stem}"')
    )
    return entry in (ROOT / table).read_text(encoding="utf-8")
