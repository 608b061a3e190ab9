"""Following a run: a live view on a terminal, lines on what is over elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import click

from arco_flow.cli.client import PlaneClient, segment
from arco_flow.cli.render import is_terminal, seconds_text, state_text
from arco_flow.cli.task_report import reason_text, task_note
from arco_flow.domain.run import RunState
from arco_flow.engine.views import RunView, TaskView

SUMMARY_SECONDS: Final = 5
"""Silence after which a line says how far the run is."""
EARLY_SECONDS: Final = 0.5
"""An answer that tells nothing new and comes sooner was not waited for."""
CROWDED_PAUSE_SECONDS: Final = 1.0
"""Then: the plane has as many that wait as it can, and would be asked without end."""
_ENDS: Final = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED"})
_TOLD: Final = _ENDS | {"RETRY_WAIT"}


class Observer(Protocol):
    """Is shown a run whenever it has changed, and after `patience_seconds` when it has not."""

    patience_seconds: int

    def show(self, run: RunView) -> None:
        """The run as it is now."""
        ...


def follow_run(
    client: PlaneClient,
    run_id: str,
    observer: Observer,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> RunView:
    """Wait until the run is over, showing each change; answers its last state."""
    path = f"/runs/{segment(run_id)}"
    run = client.get(path, RunView)
    while True:
        observer.show(run)
        if RunState(run.state).is_terminal:
            return run
        asked, seen = clock(), run.version
        run = client.get(path, RunView, wait=f"{observer.patience_seconds}s")
        if run.version == seen and clock() - asked < EARLY_SECONDS:
            pause(CROWDED_PAUSE_SECONDS)


@contextmanager
def observer(*, quiet: bool) -> Iterator[Observer]:
    """What fits the surroundings: nothing, a live view, or lines on stderr."""
    if quiet:
        yield _Silent()
    elif is_terminal() and _has_rich():
        from arco_flow.cli.live_view import live_view

        with live_view() as view:
            yield view
    else:
        yield Lines()


class _Silent:
    patience_seconds = 20

    def show(self, run: RunView) -> None:
        """Programs read the result."""


class Lines:
    """Prints what is over since the last look, and a summary when that was long ago."""

    patience_seconds = SUMMARY_SECONDS

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, int]] = {}
        self._state = ""
        self._begun = self._spoken = clock()

    def show(self, run: RunView) -> None:
        """One line per task that ended or is tried again, one per cause of those never begun."""
        never_begun: Counter[tuple[str, str]] = Counter()
        for task in run.tasks:
            if self._is_news(task) and task.state in _ENDS and not task.attempt:
                never_begun[task.state, task.reason] += 1
            elif self._is_news(task) and task.state in _TOLD:
                self._say(f"  {_ending(task)}")
            self._seen[task.task] = (task.state, task.attempt)
        for (state, reason), count in never_begun.items():
            tasks = f"{count} task{'s' if count != 1 else ''}"
            self._say(f"  {state_text(state)} {tasks}: {reason_text(reason)}")
        if run.state != self._state:
            self._state = run.state
            self._say(f"run {run.run_id} {state_text(run.state)}")
        elif self._clock() - self._spoken >= SUMMARY_SECONDS:
            self._say(f"  … {summary(run)} after {seconds_text(self._clock() - self._begun)}")

    def _is_news(self, task: TaskView) -> bool:
        return self._seen.get(task.task) != (task.state, task.attempt)

    def _say(self, line: str) -> None:
        self._spoken = self._clock()
        click.echo(line, err=True)


def summary(run: RunView) -> str:
    """`12 of 96 tasks are over, 3 running, 1 retrying`."""
    over = sum(1 for task in run.tasks if task.end_time)
    counts = {"running": "RUNNING", "retrying": "RETRY_WAIT", "waiting for a worker": "DISPATCHED"}
    rest = [f"{run.task_counts[s]} {word}" for word, s in counts.items() if s in run.task_counts]
    return ", ".join([f"{over} of {run.task_total} tasks are over", *rest])


def _ending(task: TaskView) -> str:
    is_over = task.state in _ENDS
    retry = f" (try {task.attempt})" if task.attempt > 1 and is_over else ""
    note = task_note(task)
    return f"{state_text(task.state)} {task.task}{retry}{f': {note}' if note else ''}"


def _has_rich() -> bool:
    from importlib.util import find_spec

    return find_spec("rich") is not None
