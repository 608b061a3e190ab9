"""A function starts with what it uses and nothing else, and its start does not grow unseen.

`cold_start.txt` holds, per function, the modules that are loaded at the first 200 and the processor
time of the start as a multiple of that of a function of one line behind the same server. Both are
measured in the same run, alternated, so that a slow or busy machine slows both.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cold_starts import loaded_at_ready, served_functions, start_of

LEDGER = Path(__file__).with_name("cold_start.txt")
RUNS = 3
GROWTH = 1.25
"""What a start may be over its entry before somebody has to look."""
BANNED = (
    "pyarrow", "pandas", "polars", "numpy", "pydantic", "opentelemetry.sdk", "grpc", "requests",
    "google.auth", "google.api_core", "google.protobuf", "google.pubsub_v1", "sqlite3",
    "arco_flow.cli", "arco_flow.io", "arco_flow.sdk", "arco_flow.simulation",
)  # fmt: skip
"""None is loaded before the first request that needs it."""
CLIENTS = "google.cloud."
OF_THE_FRAMEWORK = "google.cloud.functions"
"""Events of functions-framework: no client of an API."""
WITHOUT_ENGINE = "worker"


def entries():
    """Function -> (modules, multiple of the baseline)."""
    lines = [line.split() for line in LEDGER.read_text().splitlines() if line[:1] not in ("#", "")]
    return {name: (int(modules), float(multiple)) for name, modules, multiple in lines}


@pytest.fixture(scope="module")
def served():
    with served_functions() as found:
        start_of(found["hello"])
        yield found


@pytest.fixture(scope="module")
def loaded(served):
    return {name: loaded_at_ready(one) for name, one in served.items() if name != "hello"}


def test_every_function_has_an_entry(served):
    assert set(entries()) == set(served) - {"hello"}


@pytest.mark.parametrize("function", sorted(entries()))
def test_a_function_answers_before_it_loads_a_client(loaded, function):
    heavy = [
        name
        for name in loaded[function]
        if any(name == banned or name.startswith(f"{banned}.") for banned in BANNED)
        or (name.startswith(CLIENTS) and not name.startswith(OF_THE_FRAMEWORK))
    ]
    assert not heavy


def test_a_worker_starts_without_the_engine_and_without_the_api(loaded):
    unused = ("arco_flow.engine.", "arco_flow.http.routes", "arco_flow.http.app")
    assert not [name for name in loaded[WITHOUT_ENGINE] if name.startswith(unused)]


@pytest.mark.parametrize("function", sorted(entries()))
def test_a_function_loads_hardly_more_modules_than_it_did(loaded, function):
    assert len(loaded[function]) <= GROWTH * entries()[function][0]


@pytest.mark.slow
@pytest.mark.parametrize("function", sorted(entries()))
def test_a_start_costs_hardly_more_than_it_did(served, function):
    pairs = [(start_of(served["hello"]), start_of(served[function])) for _ in range(RUNS)]
    multiple = min(own.cpu_ms for _, own in pairs) / min(bare.cpu_ms for bare, _ in pairs)
    assert multiple <= GROWTH * entries()[function][1]


def test_an_instance_lives_although_no_client_can_be_made(served):
    broken = served["api"]._replace(
        environment={
            name: value
            for name, value in served["api"].environment.items()
            if not name.endswith("_EMULATOR_HOST")
        }
    )
    assert loaded_at_ready(broken)
