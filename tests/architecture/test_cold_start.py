"""A function starts with what it uses and nothing else, and its start does not grow unseen.

`cold_start.txt` holds, per function, the modules that are loaded at the first 200 and the processor
time of the start as a multiple of that of a function of one line behind the same server, and both
again with what the first real request loads. All are measured in one run, alternated, so that a
slow or busy machine slows both.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from cold_starts import (
    loaded_at_ready,
    loaded_with_clients,
    served_functions,
    start_of,
    start_with_clients,
)

LEDGER = Path(__file__).with_name("cold_start.txt")
RUNS = 4
"""So many starts at most: what slows one of them is noise, what slows all is ours."""
GROWTH = 1.25
"""What a start may be over its entry before somebody has to look."""
BANNED = (
    "pyarrow", "pandas", "polars", "numpy", "pydantic", "opentelemetry.sdk", "grpc", "requests",
    "google.auth", "google.api_core", "google.protobuf", "google.pubsub_v1", "sqlite3",
    "arco_flow.cli", "arco_flow.io", "arco_flow.sdk", "arco_flow.simulation",
)  # fmt: skip
"""None is loaded before the first request that needs it."""
NEVER = ("google.api_core", "proto", "google.auth.transport", "requests", "urllib3", "pydantic")
"""Of the official clients: loaded by no function, also not with what a request needs."""
CLIENTS = "google.cloud."
OF_THE_FRAMEWORK = "google.cloud.functions"
"""Events of functions-framework: no client of an API."""
WITHOUT_ENGINE = "worker"


class Entry(NamedTuple):
    modules: int
    multiple: float
    modules_with_clients: int
    multiple_with_clients: float


def entries():
    """Function -> its entry."""
    lines = [line.split() for line in LEDGER.read_text().splitlines() if line[:1] not in ("#", "")]
    return {
        name: Entry(int(modules), float(multiple), int(more), float(with_clients))
        for name, modules, multiple, more, with_clients in lines
    }


def among(loaded, banned):
    return [n for n in loaded if any(n == one or n.startswith(f"{one}.") for one in banned)]


def of_clients(loaded):
    """Modules of the official clients."""
    return [n for n in loaded if n.startswith(CLIENTS) and not n.startswith(OF_THE_FRAMEWORK)]


@pytest.fixture(scope="module")
def served():
    with served_functions() as found:
        start_of(found["hello"])
        yield found


@pytest.fixture(scope="module")
def loaded(served):
    return {name: loaded_at_ready(one) for name, one in served.items() if name != "hello"}


@pytest.fixture(scope="module")
def loaded_by_requests(served):
    return {name: loaded_with_clients(one) for name, one in served.items() if name != "hello"}


def test_every_function_has_an_entry(served):
    assert set(entries()) == set(served) - {"hello"}


@pytest.mark.parametrize("function", sorted(entries()))
def test_a_function_answers_before_it_loads_a_client(loaded, function):
    assert not among(loaded[function], BANNED)
    assert not of_clients(loaded[function])


@pytest.mark.parametrize("function", sorted(entries()))
def test_no_request_loads_an_official_client_or_its_base(loaded_by_requests, function):
    found = loaded_by_requests[function]
    assert not among(found, NEVER)
    assert not of_clients(found)
    assert len(found) <= GROWTH * entries()[function].modules_with_clients


def test_a_worker_starts_without_the_engine_and_without_the_api(loaded):
    unused = ("arco_flow.engine.", "arco_flow.http.routes", "arco_flow.http.app")
    assert not [name for name in loaded[WITHOUT_ENGINE] if name.startswith(unused)]


@pytest.mark.parametrize("function", sorted(entries()))
def test_a_function_loads_hardly_more_modules_than_it_did(loaded, function):
    assert len(loaded[function]) <= GROWTH * entries()[function].modules


@pytest.mark.slow
@pytest.mark.parametrize("function", sorted(entries()))
def test_a_start_costs_hardly_more_than_it_did(served, function):
    entry, starts = entries()[function], []
    for _ in range(RUNS):
        starts.append(
            (
                start_of(served["hello"]).cpu_ms,
                start_of(served[function]).cpu_ms,
                start_with_clients(served[function]),
            )
        )
        bare, own, with_clients = (min(times) for times in zip(*starts, strict=True))
        grown = own / bare / entry.multiple, with_clients / bare / entry.multiple_with_clients
        if max(grown) <= GROWTH:
            return
    raise AssertionError(f"{grown} of what is entered, at the best of {RUNS} starts")


def test_an_instance_lives_although_no_client_can_be_made(served):
    broken = served["api"]._replace(
        environment={
            name: value
            for name, value in served["api"].environment.items()
            if not name.endswith("_EMULATOR_HOST")
        }
    )
    assert loaded_at_ready(broken)
