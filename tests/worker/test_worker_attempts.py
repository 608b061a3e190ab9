"""Attempts in a real worker process, over its socket, against a real callback server."""

import json
import os
import signal

import pytest
from plane_stub import accept, cancel, wait_until

HEAD = """
import os, signal, sys, threading
from arco_flow.sdk.asset import asset
from arco_flow.sdk.checks import CheckResult
from arco_flow.sdk.context import AssetContext
from arco_flow.sdk.signals import Failure, RetryRequested
"""


def test_a_value_is_saved_committed_and_reported_in_this_order(bench):
    target = bench.write(
        HEAD
        + """
@asset
def orders(context: AssetContext) -> list[int]:
    context.report(share=0.5)
    return [1, 2, 3]

@orders.check
def has_rows(value: list[int]) -> CheckResult:
    return CheckResult(passed=len(value) == 3, metadata={"rows": len(value)})
"""
    )
    seen_at_completion = []

    def answer(kind, body):
        if kind == "completed":
            seen_at_completion.append(bench.marker("sales.orders"))
        return accept(kind, body)

    bench.server.answer = answer
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.orders", codeVersionId="cv"))
        assert worker.answer().status == 200
    started, completed = bench.server.next(), bench.server.next()
    assert started["workerId"] == "worker-1"
    assert completed["outcome"] == "SUCCEEDED"
    output = completed["output"]
    assert output["materializationId"] == "att_1"
    assert output["rowCount"] == 3
    assert output["io"] == "json"
    assert output["outputPath"] == bench.prefix("sales.orders")
    assert output["metadata"] == {"share": 0.5}
    assert completed["checks"][0]["passed"]
    assert completed["checks"][0]["metadata"] == {"rows": 3}
    assert set(completed["metrics"]) == {
        "cpuTimeMs",
        "wallTimeMs",
        "peakMemoryBytes",
        "loadMs",
        "saveMs",
    }
    assert seen_at_completion[0]["contentHash"] == output["contentHash"]
    assert seen_at_completion[0]["codeVersionId"] == "cv"
    assert bench.objects.get(bench.prefix("sales.orders") + "data.json").data == b"[1,2,3]"


def test_inputs_are_loaded_from_pinned_versions_as_annotated(bench):
    target = bench.write(
        HEAD
        + """
from collections.abc import Mapping, Sequence

@asset
def one() -> dict[str, int]:
    return {"n": 1}

@asset
def total(first: dict[str, int], many: Sequence[dict[str, int]],
          named: Mapping[str, dict[str, int]]) -> list:
    return [first, [each["n"] for each in many], dict(named)]
"""
    )
    version = ["", "", "att_1"]
    inputs = {
        "first": {"asset": "sales.one", "versions": [version]},
        "many": {
            "asset": "sales.one",
            "shape": "sequence",
            "versions": [["a", "", "att_1"], ["b", "", "att_1"]],
        },
    }
    stored = {"named": {"asset": "sales.one", "shape": "mapping", "versions": [["p", "", "att_1"]]}}
    bench.objects.put_if_absent("plans/inputs.json", json.dumps(stored).encode())
    with bench.worker(target) as worker:
        worker.dispatch("sales.one", "att_1")
        report = worker.dispatch(
            "sales.total", "att_2", inputs=inputs, inputsObject="plans/inputs.json"
        )
    assert report["outcome"] == "SUCCEEDED", report
    data = bench.objects.get(bench.prefix("sales.total", "att_2") + "data.json").data
    assert json.loads(data) == [{"n": 1}, [1, 1], {"p": {"n": 1}}]


def test_a_version_that_was_never_committed_can_not_be_read(bench):
    target = bench.write(HEAD + "@asset\ndef down(up: int) -> int:\n    return up\n")
    inputs = {"up": {"asset": "sales.up", "versions": [["", "", "att_torn"]]}}
    bench.objects.put_if_absent(bench.prefix("sales.up", "att_torn") + "data.json", b"1")
    with bench.worker(target) as worker:
        error = worker.dispatch("sales.down", inputs=inputs)["error"]
    assert error["category"] == "INFRASTRUCTURE"
    assert error["retryable"] is False
    assert "no commit marker" in error["message"]


@pytest.mark.parametrize(
    ("body", "category", "message", "extra"),
    [
        ("raise KeyError('gone')", "USER_CODE", "KeyError: 'gone'", {}),
        ("sys.exit(3)", "USER_CODE", "exit(3)", {}),
        ("raise KeyboardInterrupt", "USER_CODE", "KeyboardInterrupt", {}),
        ("raise MemoryError", "INFRASTRUCTURE", "MemoryError", {}),
        ("raise Failure('no', retryable=False)", "USER_CODE", "no", {"retryable": False}),
        (
            "raise RetryRequested('later', after='10s')",
            "USER_CODE",
            "later",
            {"retryable": True, "retryAfterMs": 10_000, "maxRetries": 1},
        ),
        ("raise RetryRequested(max_retries=7)", "USER_CODE", "a retry", {"maxRetries": 7}),
        ("return object()", "USER_CODE", "returned object", {}),
        ("return {'x': float('nan')}", "USER_CODE", "nan at `$.x`", {}),
    ],
)
def test_failures_say_what_and_whose(bench, body, category, message, extra):
    target = bench.write(HEAD + f"@asset\ndef bad() -> dict:\n    {body}\n")
    with bench.worker(target) as worker:
        report = worker.dispatch("sales.bad")
        # The process goes on, whatever user code raises.
        assert worker.dispatch("sales.bad", "att_2")["outcome"] == "FAILED"
    error = report["error"]
    assert report["outcome"] == "FAILED"
    assert error["category"] == category
    assert message in error["message"]
    assert {key: error[key] for key in extra} == extra
    assert bench.marker("sales.bad") is None


def test_a_retry_that_names_no_number_leaves_it_to_the_policy(bench):
    policy = "from arco_flow import RetryPolicy\n@asset(retry=RetryPolicy(4))\n"
    target = bench.write(HEAD + policy + "def busy() -> int:\n    raise RetryRequested()\n")
    with bench.worker(target) as worker:
        error = worker.dispatch("sales.busy")["error"]
    assert error["retryable"] is True
    assert "maxRetries" not in error


def test_a_traceback_begins_in_user_code_and_names_its_classes(bench):
    target = bench.write(
        HEAD
        + """
class Mine(ValueError): ...

def helper():
    try:
        {}["x"]
    except KeyError as error:
        raise Mine("deep") from error

@asset
def bad() -> int:
    return helper()
"""
    )
    with bench.worker(target) as worker:
        error = worker.dispatch("sales.bad")["error"]
    files = [line for line in error["stackTrace"].splitlines() if line.startswith("  File")]
    assert all("sales.py" in line for line in files)
    assert "KeyError" in error["stackTrace"]
    assert error["types"][:2] == ["sales.Mine", "builtins.ValueError"]


def test_metadata_of_a_failure_is_reported(bench):
    target = bench.write(
        HEAD + "@asset\ndef bad() -> int:\n    raise Failure('no', metadata={'n': float('nan')})\n"
    )
    with bench.worker(target) as worker:
        assert worker.dispatch("sales.bad")["output"] == {"metadata": {"n": "nan"}}


def test_a_failed_blocking_check_keeps_the_version_but_fails_the_attempt(bench):
    target = bench.write(
        HEAD
        + """
@asset
def orders() -> list[int]:
    return []

@orders.check(blocking=True)
def not_empty(value):
    return CheckResult(passed=bool(value), description="there are rows")

@orders.check(blocking=True, severity="warn")
def warns(value):
    return False

@orders.check
def breaks(value):
    raise RuntimeError("oops")
"""
    )
    with bench.worker(target) as worker:
        report = worker.dispatch("sales.orders")
    assert report["outcome"] == "FAILED"
    assert report["error"]["category"] == "DATA_QUALITY"
    assert "not_empty: there are rows" in report["error"]["message"]
    assert report["output"]["materializationId"] == "att_1"
    assert [check["passed"] for check in report["checks"]] == [False, False, False]
    assert report["checks"][2]["error"] == "RuntimeError: oops"
    marker = bench.marker("sales.orders")
    assert marker["checks"] == report["checks"]
    assert any("oops" in message for message in bench.messages())


def test_an_explicit_output_is_the_attempts_value(bench):
    target = bench.write(
        HEAD
        + """
@asset
def orders(context: AssetContext) -> None:
    context.output(b"raw", io="bytes")

@asset
def both(context: AssetContext):
    context.output(1)
    return 2

@asset
def then_fails(context: AssetContext):
    context.output([1])
    raise ValueError("after")
"""
    )
    with bench.worker(target) as worker:
        report = worker.dispatch("sales.orders")
        assert (report["outcome"], report["output"]["io"]) == ("SUCCEEDED", "bytes")
        report = worker.dispatch("sales.both", "att_2")
        assert "returned a value as well" in report["error"]["message"]
        report = worker.dispatch("sales.then_fails", "att_3")
    assert report["error"]["category"] == "USER_CODE"
    assert bench.marker("sales.then_fails", "att_3") is None


def test_code_that_can_not_be_imported_fails_attempts_and_not_the_process(bench):
    target = bench.write("import nowhere_to_be_found\n")
    with bench.worker(target) as worker:
        first = worker.dispatch("sales.orders")
        second = worker.dispatch("sales.orders", "att_2")
        assert worker.process.poll() is None
    for report in (first, second):
        error = report["error"]
        assert error["category"] == "CONFIGURATION"
        assert "nowhere_to_be_found" in error["message"]
        files = [line for line in error["stackTrace"].splitlines() if line.startswith("  File")]
        assert len(files) == 1
        assert "sales.py" in files[0]


def test_an_asset_that_the_code_does_not_have_is_a_configuration_failure(bench):
    target = bench.write(HEAD + "@asset\ndef orders() -> int:\n    return 1\n")
    with bench.worker(target) as worker:
        error = worker.dispatch("sales.order")["error"]
    assert error["category"] == "CONFIGURATION"
    assert "did you mean 'sales.orders'" in error["message"]


def test_a_missing_resource_setting_is_a_configuration_failure(bench):
    target = bench.write(
        HEAD
        + """
from arco_flow.sdk.env import env
from arco_flow.sdk.resource import Resource

class Shop(Resource):
    url: str = env("SHOP_URL_THAT_IS_NOT_SET")
    def open(self):
        self.url

@asset
def orders(shop: Shop) -> int:
    return 1
"""
    )
    with bench.worker(target) as worker:
        error = worker.dispatch("sales.orders")["error"]
    assert error["category"] == "CONFIGURATION"
    assert "SHOP_URL_THAT_IS_NOT_SET" in error["message"]


def test_a_refused_claim_leaves_no_trace(bench):
    target = bench.write(
        HEAD + "@asset\ndef orders() -> int:\n    open('ran', 'w').close()\n    return 1\n"
    )
    refusal = {"error": "attempt_already_claimed", "message": "no", "state": "RUNNING"}
    bench.server.answer = lambda kind, body: (409, refusal)
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.orders"))
        assert worker.answer().status == 200
        assert "attempt_already_claimed" in worker.close()
    assert not (bench.root / "ran").exists()
    assert bench.marker("sales.orders") is None
    assert bench.server.calls.qsize() == 1


def test_a_duplicate_dispatch_is_answered_without_running(bench):
    target = bench.write(
        HEAD
        + """
@asset
def orders() -> int:
    with open("runs", "a") as runs:
        runs.write("x")
    return 1
"""
    )
    with bench.worker(target) as worker:
        worker.dispatch("sales.orders")
        worker.send(bench.envelope("sales.orders"))
        assert worker.answer().status == 200
    assert (bench.root / "runs").read_text() == "x"
    assert bench.server.calls.qsize() == 0


BLOCKED = """
@asset
def waits(context: AssetContext) -> int:
    context.progress(40, "loading")
    try:
        threading.Event().wait()
    finally:
        open("cleaned", "w").close()
    return 1
"""


def test_a_cancel_by_heartbeat_interrupts_a_blocking_call(bench):
    target = bench.write(HEAD + BLOCKED)
    bench.server.answer = cancel
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.waits", heartbeatIntervalMs=20))
        assert worker.answer().status == 200
        beat = bench.server.next("heartbeat")
        report = bench.server.next("completed")
        # The process is as good as new.
        bench.server.answer = accept
    assert (beat["progressPct"], beat["message"]) == (40, "loading")
    assert report["outcome"] == "CANCELLED"
    assert report["error"] == {"category": "CANCELLED", "message": "user_requested"}
    assert report["cancelledDuringPhase"] == "run"
    assert (bench.root / "cleaned").exists()
    assert bench.marker("sales.waits") is None


def test_a_claim_that_is_answered_by_a_cancel_does_not_run(bench):
    target = bench.write(
        HEAD + "@asset\ndef orders() -> int:\n    open('ran', 'w').close()\n    return 1\n"
    )
    bench.server.answer = lambda kind, body: (200, {"shouldCancel": kind == "started"})
    with bench.worker(target) as worker:
        assert worker.dispatch("sales.orders")["outcome"] == "CANCELLED"
    assert not (bench.root / "ran").exists()


@pytest.mark.parametrize("status", [409, 410])
def test_an_attempt_that_the_plane_no_longer_wants_stops_and_reports_nothing(bench, status):
    target = bench.write(HEAD + BLOCKED)
    gone = {"error": "task_expired", "message": "over", "state": "FAILED"}
    bench.server.answer = lambda kind, body: (
        (status, gone) if kind == "heartbeat" else accept(kind, body)
    )
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.waits", heartbeatIntervalMs=20))
        assert worker.answer().status == 200
    kinds = [bench.server.calls.get()[1] for _ in range(bench.server.calls.qsize())]
    assert kinds == ["started", "heartbeat"]


def test_an_attempt_that_swallows_its_cancel_is_cancelled_all_the_same(bench):
    target = bench.write(
        HEAD
        + """
@asset
def stubborn(context: AssetContext) -> int:
    try:
        threading.Event().wait()
    except BaseException:
        pass
    assert context.cancelled
    return 1
"""
    )
    bench.server.answer = cancel
    with bench.worker(target) as worker:
        report = worker.dispatch("sales.stubborn", heartbeatIntervalMs=20)
    assert report["outcome"] == "CANCELLED"
    assert bench.marker("sales.stubborn") is None


def test_code_that_ignores_the_cancel_grace_is_ended_with_its_process(bench):
    target = bench.write(
        HEAD
        + """
@asset
def deaf() -> int:
    print("last words", flush=True)
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
"""
    )
    bench.server.answer = cancel
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.deaf", heartbeatIntervalMs=20, cancelGraceMs=50))
        report = bench.server.next("completed")
        assert worker.process.wait(20) == 75
    assert report["outcome"] == "CANCELLED"
    assert bench.messages() == ["last words"]


def test_the_execution_time_out_is_enforced(bench):
    target = bench.write(HEAD + BLOCKED)
    with bench.worker(target) as worker:
        report = worker.dispatch("sales.waits", executionTimeoutMs=50)
    assert report["outcome"] == "FAILED"
    assert report["error"]["category"] == "TIMEOUT"
    assert "50 ms" in report["error"]["message"]


def test_an_async_asset_is_cancelled_where_it_waits(bench):
    target = bench.write(
        HEAD
        + """
import asyncio

@asset
async def waits() -> int:
    try:
        open("waiting", "w").close()
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        open("cleaned", "w").close()
        raise
"""
    )

    def cancel_once_it_waits(kind, body):
        waits = (bench.root / "waiting").exists()
        return cancel(kind, body) if waits else accept(kind, body)

    bench.server.answer = cancel_once_it_waits
    with bench.worker(target) as worker:
        assert worker.dispatch("sales.waits", heartbeatIntervalMs=20)["outcome"] == "CANCELLED"
        wait_until((bench.root / "cleaned").exists)


def test_a_report_that_the_plane_can_not_take_is_replaced_by_a_failure(bench):
    target = bench.write(HEAD + "@asset\ndef orders() -> int:\n    return 1\n")
    bench.server.answer = lambda kind, body: (
        (413, {"error": "too_large", "message": "over a limit"})
        if body.get("outcome") == "SUCCEEDED"
        else accept(kind, body)
    )
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.orders"))
        assert worker.answer().status == 200
    bench.server.next("completed")
    second = bench.server.next("completed")
    assert second["outcome"] == "FAILED"
    assert "over a limit" in second["error"]["message"]


def test_a_payload_that_can_not_be_read_fails_the_attempt(bench):
    target = bench.write(HEAD)
    with bench.worker(target) as worker:
        report = worker.dispatch("sales.orders", retryNumber="many")
    assert report["error"]["category"] == "CONFIGURATION"


def test_requests_that_are_no_dispatch(bench):
    target = bench.write(HEAD)
    with bench.worker(target, "--scope", "t/other") as worker:
        worker.send(bench.envelope("sales.orders"))
        assert worker.answer().status == 400
        worker.send(b"{", "/dispatch")
        assert worker.answer().status == 400
        worker.send(b"", "/nothing")
        assert worker.answer().status == 404
        worker.socket.sendall(b"GET /health/live HTTP/1.1\r\n\r\n")
        assert worker.answer().status == 200
        worker.socket.sendall(b"nonsense\r\n\r\n")
        assert worker.answer().status == 400
        assert worker.process.wait(20) == 0


def test_an_idle_worker_exits_at_the_end_of_its_socket_and_closes_resources(bench):
    target = bench.write(
        HEAD
        + """
from arco_flow.sdk.resource import Resource

class Shop(Resource):
    def open(self):
        pass
    def close(self):
        print("closing the shop", end="")
        open("closed", "w").close()

@asset
def orders(shop: Shop) -> int:
    return 1
"""
    )
    with bench.worker(target) as worker:
        worker.dispatch("sales.orders")
        assert "closing the shop" in worker.close()
        assert worker.process.returncode == 0
    assert (bench.root / "closed").exists()


PIPED = """
@asset
def waits() -> int:
    open("entered.fifo", "w").close()
    open("leave.fifo").close()
    return 1
"""


def enter(bench):
    """Wait until user code runs, by its named pipe."""
    with open(bench.root / "entered.fifo"):
        pass


def leave(bench):
    """Let user code go on."""
    with open(bench.root / "leave.fifo", "w"):
        pass


def make_pipes(bench):
    for name in ("entered.fifo", "leave.fifo"):
        os.mkfifo(bench.root / name)


def test_sigterm_lets_the_attempt_finish_and_sigint_is_ignored(bench):
    target = bench.write(HEAD + PIPED)
    make_pipes(bench)
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.waits"))
        enter(bench)
        worker.process.send_signal(signal.SIGINT)
        worker.process.send_signal(signal.SIGTERM)
        leave(bench)
        assert bench.server.next("completed")["outcome"] == "SUCCEEDED"
        assert worker.process.wait(20) == 0


def test_sigterm_ends_an_idle_worker(bench):
    target = bench.write(HEAD)
    with bench.worker(target) as worker:
        worker.socket.sendall(b"GET /health/live HTTP/1.1\r\n\r\n")
        assert worker.answer().status == 200
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(20) == 0


def test_an_attempt_whose_plane_dies_is_stopped_and_not_reported(bench):
    target = bench.write(HEAD + BLOCKED)
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.waits", heartbeatIntervalMs=20))
        bench.server.next("heartbeat")
        worker.socket.close()
        assert worker.process.wait(20) == 0
    assert (bench.root / "cleaned").exists()
    assert bench.marker("sales.waits") is None
    kinds = {bench.server.calls.get()[1] for _ in range(bench.server.calls.qsize())}
    assert kinds <= {"heartbeat"}


def test_an_attempt_that_ends_while_the_plane_closes_is_reported(bench):
    target = bench.write(HEAD + PIPED)
    make_pipes(bench)
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.waits"))
        enter(bench)
        worker.socket.close()
        leave(bench)
        assert bench.server.next("completed")["outcome"] == "SUCCEEDED"
        assert worker.process.wait(20) == 0
