"""Modules that say EVERY_PLANE run unchanged on each kind of plane."""

from __future__ import annotations

import pytest

from e2e.harness import KINDS, Kind


def pytest_generate_tests(metafunc):
    """One set of tests per kind of plane."""
    if getattr(metafunc.module, "EVERY_PLANE", False):
        metafunc.parametrize("plane_kind", KINDS, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def plane_kind(request):
    """The kind that `running_plane` gives to this module."""
    Kind.current = getattr(request, "param", "local")
    yield Kind.current
    Kind.current = "local"
