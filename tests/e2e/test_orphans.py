"""A plane that is killed leaves no worker behind, whatever its user code does."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.emulators import require_google_emulators
from e2e.harness import write_module

SECONDS = 10
"""Several times what it takes: a heartbeat, and the grace of a plane that is gone."""

CODE = """
    import os
    import subprocess
    import sys
    import time

    from arco_flow import asset


    def tell(*pids: int) -> None:
        with open("pids", "w") as fifo:
            fifo.write(" ".join(map(str, pids)))


    @asset(namespace="t")
    def sleeps() -> None:
        tell(os.getpid())
        time.sleep(600)


    @asset(namespace="t")
    def swallows() -> None:
        tell(os.getpid())
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass


    @asset(namespace="t")
    def has_a_child() -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        tell(os.getpid(), child.pid)
        time.sleep(600)


    @asset(namespace="t")
    def swallows_and_has_a_child() -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        tell(os.getpid(), child.pid)
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass
"""


@pytest.mark.parametrize("asset", ["sleeps", "swallows", "has_a_child", "swallows_and_has_a_child"])
def test_a_worker_in_user_code_ends_with_its_plane(tmp_path: Path, asset: str) -> None:
    assert still_running_after_its_end(tmp_path, asset) == []


def test_functions_emulators_and_workers_end_with_what_started_them(tmp_path: Path) -> None:
    require_google_emulators()
    assert still_running_after_its_end(tmp_path, "swallows_and_has_a_child", "--emulated") == []


def still_running_after_its_end(folder: Path, asset: str, *options: str) -> list[int]:
    """Descriptors of processes that a plane leaves when it is killed while it runs user code."""
    write_module(folder, "shop", CODE)
    (folder / "pyproject.toml").write_text('[tool.arco-flow]\ntarget = "shop.py"\n')
    os.mkfifo(folder / "pids")
    with serving(folder, *options) as plane:
        command(folder, "run", f"t.{asset}", "--no-wait")
        pids = {*told(folder / "pids"), *children_of(plane.pid)}
        handles = [os.pidfd_open(pid) for pid in pids]
        plane.send_signal(signal.SIGKILL)
        try:
            return [handle for handle in handles if not is_over(handle)]
        finally:
            for handle in handles:
                end(handle)


def serving(folder: Path, *options: str) -> subprocess.Popen[str]:
    """`arco-flow dev`, once it has deployed."""
    line = ["dev", "--port", "0"] if not options else ["dev", *options]
    plane = subprocess.Popen(
        [sys.executable, "-m", "arco_flow.cli", *line, "--json", "--workers", "1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert plane.stdout is not None
    events = [json.loads(plane.stdout.readline())["event"]]
    while events[-1] != "deployed":
        events.append(json.loads(plane.stdout.readline())["event"])
    assert events == (["ready", "emulated", "deployed"] if options else ["ready", "deployed"])
    return plane


def children_of(pid: int) -> list[int]:
    """Processes that a process has started and that run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(folder: Path, *words: str) -> None:
    line = [sys.executable, "-m", "arco_flow.cli", *words]
    subprocess.run(line, cwd=folder, capture_output=True, check=True, timeout=60)


def told(fifo: Path) -> list[int]:
    """The processes that user code names, once it runs."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert select.select([reader], [], [], 30)[0], "user code is not reached"
        os.set_blocking(reader, True)
        return [int(word) for word in os.read(reader, 100).split()]
    finally:
        os.close(reader)


def is_over(handle: int) -> bool:
    """Whether the process of a pidfd ends in time; the descriptor is readable from then on."""
    return bool(select.select([handle], [], [], SECONDS)[0])


def end(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
