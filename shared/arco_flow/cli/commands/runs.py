"""`arco-flow runs`: the list of runs."""

from __future__ import annotations

import click

from arco_flow.cli.options import emit, project_options


@click.command("runs", epilog="Example: arco-flow runs --state FAILED --state TIMED_OUT --limit 5")
@click.option("--state", "states", multiple=True, help="Only runs in this state; repeatable.")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@project_options
def command(
    states: tuple[str, ...], limit: int, folder: str, workspace: str | None, as_json: bool
) -> None:
    """List runs, newest first."""
    from arco_flow.cli.project import find_project
    from arco_flow.cli.render import clock_time, counts_text, span, state_text, table
    from arco_flow.cli.session import open_session
    from arco_flow.cli.suggestions import run_command
    from arco_flow.engine.views import RunPage

    chosen = " OR ".join(f"state = {state.upper()}" for state in states)
    with open_session(find_project(folder, None, workspace)) as session:
        page = session.client.get("/runs", RunPage, pageSize=limit, filter=chosen)
        first = "" if as_json or states or page.runs else run_command(session.client)
    if as_json:
        emit(page)
        return
    rows = [
        (
            run.run_id,
            state_text(run.state),
            run.selection,
            clock_time(run.create_time),
            span(run.start_time, run.end_time),
            counts_text(run.task_counts),
        )
        for run in page.runs
    ]
    if not rows:
        click.echo(f"no runs yet\nnext: {first}" if first else "no runs")
        return
    click.echo(table(("RUN", "STATE", "SELECTION", "CREATED", "TIME", "TASKS"), rows))
    if page.next_page_token:
        click.echo(f"older ones: --limit {min(limit * 5, 1000)}")
