"""One fixture per port: every test of a suite runs once on each adapter."""

from __future__ import annotations

import pytest

from conformance.adapters import (
    BUSES,
    DRIVEN_BUSES,
    DRIVEN_QUEUES,
    OBJECTS,
    QUEUES,
    STORES,
    Scenarios,
)
from conformance.google_cloud import NAMES


def each(adapters):
    """The adapters as parameters; those on emulators are marked."""
    return [
        pytest.param(factory, id=name, marks=[pytest.mark.emulator] if name in NAMES else [])
        for name, factory in adapters.items()
    ]


@pytest.fixture(params=each(STORES))
def stores(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=each(QUEUES))
def queues(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=each(DRIVEN_QUEUES))
def driven_queues(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=each(BUSES))
def buses(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=each(DRIVEN_BUSES))
def driven_buses(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=each(OBJECTS))
def both_faces(request, tmp_path):
    with request.param(tmp_path) as faces:
        yield faces


@pytest.fixture
def objects(both_faces):
    return both_faces[0]
