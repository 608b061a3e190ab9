"""What is deployed in a workspace now: its record, its manifest, how it is shown."""

from __future__ import annotations

from arco_flow.domain.deployment import Deployment, decode_deployment, decode_row, row_key
from arco_flow.domain.errors import NotFound, Unavailable
from arco_flow.domain.ids import Scope, deployment_entity
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.context import Engine
from arco_flow.engine.objects import load_manifest
from arco_flow.engine.present import stamp
from arco_flow.engine.views import DeploymentView


async def current_deployment(engine: Engine, scope: Scope) -> DeploymentView:
    """The current deployment. Raises NotFound before the first."""
    deployment = await load_deployment(engine, scope)
    manifest = await load_manifest(engine, scope, deployment.manifest_id)
    return DeploymentView(
        manifest_id=deployment.manifest_id,
        code_version_id=deployment.code_version_id,
        deployment=deployment.number,
        asset_count=deployment.asset_count,
        module=manifest.module,
        location=deployment.location,
        create_time=stamp(deployment.deployed_ms),
        revision=deployment.revision,
    )


async def load_deployment(engine: Engine, scope: Scope) -> Deployment:
    """The current deployment's record. Raises NotFound before the first."""
    deployment = await last_deployment(engine, scope)
    if not deployment.number:
        raise NotFound(
            f"nothing is deployed in workspace '{scope.workspace}'",
            fix="arco-flow deploy TARGET",
            reason="NOTHING_DEPLOYED",
        )
    return deployment


async def deployed_manifest(engine: Engine, scope: Scope) -> Manifest:
    """The current deployment's manifest. Raises NotFound before the first."""
    deployment = await load_deployment(engine, scope)
    return await load_manifest(engine, scope, deployment.manifest_id)


async def last_deployment(engine: Engine, scope: Scope) -> Deployment:
    """The current deployment's record; before the first, one whose number is 0."""
    head = await engine.store.load(str(deployment_entity(scope)))
    return decode_deployment(head.state) if head else Deployment()


async def numbered_deployment(engine: Engine, scope: Scope, number: int) -> Deployment:
    """The record of a deployment that was made; for 0, what was before the first.

    Raises Unavailable when it is there no more.
    """
    if not number:
        return Deployment()
    key = row_key(number)
    rows = await engine.store.rows(str(deployment_entity(scope)), [key])
    if key not in rows:
        raise Unavailable(
            f"the record of deployment {number} is gone",
            fix="restore it from a backup",
            reason="DAMAGED_STATE",
        )
    return decode_row(rows[key])
