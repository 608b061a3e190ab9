"""A module of the adapters loads the client that it speaks with, and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arco_flow.adapters import gcp

CLIENTS = {
    "google.cloud.firestore_v1",
    "google.cloud.tasks_v2",
    "google.pubsub_v1",
    "google.cloud.scheduler_v1",
    "google.cloud.secretmanager_v1",
    "google.cloud.storage",
}
SPEAKS = {
    "scheduler_jobs": {"google.cloud.scheduler_v1"},
    "client_failures": set(),
}
OF_FIRESTORE = ("calls", "commit", "leases", "queries", "store", "wire", "writes")
BY_MESSAGES = {"cloud_tasks", "pubsub_bus", "failures", "grpc_calls", "server_time"} | {
    f"firestore_{name}" for name in OF_FIRESTORE
}
"""Speak gRPC with messages alone, and load no client's base."""
BASE = {"google.auth", "google.api_core", "requests", "proto", "cryptography"}
HEAVY = {
    "pandas", "pyarrow", "polars", "numpy", "duckdb", "pydantic", "flask", "functions_framework",
    "google.cloud.pubsub_v1", "opentelemetry.sdk",
}  # fmt: skip
OF_A_COMMAND = ("diagnosis", "dead_letters")
"""What begins so is run by a person, who can wait for a client."""
MODULES = sorted(
    path.stem
    for path in Path(gcp.__file__).parent.glob("*.py")
    if not path.stem.startswith(OF_A_COMMAND)
)


def loaded(module):
    name = "arco_flow.adapters.gcp" + ("" if module == "__init__" else f".{module}")
    told = subprocess.run(
        [sys.executable, "-c", f"import {name}, sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(told.stdout.split())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_loads_its_client_only(module):
    found = loaded(module)
    assert not found & HEAVY
    assert found & CLIENTS == SPEAKS.get(module, set())
    if module not in SPEAKS:
        # What it needs of Google's is loaded at its first use.
        assert not BASE & found
        assert module in BY_MESSAGES or "grpc" not in found
