"""`arco-flow logs`: what a run's tasks wrote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from arco_flow.cli.options import emit, emit_line, note, project_options

if TYPE_CHECKING:
    from arco_flow.cli.client import PlaneClient
    from arco_flow.engine.views import LogLine

FIRST_PAUSE_SECONDS = 0.25
LAST_PAUSE_SECONDS = 2.0
"""Between looks at a run that writes nothing."""


@click.command("logs", epilog="Example: arco-flow logs --task 'assets.orders[2026-01-01]'")
@click.argument("run", required=False)
@click.option("--task", default="", help="One task, such as shop.orders[2026-01-31].")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@project_options
def command(
    run: str | None, task: str, follow: bool, folder: str, workspace: str | None, as_json: bool
) -> None:
    """Print stdout, stderr and log lines of RUN (by default the newest one).

    An attempt that failed ends with its exception and the stack trace. With --json and --follow
    there is one line of JSON per line of log.
    """
    from arco_flow.cli.main import EXIT_INTERRUPTED
    from arco_flow.cli.project import find_project
    from arco_flow.cli.runs import newest_run
    from arco_flow.cli.session import open_session

    with open_session(find_project(folder, None, workspace), deliver=follow) as session:
        run_id = run or newest_run(session.client)
        lines = _lines(session.client, run_id, task, follow=follow)
        try:
            if as_json and not follow:
                emit({"lines": list(lines)})
            elif as_json:
                for line in lines:
                    emit_line(line)
            elif not _print(lines, _retried(session.client, run_id), one_task=bool(task)):
                note(f"{task or run_id} has written nothing; see: arco-flow status {run_id}")
        except KeyboardInterrupt:
            raise SystemExit(EXIT_INTERRUPTED) from None


def _lines(client: PlaneClient, run_id: str, task: str, *, follow: bool) -> Iterator[LogLine]:
    """Every line there is; while the run goes on also those to come, when followed."""
    import time

    from arco_flow.cli.client import segment
    from arco_flow.engine.views import LogPage

    token, pause = "", FIRST_PAUSE_SECONDS
    while True:
        page = client.get(f"/runs/{segment(run_id)}/logs", LogPage, task=task, pageToken=token)
        yield from page.lines
        token = page.next_page_token
        if page.complete or (not page.lines and not follow):
            return
        if page.lines:
            pause = FIRST_PAUSE_SECONDS
            continue
        # Workers write lines to storage past the plane, which therefore has nothing to wait on.
        time.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE_SECONDS)


def _retried(client: PlaneClient, run_id: str) -> frozenset[str]:
    """Tasks with more than one attempt by now."""
    from arco_flow.cli.client import segment
    from arco_flow.engine.views import RunView

    run = client.get(f"/runs/{segment(run_id)}", RunView)
    return frozenset(task.task for task in run.tasks if task.attempt > 1)


def _print(lines: Iterator[LogLine], retried: frozenset[str], *, one_task: bool) -> bool:
    """Show lines as they come, each with its task, and its attempt when there are several."""
    shown = False
    for line in lines:
        shown = True
        several = line.attempt > 1 or line.task in retried
        who = "" if one_task else line.task
        who += f"{' ' if who else ''}try {line.attempt}" if several else ""
        mark = click.style(f"{who} | ", dim=True) if who else ""
        level = f"{line.level} " if line.level and line.stream == "log" else ""
        bad = line.level in ("ERROR", "CRITICAL") or line.stream == "stderr"
        for text in f"{level}{line.message}".split("\n"):
            click.echo(f"{mark}{click.style(text, fg='red' if bad else None)}")
    return shown
