"""Text for people: aligned tables, states in colour, spans of time, plain when not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import click

from arco_flow.engine.views import PlanView, RunView, TaskView

MAX_ROWS: Final = 50
"""Rows of a table for people; what is left out is counted below it, and --json has all."""

COLOURS: Final = {
    "SUCCEEDED": "green",
    "MATERIALIZED": "green",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "SKIPPED": "yellow",
    "STALE": "yellow",
    "RETRY_WAIT": "yellow",
    "RUNNING": "cyan",
    "DISPATCHED": "cyan",
}
_ORDER: Final = ("FAILED", "RUNNING", "DISPATCHED", "RETRY_WAIT", "READY", "BLOCKED", "SKIPPED")


def is_terminal() -> bool:
    """Whether a person watches: stdout and stderr are terminals that can move the cursor."""
    smart = os.environ.get("TERM", "") != "dumb" and not os.environ.get("NO_COLOR")
    return smart and sys.stdout.isatty() and sys.stderr.isatty()


def state_text(state: str) -> str:
    """A state in its colour."""
    return click.style(state, fg=COLOURS.get(state))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned by their widest cell; a dash for an empty one."""
    shown = [[cell or "-" for cell in row] for row in rows[:MAX_ROWS]]
    widths = [
        max(len(click.unstyle(cell)) for cell in column)
        for column in zip(headers, *shown, strict=True)
    ]
    lines = [_line([click.style(h, bold=True) for h in headers], widths)]
    lines += [_line(row, widths) for row in shown]
    if len(rows) > MAX_ROWS:
        lines.append(f"… and {len(rows) - MAX_ROWS} more (all of them: --json)")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - len(click.unstyle(cell)))
        for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def span(start: str, end: str) -> str:
    """How long something took, from two RFC 3339 times; "" when it has not ended."""
    if not start or not end:
        return ""
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m{rest:02}s"


def clock_time(stamp: str) -> str:
    """A time as people near this machine read it, to the second; "" for ""."""
    return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M:%S}" if stamp else ""


def counts_text(counts: dict[str, int]) -> str:
    """`3 SUCCEEDED, 1 FAILED`."""
    return ", ".join(f"{count} {state_text(state)}" for state, count in counts.items())


def run_heading(run: RunView) -> str:
    """One line on a run."""
    took = span(run.start_time, run.end_time)
    parts = [run.run_id, state_text(run.state), counts_text(run.task_counts), took, run.reason]
    return "  ".join(part for part in parts if part)


def task_table(tasks: Sequence[TaskView]) -> str:
    """Tasks, those that need a look first."""
    place = {state: index for index, state in enumerate(_ORDER)}
    ordered = sorted(tasks, key=lambda task: place.get(task.state, len(place)))
    return table(
        ("TASK", "STATE", "TRY", "TIME", "ROWS", "NOTE"),
        [
            (
                task.task,
                state_text(task.state),
                str(task.attempt or ""),
                span(task.start_time, task.end_time),
                str((task.output or {}).get("rowCount", "")),
                task_note(task),
            )
            for task in ordered
        ],
    )


def task_note(task: TaskView) -> str:
    """Why a task is where it is, on one line: its error, reason or progress."""
    if task.error:
        text = str(task.error.get("message", ""))
        return next(iter(text.splitlines()), "")[:100]
    if task.reason:
        return task.reason
    if task.progress_pct is not None and not task.end_time:
        return f"{task.progress_pct} % {task.message}".rstrip()
    failed = [str(c.get("name")) for c in task.checks if c.get("passed") is False]
    return f"checks failed: {', '.join(failed)}" if failed else ""


def plan_table(plan: PlanView) -> str:
    """The tasks of a plan in order, with what each waits for."""
    rows = [(task.task, ", ".join(task.upstream)) for task in plan.tasks]
    return table(("TASK", "AFTER"), rows)
