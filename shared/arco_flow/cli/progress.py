"""Following a run: a live view on a terminal, a line per change elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import click

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.render import COLOURS, is_terminal, state_text, task_note
from arco_flow.domain.run import RunState
from arco_flow.engine.views import RunView

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

WAIT: Final = "20s"
LIVE_TASKS: Final = 12
_QUIET_STATES: Final = frozenset({"BLOCKED", "READY"})


class Observer(Protocol):
    """Is shown a run whenever it has changed."""

    def show(self, run: RunView) -> None:
        """The run as it is now."""
        ...


def follow_run(client: PlaneClient, run_id: str, observer: Observer) -> RunView:
    """Wait until the run is over, showing each change; answers its last state."""
    run = client.get(f"/runs/{run_id}", RunView)
    while True:
        observer.show(run)
        if RunState(run.state).is_terminal:
            return run
        run = client.get(f"/runs/{run_id}", RunView, wait=WAIT)


@contextmanager
def observer(*, quiet: bool) -> Iterator[Observer]:
    """What fits the surroundings: nothing, a live view, or lines on stderr."""
    if quiet:
        yield _Silent()
    elif is_terminal() and _has_rich():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), transient=True, refresh_per_second=8) as live:
            yield _LiveView(live)
    else:
        yield _Lines()


class _Silent:
    def show(self, run: RunView) -> None:
        """Programs read the result."""


class _Lines:
    """Prints what changed since the last look."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}
        self._state = ""

    def show(self, run: RunView) -> None:
        """One line per task whose state or attempt is new, one for the run's state."""
        for task in run.tasks:
            now = (task.state, task.attempt)
            if self._seen.get(task.task) != now and task.state not in _QUIET_STATES:
                retry = f" (try {task.attempt})" if task.attempt > 1 else ""
                remark = f": {task_note(task)}" if task_note(task) else ""
                click.echo(f"  {state_text(task.state)} {task.task}{retry}{remark}", err=True)
            self._seen[task.task] = now
        if run.state != self._state:
            self._state = run.state
            click.echo(f"run {run.run_id} {state_text(run.state)}", err=True)


class _LiveView:
    """A bar over the run and the tasks that are under way."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, run: RunView) -> None:
        """Draw the run anew."""
        self._live.update(_drawing(run))


def _drawing(run: RunView) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    over = sum(1 for task in run.tasks if task.end_time)
    head = Table.grid(padding=(0, 2))
    for width in (None, None, 30, None):
        head.add_column(no_wrap=True, width=width)
    head.add_row(
        run.run_id,
        Text(run.state, style=COLOURS.get(run.state, "")),
        ProgressBar(total=max(run.task_total, 1), completed=over),
        f"{over}/{run.task_total}",
    )
    counts = ", ".join(f"{count} {state.lower()}" for state, count in run.task_counts.items())
    rows = Table.grid(padding=(0, 2))
    busy = [task for task in run.tasks if not task.end_time and task.state not in _QUIET_STATES]
    for task in busy[:LIVE_TASKS]:
        state = Text(task.state, style=COLOURS.get(task.state, ""))
        rows.add_row("", task.task, state, Text(task_note(task)))
    if len(busy) > LIVE_TASKS:
        rows.add_row("", f"… and {len(busy) - LIVE_TASKS} more under way")
    return Group(head, Text(f"  {counts}"), rows)


def _has_rich() -> bool:
    from importlib.util import find_spec

    return find_spec("rich") is not None
