"""Wrong usage and bad surroundings of the real command: no plane, a taken folder, wrong settings.

Exit codes: 1 refused, 2 wrong usage, 3 no plane.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2e.bad_input import command
from e2e.harness import running_plane, write_module

SHOP = """
    from arco_flow import asset

    @asset(namespace="t")
    def a() -> int:
        return 1
"""


SEE_RUN = "  see: arco-flow run --help"
SPANS = '  fix: write seconds (10, 0.5) or text with units: "500ms", "10s", "5m", "1h30m", "1d"'
USAGE: dict[str, tuple[list[str], str]] = {
    "a range": (
        ["run", "*", "--range", "2026-01"],
        f"error: --range '2026-01' is not START..END\n{SEE_RUN}",
    ),
    "a tag": (["run", "*", "--tag", "x"], f"error: --tag 'x' is not KEY=VALUE\n{SEE_RUN}"),
    "a time-out": (
        ["run", "*", "--timeout", "5x"],
        f"error: --timeout '5x' can not be read from '5x' on\n{SPANS}\n{SEE_RUN}",
    ),
    "a command": (
        ["rnu", "*"],
        "error: no command 'rnu'; did you mean 'run'?\n  see: arco-flow --help",
    ),
}


@pytest.mark.parametrize("what", USAGE)
def test_wrong_usage_is_told_before_a_plane_is_looked_for(tmp_path: Path, what: str) -> None:
    arguments, told = USAGE[what]
    done = command(tmp_path, *arguments, code=2)
    assert (done.stdout, done.stderr.rstrip("\n")) == ("", told)
    assert list(tmp_path.iterdir()) == []


PLANES: dict[str, tuple[dict[str, str], int, str]] = {
    "no plane": (
        {"ARCO_FLOW_URL": "http://127.0.0.1:1"},
        3,
        "error: no plane answers at http://127.0.0.1:1 ([Errno 111] Connection refused)\n"
        "  at ARCO_FLOW_URL\n  fix: start one with `arco-flow dev`, or check ARCO_FLOW_URL",
    ),
    "no address": (
        {"ARCO_FLOW_URL": "localhost:3000"},
        1,
        "error: 'localhost:3000' is no address of a plane\n"
        "  at ARCO_FLOW_URL\n  fix: for example http://localhost:3000",
    ),
    "half an address": (
        {"ARCO_FLOW_URL": "http://[::1"},
        1,
        "error: 'http://[::1' is no address of a plane\n"
        "  at ARCO_FLOW_URL\n  fix: for example http://localhost:3000",
    ),
    "a token with a line break": (
        {"ARCO_FLOW_URL": "http://127.0.0.1:1", "ARCO_FLOW_TOKEN": "x\ny"},
        1,
        "error: the plane's token has characters that no token has\n"
        "  at ARCO_FLOW_TOKEN\n  fix: copy it again, without line breaks",
    ),
}


@pytest.mark.parametrize("what", PLANES)
def test_a_plane_that_can_not_be_reached(tmp_path: Path, what: str) -> None:
    surroundings, code, told = PLANES[what]
    done = command(tmp_path, "runs", code=code, **surroundings)
    assert done.stderr.rstrip("\n") == told


def test_a_state_folder_that_another_plane_holds(tmp_path: Path) -> None:
    write_module(tmp_path, "shop", SHOP)
    with running_plane(tmp_path, workers=1) as plane:
        plane.deploy(tmp_path / "shop.py")
        assert plane.wait(plane.request("t.a").run_id).state == "SUCCEEDED"
        plane.kept.settle()
        with plane.kept.unchanged():
            done = command(tmp_path, "run", "t.a", "-t", "shop.py", code=3)
    assert done.stderr.rstrip("\n") == (
        f"error: the folder {tmp_path / '.arco-flow'} is in use by process {os.getpid()}\n"
        f"  fix: stop that process (`kill {os.getpid()}`), or choose another folder for this one"
    )


SETTINGS: dict[str, tuple[str, str]] = {
    "no TOML": ("[tool\n", "error: pyproject.toml can not be read: Expected ']'"),
    "an unknown setting": (
        "[tool.arco-flow]\ntraget = 'x'\n",
        "error: unknown setting 'traget'; did you mean 'target'?\n  at ",
    ),
    "a number": ("[tool.arco-flow]\ntarget = 3\n", "error: setting 'target' is no text\n  at "),
    "a number for the table": ("tool = 3\n", "error: the settings are no table\n  at "),
    "text for the table": (
        "[tool]\narco-flow = 'x'\n",
        "error: the settings are no table\n  at ",
    ),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_wrong_settings_of_a_project(tmp_path: Path, what: str) -> None:
    text, told = SETTINGS[what]
    (tmp_path / "pyproject.toml").write_text(text)
    done = command(tmp_path, "runs", code=1)
    assert done.stderr.startswith(told)
    assert "\n  fix: " in done.stderr
    assert not (tmp_path / ".arco-flow").exists(), "no state is begun by a mistake"


def test_a_manifest_that_can_not_be_written(tmp_path: Path) -> None:
    write_module(tmp_path, "shop", SHOP)
    target = tmp_path / "nowhere" / "manifest.json"
    done = command(tmp_path, "validate", "shop.py", "--out", str(target), code=1)
    assert (done.stdout, done.stderr.rstrip("\n")) == (
        "",
        f"error: {target}: no such file or directory\n"
        "  fix: check the path, and who may write there",
    )
    assert not (tmp_path / ".arco-flow").exists()
