"""`arco-flow partitions`: what each partition holds, and the keys of dynamic ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from arco_flow.cli.options import emit, project_options

if TYPE_CHECKING:
    from arco_flow.engine.views import PartitionView


class DynamicKeys(msgspec.Struct, frozen=True):
    """Answer of the dynamic partitions routes."""

    name: str
    partitions: list[str]


@click.group("partitions", epilog="Example: arco-flow partitions list assets.orders")
def command() -> None:
    """List the partitions of an asset; add or delete the keys of a dynamic definition."""


@command.command("list", epilog="Example: arco-flow partitions list assets.orders --state STALE")
@click.argument("asset")
@click.option("--state", "states", multiple=True, help="MISSING, MATERIALIZED or STALE.")
@project_options
def list_partitions(
    asset: str, states: tuple[str, ...], folder: str, workspace: str | None, as_json: bool
) -> None:
    """List the partitions of ASSET and what each holds."""
    from arco_flow.cli.client import segment
    from arco_flow.cli.project import find_project
    from arco_flow.cli.render import clock_time, state_text, table
    from arco_flow.cli.session import open_session
    from arco_flow.engine.views import PartitionPage

    found: list[PartitionView] = []
    wanted = {state.upper() for state in states}
    with open_session(find_project(folder, None, workspace)) as session:
        for page in session.client.pages(f"/assets/{segment(asset)}/partitions", PartitionPage):
            found += [row for row in page.partitions if not wanted or row.state in wanted]
    if as_json:
        emit({"asset": asset, "partitions": found})
        return
    rows = [
        (
            row.partition,
            state_text(row.state),
            clock_time(row.update_time),
            str((row.output or {}).get("rowCount", "")),
            row.run_id,
        )
        for row in found
    ]
    click.echo(table(("PARTITION", "STATE", "UPDATED", "ROWS", "RUN"), rows))


@command.command("add", epilog="Example: arco-flow partitions add regions eu us")
@click.argument("definition")
@click.argument("keys", nargs=-1, required=True)
@project_options
def add_partitions(
    definition: str, keys: tuple[str, ...], folder: str, workspace: str | None, as_json: bool
) -> None:
    """Add KEYS to the dynamic partitions DEFINITION."""
    _change("add", definition, keys, folder, workspace, as_json=as_json)


@command.command("delete", epilog="Example: arco-flow partitions delete regions eu")
@click.argument("definition")
@click.argument("keys", nargs=-1, required=True)
@project_options
def delete_partitions(
    definition: str, keys: tuple[str, ...], folder: str, workspace: str | None, as_json: bool
) -> None:
    """Remove KEYS from the dynamic partitions DEFINITION; their data stays."""
    _change("delete", definition, keys, folder, workspace, as_json=as_json)


def _change(
    verb: str,
    definition: str,
    keys: tuple[str, ...],
    folder: str,
    workspace: str | None,
    *,
    as_json: bool,
) -> None:
    from arco_flow.cli.client import segment
    from arco_flow.cli.project import find_project
    from arco_flow.cli.session import open_session

    with open_session(find_project(folder, None, workspace)) as session:
        path = f"/dynamicPartitions/{segment(definition)}:{verb}"
        body = {"partitions": list(keys)}
        now = session.client.post(path, DynamicKeys, body, repeat=True)
    if as_json:
        emit(now)
        return
    click.echo(f"{definition}: {', '.join(now.partitions) or 'no keys'}")
