"""`arco-flow events`: a run's ledger."""

from __future__ import annotations

import click

from arco_flow.cli.options import emit, project_options


@click.command("events", epilog="Example: arco-flow events run_4k2j… --json | jq '.events[].event'")
@click.argument("run", required=False)
@project_options
def command(run: str | None, folder: str, workspace: str | None, as_json: bool) -> None:
    """Print the ledger of RUN (by default the newest one) in causal order.

    Each line is a fact with what was made of it: applied, or ignored with a reason.
    """
    from arco_flow.cli.client import segment
    from arco_flow.cli.project import find_project
    from arco_flow.cli.render import clock_time, table
    from arco_flow.cli.runs import newest_run
    from arco_flow.cli.session import open_session
    from arco_flow.engine.views import EventPage, EventView

    found: list[EventView] = []
    with open_session(find_project(folder, None, workspace)) as session:
        run_id = run or newest_run(session.client)
        token, more = "", True
        while more:
            path = f"/runs/{segment(run_id)}/events"
            page = session.client.get(path, EventPage, pageSize=1000, pageToken=token)
            found += page.events
            token = page.next_page_token
            more = bool(token)
    if as_json:
        emit({"runId": run_id, "events": found})
        return
    rows = [
        (
            f"{line.version}.{line.index}",
            clock_time(line.event["time"]),
            line.event["type"],
            str((line.event.get("data") or {}).get("task", "")),
            line.disposition + (f": {line.reason}" if line.reason else ""),
        )
        for line in found
    ]
    click.echo(table(("PLACE", "TIME", "TYPE", "TASK", "DISPOSITION"), rows))
