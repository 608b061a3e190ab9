"""Runs the command line as a person's shell would: a process, two streams, an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue
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


class Dev:
    """A running `arco-flow dev`; next() is its next line of JSON."""

    def __init__(self, folder: Path, *options: str, seconds: int = 20) -> None:
        self.folder = folder
        self._seconds = seconds
        self.process = subprocess.Popen(
            [*COMMAND, "dev", "--json", *options],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: Queue[dict[str, Any]] = Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def next(self, event: str) -> dict[str, Any]:
        told = self._lines.get(timeout=self._seconds)
        assert told["event"] == event, told
        return told

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.next("stopping")
        self.next("ended")
        assert self.process.wait(self._seconds) == 0

    def __enter__(self) -> Dev:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._reading.join()
        self.process.communicate()
