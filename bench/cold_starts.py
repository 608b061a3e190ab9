"""Cold starts of the functions: from the start of a process to its first answer.

A child is ended by SIGKILL when it has answered, so that what the kernel counted of it is what its
start has cost. Bytecode is compiled before, as in the image.
"""

from __future__ import annotations

import asyncio
import compileall
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from arco_flow.adapters.gcp.bundle import Bundle, BundleSettings, free_ports
from arco_flow.adapters.gcp.functions_table import load_functions_table
from arco_flow.adapters.gcp.provision import Place

ROOT: Final = Path(__file__).resolve().parents[1]
FUNCTIONS: Final = ROOT / "functions"
LONGEST_SECONDS: Final = 30.0

HELLO: Final = """
import os
import uvicorn
from functions_framework.aio import create_asgi_app
uvicorn.run(
    create_asgi_app("main", os.environ["HELLO"], "http"),
    host="127.0.0.1", port=int(os.environ["PORT"]), log_config=None, access_log=False,
)
"""
HELLO_MAIN: Final = 'async def main(request):\n    return "hello"\n'

LAUNCHER: Final = """
import os, runpy, signal, sys
_, script, told, load = sys.argv
def tell(*_):
    exec(load, {})
    with open(told, "w") as file:
        file.write(" ".join(sys.modules))
    os._exit(0)
signal.signal(signal.SIGUSR1, tell)
runpy.run_path(script, run_name="__main__")
"""
"""Serves a script; on SIGUSR1 it loads what is asked, tells its modules and ends."""

ENGINE: Final = """
import os
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.secrets import read_secrets
from arco_flow.adapters.gcp.settings import read_settings
from arco_flow.adapters.gcp.wiring import build_engine
build_engine(read_settings(os.environ), OperationCounts(), read_secrets(os.environ))
"""
VERIFIER: Final = "import google.auth.jwt\n"
"""What tokens of callers are verified with; those of attempts need nothing of Google's."""
IMPORT_MAIN: Final = """
import os, runpy, sys, time
before = time.process_time()
runpy.run_path(sys.argv[1])
print(time.process_time() - before, flush=True)
os._exit(0)
"""


class Start(NamedTuple):
    """cpu_ms: user and system; wall_ms: to the first 200; rss_mib: the most that was resident."""

    cpu_ms: float
    wall_ms: float
    rss_mib: float


class Served(NamedTuple):
    """A script that serves HTTP, and what it is started with. path: what is asked of it. load:
    code that loads what the first real request needs."""

    name: str
    script: Path
    environment: Mapping[str, str]
    path: str = "/health/live"
    load: str = ""

    @property
    def url(self) -> str:
        """What is asked until it answers."""
        return f"http://127.0.0.1:{self.environment['PORT']}{self.path}"


@contextmanager
def served_functions() -> Iterator[dict[str, Served]]:
    """Every function of the table by name, with addresses of nobody; `hello` is the baseline."""
    for folder in (FUNCTIONS, ROOT / "shared" / "arco_flow"):
        compileall.compile_dir(folder, quiet=2)
    with tempfile.TemporaryDirectory(prefix="arco-flow-cold-") as name:
        folder = Path(name)
        table = load_functions_table(FUNCTIONS / "functions.yaml")
        address = f"127.0.0.1:{free_ports(1)[0]}"
        nobody = f"http://{address}"
        place = Place("demo-arco", "us-central1", "arco", {})
        nowhere = dict.fromkeys(("FIRESTORE_EMULATOR_HOST", "ARCO_FLOW_TASKS_ENDPOINT"), address)
        nowhere["STORAGE_EMULATOR_HOST"] = nobody
        bundle = Bundle(BundleSettings(folder, FUNCTIONS, place, nobody, nowhere, {}), table)
        found = {"hello": _hello(folder)}
        for function, row in table.functions.items():
            load = ENGINE if "firestore" in row.uses else ""
            load += VERIFIER if row.callers or row.access == "users" else ""
            environment = _compiled(bundle.environment_of(function))
            found[function] = Served(function, FUNCTIONS / "serve.py", environment, load=load)
        yield found


def start_of(served: Served) -> Start:
    """What one start costs until the first 200."""
    before = time.perf_counter()
    process = _popen([sys.executable, str(served.script)], served.environment)
    _wait_for(served, process)
    wall = time.perf_counter() - before
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    process.kill()
    return Start(_cpu_ms_of(process), 1000 * wall, int(peak.split()[1]) / 1024)


def loaded_at_ready(served: Served) -> set[str]:
    """Names of the modules that are loaded when the first 200 was answered."""
    return _told(served, "")[0]


def start_with_clients(served: Served) -> float:
    """Processor milliseconds of a start and of loading what its first real request needs."""
    return _told(served, served.load)[1]


def loaded_with_clients(served: Served) -> set[str]:
    """Names of the modules that are loaded then."""
    return _told(served, served.load)[0]


def import_ms(function: str, served: Served) -> float:
    """Processor milliseconds of the function's module, in an interpreter with nothing else."""
    main = str(FUNCTIONS / function / "main.py")
    told = subprocess.run(
        [sys.executable, "-c", IMPORT_MAIN, main],
        env={**served.environment},
        capture_output=True,
        check=True,
        text=True,
    )
    return 1000 * float(told.stdout)


def interpreter_ms() -> float:
    """Processor milliseconds of an interpreter that does nothing."""
    return _cpu_ms_of(_popen([sys.executable, "-c", "pass"], os.environ))


def _hello(folder: Path) -> Served:
    script, main = folder / "hello.py", folder / "main.py"
    script.write_text(HELLO)
    main.write_text(HELLO_MAIN)
    environment = {**os.environ, "PORT": str(free_ports(1)[0]), "HELLO": str(main)}
    return Served("hello", script, _compiled(environment), path="/")


def _compiled(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _told(served: Served, load: str) -> tuple[set[str], float]:
    with tempfile.NamedTemporaryFile("r", prefix="arco-flow-cold-") as told:
        command = [sys.executable, "-c", LAUNCHER, str(served.script), told.name, load]
        process = _popen(command, served.environment)
        _wait_for(served, process)
        process.send_signal(signal.SIGUSR1)
        spent = _cpu_ms_of(process)
        if process.returncode:
            raise SystemExit(f"'{served.name}' ended with {process.returncode} when it was asked")
        return set(told.read().split()), spent


def _popen(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def _cpu_ms_of(process: subprocess.Popen[bytes]) -> float:
    """User and system time of a child that ends."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return 1000 * (used.ru_utime + used.ru_stime)


def _wait_for(served: Served, process: subprocess.Popen[bytes]) -> None:
    asyncio.run(_until_it_answers(served, process))


async def _until_it_answers(served: Served, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not _answers(served.url):
        if process.poll() is not None:
            raise SystemExit(f"'{served.name}' ended with {process.returncode} at its start")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise SystemExit(f"'{served.name}' does not answer at {served.url}")
        await asyncio.sleep(0.005)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=LONGEST_SECONDS) as answer:
            return answer.status == 200
    except OSError:
        return False
