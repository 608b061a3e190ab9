"""The worker function knows what to run by its envelope, with neither secrets nor Firestore."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from arco_flow.adapters.gcp.settings import FunctionSettings
from arco_flow.adapters.gcp.wiring import CloudPlane
from arco_flow.adapters.gcp.worker_wiring import _bounded, _Workers
from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.errors import InvalidInput
from conformance.emulators import storage_url

NOWHERE = "/nowhere/at/all"


class Callbacks:
    """Takes the reports of attempts."""

    def __init__(self):
        self.reports = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.reports.append(
                    json.loads(self.rfile.read(int(self.headers["content-length"])))
                )
                raw = b'{"acknowledged": true}'
                self.send_response(200)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def callbacks():
    found = Callbacks()
    yield found
    found.close()


def envelope_of(callback_base_url: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "tenantId": "shop", "workspaceId": "prod", "taskKey": "shop.a", "runId": "r", "attempt": 1,
        "attemptId": "att", "dispatchId": "d", "callbackBaseUrl": callback_base_url,
        "taskToken": "token", "tokenExpiresAt": "2999-01-01T00:00:00Z", "payload": payload,
    }  # fmt: skip


def run(
    callbacks: Callbacks, location: Any, payload: dict[str, Any] | None = None, **settings: Any
) -> None:
    """Deliver one envelope to a worker function."""
    told_where = {} if location is None else {"codeLocation": location}
    envelope = envelope_of(callbacks.url, {**(payload or {}), **told_where})
    told = FunctionSettings(
        function="worker",
        project="shop",
        location="here",
        bucket="shop",
        audience="https://worker.example",
        urls={"worker_callback": callbacks.url},
        accounts={},
        **settings,
    )

    async def main():
        workers = _Workers(CloudPlane(told))
        await workers.run(json.dumps(envelope).encode())
        for pool in workers._pools.values():
            await pool.close()

    asyncio.run(main())


@pytest.mark.parametrize("location", [None, {}, {"root": "/"}])
def test_a_deployment_that_does_not_say_where_its_code_is_fails_its_attempts_for_good(
    callbacks, location
):
    run(callbacks, location)
    [report] = callbacks.reports
    assert report["error"]["category"] == "CONFIGURATION"
    assert report["error"]["retryable"] is False
    assert "the deployment does not say where its code is" in report["error"]["message"]
    assert "fix: deploy it with `arco-flow deploy`" in report["error"]["message"]


def test_a_folder_that_this_worker_does_not_have_is_named(callbacks):
    run(callbacks, {"target": "shop", "root": NOWHERE, "codeVersionId": "v1", "later": 1})
    [report] = callbacks.reports
    assert f"does not have the folder of the code: {NOWHERE}" in report["error"]["message"]


def test_the_code_of_the_image_goes_before_that_of_the_envelope(callbacks):
    run(callbacks, {"target": "shop", "root": "/"}, code_target="other", code_root=NOWHERE)
    [report] = callbacks.reports
    assert NOWHERE in report["error"]["message"]


WAITS = """
import threading
from arco_flow.sdk.asset import asset

@asset
def waits() -> int:
    threading.Event().wait()
    return 1
"""


def test_an_attempt_ends_by_a_time_out_before_the_platform_cuts_its_delivery(
    callbacks, tmp_path, monkeypatch
):
    """What is cut goes on without a processor, and nobody hears why it has fallen silent."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_url())
    (tmp_path / "sales.py").write_text(WAITS)
    payload = {"assetKey": "sales.waits", "codeVersionId": "v1", "manifestId": "m1"}
    location = {"target": str(tmp_path / "sales.py"), "root": str(tmp_path)}
    run(callbacks, location, payload, timeout_seconds=1)
    _started, report = callbacks.reports
    assert (report["outcome"], report["error"]["category"]) == ("FAILED", "TIMEOUT")
    assert "ran longer than its time-out of 500 ms" in report["error"]["message"]


@pytest.mark.parametrize(
    ("declared_ms", "timeout_seconds", "expected_ms"),
    [(0, 1800, 1_740_000), (1, 1800, 1), (1_740_001, 1800, 1_740_000), (0, 100, 50_000)],
)
def test_the_time_out_of_an_attempt_leaves_time_to_report_it(
    declared_ms, timeout_seconds, expected_ms
):
    payload = {"executionTimeoutMs": declared_ms} if declared_ms else {}
    envelope = msgspec.convert(envelope_of("http://x", payload), DispatchEnvelope)
    bounded = _bounded(envelope, timeout_seconds)
    assert bounded.payload["executionTimeoutMs"] == expected_ms


@pytest.mark.parametrize("location", ["shop", ["shop"], {"target": 1}])
def test_a_location_that_is_none_can_never_succeed(callbacks, location):
    with pytest.raises(InvalidInput, match="code location is none"):
        run(callbacks, location)
    assert callbacks.reports == []


def test_the_worker_function_imports_no_engine_and_no_way_to_the_state():
    code = "import sys, arco_flow.adapters.gcp.worker_wiring; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(told.stdout.split())
    heavy = {"arco_flow.engine", "arco_flow.adapters.gcp.firestore_calls", "grpc"}
    assert not heavy & loaded
