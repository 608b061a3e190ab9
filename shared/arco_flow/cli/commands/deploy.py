"""`arco-flow deploy`: make the project's code current."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from arco_flow.cli.options import emit, project_options

if TYPE_CHECKING:
    from arco_flow.cli.client import PlaneClient
    from arco_flow.engine.views import DeployOutcome


@click.command("deploy", epilog="Example: arco-flow deploy assets.py --dry-run")
@click.argument("target", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@project_options
def command(
    target: str | None, dry_run: bool, folder: str, workspace: str | None, as_json: bool
) -> None:
    """Deploy TARGET: a module, file or folder; by default what pyproject.toml names.

    New runs are planned with it; runs under way keep the code they began with.
    """
    from arco_flow.cli.deploying import load_code, outcome_lines, post_code
    from arco_flow.cli.project import find_project
    from arco_flow.cli.session import open_session

    project = find_project(folder, target, workspace)
    code = load_code(project)
    with open_session(project) as session:
        outcome = post_code(session.client, code, dry_run=dry_run)
        following = "" if as_json or dry_run else _next(session.client, outcome)
    if as_json:
        emit(outcome)
        return
    click.echo("\n".join(outcome_lines(outcome)))
    if following:
        click.echo(f"next: {following}")


def _next(client: PlaneClient, outcome: DeployOutcome) -> str:
    from arco_flow.cli.suggestions import run_command

    stale = next(iter(outcome.stale_partitions), None)
    return f"arco-flow partitions list {stale} --state STALE" if stale else run_command(client)
