"""`arco-flow cancel`: end a run."""

from __future__ import annotations

import click

from arco_flow.cli.options import emit, project_options


@click.command(
    "cancel",
    epilog="Example: arco-flow run '*' --all-partitions --no-wait && arco-flow cancel",
)
@click.argument("run", required=False)
@click.option("--reason", default="", help="Kept in the run's ledger.")
@project_options
def command(
    run: str | None, reason: str, folder: str, workspace: str | None, as_json: bool
) -> None:
    """Cancel RUN (by default the newest one).

    Nothing more is dispatched, and running tasks are told to stop.
    """
    from arco_flow.cli.client import segment
    from arco_flow.cli.project import find_project
    from arco_flow.cli.runs import newest_run
    from arco_flow.cli.session import open_session
    from arco_flow.cli.task_report import next_step, run_heading
    from arco_flow.engine.views import RunView

    with open_session(find_project(folder, None, workspace), deliver=True) as session:
        path = f"/runs/{segment(run or newest_run(session.client))}:cancel"
        found = session.client.post(path, RunView, {"reason": reason}, repeat=True)
    if as_json:
        emit(found)
        return
    click.echo(run_heading(found))
    click.echo(f"next: {next_step(found)}")
