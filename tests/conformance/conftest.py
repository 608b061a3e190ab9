"""One fixture per port: every test of a suite runs once on each adapter."""

from __future__ import annotations

import pytest

from conformance.adapters import BUSES, OBJECTS, QUEUES, STORES, Scenarios


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def stores(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=QUEUES.values(), ids=QUEUES.keys())
def queues(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=BUSES.values(), ids=BUSES.keys())
def buses(request, tmp_path):
    return Scenarios(request.param, tmp_path)


@pytest.fixture(params=OBJECTS.values(), ids=OBJECTS.keys())
def both_faces(request, tmp_path):
    with request.param(tmp_path) as faces:
        yield faces


@pytest.fixture
def objects(both_faces):
    return both_faces[0]
