"""Deploy a manifest: validate, store, compare, make it current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from arco_flow.domain.asset import decode_materialization
from arco_flow.domain.deployment import Deployment, ManifestDiff, diff_manifests, makes_stale
from arco_flow.domain.errors import Conflict
from arco_flow.domain.events import Event, ManifestDeployed
from arco_flow.domain.identifiers import validate_request_id
from arco_flow.domain.ids import (
    Scope,
    asset_entity,
    deployment_entity,
    deployment_event_id,
    manifest_path,
)
from arco_flow.domain.manifest import Manifest, manifest_bytes, manifest_id_of, parse_manifest
from arco_flow.engine.context import Engine
from arco_flow.engine.deployed import last_deployment, load_deployment, numbered_deployment
from arco_flow.engine.mailbox import fold_all, record
from arco_flow.engine.objects import load_manifest, put_immutable
from arco_flow.engine.partitions import check_dimensions, declare_dimensions
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
    request_id: str = "",
    replaces: int | None = None,
) -> DeployOutcome:
    """Make a manifest the workspace's current one, unless `dry_run`.

    location: where this plane's own workers import the code from; not part of the manifest.
    request_id: the same one again is answered with what it has made, whatever came after it.
    replaces: revision of what the caller takes for current, 0 = nothing; None: any. What was to
    replace this revision and lands later does nothing, also where nothing is changed now.

    Everything is validated before anything is stored. Raises InvalidInput, TooLarge; what its own
    validation can not find are registered keys that could not be named any more. Raises Conflict
    when something else is current than what is to be replaced, or the request id stands for another
    deployment; nothing was changed then.
    """
    manifest = parse_manifest(raw_manifest)
    data = ManifestDeployed(
        manifest_id=manifest_id_of(manifest),
        code_version_id=manifest.code_version_id,
        asset_count=len(manifest.assets),
        location=dict(location),
        request_id=request_id and validate_request_id(request_id),
    )
    # Without a name it is fresh: going back to an older manifest is a deployment too.
    event_id = deployment_event_id(request_id or engine.clock.new_id())
    request = _Request(manifest, data, event_id, actor, replaces)
    while (outcome := await _try(engine, scope, request, dry_run=dry_run)) is None:
        continue
    return outcome


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked for. replaces: see `deploy`."""

    manifest: Manifest
    data: ManifestDeployed
    event_id: str
    actor: str
    replaces: int | None


async def _try(
    engine: Engine, scope: Scope, request: _Request, *, dry_run: bool
) -> DeployOutcome | None:
    """Compare with what is current, and replace it. None when that has changed meanwhile."""
    before = await last_deployment(engine, scope)
    if not dry_run and (number := before.number_of(request.event_id)):
        return await _made_before(engine, scope, request, number)
    unchanged = before.is_of(request.data)
    if not unchanged:
        _require_current(before, request.replaces)
    outcome = await _compared(engine, scope, request.manifest, before)
    is_other = before.manifest_id != request.data.manifest_id
    if is_other and dry_run:
        await check_dimensions(engine, scope, request.manifest)
    if dry_run or (unchanged and request.replaces != before.revision):
        return msgspec.structs.replace(outcome, dry_run=dry_run, unchanged=unchanged)
    if is_other:
        await declare_dimensions(engine, scope, request.manifest, before.revision, request.actor)
    path = manifest_path(scope, request.data.manifest_id)
    await put_immutable(engine, path, manifest_bytes(request.manifest))
    now = await _make_current(engine, scope, request, before.revision)
    return _told(outcome, request, now) if now else None


async def _make_current(
    engine: Engine, scope: Scope, request: _Request, replaces: int
) -> Deployment | None:
    """The deployment that the request has made; None when it was overtaken, or has confirmed what
    is current.

    Also who would replace anything names what he was compared with: what lands late, because its
    answer was lost on the way, must not replace what is newer.
    """
    entity = deployment_entity(scope)
    now_ms = await engine.store.now_ms()
    data = msgspec.structs.replace(request.data, replaces=replaces)
    await record(engine, entity, Event(request.event_id, now_ms, str(entity), data, request.actor))
    await fold_all(engine, entity)
    current = await load_deployment(engine, scope)
    number = current.number_of(request.event_id)
    return await numbered_deployment(engine, scope, number) if number else None


async def _made_before(
    engine: Engine, scope: Scope, request: _Request, number: int
) -> DeployOutcome:
    """What became of a request that has made a deployment already."""
    before, made = [
        await numbered_deployment(engine, scope, place) for place in (number - 1, number)
    ]
    return _told(await _compared(engine, scope, request.manifest, before), request, made)


def _told(outcome: DeployOutcome, request: _Request, made: Deployment) -> DeployOutcome:
    """The outcome as that of a deployment that was made. Raises Conflict when another request of
    the same name has made it."""
    if made.is_of(request.data):
        return msgspec.structs.replace(
            outcome,
            deployment=made.number,
            create_time=stamp(made.deployed_ms),
            revision=made.revision,
        )
    name = request.data.request_id
    raise Conflict(
        f"the request id '{name}' stands for deployment {made.number} of another manifest",
        fix="take a fresh request id for another deployment",
        reason="REQUEST_ID_REUSED",
        details={"requestId": name, "deployment": made.number},
    )


def _require_current(current: Deployment, replaces: int | None) -> None:
    """Raises Conflict when something else is current than what is to be replaced."""
    if replaces in (None, current.revision):
        return
    by = f" by {current.actor}" if current.actor else ""
    now = f"deployment {current.number}{by} is current" if current.number else "nothing is deployed"
    raise Conflict(
        f"{now} (revision {current.revision}), and revision {replaces} was to be replaced",
        fix="look at what is deployed now, and deploy again if this shall replace it",
        reason="DEPLOYMENT_OVERTAKEN",
        details={
            "deployment": current.number,
            "revision": current.revision,
            "replaces": replaces,
        },
    )


async def _compared(
    engine: Engine, scope: Scope, manifest: Manifest, before: Deployment
) -> DeployOutcome:
    """What a manifest changes against a deployment."""
    old = await load_manifest(engine, scope, before.manifest_id) if before.number else None
    diff = diff_manifests(old, manifest)
    return DeployOutcome(
        manifest_id=manifest_id_of(manifest),
        code_version_id=manifest.code_version_id,
        deployment=before.number,
        dry_run=False,
        unchanged=False,
        asset_count=len(manifest.assets),
        added=list(diff.added),
        changed={key: list(aspects) for key, aspects in diff.changed.items()},
        removed=list(diff.removed),
        stale_partitions=await _stale_partitions(engine, scope, manifest, diff),
        create_time=stamp(before.deployed_ms),
        revision=before.revision,
    )


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
