"""`arco-flow events`: a run's ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from arco_flow.cli.options import emit, project_options

if TYPE_CHECKING:
    from arco_flow.cli.client import PlaneClient
    from arco_flow.engine.views import EventView


@click.command("events", epilog="Example: arco-flow events --task 'assets.orders[2026-01-01]'")
@click.argument("run", required=False)
@click.option("--task", default="", help="One task, such as shop.orders[2026-01-31].")
@project_options
def command(run: str | None, task: str, folder: str, workspace: str | None, as_json: bool) -> None:
    """Print the ledger of RUN (by default the newest one) in causal order.

    Each line is a fact with what was made of it: applied, or ignored with a reason.
    """
    from arco_flow.cli.ledger_text import detail, disposition
    from arco_flow.cli.project import find_project
    from arco_flow.cli.render import clock_time, table
    from arco_flow.cli.runs import newest_run
    from arco_flow.cli.session import open_session

    with open_session(find_project(folder, None, workspace)) as session:
        run_id = run or newest_run(session.client)
        found = _ledger(session.client, run_id, task)
    if as_json:
        emit({"runId": run_id, "events": found})
        return
    headers = ["PLACE", "TIME", "TYPE", "TASK", "DETAIL", "DISPOSITION"]
    rows = [
        [
            f"{line.version}.{line.index}",
            clock_time(line.event["time"]),
            line.event["type"],
            _task_of(line),
            detail(line),
            disposition(line),
        ]
        for line in found
    ]
    click.echo(table(headers, rows))


def _ledger(client: PlaneClient, run_id: str, task: str) -> list[EventView]:
    """All lines, or those of one task. Raises NotFound for a task that the run does not have."""
    from arco_flow.cli.client import segment
    from arco_flow.engine.views import EventPage

    path = f"/runs/{segment(run_id)}"
    if task:
        client.get(f"{path}/tasks/{segment(task)}/attempts", dict)
    found: list[EventView] = []
    token, more = "", True
    while more:
        page = client.get(f"{path}/events", EventPage, pageSize=1000, pageToken=token)
        found += [line for line in page.events if task in ("", _task_of(line))]
        token = page.next_page_token
        more = bool(token)
    return found


def _task_of(line: EventView) -> str:
    return str((line.event.get("data") or {}).get("task", ""))
