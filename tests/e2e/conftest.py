"""Modules that say EVERY_PLANE run unchanged on each kind of plane, or on those that they name."""

from __future__ import annotations

import pytest

from e2e.harness import KINDS, Kind


def pytest_generate_tests(metafunc):
    """One set of tests per kind of plane."""
    kinds = getattr(metafunc.module, "EVERY_PLANE", ())
    if kinds:
        named = KINDS if kinds is True else kinds
        metafunc.parametrize("plane_kind", named, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def plane_kind(request):
    """The kind that `running_plane` gives to this module."""
    Kind.current = getattr(request, "param", "local")
    yield Kind.current
    Kind.current = "local"
