"""Dynamic partitions: change, list and check the keys of a definition."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arco_flow.domain.dynamic import (
    DynamicCounters,
    DynamicKey,
    decode_dynamic_counters,
    decode_dynamic_key,
)
from arco_flow.domain.errors import InvalidInput, NotFound, did_you_mean
from arco_flow.domain.events import DimensionDeclared, DynamicPartitionsChanged, Event
from arco_flow.domain.ids import Scope, dynamic_entity
from arco_flow.domain.manifest import Manifest
from arco_flow.domain.name_partitions import check_name
from arco_flow.domain.partition_parts import check_part, is_part
from arco_flow.engine.context import Engine
from arco_flow.engine.deployed import load_deployment
from arco_flow.engine.mailbox import fold_all, record
from arco_flow.engine.objects import load_manifest

MAX_CHANGES = 1000
"""Keys of one change; each is one document of a commit."""
SHOWN_KEYS = 5
"""Of those that stand in the way of a deployment; the rest are counted."""


async def change_dynamic(
    engine: Engine,
    scope: Scope,
    definition: str,
    added: Sequence[str],
    deleted: Sequence[str],
    *,
    actor: str,
) -> list[str]:
    """Add and delete keys of a dynamic definition; answers all keys, in insertion order.

    Raises NotFound for a definition that the deployed code does not have, unless keys that it left
    behind are deleted; InvalidInput for bad keys, which of a dimension are also those that hold
    what joins keys, and for more than MAX_CHANGES of them.
    """
    deployment = await load_deployment(engine, scope)
    manifest = await load_manifest(engine, scope, deployment.manifest_id)
    as_of = deployment.revision
    known = dynamic_names(manifest)
    if definition not in known and (added or not await dynamic_keys(engine, scope, definition)):
        raise unknown_definition(definition, known)
    if len(added) + len(deleted) > MAX_CHANGES:
        raise InvalidInput(f"more than {MAX_CHANGES} keys in one change", fix="send several")
    entity = dynamic_entity(scope, definition)
    now_ms = await engine.store.now_ms()
    new, old = ([check_name(key) for key in keys] for keys in (added, deleted))
    if definition in _names_of_dimensions(manifest):
        new = [check_part(key, definition) for key in new]
    data = DynamicPartitionsChanged(definition, new, old, as_of)
    event_id = f"change:{engine.clock.new_id()}"
    await record(engine, entity, Event(event_id, now_ms, str(entity), data, actor))
    # The caller reads his own change back, whether it was folded at once or posted.
    await fold_all(engine, entity)
    odd = [key for key in new if not is_part(key)]
    if odd and as_of <= (await _counters(engine, scope, definition)).joined_after:
        # It may have become a dimension since the manifest was read; the change was ignored.
        check_part(odd[0], definition)
    return await dynamic_keys(engine, scope, definition)


def unknown_definition(name: str, known: Sequence[str]) -> NotFound:
    """The refusal of a definition that the deployed code does not have."""
    return NotFound(
        f"no dynamic partitions '{name}' in the deployed code{did_you_mean(name, known)}",
        fix=f"it has {', '.join(known)}" if known else "deploy an asset with DynamicPartitions",
        reason="UNKNOWN_DEFINITION",
        details={"definition": name},
    )


async def dynamic_keys(engine: Engine, scope: Scope, definition: str) -> list[str]:
    """All keys of a dynamic definition, in insertion order."""
    entity = str(dynamic_entity(scope, definition))
    found: list[DynamicKey] = []
    after = ""
    while rows := await engine.store.rows(entity, after=after):
        found.extend(decode_dynamic_key(raw) for raw in rows.values())
        after = next(reversed(rows))
    return [key.name for key in sorted(found, key=lambda key: key.place)]


async def check_dimensions(engine: Engine, scope: Scope, manifest: Manifest) -> None:
    """Look at the keys that what becomes a dimension has already.

    Raises InvalidInput, with how to delete them, when some could be named by no request.
    """
    for name in sorted(_names_of_dimensions(manifest)):
        await _check_keys(engine, scope, manifest, name)


async def declare_dimensions(
    engine: Engine, scope: Scope, manifest: Manifest, replaces: int, actor: str
) -> None:
    """`check_dimensions`, and see to it that no such key comes any more until the manifest is
    deployed, nor from those who do not know of it then. replaces: revision of what is current."""
    for name in sorted(_names_of_dimensions(manifest)):
        entity = dynamic_entity(scope, name)
        while (counters := await _counters(engine, scope, name)).joined_after < replaces:
            await _check_keys(engine, scope, manifest, name)
            data = DimensionDeclared(name, counters.version, replaces)
            event_id = f"dimension:{engine.clock.new_id()}"
            now_ms = await engine.store.now_ms()
            await record(engine, entity, Event(event_id, now_ms, str(entity), data, actor))
            await fold_all(engine, entity)


async def _check_keys(engine: Engine, scope: Scope, manifest: Manifest, name: str) -> None:
    bad = [key for key in await dynamic_keys(engine, scope, name) if not is_part(key)]
    if bad:
        raise _unnameable(manifest, name, bad)


async def _counters(engine: Engine, scope: Scope, definition: str) -> DynamicCounters:
    head = await engine.store.load(str(dynamic_entity(scope, definition)))
    return decode_dynamic_counters(head.state) if head else DynamicCounters()


def _unnameable(manifest: Manifest, name: str, bad: Sequence[str]) -> InvalidInput:
    shown, count = bad[:SHOWN_KEYS], len(bad)
    listed = ", ".join(map(repr, shown))
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    asset = next(a.key for a in manifest.assets if name in _dimensions_of(a.partitions))
    return InvalidInput(
        f"keys {listed}{more} of dynamic partitions '{name}' hold one of | [ ] , which join and"
        " list the keys of dimensions: no request could name them",
        where=f"partitions of asset '{asset}'",
        fix=f"delete them first: arco-flow partitions delete {shlex.join([name, *shown])}",
        reason="BAD_PARTITION_KEY",
        details={"definition": name, "keys": list(shown), "count": count, "asset": asset},
    )


def dynamic_names(manifest: Manifest) -> list[str]:
    """Names of the dynamic definitions that a manifest uses, also as dimensions."""
    return sorted(_names(_declared(manifest)) | _names_of_dimensions(manifest))


def _names_of_dimensions(manifest: Manifest) -> set[str]:
    return {name for wire in _declared(manifest) for name in _dimensions_of(wire)}


def _dimensions_of(wire: Mapping[str, Any] | None) -> set[str]:
    return _names((wire or {}).get("dims", {}).values())


def _declared(manifest: Manifest) -> list[dict[str, Any]]:
    return [spec.partitions for spec in manifest.assets if spec.partitions is not None]


def _names(definitions: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(wire["name"]) for wire in definitions if wire["kind"] == "dynamic"}
