"""`arco-flow status`: one run and its tasks."""

from __future__ import annotations

import click

from arco_flow.cli.options import emit, note, project_options


@click.command("status", epilog="Example: arco-flow status --watch")
@click.argument("run", required=False)
@click.option("-w", "--watch", is_flag=True, help="Follow the run to its end.")
@project_options
def command(
    run: str | None, watch: bool, folder: str, workspace: str | None, as_json: bool
) -> None:
    """Show RUN (by default the newest one): its state, its tasks, what failed and why.

    With --watch the exit code is 1 when the run did not succeed.
    """
    from arco_flow.cli.client import segment
    from arco_flow.cli.main import EXIT_FAILED, EXIT_INTERRUPTED
    from arco_flow.cli.progress import follow_run, observer
    from arco_flow.cli.project import find_project
    from arco_flow.cli.runs import newest_run
    from arco_flow.cli.session import open_session
    from arco_flow.cli.task_report import report_run
    from arco_flow.engine.views import RunView

    with open_session(find_project(folder, None, workspace), deliver=watch) as session:
        run_id = run or newest_run(session.client)
        try:
            if watch:
                with observer(quiet=as_json) as shown:
                    found = follow_run(session.client, run_id, shown)
            else:
                found = session.client.get(f"/runs/{segment(run_id)}", RunView)
        except KeyboardInterrupt:
            note(f"the run was left alone; to end it: arco-flow cancel {run_id}")
            raise SystemExit(EXIT_INTERRUPTED) from None
    if as_json:
        emit(found)
    else:
        report_run(found)
    if watch and found.state != "SUCCEEDED":
        raise SystemExit(EXIT_FAILED)
