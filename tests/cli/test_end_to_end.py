"""The whole loop by the command line: deploy, run, observe; embedded, and with `dev` running."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runner import COMMAND, Dev, answer, environment, run

ASSETS = """\
import time
from pathlib import Path

from arco_flow import AssetContext, DynamicPartitions, PartitionKey, RetryPolicy, asset

GATE = Path(__file__).with_name("gate")


@asset
def a() -> int:
    print("hello from a")
    return 1


@asset(owners=["team:shop"], tags={"tier": "1"})
def b(a: int) -> int:
    '''What a is, and one more.'''
    return a + 1


@b.check(blocking=True)
def is_two(b: int) -> bool:
    return b >= 2


@b.check(severity="warn")
def is_small(b: int) -> bool:
    return b < 10


@asset
def c(b: int) -> int:
    return b + 1


@asset(retry=RetryPolicy(1))
def broken(context: AssetContext) -> int:
    print("asking the source")
    raise ValueError(f"the source is away ({context.attempt})")


@asset
def held(context: AssetContext) -> int:
    context.progress(7, "holding")
    GATE.write_text("held")
    while True:
        time.sleep(0.02)


@asset(partitions=DynamicPartitions("regions"))
def by_region(region: PartitionKey) -> str:
    return str(region)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(ASSETS)
    (tmp_path / "pyproject.toml").write_text('[tool.arco-flow]\ntarget = "shop.py"\n')
    return tmp_path


PROMPT_SECONDS = 4
"""Less than the grace that a plane gives its attempts."""


class Gate:
    """Tells when user code is in shop.held, without polling."""

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / "gate")
        self._end = os.open(folder / "gate", os.O_RDONLY | os.O_NONBLOCK)

    def wait(self) -> None:
        try:
            assert select.select([self._end], [], [], 20)[0], "user code is not reached"
        finally:
            os.close(self._end)


class HeldRun:
    """A command that runs shop.held in a session of its own, once user code holds a worker."""

    def __init__(self, folder: Path) -> None:
        gate = Gate(folder)
        self.process = subprocess.Popen(
            [*COMMAND, "run", "shop.held"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        gate.wait()

    def end(self, number: int) -> tuple[str, str]:
        """Send a signal to the command alone; what it wrote on both streams."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=PROMPT_SECONDS)


@pytest.fixture
def dev(project: Path) -> Iterator[Dev]:
    with Dev(project, "--port", "0", "--workers", "2") as running:
        yield running


def test_m1_smoke_embedded(project: Path) -> None:
    deployed = answer(project, "deploy", "--workspace=test")
    assert deployed["manifestId"].startswith("sha256:")
    first = answer(project, "run", "shop.a", "--workspace=test")
    assert first["state"] == "SUCCEEDED"
    assert answer(project, "status", first["runId"], "--workspace=test")["state"] == "SUCCEEDED"
    keyed = ["run", "shop.a", "--run-key", "test-idempotency-key", "--workspace=test"]
    assert answer(project, *keyed)["runId"] == answer(project, *keyed)["runId"]
    logs = run(project, "logs", first["runId"], "--workspace=test")
    assert "hello from a" in logs.stdout
    assets = answer(project, "assets", "--workspace=test")["assets"]
    assert {row["key"]: row["materializedCount"] for row in assets} == {
        "shop.a": 1,
        "shop.b": 0,
        "shop.c": 0,
        "shop.broken": 0,
        "shop.held": 0,
        "shop.by_region": 0,
    }
    events = answer(project, "events", first["runId"], "--workspace=test")["events"]
    touched = {line["event"]["data"].get("task", "") for line in events}
    assert touched <= {"", "shop.a"}
    assert not (project / ".arco-flow" / "plane.json").exists(), "withdrawn with the command"


def test_run_for_people_shows_progress_a_table_and_the_next_step(project: Path) -> None:
    done = run(project, "run", "+shop.c")
    assert "the code has changed: deployed 6 assets (6 added)" in done.stderr
    assert "SUCCEEDED shop.c" in done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert ["shop.a", "SUCCEEDED"] in rows
    assert ["shop.c", "SUCCEEDED"] in rows
    assert done.stdout.splitlines()[-1] == "next: arco-flow assets"
    assert "\x1b" not in done.stdout + done.stderr
    again = run(project, "run", "shop.a")
    assert "deployed" not in again.stderr, "nothing has changed"


def test_a_run_that_fails_is_exit_code_1_and_says_why(project: Path) -> None:
    done = run(project, "run", "shop.broken", code=1)
    told = done.stdout.splitlines()
    run_id = answer(project, "status")["runId"]
    assert told[2:5] == [
        "FAILED shop.broken (try 2): USER_CODE",
        "  ValueError: the source is away (2)",
        "  at shop.py:39 in broken",
    ]
    assert told[6] == "  try 1: ValueError: the source is away (1)"
    assert told[-1] == f"next: arco-flow logs {run_id} --task shop.broken"
    assert answer(project, "status")["state"] == "FAILED"
    failed = answer(project, "runs", "--state", "failed")["runs"]
    assert len(failed) == 1
    assert run(project, "status", "--watch", code=1).stdout.splitlines()[2:5] == told[2:5]


def test_the_log_of_a_failed_run_holds_each_attempt_with_its_exception(project: Path) -> None:
    run(project, "run", "shop.broken or shop.a", code=1)
    lines = run(project, "logs").stdout.splitlines()
    assert "shop.a | hello from a" in lines
    broken = [line for line in lines if line.startswith("shop.broken")]
    assert broken[0] == "shop.broken try 1 | asking the source"
    assert broken[1] == "shop.broken try 1 | Traceback (most recent call last):"
    assert "shop.broken try 2 | asking the source" in broken
    assert broken[-1] == "shop.broken try 2 | ValueError: the source is away (2)"
    alone = run(project, "logs", "--task", "shop.broken").stdout.splitlines()
    assert alone[0] == "try 1 | asking the source"
    nothing = run(project, "logs", "--task", "shop.a")
    assert nothing.stdout == "hello from a\n"


def test_the_progress_of_a_task_is_seen_while_it_runs(project: Path) -> None:
    held = HeldRun(project)
    (task,) = answer(project, "status")["tasks"]
    while task["progressPct"] is None:
        assert task["state"] == "RUNNING"
        (task,) = answer(project, "status")["tasks"]
    assert (task["progressPct"], task["message"]) == (7, "holding")
    held.end(signal.SIGTERM)


def test_a_dry_run_shows_the_plan_and_runs_nothing(project: Path) -> None:
    plan = answer(project, "run", "+shop.b", "--dry-run")
    assert [task["task"] for task in plan["tasks"]] == ["shop.a", "shop.b"]
    assert answer(project, "runs")["runs"] == []


def test_refusals_name_the_nearest_and_the_way_out(project: Path) -> None:
    done = run(project, "run", "shop.aa", code=1)
    assert "did you mean" in done.stderr
    assert run(project, "run", "shop.by_region", code=1).stderr.count("fix:") == 1


def test_interrupting_stops_the_watching_and_says_how_to_end_the_run(project: Path) -> None:
    held = HeldRun(project)
    # Another terminal finds the plane of this command, and sees its run.
    seen = answer(project, "status")
    assert seen["state"] == "RUNNING"
    _, told = held.end(signal.SIGINT)
    assert held.process.returncode == 130
    assert f"arco-flow cancel {seen['runId']}" in told
    for look in (["status"], ["events"], ["assets"]):
        answer(project, *look)
    assert answer(project, "status")["state"] == "RUNNING", "looking at a run does not move it"
    cancelled = answer(project, "cancel", seen["runId"], "--reason", "enough")
    assert cancelled["state"] in ("CANCELLING", "CANCELLED")


def test_a_command_that_is_terminated_leaves_no_process_behind(project: Path) -> None:
    held = HeldRun(project)
    held.end(signal.SIGTERM)
    assert held.process.returncode == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.killpg(held.process.pid, 0)
    assert not (project / ".arco-flow" / "plane.json").exists()


def test_a_second_signal_ends_a_plane_whose_tasks_are_busy_at_once(dev: Dev, project: Path) -> None:
    dev.next("ready")
    dev.next("deployed")
    gate = Gate(project)
    answer(project, "run", "shop.held")
    gate.wait()
    dev.process.send_signal(signal.SIGINT)
    dev.next("stopping")
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(timeout=PROMPT_SECONDS) == 0
    assert answer(project, "status")["state"] == "RUNNING", "it goes on with the next plane"


def test_commands_that_look_at_the_same_time_wait_for_each_other(project: Path) -> None:
    answer(project, "deploy")
    looks = [
        subprocess.Popen(
            [*COMMAND, "assets", "--json"],
            cwd=project,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for look in looks:
        out, _ = look.communicate(timeout=30)
        assert look.returncode == 0
        assert len(json.loads(out)["assets"]) == 6


def test_dev_serves_follows_the_code_and_ends_gracefully(dev: Dev, project: Path) -> None:
    ready = dev.next("ready")
    assert os.stat(ready["tokenFile"]).st_mode & 0o777 == 0o600
    assert dev.next("deployed")["outcome"]["assetCount"] == 6
    accepted = answer(project, "run", "+shop.b")
    assert accepted["created"], "with a lasting plane a run is not waited for"
    assert answer(project, "status", accepted["runId"], "--watch")["state"] == "SUCCEEDED"

    code = (project / "shop.py").read_text()
    (project / "shop.py").write_text(code + "\ndef x(:\n")
    assert "shop.py" in dev.next("broken")["problem"]
    assert len(answer(project, "assets")["assets"]) == 6, "the deployment before stays"
    (project / "shop.py").write_text(code.replace("return a + 1", "return a + 2"))
    changed = dev.next("deployed")
    assert changed["outcome"]["changed"] == {"shop.b": ["code"]}
    assert changed["outcome"]["stalePartitions"] == {"shop.b": 1}
    assert answer(project, "partitions", "list", "shop.b")["partitions"][0]["state"] == "STALE"
    assert answer(project, "run", "shop.b", "--wait")["state"] == "SUCCEEDED"

    dev.stop()
    assert not Path(ready["tokenFile"]).exists()
    assert answer(project, "status")["state"] == "SUCCEEDED", "an embedded plane takes over"


def test_dynamic_partitions_are_added_run_and_deleted(dev: Dev, project: Path) -> None:
    dev.next("ready")
    dev.next("deployed")
    added = answer(project, "partitions", "add", "regions", "eu", "us")
    assert added["partitions"] == ["eu", "us"]
    done = answer(project, "run", "shop.by_region", "--all-partitions", "--wait")
    assert done["taskTotal"] == 2
    left = answer(project, "partitions", "delete", "regions", "eu")
    assert left["partitions"] == ["us"]
    assert "did you mean" in run(project, "partitions", "add", "region", "x", code=1).stderr
    listed = run(project, "partitions", "list", "shop.by_region", "--state", "materialized")
    assert "us" in listed.stdout
    dev.stop(signal.SIGINT)


def test_a_plane_is_found_by_its_address_and_token(dev: Dev, project: Path, tmp_path: Path) -> None:
    ready = dev.next("ready")
    dev.next("deployed")
    token = json.loads(Path(ready["tokenFile"]).read_bytes())["token"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    remote = {"ARCO_FLOW_URL": ready["url"], "ARCO_FLOW_TOKEN": token}
    assert len(answer(elsewhere, "assets", **remote)["assets"]) == 6
    refused = run(elsewhere, "assets", code=1, ARCO_FLOW_URL=ready["url"])
    assert "ARCO_FLOW_TOKEN" in refused.stderr
    wrong = run(elsewhere, "assets", "--workspace", "other", code=1, **remote)
    assert "no such workspace" in wrong.stderr
    mismatch = run(project, "assets", "--workspace", "other", code=1)
    assert "serves workspace 'default'" in mismatch.stderr
    taken = run(project, "dev", "--port", ready["url"].rpartition(":")[2], code=3)
    assert "in use" in taken.stderr
    assert "in use" in run(project, "dev", "--emulated", code=3).stderr
    assert Path(ready["tokenFile"]).exists(), "the plane that has the folder can still be found"
    dev.stop()


def test_a_plane_file_of_a_plane_that_crashed_is_passed_over(dev: Dev, project: Path) -> None:
    ready = dev.next("ready")
    dev.next("deployed")
    dev.process.kill()
    dev.process.wait()
    assert Path(ready["tokenFile"]).exists()
    assert len(answer(project, "assets")["assets"]) == 6


def test_logs_are_followed_to_the_end_of_the_run(dev: Dev, project: Path) -> None:
    dev.next("ready")
    dev.next("deployed")
    accepted = answer(project, "run", "shop.a")
    followed = run(project, "logs", accepted["runId"], "--follow", "--json")
    assert [json.loads(line)["message"] for line in followed.stdout.splitlines()] == [
        "hello from a"
    ]
    one = answer(project, "logs", accepted["runId"], "--task", "shop.a")
    assert [line["task"] for line in one["lines"]] == ["shop.a"]
    dev.stop()


def test_the_ledger_tells_what_happened_in_words_and_of_one_task(project: Path) -> None:
    run(project, "run", "shop.broken or shop.a", code=1)
    shown = run(project, "events").stdout
    assert "PLACE" in shown
    assert "DISPATCHED → RUNNING" in shown
    assert "RUNNING → RETRY_WAIT: USER_CODE: ValueError: the source is away (1)" in shown
    assert "try 2 FAILED: USER_CODE: ValueError: the source is away (2) by plane-" in shown
    assert "READY → DISPATCHED (try 2)" in shown
    of_one = answer(project, "events", "--task", "shop.a")["events"]
    assert {line["event"]["data"]["task"] for line in of_one} == {"shop.a"}
    assert 3 < len(of_one) < len(answer(project, "events")["events"])
    assert "did you mean 'shop.a'" in run(project, "events", "--task", "shop.aa", code=1).stderr


def test_one_asset_in_detail(project: Path) -> None:
    run(project, "run", "+shop.b")
    shown = run(project, "assets", "shop.b").stdout.splitlines()
    told = dict(line.split(None, 1) for line in shown if len(line.split(None, 1)) == 2)
    assert shown[0] == "shop.b"
    assert shown[1] == "  What a is, and one more."
    assert told["owners"] == "team:shop"
    assert told["tags"] == "tier=1"
    assert told["upstream"] == "shop.a"
    assert told["downstream"] == "shop.c"
    assert told["checks"] == "is_two (blocks), is_small (warn)"
    assert told["materialized"] == "1/1"
    assert told["run"] == answer(project, "status")["runId"]
    assert shown[-1] == "next: arco-flow run shop.b"
    regional = run(project, "assets", "shop.by_region").stdout.splitlines()
    assert regional[-1] == "next: arco-flow partitions list shop.by_region"
    assert "ASSET" in run(project, "assets", "+shop.b").stdout, "a selection is a list"
