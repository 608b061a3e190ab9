"""Deployments: what code is current, and the change of it."""

from __future__ import annotations

from arco_flow.engine.deploy import deploy
from arco_flow.engine.deployed import current_deployment
from arco_flow.engine.views import DeploymentView, DeployOutcome
from arco_flow.http.arguments import flag, request_id, whole_number
from arco_flow.http.bodies import refuse_repeated_names
from arco_flow.http.routing import Call

LOCATION_PREFIX = "location."


async def create_deployment(call: Call) -> DeployOutcome:
    """Make the manifest in the body current; with `validateOnly` only say what would change.

    `arco-flow deploy` sends it. Equal manifests are one: sending it again changes nothing. Runs
    keep the manifest that they were planned with.
    """
    location = {
        name.removeprefix(LOCATION_PREFIX): value
        for name, value in call.query.items()
        if name.startswith(LOCATION_PREFIX)
    }
    refuse_repeated_names(call.request.body)
    return await deploy(
        call.engine,
        call.scope,
        call.request.body,
        location=location,
        actor=call.caller.actor,
        dry_run=flag(call.query, "validateOnly"),
        request_id=request_id(call.request, call.query),
        replaces=whole_number(call.query, "replaces"),
    )


async def get_current_deployment(call: Call) -> DeploymentView:
    """The deployment that new runs are planned with."""
    return await current_deployment(call.engine, call.scope)
