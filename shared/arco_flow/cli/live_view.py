"""The live view of a run on a terminal: a bar, and the tasks that are under way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from arco_flow.cli.render import COLOURS, seconds_text
from arco_flow.cli.task_report import task_note
from arco_flow.engine.views import RunView, TaskView

LIVE_TASKS: Final = 12
_NAME_WIDTH: Final = 60
_SHOWN: Final = ("RUNNING", "RETRY_WAIT", "DISPATCHED")
"""In this order: what a worker does, what will be done again, what waits for a worker."""


@contextmanager
def live_view() -> Iterator[LiveView]:
    """A view on stderr that is drawn anew, also when nothing is new but the time; gone at the
    end."""
    view = LiveView()
    with Live(view, console=Console(stderr=True), transient=True, refresh_per_second=8):
        yield view


class LiveView:
    """A bar over the run and the tasks that are under way, as rich draws them."""

    patience_seconds = 1

    def __init__(self) -> None:
        self._run: RunView | None = None

    def show(self, run: RunView) -> None:
        """The run as it is now."""
        self._run = run

    def __rich__(self) -> Group:
        return Group() if self._run is None else drawing(self._run, time.time())


def drawing(run: RunView, now: float) -> Group:
    """The run at a time (epoch seconds)."""
    over = sum(1 for task in run.tasks if task.end_time)
    head = Table.grid(padding=(0, 2))
    for width in (None, None, 30, None, None):
        head.add_column(no_wrap=True, width=width)
    head.add_row(
        run.run_id,
        Text(run.state, style=COLOURS.get(run.state, "")),
        ProgressBar(total=max(run.task_total, 1), completed=over),
        f"{over}/{run.task_total}",
        _elapsed(run.start_time or run.create_time, now),
    )
    counts = ", ".join(f"{count} {state.lower()}" for state, count in run.task_counts.items())
    return Group(head, Text(f"  {counts}"), _under_way(run, now))


def _under_way(run: RunView, now: float) -> Table:
    busy = [task for task in run.tasks if task.state in _SHOWN]
    busy.sort(key=lambda task: _SHOWN.index(task.state))
    rows = Table.grid(padding=(0, 2), expand=True)
    rows.add_column(width=0)
    # A long note may be cut, the name of its task may not.
    name = max((len(task.task) for task in busy[:LIVE_TASKS]), default=0)
    for width in (min(name, _NAME_WIDTH), 10, 4):
        rows.add_column(no_wrap=True, min_width=width)
    rows.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for task in busy[:LIVE_TASKS]:
        state = Text(task.state, style=COLOURS.get(task.state, ""))
        rows.add_row("", task.task, state, _time_of(task, now), Text(task_note(task)))
    if len(busy) > LIVE_TASKS:
        rows.add_row("", f"… and {len(busy) - LIVE_TASKS} more under way")
    return rows


def _time_of(task: TaskView, now: float) -> str:
    """How long a task runs already; nothing of those that wait."""
    return _elapsed(task.start_time, now) if task.state == "RUNNING" else ""


def _elapsed(start: str, now: float) -> str:
    if not start:
        return ""
    # Whole seconds: the digits behind them would flicker. The plane's clock may be ahead.
    seconds = max(0, int(now - datetime.fromisoformat(start).timestamp()))
    return f"{seconds}s" if seconds < 60 else seconds_text(seconds)
