"""`arco-flow assets`: what is declared and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from arco_flow.cli.options import emit, project_options

if TYPE_CHECKING:
    from arco_flow.engine.views import AssetView


@click.command("assets", epilog="Example: arco-flow assets 'group:daily and not shop.orders'")
@click.argument("selection", required=False, default="")
@project_options
def command(selection: str, folder: str, workspace: str | None, as_json: bool) -> None:
    """List the deployed assets, those of SELECTION or all, upstream first."""
    from arco_flow.cli.project import find_project
    from arco_flow.cli.render import table
    from arco_flow.cli.session import open_session
    from arco_flow.engine.views import AssetPage

    with open_session(find_project(folder, None, workspace)) as session:
        page = session.client.get("/assets", AssetPage, selection=selection)
    if as_json:
        emit(page)
        return
    rows = [_row(asset) for asset in page.assets]
    click.echo(table(("ASSET", "GROUP", "PARTITIONS", "MATERIALIZED", "LAST", "UPSTREAM"), rows))


def _row(asset: AssetView) -> tuple[str, ...]:
    from arco_flow.cli.render import clock_time

    total = 1 if asset.partition_count is None else asset.partition_count
    last = asset.last_materialization or {}
    return (
        asset.key,
        asset.group,
        asset.partitions,
        f"{asset.materialized_count}/{total}",
        clock_time(str(last.get("time", ""))),
        ", ".join(asset.upstream),
    )
