"""What holds for every test: which of them stay together in one process."""

from __future__ import annotations

import compileall
import os
import re
from pathlib import Path

import pytest

# gRPC's handlers of a fork abort children that tests start in a process that has spoken gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

ROOT = Path(__file__).parents[1]
SOURCES = ("shared/arco_flow", "emulators/arco_emulators", "functions")

BY_MODULE = ("e2e/", "emulated/", "emulators/", "worker/", "cli/", "examples/", "adapters/gcp/")
"""Folders whose modules start planes, emulators or workers once for all of their tests."""
TOLD_ONCE = ("simulation/test_histories.py", "architecture/test_cold_start.py")
"""The tests of one look at the same histories, or starts."""
KIND = re.compile(r"\[(local|memory|emulated|chaos)\b")
SESSIONS_PLANES = ("emulated", "chaos")
"""Kinds of planes that a process starts once for all of its tests: in one process only."""
LONGEST_FIRST = ("e2e/", "emulated/", "architecture/test_cold_start.py", "emulators/", "cli/")
"""What takes minutes is begun first, so that no process waits for another at the end."""


def group_of(nodeid):
    """What has to run in one process with a test: by itself, unless something is shared."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    if not path.startswith((*BY_MODULE, *TOLD_ONCE)):
        return nodeid
    kind = KIND.search(nodeid)
    if kind and path.startswith("e2e/") and kind[1] in SESSIONS_PLANES:
        return f"e2e/ {kind[1]}"
    return f"{path} {kind[1]}" if kind else path


def rank_of(group):
    """Where a group stands in the order of LONGEST_FIRST; a plane of the session before all."""
    if group in [f"e2e/ {kind}" for kind in SESSIONS_PLANES]:
        return -1
    found = [rank for rank, path in enumerate(LONGEST_FIRST) if group.startswith(path)]
    return found[0] if found else len(LONGEST_FIRST)


def pytest_configure(config):
    """Compile what hundreds of processes of the tests import; where an environment forbids to write
    bytecode, each of them would compile it anew."""
    if not hasattr(config, "workerinput"):
        for folder in SOURCES:
            compileall.compile_dir(ROOT / folder, quiet=2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give whole groups to a process, the longest first.

    `--dist loadgroup` does not: with pytest 9.2 its groups are silently lost.
    """
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return ByGroup(config, log)


def pytest_collection_modifyitems(items):
    """The order in which groups are begun; within a group it stays as it is."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: rank_of(group_of(item.nodeid)))


def pytest_sessionfinish():
    """End the emulators and functions that tests of this process shared."""
    import sys

    planes = sys.modules.get("emulated.plane")
    if planes is not None:
        planes.close_shared()
