"""Deploy a manifest: validate, store, compare, make it current."""

from __future__ import annotations

from collections.abc import Mapping

from arco_flow.domain.asset import decode_materialization
from arco_flow.domain.deployment import Deployment, ManifestDiff, diff_manifests, makes_stale
from arco_flow.domain.events import Event, ManifestDeployed
from arco_flow.domain.ids import Scope, asset_entity, deployment_entity, manifest_path
from arco_flow.domain.manifest import Manifest, manifest_bytes, manifest_id_of, parse_manifest
from arco_flow.engine.context import Engine
from arco_flow.engine.deployed import last_deployment, load_deployment
from arco_flow.engine.mailbox import fold_all, record
from arco_flow.engine.objects import load_manifest, put_immutable
from arco_flow.engine.partitions import check_dimensions
from arco_flow.engine.present import stamp
from arco_flow.engine.views import DeployOutcome


async def deploy(
    engine: Engine,
    scope: Scope,
    raw_manifest: bytes,
    *,
    location: Mapping[str, str],
    actor: str,
    dry_run: bool = False,
) -> DeployOutcome:
    """Make a manifest the workspace's current one, unless `dry_run`.

    location: where this plane's own workers import the code from; not part of the manifest.
    Everything is validated before anything is stored. Raises InvalidInput, TooLarge; what its own
    validation can not find are registered keys that could not be named any more.
    """
    manifest = parse_manifest(raw_manifest)
    manifest_id = manifest_id_of(manifest)
    before = await last_deployment(engine, scope)
    old = await load_manifest(engine, scope, before.manifest_id) if before.number else None
    diff = diff_manifests(old, manifest)
    stale = await _stale_partitions(engine, scope, manifest, diff)
    if before.manifest_id != manifest_id:
        await check_dimensions(engine, scope, manifest)
    unchanged = before.manifest_id == manifest_id and before.location == dict(location)
    now = before
    if not dry_run and not unchanged:
        await put_immutable(engine, manifest_path(scope, manifest_id), manifest_bytes(manifest))
        data = ManifestDeployed(
            manifest_id=manifest_id,
            code_version_id=manifest.code_version_id,
            asset_count=len(manifest.assets),
            location=dict(location),
        )
        now = await _make_current(engine, scope, data, actor)
    return DeployOutcome(
        manifest_id=manifest_id,
        code_version_id=manifest.code_version_id,
        deployment=now.number,
        dry_run=dry_run,
        unchanged=unchanged,
        asset_count=len(manifest.assets),
        added=list(diff.added),
        changed={key: list(aspects) for key, aspects in diff.changed.items()},
        removed=list(diff.removed),
        stale_partitions=stale,
        create_time=stamp(now.deployed_ms),
    )


async def _make_current(
    engine: Engine, scope: Scope, data: ManifestDeployed, actor: str
) -> Deployment:
    entity = deployment_entity(scope)
    now_ms = await engine.store.now_ms()
    # Ids of deployments are fresh: going back to an older manifest is a deployment too.
    event_id = f"deploy:{engine.clock.new_id()}"
    await record(engine, entity, Event(event_id, now_ms, str(entity), data, actor))
    await fold_all(engine, entity)
    return await load_deployment(engine, scope)


async def _stale_partitions(
    engine: Engine, scope: Scope, manifest: Manifest, diff: ManifestDiff
) -> dict[str, int]:
    """Materialized partitions of changed assets that other code made."""
    found: dict[str, int] = {}
    specs = manifest.by_key()
    for key, aspects in diff.changed.items():
        if not makes_stale(aspects):
            continue
        code_version = specs[key].code_version
        structural = any(aspect != "code" for aspect in aspects if makes_stale((aspect,)))
        count = await _made_by_other_code(engine, scope, key, "" if structural else code_version)
        if count:
            found[key] = count
    return found


async def _made_by_other_code(engine: Engine, scope: Scope, key: str, code_version: str) -> int:
    entity, after, count = str(asset_entity(scope, key)), "", 0
    while rows := await engine.store.rows(entity, after=after):
        made = (decode_materialization(raw).code_version for raw in rows.values())
        count += sum(version != code_version for version in made)
        after = next(reversed(rows))
    return count
