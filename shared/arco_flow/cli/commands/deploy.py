"""`arco-flow deploy`: make the project's code current."""

from __future__ import annotations

import click

from arco_flow.cli.options import emit, project_options


@click.command("deploy", epilog="Example: arco-flow deploy shop.assets --dry-run")
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
    if as_json:
        emit(outcome)
        return
    click.echo("\n".join(outcome_lines(outcome)))
    if outcome.stale_partitions:
        click.echo("next: arco-flow assets, to see what is stale")
    elif not dry_run:
        click.echo("next: arco-flow run '*'")
