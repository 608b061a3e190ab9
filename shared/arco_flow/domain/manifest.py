"""The manifest: what a deployment declares, as one canonical, content-addressed document.

Its digest is its id, so equal declarations are one manifest on every machine; that is why it
holds no absolute path, no time and no float.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from arco_flow.domain.durations import MAX_DURATION_MS
from arco_flow.domain.errors import InvalidInput, TooLarge
from arco_flow.domain.graph import AssetGraph
from arco_flow.domain.identifiers import (
    validate_asset_key,
    validate_group,
    validate_kinds,
    validate_owner,
    validate_tags,
)
from arco_flow.domain.wire import canonical_json, fingerprint

MANIFEST_VERSION = 1
MAX_MANIFEST_BYTES = 10 * 1024 * 1024
"""Limit of the uploaded document (10 MiB), the same as of one request to the cloud's store."""
MAX_ASSETS = 20_000
KINDS = ("asset", "activity")
SHAPES = ("value", "sequence", "mapping")
SEVERITIES = ("error", "warn")

_FIX = "let `arco-flow deploy` write it, or send what `arco-flow validate --out` wrote"


class _Wire(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """Base of the manifest's parts: camelCase, defaults left out, unknown fields tolerated."""


class DepSpec(_Wire, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """One edge of the graph, seen from the downstream asset.

    asset: key of the upstream. param: parameter that receives its value, "" for order only.
    mapping: wire form of a PartitionMapping, None = inferred from the two definitions.
    shape: "value" (one partition's value), "sequence" (list in partition order) or
    "mapping" (dict partition name -> value).
    """

    asset: str
    param: str = ""
    mapping: dict[str, Any] | None = None
    shape: str = "value"


class CheckSpec(_Wire, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A data check declared on an asset; severity is "error" or "warn"."""

    name: str
    blocking: bool = False
    severity: str = "error"
    description: str = ""


class TimeoutsSpec(_Wire, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """Milliseconds; start_ms and execution_ms 0 = unlimited."""

    start_ms: int = 0
    heartbeat_ms: int = 300_000
    execution_ms: int = 0


class ResourcesSpec(_Wire, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """Hints for placing the task."""

    cpu_millis: int = 1000
    memory_mib: int = 512


class SourceSpec(_Wire, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """Where the asset is declared: path relative to the code location's root, 1-based line."""

    file: str = ""
    line: int = 0


class AssetSpec(_Wire, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """One asset.

    kind: "asset" (produces a version) or "activity" (side effects only).
    partitions: wire form of a PartitionsDefinition, None = unpartitioned.
    retry: wire form of a RetryPolicy. io: name of the IO of its value ("" = by annotation).
    code_version: given by the user, else the digest of the function's source.
    """

    key: str
    kind: str = "asset"
    group: str = "default"
    description: str = ""
    code_version: str = ""
    tags: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    owners: list[str] = []
    kinds: list[str] = []
    deps: list[DepSpec] = []
    partitions: dict[str, Any] | None = None
    retry: dict[str, Any] | None = None
    timeouts: TimeoutsSpec = TimeoutsSpec()
    resources: ResourcesSpec = ResourcesSpec()
    priority: int = 0
    pool: str = ""
    checks: list[CheckSpec] = []
    io: str = ""
    source: SourceSpec = SourceSpec()


class Manifest(_Wire, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """All that a code location declares. assets are sorted by key."""

    manifest_version: int = MANIFEST_VERSION
    code_version_id: str
    module: str
    assets: list[AssetSpec]
    git: dict[str, str] = {}
    metadata: dict[str, Any] = {}

    def by_key(self) -> dict[str, AssetSpec]:
        """Assets by key."""
        return {asset.key: asset for asset in self.assets}

    def graph(self) -> AssetGraph:
        """The graph of all edges, order-only ones too. Raises DefinitionError on a cycle.

        An asset may read its own earlier partitions by a mapping: that edge is none of the graph.
        """
        return AssetGraph(
            {
                a.key: _unique(d.asset for d in a.deps if d.asset != a.key or d.mapping is None)
                for a in self.assets
            }
        )


def _unique(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def manifest_bytes(manifest: Manifest) -> bytes:
    """Canonical bytes. Raises InvalidInput for floats in metadata."""
    return canonical_json(msgspec.to_builtins(manifest))


def manifest_id_of(manifest: Manifest) -> str:
    """`sha256:…` of the canonical bytes."""
    return fingerprint(msgspec.to_builtins(manifest))


_decoder = msgspec.json.Decoder(Manifest)


def parse_manifest(raw: bytes) -> Manifest:
    """Decode and validate an uploaded manifest, before anything is stored.

    Raises TooLarge, or InvalidInput with the JSON path of what is wrong.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise TooLarge(
            f"manifest of {len(raw)} bytes; at most {MAX_MANIFEST_BYTES} are accepted",
            fix="split the code location into several workspaces",
        )
    try:
        manifest = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what, _, where = str(error).partition(" - at ")
        raise InvalidInput(
            f"malformed manifest: {what}",
            where=where.strip("`") or None,
            fix=_FIX,
            reason="MALFORMED_MANIFEST",
        ) from error
    validate_manifest(manifest)
    return manifest


def validate_manifest(manifest: Manifest) -> None:
    """Check what types can not: keys, duplicates, unknown upstreams, cycles, definitions.

    Raises InvalidInput (or its subclass DefinitionError) naming the asset and its place.
    """
    if manifest.manifest_version != MANIFEST_VERSION:
        raise InvalidInput(
            f"manifest version {manifest.manifest_version} is not known (this plane reads "
            f"{MANIFEST_VERSION})",
            where="$.manifestVersion",
            fix="upgrade the older of SDK and plane",
            reason="MANIFEST_VERSION_UNKNOWN",
        )
    if len(manifest.assets) > MAX_ASSETS:
        raise TooLarge(
            f"{len(manifest.assets)} assets; at most {MAX_ASSETS} in one manifest",
            where="$.assets",
            fix="split the code location into several workspaces",
        )
    seen: dict[str, int] = {}
    for index, asset in enumerate(manifest.assets):
        first = seen.setdefault(asset.key, index)
        if first != index:
            raise InvalidInput(
                f"asset '{asset.key}' appears twice: it is $.assets[{first}], too",
                where=f"$.assets[{index}]",
                fix="give one of them another key, or leave it out",
                reason="DUPLICATE_ASSET",
                details={"key": asset.key},
            )
        try:
            _validate_asset(asset)
        except InvalidInput as error:
            raise _located(error, f"$.assets[{index}]") from error
    manifest.graph().topological_order()
    manifest_bytes(manifest)


def _located(error: InvalidInput, place: str) -> InvalidInput:
    """The same error with its place in the document, by which a reader finds the asset."""
    return type(error)(
        error.message,
        where=f"{place}.{error.where}" if error.where else place,
        fix=error.fix or _FIX,
        reason=error.reason,
        details=error.details,
    )


def _validate_asset(asset: AssetSpec) -> None:
    """One asset alone; `where` of what is raised is relative to it."""
    from arco_flow.domain.partition_mappings import mapping_from_wire
    from arco_flow.domain.partitions import partitions_from_wire
    from arco_flow.domain.retry import retry_from_wire

    validate_asset_key(asset.key)
    validate_group(asset.group)
    validate_tags(asset.tags)
    validate_kinds(asset.kinds)
    for owner in asset.owners:
        validate_owner(owner)
    _validate_shape(asset)
    if asset.partitions is not None:
        partitions_from_wire(asset.partitions)
    for dep in asset.deps:
        if dep.mapping is not None:
            mapping_from_wire(dep.mapping)
    if asset.retry is not None:
        retry_from_wire(asset.retry)


def _validate_shape(asset: AssetSpec) -> None:
    if asset.kind not in KINDS:
        raise _no_choice(f"kind '{asset.kind}' of asset '{asset.key}'", KINDS, "kind")
    for dep in asset.deps:
        if dep.shape not in SHAPES:
            what = f"input shape '{dep.shape}' of asset '{asset.key}'"
            raise _no_choice(what, SHAPES, "deps")
    for check in asset.checks:
        if check.severity not in SEVERITIES:
            what = f"severity '{check.severity}' of check '{check.name}'"
            raise _no_choice(what, SEVERITIES, "checks")
    limits = (asset.timeouts.start_ms, asset.timeouts.heartbeat_ms, asset.timeouts.execution_ms)
    if min(limits) < 0 or asset.timeouts.heartbeat_ms < 1000 or max(limits) > MAX_DURATION_MS:
        raise InvalidInput(
            f"timeouts of asset '{asset.key}' must not be negative nor over {MAX_DURATION_MS} ms, "
            "and its heartbeat at least 1 s",
            where="timeouts",
            fix='for example {"heartbeatMs": 300000}; 0 in the others means no limit',
        )


def _no_choice(what: str, choices: Sequence[str], where: str) -> InvalidInput:
    known = " or ".join(f"'{choice}'" for choice in choices)
    return InvalidInput(f"{what} is not known", where=where, fix=f"one of {known}")
