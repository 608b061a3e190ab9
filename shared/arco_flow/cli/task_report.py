"""A run's tasks for people: a table, what went wrong and where, and the command that helps next."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from arco_flow.cli.render import (
    counts_text,
    is_watched,
    shortened,
    span,
    state_text,
    table,
)
from arco_flow.engine.views import RunView, TaskView

TERMINAL_ROWS: Final = 50
"""Tasks of the table on a terminal; elsewhere all are shown."""
TERMINAL_FAILURES: Final = 10
"""Tasks on a terminal whose failures are told in full."""
NOTE_CHARS: Final = 100
MESSAGE_LINES: Final = 6

_ORDER: Final = (
    "FAILED",
    "RUNNING",
    "RETRY_WAIT",
    "SKIPPED",
    "CANCELLED",
    "DISPATCHED",
    "READY",
    "BLOCKED",
)
_FRAME: Final = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
_NOT_THE_USERS: Final = re.compile(r"/(site-packages|dist-packages|lib/python3[^/]*|arco_flow)/|^<")


def run_heading(run: RunView) -> str:
    """One line on a run; with its tasks also the number of warnings."""
    counts = counts_text(run.task_counts)
    warnings = sum(len(warned_by(task)) for task in run.tasks)
    if warnings:
        word = click.style(f"warning{'s' if warnings != 1 else ''}", fg="yellow")
        counts = f"{counts}, {warnings} {word}"
    took = span(run.start_time, run.end_time)
    parts = [run.run_id, state_text(run.state), counts, took, run.reason]
    return "  ".join(part for part in parts if part)


def task_table(run: RunView) -> str:
    """The tasks of a run, those that need a look first."""
    place = {state: index for index, state in enumerate(_ORDER)}

    def weight(task: TaskView) -> int:
        return place.get(task.state, len(place) + (not task_note(task)))

    return table(
        ("TASK", "STATE", "TRY", "TIME", "ROWS", "NOTE"),
        [
            (
                task.task,
                state_text(task.state),
                str(task.attempt or ""),
                span(task.start_time, task.end_time or _now_of(task)),
                str((task.output or {}).get("rowCount", "")),
                task_note(task),
            )
            for task in sorted(run.tasks, key=weight)
        ],
        limit=TERMINAL_ROWS if is_watched() else None,
        whole=f"arco-flow status {run.run_id} | less",
        width=shutil.get_terminal_size().columns if is_watched() else None,
    )


def task_note(task: TaskView) -> str:
    """Why a task is where it is, on one line: its error, reason, progress or warnings."""
    tries = _tries(task)[-1:]
    if task.state == "FAILED":
        notes = [next(iter(_failure(task)[1].splitlines()), "")]
    elif task.state in ("RUNNING", "DISPATCHED"):
        notes = [progress_text(task), *tries]
    elif task.state == "RETRY_WAIT":
        notes = [*tries, f"next try at {_time(task.retry_time)}" if task.retry_time else ""]
    else:
        notes = [reason_text(task.reason), *_check_notes(task)]
        notes += tries
    text = "; ".join(note for note in notes if note)
    return shortened(text, NOTE_CHARS)


def reason_text(reason: str) -> str:
    """Why a task did not run, as people say it."""
    return reason.replace("upstream_failed: ", "upstream failed: ", 1)


def progress_text(task: TaskView) -> str:
    """`40 % reading`, of a task that reports it."""
    percent = f"{task.progress_pct} %" if task.progress_pct is not None else ""
    return f"{percent} {task.message}".strip()


def warned_by(task: TaskView) -> list[str]:
    """Names of the checks that warn."""
    return [str(check.get("name")) for check in _failed_checks(task) if _is_warning(check)]


def troubles(run: RunView) -> list[str]:
    """What failed, with category, message and the line of user code; the tries before."""
    found = [task for task in run.tasks if task.state == "FAILED" or _untold_tries(task)]
    found.sort(key=lambda task: task.state != "FAILED")
    limit = TERMINAL_FAILURES if is_watched() else len(found)
    lines = [line for task in found[:limit] for line in _trouble(task)]
    if len(found) > limit:
        rest = len(found) - limit
        lines.append(f"… and {rest} more (all: arco-flow status {run.run_id} | less)")
    return lines


def next_step(run: RunView) -> str:
    """The command that helps now."""
    failed = next((task.task for task in run.tasks if task.state == "FAILED"), None)
    if not run.end_time:
        return f"arco-flow status {run.run_id} --watch"
    if run.state == "SUCCEEDED":
        return "arco-flow assets"
    if failed is not None:
        return f"arco-flow logs {run.run_id} --task {shlex.quote(failed)}"
    return f"arco-flow events {run.run_id}"


def report_run(run: RunView) -> None:
    """Print the table, what went wrong, the line of the run and the next step."""
    click.echo(task_table(run))
    for line in troubles(run):
        click.echo(line)
    click.echo(run_heading(run))
    click.echo(f"next: {next_step(run)}")


def user_frame(trace: str) -> list[str]:
    """`at FILE:LINE in NAME` of the last frame of user code in a stack trace, and its source."""
    lines = trace.splitlines()
    frames = [(at, found) for at, line in enumerate(lines) if (found := _FRAME.match(line))]
    ours = [(at, found) for at, found in frames if not _NOT_THE_USERS.search(found["file"])]
    if not ours:
        return []
    at, found = ours[-1]
    name = f" in {found['name']}" if found["name"] else ""
    source = lines[at + 1].strip() if at + 1 < len(lines) else ""
    shown = [f"at {_near(found['file'])}:{found['line']}{name}"]
    return [*shown, f"  {source}"] if source and not _FRAME.match(lines[at + 1]) else shown


def _tries(task: TaskView) -> list[str]:
    return [_try_text(failed.attempt, failed.reason) for failed in task.failed_attempts]


def _untold_tries(task: TaskView) -> list[str]:
    """Earlier tries that the table's note has no room for."""
    note = task_note(task)
    return [text for text in _tries(task) if text not in note]


def _trouble(task: TaskView) -> list[str]:
    tries = _tries(task)
    if task.state != "FAILED":
        return [f"{state_text(task.state)} {task.task}", *(f"  {text}" for text in tries)]
    category, message, trace = _failure(task)
    said = message.splitlines()
    if len(said) > MESSAGE_LINES:
        said = [*said[:MESSAGE_LINES], f"… {len(said) - MESSAGE_LINES} more lines in the log"]
    head = f"{state_text(task.state)} {task.task}"
    head += f" (try {task.attempt})" if task.attempt > 1 else ""
    head += f": {category}" if category else ""
    return [head, *(f"  {line}" for line in [*said, *user_frame(trace), *tries])]


def _failure(task: TaskView) -> tuple[str, str, str]:
    """Category, message and stack trace of the attempt that failed the task."""
    error = task.error or {}
    if error.get("message"):
        category = str(error.get("category", ""))
        return category, str(error["message"]), str(error.get("stackTrace") or "")
    category, colon, message = task.reason.partition(": ")
    return (category, message, "") if colon else ("", task.reason, "")


def _try_text(attempt: int, reason: str) -> str:
    first = next(iter(reason.splitlines()), "")
    return f"try {attempt}: {first.removeprefix('USER_CODE: ')}"


def _failed_checks(task: TaskView) -> Sequence[dict[str, Any]]:
    return [check for check in task.checks if check.get("passed") is False]


def _is_warning(check: dict[str, Any]) -> bool:
    return check.get("severity") == "warn"


def _check_notes(task: TaskView) -> list[str]:
    failed = [str(c.get("name")) for c in _failed_checks(task) if not _is_warning(c)]
    notes = {"checks failed": failed, "warned": warned_by(task)}
    return [f"{what}: {', '.join(names)}" for what, names in notes.items() if names]


def _now_of(task: TaskView) -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if task.state == "RUNNING" else ""


def _time(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp).astimezone():%H:%M:%S}"


def _near(file: str) -> str:
    """The path as a person in this folder would write it."""
    here = os.getcwd() + os.sep
    return file.removeprefix(here)
