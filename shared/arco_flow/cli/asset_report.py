"""All that is known of one asset, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from arco_flow.cli.render import clock_time
from arco_flow.engine.views import AssetView


def asset_lines(asset: AssetView) -> list[str]:
    """Its key and description, a line per property that it has, and the next command."""
    found = {
        "kind": ", ".join([asset.kind, *asset.kinds]),
        "group": asset.group,
        "owners": ", ".join(asset.owners),
        "tags": _pairs(asset.tags),
        "metadata": _pairs(asset.metadata),
        "partitions": _partitions(asset),
        "upstream": ", ".join(asset.upstream),
        "downstream": ", ".join(asset.downstream),
        "checks": ", ".join(_check(check) for check in asset.checks),
        "code": asset.code_version,
        "materialized": materialized(asset),
        **_last(asset.last_materialization or {}),
    }
    told = {name: text for name, text in found.items() if text}
    width = max(map(len, told))
    description = [f"  {line}".rstrip() for line in asset.description.strip().splitlines()]
    rows = [f"{click.style(name.ljust(width), dim=True)}  {text}" for name, text in told.items()]
    command = "run" if asset.partition_count is None else "partitions list"
    next_step = f"next: arco-flow {command} {asset.key}"
    return [click.style(asset.key, bold=True), *description, *rows, next_step]


def materialized(asset: AssetView) -> str:
    """`3/365`: partitions that have a current version, of those that exist."""
    total = 1 if asset.partition_count is None else asset.partition_count
    return f"{asset.materialized_count}/{total}"


def _partitions(asset: AssetView) -> str:
    if asset.partition_count is None:
        return ""
    return f"{asset.partitions}, {asset.partition_count} of them"


def _check(check: dict[str, Any]) -> str:
    blocks = check.get("blocking") and check.get("severity") != "warn"
    return f"{check['name']} ({'blocks' if blocks else check.get('severity', 'error')})"


def _last(last: dict[str, Any]) -> dict[str, str]:
    """When and by which run it was made last, and what came out."""
    output: dict[str, Any] = last.get("output") or {}
    sizes = {"rows": output.get("rowCount"), "bytes": output.get("byteSize")}
    return {
        "last": clock_time(str(last.get("time", ""))),
        "run": str(last.get("runId", "")),
        "output": ", ".join(f"{size} {unit}" for unit, size in sizes.items() if size is not None),
    }


def _pairs(pairs: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in pairs.items())


def _value(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
