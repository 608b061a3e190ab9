"""Definitions as a manifest: sorted, relative, without anything that varies between processes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from arco_flow.domain.manifest import (
    AssetSpec,
    CheckSpec,
    DepSpec,
    Manifest,
    ResourcesSpec,
    SourceSpec,
    TimeoutsSpec,
)
from arco_flow.domain.wire import sha256_hex
from arco_flow.sdk.code_digest import SourceReader
from arco_flow.sdk.execution import output_io
from arco_flow.sdk.source import relative_path
from arco_flow.sdk.source_files import file_digest

if TYPE_CHECKING:
    from arco_flow.sdk.asset import Asset
    from arco_flow.sdk.definitions import Definitions
    from arco_flow.sdk.resolve import Dependency


def build_manifest(definitions: Definitions) -> Manifest:
    """The manifest of definitions, assets sorted by key. Raises DefinitionError as validate()."""
    definitions.validate()
    files = definitions.source_files or _files_of(definitions.assets)
    root = definitions.location.get("root") or _common_folder(files)
    reader = SourceReader(root)
    return Manifest(
        code_version_id=code_version_id(files, root),
        module=definitions.location.get("module", ""),
        assets=[_spec(asset, definitions, reader, root) for asset in definitions.assets],
    )


def code_version_id(files: Iterable[str], root: str) -> str:
    """`cv_` + 32 hexadecimal characters of the files' relative names and contents."""
    named = sorted({relative_path(file, root): file for file in files}.items())
    lines = [f"{name}\0{file_digest(file)}\n" for name, file in named]
    return "cv_" + sha256_hex("".join(lines).encode())[:32]


def _files_of(assets: Iterable[Asset[..., Any]]) -> tuple[str, ...]:
    files = {asset.place.file for asset in assets}
    return tuple(sorted(file for file in files if os.path.isfile(file)))


def _common_folder(files: tuple[str, ...]) -> str:
    return os.path.commonpath([os.path.dirname(file) for file in files]) if files else ""


def _spec(
    asset: Asset[..., Any], definitions: Definitions, reader: SourceReader, root: str
) -> AssetSpec:
    options, place = asset.options, asset.place
    return AssetSpec(
        key=asset.key,
        kind=options.kind,
        group=options.group,
        description=asset.description,
        code_version=options.code_version or reader.digest(asset._function),
        tags=dict(options.tags),
        metadata=dict(options.metadata),
        owners=list(options.owners),
        kinds=list(options.kinds),
        deps=[_dep(edge) for edge in definitions.dependencies(asset.key)],
        partitions=None if options.partitions is None else options.partitions.to_wire(),
        retry=None if options.retry is None else options.retry.to_wire(),
        timeouts=TimeoutsSpec(
            start_ms=options.start_ms,
            heartbeat_ms=options.heartbeat_ms,
            execution_ms=options.execution_ms,
        ),
        resources=ResourcesSpec(cpu_millis=options.cpu_millis, memory_mib=options.memory_mib),
        priority=options.priority,
        pool=options.pool,
        checks=[_check(check) for check in asset.checks],
        io=output_io(asset),
        source=SourceSpec(file=place.relative_to(root), line=place.line),
    )


def _dep(edge: Dependency) -> DepSpec:
    return DepSpec(
        asset=edge.upstream,
        param=edge.parameter,
        mapping=None if edge.is_inferred else edge.mapping.to_wire(),
        shape=edge.shape,
    )


def _check(check: Any) -> CheckSpec:
    return CheckSpec(
        name=check.name,
        blocking=check.blocking,
        severity=check.severity,
        description=check.description,
    )
