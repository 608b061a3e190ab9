"""What commands propose works, where they are read: in a project that `init` wrote."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runner import SOURCE, environment, run
from click.testing import CliRunner

from arco_flow.cli.main import COMMANDS, cli

BACKGROUND = {"dev", "emulators"}
"""Their examples leave something running; tests/emulators/ has those of the second."""

ELSEWHERE = {"init", "doctor", "dead-letters"}
"""The first makes the project; tests/emulated/ has the others, which look at a cloud plane."""

DYNAMIC = """\
from arco_flow import DynamicPartitions, PartitionKey, asset


@asset(partitions=DynamicPartitions("regions"))
def by_region(region: PartitionKey) -> str:
    return str(region)
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `arco-flow` is the command under test."""
    home = tmp_path_factory.mktemp("home")
    command = home / "arco-flow"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m arco_flow.cli "$@"\n')
    command.chmod(0o755)
    path = f"{home}{os.pathsep}{os.environ['PATH']}"
    return environment(HOME=str(home), PATH=path, PYTHONPATH=SOURCE)


@pytest.fixture(scope="module")
def made(shell: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as init's own example leaves it."""
    folder = tmp_path_factory.mktemp("made")
    typed(example("init"), folder, shell)
    return folder / "shop"


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "shop"))


def typed(line: str, folder: Path, shell: dict[str, str]) -> str:
    """What a person sees who pastes a line into a shell, which must be well."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=shell, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def example(name: str) -> str:
    """The command as it stands on the last line of the help, in a terminal of 80 columns."""
    shown = CliRunner().invoke(cli, [*name.split(), "--help"], terminal_width=80).output
    _, _, line = shown.rstrip().splitlines()[-1].partition("Example: ")
    return line


def every_command() -> list[str]:
    subs = [f"partitions {verb}" for verb in ("list", "add", "delete")]
    return [name for name in [*COMMANDS, *subs] if name not in BACKGROUND | ELSEWHERE]


@pytest.mark.parametrize("name", every_command())
def test_the_example_of_a_command_works_when_it_is_pasted(
    name: str, project: Path, shell: dict[str, str]
) -> None:
    line = example(name)
    assert f"arco-flow {name}" in line
    assert typed(line, project, shell) is not None


def test_the_example_of_dev_serves(project: Path, shell: dict[str, str]) -> None:
    line = example("dev")
    assert line == "arco-flow dev --port 3000"
    process = subprocess.Popen(
        line.replace("3000", "0").split(), cwd=project, env=shell, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(5)]
    assert told[0].startswith("Arco Flow is running at http://127.0.0.1:")
    proposed = re.fullmatch(r"next: (arco-flow .*)  \(in another terminal; .*\)\n", told[-1])
    assert proposed is not None
    typed(f"{proposed[1]} --wait", project, shell)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_init_deploy_and_refusals_propose_runs_that_work(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    first = proposal(run(tmp_path, "init", "My Shop").stdout)
    assert first == "cd 'My Shop' && arco-flow run '*' -p 2026-01-01"
    folder = tmp_path / "My Shop"
    asked = run(folder, "status", code=1).stderr
    assert "fix: arco-flow deploy" in asked
    assert proposal(run(folder, "runs").stdout) == "arco-flow deploy"
    after_deploy = proposal(run(folder, "deploy").stdout)
    assert re.fullmatch(r"arco-flow run '\*' -p \d{4}-\d\d-\d\d", after_deploy)
    assert f"fix: {after_deploy}" in run(folder, "logs", code=1).stderr
    assert proposal(run(folder, "runs").stdout) == after_deploy
    refused = run(folder, "run", "*", code=1).stderr
    key = re.search(r"fix: -p ('[^']+'), --range", refused)
    assert key is not None
    typed(f"arco-flow run '*' -p {key[1]}", folder, shell)
    typed(after_deploy, folder, shell)
    typed(first, tmp_path, shell)


def test_what_waits_for_partitions_is_told_how_to_add_them(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    (tmp_path / "shop.py").write_text(DYNAMIC)
    proposed = proposal(run(tmp_path, "deploy", "shop.py").stdout)
    assert proposed == "arco-flow partitions add regions KEY"
    assert proposed in run(tmp_path, "run", "*", "-t", "shop.py", code=1).stderr
    typed(proposed.replace("KEY", "eu"), tmp_path, shell)
    assert proposal(run(tmp_path, "deploy", "shop.py").stdout) == "arco-flow run '*' -p eu"


def test_stale_partitions_are_what_to_look_at_next(project: Path) -> None:
    code = project / "assets.py"
    code.write_text(code.read_text().replace("return sum(", "return 1 + sum("))
    proposed = proposal(run(project, "deploy").stdout)
    assert proposed == "arco-flow partitions list assets.revenue --state STALE"
    assert "2026-01-01  STALE" in run(project, *proposed.split()[1:]).stdout


def test_what_a_run_leaves_out_is_said(project: Path) -> None:
    named = "left out: assets.budget, which has no partition"
    one = run(project, "run", "*", "-p", "2026-01-01")
    assert f"{named} 2026-01-01\n" in one.stderr
    span = ("--range", "2026-01-01..2026-01-02", "--dry-run")
    assert f"{named} in 2026-01-01..2026-01-02\n" in run(project, "run", "*", *span).stderr
    assert "left out" not in run(project, "run", "assets.orders", *span).stderr


def proposal(shown: str) -> str:
    assert shown.splitlines()[-1].startswith("next: ")
    return shown.splitlines()[-1].removeprefix("next: ")
