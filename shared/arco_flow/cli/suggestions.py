"""Commands that are proposed as the next step, tried with the plane before they are."""

from __future__ import annotations

import shlex

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.failures import PlaneRefused
from arco_flow.engine.views import PlanView, RunSpec


def run_command(client: PlaneClient) -> str:
    """A command that makes everything, or as much of it as one command can name.

    Where assets are partitioned, that is the last partition of one of them, or all partitions.
    """
    refused = _refusal(client, RunSpec(selection="*"))
    if refused is None:
        return "arco-flow run '*'"
    if refused.reason == "NOTHING_DEPLOYED":
        return "arco-flow deploy"
    key, definition = (str(refused.details.get(name, "")) for name in ("partition", "definition"))
    if key and _refusal(client, RunSpec(selection="*", partitions=[key])) is None:
        return f"arco-flow run '*' -p {shlex.quote(key)}"
    if definition and not key:
        return f"arco-flow partitions add {shlex.quote(definition)} KEY"
    if _refusal(client, RunSpec(selection="*", all_partitions=True)) is None:
        return "arco-flow run '*' --all-partitions"
    return "arco-flow assets"


def _refusal(client: PlaneClient, spec: RunSpec) -> PlaneRefused | None:
    """Why the plane would not run it; None when it would."""
    try:
        client.post("/runs", PlanView, spec, repeat=True, validateOnly=True)
    except PlaneRefused as refused:
        return refused
    return None
