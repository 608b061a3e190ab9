"""Views of runs and tasks, to show them without a plane."""

from __future__ import annotations

from collections import Counter
from typing import Any

from arco_flow.engine.views import FailedAttempt, RunView, TaskView

START = "2026-01-31T10:00:00.000Z"
END = "2026-01-31T10:00:02.000Z"
OVER = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED")

TRACE = """\
Traceback (most recent call last):
  File "/srv/shop/assets.py", line 12, in orders
    return parse("{")
           ^^^^^^^^^^
  File "/srv/shop/helpers.py", line 4, in parse
    return json.loads(text)
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
json.decoder.JSONDecodeError: Expecting value
"""


def a_task(name: str, state: str = "SUCCEEDED", attempt: int = 1, **more: Any) -> TaskView:
    """A task; tries: reasons of the attempts that failed before."""
    tries = more.pop("tries", [])
    began = state not in ("BLOCKED", "READY", "SKIPPED", "DISPATCHED")
    fields: dict[str, Any] = {
        "task": name,
        "asset": name,
        "partition": "",
        "state": state,
        "attempt": attempt,
        "attempt_id": "att_1",
        "reason": "",
        "start_time": START if began else "",
        "end_time": END if state in OVER else "",
        "retry_time": "",
        "progress_pct": None,
        "message": "",
        "error": None,
        "output": None,
        "checks": [],
        "upstream": [],
        "failed_attempts": [
            FailedAttempt(attempt=number, reason=reason) for number, reason in enumerate(tries, 1)
        ],
    }
    return TaskView(**{**fields, **more})


def a_failed_task(
    name: str, message: str = "ValueError: no", trace: str = "", **more: Any
) -> TaskView:
    error = {"category": "USER_CODE", "message": message, "stackTrace": trace}
    return a_task(name, "FAILED", error=error, **more)


def a_check(name: str, severity: str, *, passed: bool = False) -> dict[str, Any]:
    return {"name": name, "severity": severity, "passed": passed, "blocking": False}


def a_run(*tasks: TaskView, state: str = "RUNNING") -> RunView:
    return RunView(
        name="workspaces/default/runs/run_1",
        run_id="run_1",
        run_key="k",
        state=state,
        reason="",
        trigger="manual",
        actor="user:me",
        selection="*",
        tags={},
        plan_id="p",
        manifest_id="m",
        code_version_id="c",
        catalog_snapshot_id="s",
        task_counts=dict(Counter(task.state for task in tasks)),
        task_total=len(tasks),
        create_time=START,
        start_time=START,
        end_time="" if state in ("RUNNING", "QUEUED", "CANCELLING") else END,
        version=1,
        tasks=list(tasks),
    )
