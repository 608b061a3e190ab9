"""What becomes of what is in flight when the platform ends an instance: real function processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.gcp.processes import environment_of_function, serving_certificates
from adapters.gcp.served import EMAIL
from arco_emulators.identity import Issuer
from arco_flow.adapters.gcp.bundle import free_ports
from worker.plane_stub import PATIENCE_SECONDS, Bench, wait_until

FUNCTIONS = Path(__file__).parents[3] / "functions"
SERVE = f"""
import sys
sys.path.insert(0, {str(FUNCTIONS)!r})
import serve
serve.GRACE_SECONDS = float(sys.argv[1])
serve.main()
"""
"""As `serve.py`, with another grace than the platform's."""
SHORT, LONG = "0.3", "20"

CODE = """
import os, threading
from arco_flow.sdk.asset import asset

@asset
def waits() -> int:
    with open("pid", "w") as file:
        file.write(str(os.getpid()))
    os.rename("pid", "pid.written")
    threading.Event().wait()
    return 1
"""


class Function:
    """A process of one function, with nothing behind it but who takes reports."""

    def __init__(self, name: str, grace: str, folder: Path, bench: Bench, stack: ExitStack) -> None:
        self.issuer = Issuer.open(folder / "issuer")
        certificates = stack.enter_context(serving_certificates(self.issuer.certs()))
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        log = stack.enter_context((folder / "log").open("wb"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, grace],
            env=self._environment(name, bench, certificates),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        stack.callback(self.process.wait, PATIENCE_SECONDS)
        stack.callback(self.process.kill)
        wait_until(self._is_live)

    def _environment(self, name: str, bench: Bench, certificates: str) -> dict[str, str]:
        return environment_of_function(
            name,
            self.port,
            tasks_account=EMAIL,
            callbacks=bench.server.url,
            certificates=certificates,
            ARCO_FLOW_CODE_TARGET=str(bench.root / "sales.py"),
            ARCO_FLOW_CODE_ROOT=str(bench.root),
        )

    def _is_live(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def send(self, head: str) -> socket.socket:
        """A connection on which the head of a delivery was sent."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        token = self.issuer.token(EMAIL, self.url)
        lines = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{head}\r\n\r\n"
        opened.sendall(lines.encode())
        return opened

    def end(self) -> int:
        """Tell it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    yield found
    found.close()


@contextmanager
def serving(name: str, grace: str, folder: Path, bench: Bench) -> Iterator[Function]:
    with ExitStack() as stack:
        yield Function(name, grace, folder, bench, stack)


def test_what_is_in_flight_is_answered_and_nothing_new_is_taken(
    tmp_path: Path, bench: Bench
) -> None:
    with serving("dispatch", LONG, tmp_path, bench) as function:
        opened = function.send("Expect: 100-continue\r\nContent-Length: 2")
        # The body is asked for when the caller was let in: it is worked on from here on.
        assert opened.recv(65536)[:12] == b"HTTP/1.1 100"
        function.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not function._is_live())
        opened.sendall(b"{}")
        answer = b"".join(iter(lambda: opened.recv(65536), b""))
        opened.close()
        assert answer[:12] == b"HTTP/1.1 503", "there is no bus to keep the dead letter"
        assert function.process.wait(PATIENCE_SECONDS) == 0


def deliver(function: Function, envelope: dict[str, Any]) -> socket.socket:
    raw = json.dumps(envelope).encode()
    opened = function.send(f"Content-Length: {len(raw)}")
    opened.sendall(raw)
    return opened


def test_an_attempt_that_outlasts_the_instance_is_handed_back(tmp_path: Path, bench: Bench) -> None:
    bench.write(CODE)
    with serving("worker", SHORT, tmp_path, bench) as function:
        opened = deliver(function, bench.envelope("sales.waits"))
        worker_id = bench.server.next("started")["workerId"]
        wait_until((bench.root / "pid.written").exists)
        pid = int((bench.root / "pid.written").read_text())
        assert function.end() == 0
        opened.close()
        report = bench.server.next("completed")
        assert report["workerId"] == worker_id
        assert (report["outcome"], report["error"]["category"]) == ("FAILED", "INFRASTRUCTURE")
        assert "the instance that ran it was ended" in report["error"]["message"]
        wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_an_attempt_that_has_not_begun_when_its_instance_ends_is_not_reported(
    tmp_path: Path, bench: Bench
) -> None:
    os.mkfifo(bench.root / "loading.fifo")
    bench.write("open('loading.fifo', 'w').close()\nimport threading\nthreading.Event().wait()\n")
    with serving("worker", SHORT, tmp_path, bench) as function:
        opened = deliver(function, bench.envelope("sales.waits"))
        with open(bench.root / "loading.fifo"):
            assert function.end() == 0
        opened.close()
    assert bench.server.calls.empty(), "the queue delivers it again"
