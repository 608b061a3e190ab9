"""What holds for every test: which of them may not run side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent

STARTS_PROCESSES = ("e2e", "worker", "cli", "examples")
"""Folders whose tests start planes and workers. Under pytest-xdist they share one worker, so
that at most one of them has processes running while the other worker computes."""


def pytest_collection_modifyitems(items):
    """Put the tests that start processes into one group."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] in STARTS_PROCESSES:
            item.add_marker(pytest.mark.xdist_group("processes"))
