"""The tests that the product was asked for by name: the whole stack, no mocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from arco_flow.domain.envelope import CompletedRequest
from e2e.harness import ATTEMPTS, Kind, running_plane, write_module

ABC = """
    from arco_flow import asset

    @asset(namespace="t")
    def a() -> int:
        print("hello from a")
        return 1

    @asset(namespace="t")
    def b(a: int) -> int:
        return a + 1

    @asset(namespace="t")
    def c(b: int) -> int:
        return b + 1
"""


def test_m1_e2e_smoke(tmp_path: Path) -> None:
    """Deploy, run one asset by an explicit selection, twice by one key, and read its logs."""
    write_module(tmp_path, "shop", ABC)
    with running_plane(tmp_path) as plane:
        deployed = json.loads(plane.cli("deploy", "shop.py", "--json").stdout)
        assert deployed["manifestId"].startswith("sha256:")
        first = json.loads(plane.cli("run", "t.a", "--no-wait", "--json").stdout)
        assert plane.wait(first["runId"]).state == "SUCCEEDED"
        status = json.loads(plane.cli("status", first["runId"], "--json").stdout)
        assert status["state"] == "SUCCEEDED"
        assert [t.task for t in plane.plan(first["runId"]).tasks] == ["t.a"]

        keyed = ["run", "t.a", "--run-key", "test-idempotency-key", "--no-wait", "--json"]
        once = json.loads(plane.cli(*keyed).stdout)
        twice = json.loads(plane.cli(*keyed).stdout)
        assert once["runId"] == twice["runId"]
        assert (once["created"], twice["created"]) == (True, False)
        plane.wait(once["runId"])

        assert "hello from a" in plane.cli("logs", first["runId"]).stdout
        for run_id in (first["runId"], once["runId"]):
            named = {e["data"].get("task") for e in plane.events(run_id)}
            assert not named & {"t.b", "t.c"}, "neither b nor c entered any state"
        assert plane.promoted("t.a")
        assert plane.pointer("t.b") is None
        assert plane.pointer("t.c") is None


def test_deploy_run_observe_e2e(tmp_path: Path) -> None:
    """deploy, run, status, logs: the output stands in the object store with its content."""
    write_module(
        tmp_path,
        "shop",
        """
        from arco_flow import asset

        @asset(namespace="t")
        def test_asset() -> dict[str, int]:
            print("known line of output")
            return {"answer": 42}
        """,
    )
    with running_plane(tmp_path) as plane:
        deployed = json.loads(plane.cli("deploy", "shop.py", "--json").stdout)
        run = json.loads(plane.cli("run", "t.test_asset", "--no-wait", "--json").stdout)
        assert run["state"] == "RUNNING"
        done = plane.wait(run["runId"])
        assert done.state == "SUCCEEDED"
        assert done.manifest_id == deployed["manifestId"]
        assert "known line of output" in plane.cli("logs", run["runId"]).stdout
        pointer = plane.promoted("t.test_asset")
        assert pointer is not None
        assert pointer["runId"] == run["runId"]
        marker = plane.objects.get(pointer["version"] + "_commit")
        assert marker is not None
        name = json.loads(marker.data)["files"][0]["name"]
        stored = plane.objects.get(pointer["version"] + name)
        assert stored is not None
        assert json.loads(stored.data) == {"answer": 42}


def test_upstream_failure_skips_downstream(tmp_path: Path) -> None:
    """A fails: B and C are skipped, name A, and never ran; the run is FAILED."""
    write_module(
        tmp_path,
        "shop",
        """
        from arco_flow import asset

        @asset(namespace="t")
        def a() -> int:
            raise ValueError("no luck today")

        @asset(namespace="t")
        def b(a: int) -> int:
            return a

        @asset(namespace="t")
        def c(b: int) -> int:
            return b
        """,
    )
    with running_plane(tmp_path) as plane:
        plane.deploy(tmp_path / "shop.py")
        run = plane.wait(plane.request("*").run_id)
        assert run.state == "FAILED"
        tasks = {t.task: t for t in run.tasks}
        assert tasks["t.a"].state == "FAILED"
        assert tasks["t.a"].error is not None
        assert tasks["t.a"].error["message"] == "ValueError: no luck today"
        for name in ("t.b", "t.c"):
            assert tasks[name].state == "SKIPPED"
            assert tasks[name].reason == "upstream_failed: t.a"
        entered = {
            (e["data"]["task"], e["data"]["after"])
            for e in plane.events(run.run_id)
            if e["type"] == "TaskStateChanged"
        }
        assert ("t.b", "RUNNING") not in entered
        assert ("t.c", "RUNNING") not in entered


ZOMBIE = """
    import os, pathlib, signal
    from arco_flow import AssetContext, RetryPolicy, asset

    @asset(namespace="t", heartbeat_timeout="5s", retry=RetryPolicy(max_retries=1))
    def a(context: AssetContext) -> int:
        if context.attempt == 1:
            pathlib.Path({marker!r}).write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        return context.attempt
"""


@pytest.mark.slow
def test_zombie_detection_and_recovery(tmp_path: Path) -> None:
    """A worker that stops dead is found by its missing heartbeat within a second of the
    time-out, real clock, and its task is retried on another worker."""
    marker = tmp_path / "stopped"
    write_module(tmp_path, "shop", ZOMBIE.format(marker=str(marker)))
    with running_plane(tmp_path) as plane:
        plane.deploy(tmp_path / "shop.py")
        run = plane.wait(plane.request("t.a").run_id)
        assert run.state == "SUCCEEDED"
        assert run.tasks[0].attempt == 2
        events = plane.events(run.run_id)
        heard = max(
            e["time"]
            for e in events
            if e["type"] in ("TaskHeartbeat", "TaskStarted") and e["data"]["attempt"] == 1
        )
        lost = next(e for e in events if "zombie" in e["data"].get("reason", ""))
        silence = _seconds(lost["time"]) - _seconds(heard)
        assert 5 <= silence <= 5 + plane.timer_slack_seconds, silence
        # It is killed by a task of its own, which may come after the end of the run.
        pid = int(marker.read_text())
        _until(lambda: _is_gone(pid), bool)


def test_duplicate_callback_idempotency(tmp_path: Path) -> None:
    """The same completion twice: one transition, one materialization, the second recorded."""
    write_module(tmp_path, "shop", ABC)
    with running_plane(tmp_path) as plane:
        plane.deploy(tmp_path / "shop.py")
        run = plane.wait(plane.request("t.a").run_id)
        assert run.state == "SUCCEEDED"
        finished = next(e for e in plane.events(run.run_id) if e["type"] == "TaskFinished")["data"]
        body = CompletedRequest(
            attempt=1,
            attempt_id=finished["attemptId"],
            worker_id=finished["workerId"],
            outcome="SUCCEEDED",
            output=finished["output"],
            checks=finished.get("checks"),
        )
        attempt = plane.attempt(run.run_id, "t.a")
        token, path = attempt.token, f"/v1/tasks/{attempt.task_id}/completed"
        for _ in range(2):
            status, answer = _post(plane.plane.callback_url, path, token, body)
            assert status == 200
            assert answer["finalState"] == "SUCCEEDED"
        other = msgspec.structs.replace(body, output={"rowCount": 999})
        status, answer = _post(plane.plane.callback_url, path, token, other)
        assert status == 409
        events = _until(
            lambda: plane.events(run.run_id),
            lambda found: any(e["type"] == "CallbackDuplicated" for e in found),
        )
        duplicates = [e for e in events if e["type"] == "CallbackDuplicated"]
        assert {(e["disposition"], e["reason"]) for e in duplicates} == {("ignored", "duplicate")}
        succeeded = [e for e in events if e["data"].get("after") == "SUCCEEDED"]
        assert len([e for e in succeeded if e["type"] == "TaskStateChanged"]) == 1
        assert len(plane.committed_versions("t.a")) == 1
        pointer = plane.promoted("t.a")
        assert pointer is not None
        assert pointer["promotion"] == 1


def test_plan_fingerprint_stability(tmp_path: Path) -> None:
    """The same manifest and snapshot give one fingerprint, in three processes."""
    write_module(tmp_path, "shop", ABC)
    script = """
import sys
from arco_flow.domain.ids import Scope
from arco_flow.domain.manifest import manifest_id_of
from arco_flow.domain.partition_base import PartitionContext
from arco_flow.domain.plan import plan_bytes, plan_id_of
from arco_flow.domain.planner import complete_plan, draft_plan
from arco_flow.domain.targets import PartitionRequest
from arco_flow.sdk.discovery import load_definitions
manifest = load_definitions(sys.argv[1]).manifest()
draft = draft_plan(manifest, "*", PartitionRequest(), PartitionContext(int(sys.argv[2])))
plan = complete_plan(draft, manifest, manifest_id_of(manifest), Scope("acme", "main"), {})
print(plan_id_of(plan_bytes(plan)))
"""
    prints = set()
    for number, seed in enumerate(("0", "1", "random")):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "shop.py"), str(10**9 + number)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        prints.add(done.stdout.strip())
    assert len(prints) == 1
    assert prints.pop().startswith("sha256:")


EVERY_PLANE = True


GATED = """
    from arco_flow import asset

    VALUE = {value}

    @asset(namespace="t")
    def a() -> list[int]:
        return VALUE

    @a.check(blocking=True)
    def is_not_empty(value: list[int]) -> bool:
        return len(value) > 0
"""


def test_promotion_fencing_prevents_torn_writes(tmp_path: Path) -> None:
    """A failing gate: the staged version stays where it is, whole and inspectable, and the live
    pointer is untouched, read from storage itself."""
    path = write_module(tmp_path, "shop", GATED.format(value="[1]"))
    with running_plane(tmp_path) as plane:
        plane.deploy(path)
        assert plane.wait(plane.request("t.a").run_id).state == "SUCCEEDED"
        before = plane.promoted("t.a")
        write_module(tmp_path, "shop", GATED.format(value="[]"))
        plane.deploy(path)
        run = plane.wait(plane.request("t.a").run_id)
        assert run.state == "FAILED"
        task = run.tasks[0]
        assert task.error is not None
        assert task.error["category"] == "DATA_QUALITY"
        assert [(c["name"], c["passed"]) for c in task.checks] == [("is_not_empty", False)]
        assert plane.pointer("t.a") == before, "the live pointer did not move"
        staged = [key for key in plane.committed_versions("t.a") if task.attempt_id in key]
        assert len(staged) == 1, "the refused version is whole and can be looked at"


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def _post(url: str, path: str, token: str, body: object) -> tuple[int, dict]:
    import http.client

    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    for _ in range(ATTEMPTS[Kind.current]):
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        with closing(connection):
            connection.request("POST", path, msgspec.json.encode(body), headers)
            answer = connection.getresponse()
            found = answer.status, json.loads(answer.read())
        if answer.status != 503:
            break
    return found


def _until(read, holds, seconds: float = 20):
    """Read again until it holds; the plane works on its own, and 20 s is far beyond its sweep."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = read()
        if holds(found):
            return found
    raise AssertionError("it did not come to hold")
