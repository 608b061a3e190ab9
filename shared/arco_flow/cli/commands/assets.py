"""`arco-flow assets`: what is declared and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from arco_flow.cli.options import emit, project_options

if TYPE_CHECKING:
    from arco_flow.engine.views import AssetView


@click.command("assets", epilog="Example: arco-flow assets '+assets.report'")
@click.argument("selection", required=False, default="")
@project_options
def command(selection: str, folder: str, workspace: str | None, as_json: bool) -> None:
    """List the deployed assets, those of SELECTION or all, upstream first.

    The key of one asset, such as shop.orders, shows all that is known of it.
    """
    from arco_flow.cli.project import find_project
    from arco_flow.cli.render import table
    from arco_flow.cli.session import open_session
    from arco_flow.engine.views import AssetPage

    with open_session(find_project(folder, None, workspace)) as session:
        pages = session.client.pages("/assets", AssetPage, selection=selection)
        assets = [asset for page in pages for asset in page.assets]
    if as_json:
        emit(AssetPage(assets=assets))
        return
    if len(assets) == 1 and assets[0].key == selection.strip():
        from arco_flow.cli.asset_report import asset_lines

        click.echo("\n".join(asset_lines(assets[0])))
        return
    rows = [_row(asset) for asset in assets]
    click.echo(table(("ASSET", "GROUP", "PARTITIONS", "MATERIALIZED", "LAST", "UPSTREAM"), rows))


def _row(asset: AssetView) -> tuple[str, ...]:
    from arco_flow.cli.asset_report import materialized
    from arco_flow.cli.render import clock_time

    last = asset.last_materialization or {}
    return (
        asset.key,
        asset.group,
        asset.partitions,
        materialized(asset),
        clock_time(str(last.get("time", ""))),
        ", ".join(asset.upstream),
    )
