"""What holds for every test: which of them may not run side by side."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# gRPC's handlers of a fork abort children that tests start in a process that has spoken gRPC.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

HERE = Path(__file__).parent

STARTS_PROCESSES = ("e2e", "worker", "cli", "examples")
"""Folders whose tests start planes and workers. Under pytest-xdist they share one worker, so
that at most one of them has processes running while the other worker computes."""


USES_EMULATORS = ("emulated", "emulators")
"""Folders whose tests use Google's emulators, which start once per process of pytest. So all of
them run in one."""


def pytest_collection_modifyitems(items):
    """Put the tests that start processes into one group, and those of emulators into another."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        kind = getattr(item, "callspec", None) and item.callspec.params.get("plane_kind")
        if kind in ("emulated", "chaos"):
            item.add_marker(pytest.mark.xdist_group("emulators"))
        elif folder in STARTS_PROCESSES:
            item.add_marker(pytest.mark.xdist_group("processes"))
        elif folder in USES_EMULATORS:
            item.add_marker(pytest.mark.xdist_group("emulators"))


def pytest_sessionfinish():
    """End the emulators and functions that tests of this process shared."""
    import sys

    planes = sys.modules.get("emulated.plane")
    if planes is not None:
        planes.close_shared()
