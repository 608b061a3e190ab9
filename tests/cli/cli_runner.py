"""Runs the command line as a person's shell would: a process, two streams, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SOURCE = str(Path(__file__).resolve().parents[2] / "shared")
COMMAND = [sys.executable, "-m", "arco_flow.cli"]


def environment(**extra: str) -> dict[str, str]:
    """The surroundings of a command: ours, without what would lead it to another plane."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ARCO_FLOW_")}
    return {**kept, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "", **extra}


def run(folder: Path, *args: str, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """One command in a folder, with the exit code that is expected of it."""
    done = subprocess.run(
        [*COMMAND, *args],
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def answer(folder: Path, *args: str, code: int = 0, **env: str) -> Any:
    """The JSON that a command writes; stdout holds nothing else."""
    return json.loads(run(folder, *args, "--json", code=code, **env).stdout)
