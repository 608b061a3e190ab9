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
    write_module(tmp_path, "shop", CODE)
    (tmp_path / "pyproject.toml").write_text('[tool.arco-flow]\ntarget = "shop.py"\n')
    os.mkfifo(tmp_path / "pids")
    with serving(tmp_path) as plane:
        command(tmp_path, "run", f"t.{asset}")
        handles = [os.pidfd_open(pid) for pid in told(tmp_path / "pids")]
        plane.send_signal(signal.SIGKILL)
        try:
            assert [handle for handle in handles if not is_over(handle)] == []
        finally:
            for handle in handles:
                end(handle)


def serving(folder: Path) -> subprocess.Popen[str]:
    """`arco-flow dev`, once it has deployed."""
    plane = subprocess.Popen(
        [sys.executable, "-m", "arco_flow.cli", "dev", "--port", "0", "--json", "--workers", "1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert plane.stdout is not None
    events = [json.loads(plane.stdout.readline())["event"] for _ in range(2)]
    assert events == ["ready", "deployed"]
    return plane


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
