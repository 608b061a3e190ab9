"""`arco-flow dev --emulated` as a person uses it; what the plane does is tests/emulated's."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from cli_runner import Dev, answer, run

from arco_flow.cli.project import STATE_FOLDER
from conformance.emulators import require_google_emulators

pytestmark = pytest.mark.emulator


@pytest.fixture
def project(tmp_path: Path) -> Path:
    require_google_emulators()
    run(tmp_path, "init", "shop")
    return tmp_path / "shop"


def test_other_commands_use_the_emulated_plane_until_ctrl_c(project: Path) -> None:
    with Dev(project, "--emulated", seconds=90) as dev:
        dev.next("ready")
        dev.next("emulated")
        dev.next("deployed")
        done = answer(project, "run", "assets.orders", "-p", "2026-01-01", "--wait")
        assert done["state"] == "SUCCEEDED"
        dev.stop(signal.SIGINT)
    assert not list((project / STATE_FOLDER).glob("plane.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_only_starting_is_ended_too(project: Path, number: int) -> None:
    with Dev(project, "--emulated", seconds=90) as dev:
        assert dev.process.stderr is not None
        assert dev.process.stderr.readline() == "starting the emulators, then the functions\n"
        dev.stop(number)
