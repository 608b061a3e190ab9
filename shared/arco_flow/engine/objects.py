"""Immutable, content-addressed objects of the plane, cached by digest: manifests and plans."""

from __future__ import annotations

import msgspec

from arco_flow.domain.errors import Unavailable
from arco_flow.domain.ids import Scope, manifest_path, plan_path
from arco_flow.domain.manifest import Manifest, parse_manifest
from arco_flow.domain.plan import PlanIndex, decode_plan, index_plan, plan_id_of
from arco_flow.domain.run import Run, decode_run
from arco_flow.domain.wire import sha256_hex
from arco_flow.engine.context import Engine
from arco_flow.ports.store import Head


async def put_immutable(engine: Engine, path: str, body: bytes) -> None:
    """Create a content-addressed object; one that is there already has the same bytes."""
    await engine.objects.put_if_absent(path, body)


async def get_object(engine: Engine, path: str) -> bytes:
    """An object that something committed refers to. Raises Unavailable when it is not there."""
    found = await engine.objects.get(path)
    if found is None:
        raise Unavailable(f"object '{path}' is missing", fix="restore it from a backup")
    return found.data


async def load_manifest(engine: Engine, scope: Scope, manifest_id: str) -> Manifest:
    """A stored manifest. Raises Unavailable when its bytes have not the digest that names it."""
    key = f"{scope.source}/{manifest_id}"
    cached = engine.memory.manifests.get(key)
    if cached is not None:
        return cached
    raw = await get_object(engine, manifest_path(scope, manifest_id))
    if "sha256:" + sha256_hex(raw) != manifest_id:
        raise _altered(f"manifest {manifest_id}")
    return engine.memory.manifests.put(key, parse_manifest(raw))


async def load_plan(engine: Engine, scope: Scope, plan_id: str) -> PlanIndex:
    """An indexed plan by its id, from memory or from the object store. Raises Unavailable when its
    bytes are not those that have this id."""
    cached = engine.memory.plans.get(plan_id)
    if cached is not None:
        return cached
    raw = await get_object(engine, plan_path(scope, plan_id))
    if plan_id_of(raw) != plan_id:
        raise _altered(f"plan {plan_id}")
    plan = decode_plan(raw)
    manifest = await load_manifest(engine, scope, plan.manifest_id)
    return engine.memory.plans.put(plan_id, index_plan(plan, plan_id, manifest))


def _altered(what: str) -> Unavailable:
    return Unavailable(
        f"{what} was altered in the object store",
        fix="restore it from a backup",
        reason="DAMAGED_STATE",
    )


def load_run(engine: Engine, head: Head) -> Run:
    """The decoded run of a head, from memory when the version is the same."""
    cached = engine.memory.runs.get(head.entity)
    if cached is not None and cached.version == head.version:
        return cached
    # A commit that only strikes off debts raises the head's version and leaves the state alone.
    run = msgspec.structs.replace(decode_run(head.state), version=head.version)
    return engine.memory.runs.put(head.entity, run)
