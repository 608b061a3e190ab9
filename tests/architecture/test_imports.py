"""Imports run one way, and none of them in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from architecture.sources import ROOT, modules, name_of, shown, tree_of


def test_the_contracts_of_pyproject_are_kept():
    checked = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "shared"), "PATH": "", "NO_COLOR": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 broken" in checked.stdout


def test_no_module_imports_itself_in_a_circle_while_it_loads():
    names = {name_of(path) for path in modules()}
    graph = {name_of(path): _loaded_by(tree_of(path), names) for path in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_the_domain_asks_no_clock():
    domain = [path for path in modules() if path.parent.name == "domain"]
    found = [
        f"{shown(path)}:{node.lineno} {ast.unparse(node)}"
        for path in domain
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today")
        if isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date")
    ]
    assert not found, found


def _loaded_by(tree, names):
    """What a module imports when it is loaded: neither in functions nor for type checkers."""
    found = set()
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            found.add(node.module)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With):
            pending += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)
            ]
    packages = {name.rpartition(".")[0] for name in names}
    # `from arco_flow.domain import wire` loads the package too, which loads nothing of its own.
    return {name for name in found & names if name not in packages}
