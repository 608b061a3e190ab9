"""What holds for every test: which of them stay together in one process."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

# gRPC's handlers of a fork abort children that tests start in a process that has spoken gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

HERE = Path(__file__).parent

BY_MODULE = ("e2e/", "emulated/", "emulators/", "worker/", "cli/", "examples/", "adapters/gcp/")
"""Folders whose modules start planes, emulators or workers once for all of their tests."""
TOLD_ONCE = "simulation/test_histories.py"
"""Its tests look at the same histories."""
KIND = re.compile(r"\[(local|memory|emulated|chaos)\b")


def group_of(nodeid):
    """What has to run in one process with a test: by itself, unless something is shared."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    if not path.startswith((*BY_MODULE, TOLD_ONCE)):
        return nodeid
    kind = KIND.search(nodeid)
    return f"{path} {kind[1]}" if kind else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give whole groups to a process, the largest first.

    `--dist loadgroup` does not: with pytest 9.2 its groups are silently lost.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return ByGroup(config, log)


def pytest_sessionfinish():
    """End the emulators and functions that tests of this process shared."""
    import sys

    planes = sys.modules.get("emulated.plane")
    if planes is not None:
        planes.close_shared()
