"""The emulators for tests: all of them in one process, started once per process of pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = "ARCO_REQUIRE_EMULATORS"


@dataclass(frozen=True)
class RunningEmulators:
    """Where they answer, and what a process needs in its environment to use them."""

    addresses: dict[str, str]
    admin: dict[str, str]
    environment: dict[str, str]
    folder: Path


@pytest.fixture(scope="session")
def emulators(tmp_path_factory):
    """All emulators. Skips where Google's are absent, and fails when they are required."""
    require_jars()
    folder = tmp_path_factory.mktemp("emulators")
    command = ["-m", "arco_emulators", "up", "--json", "--port-base=0", f"--folder={folder}"]
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT / "emulators")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"the emulators did not start: {process.stderr.read().decode()}")
        yield _read(json.loads(line), folder)
        process.terminate()
        assert process.wait(timeout=30) == 0, process.stderr.read().decode()


@pytest.fixture(scope="session")
def storage_emulator(emulators):
    """URL of the storage emulator, which was seen to honour preconditions."""
    url = emulators.addresses["storage"]
    require_preconditions(url)
    return url


def require_jars():
    """Skip where Google's emulators are absent; fail when ARCO_REQUIRE_EMULATORS=1."""
    from arco_emulators import jars

    try:
        jars.require()
    except jars.JarsMissing as missing:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{REQUIRED}=1, and {missing}")
        pytest.skip(str(missing).splitlines()[0])


def require_preconditions(url):
    """Fail unless the storage at the URL answers 412 to a create of what exists.

    A storage that lets every racer win makes every test of the ledger pass for nothing.
    """
    _post(f"{url}/storage/v1/b?project=tests", b'{"name": "preconditions"}')
    create = (
        f"{url}/upload/storage/v1/b/preconditions/o?uploadType=media&name=x&ifGenerationMatch=0"
    )
    statuses = [_post(create, b"x") for _ in range(2)]
    if statuses[1] != 412:
        pytest.fail(
            f"the storage emulator at {url} answered {statuses} to two creates of one object "
            "under ifGenerationMatch=0: it ignores preconditions, and nothing that was tested "
            "with it is proved"
        )


def _post(url, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _read(told, folder):
    entries = {entry["name"]: entry for entry in told["emulators"]}
    return RunningEmulators(
        addresses={name: entry["address"] for name, entry in entries.items()},
        admin={name: entry["admin"] for name, entry in entries.items()},
        environment=told["environment"],
        folder=folder,
    )
