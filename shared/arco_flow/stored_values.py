"""Reading what assets have made out of a project's state folder, without a plane."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from arco_flow.domain.errors import InvalidInput, NotFound, did_you_mean

if TYPE_CHECKING:
    from arco_flow.adapters.local.objects import LocalObjects
    from arco_flow.domain.ids import Scope
    from arco_flow.domain.partition_base import PartitionsDefinition
    from arco_flow.sdk.asset import Asset

R = TypeVar("R")
T = TypeVar("T")
Key = str | Mapping[str, str]

_TENANT: Final = "local"
"""The embedded plane's only one."""
_AS_DECLARED: Final = object()


@overload
def load_asset_value(
    asset: Asset[..., R],
    partition_key: Key | None = None,
    *,
    project: str | os.PathLike[str] = ".",
    workspace: str | None = None,
) -> R: ...
@overload
def load_asset_value(
    asset: Asset[..., Any] | str,
    partition_key: Key | None = None,
    *,
    type_: type[T],
    project: str | os.PathLike[str] = ".",
    workspace: str | None = None,
) -> T: ...
@overload
def load_asset_value(
    asset: Asset[..., Any] | str,
    partition_key: Key | None = None,
    *,
    type_: object,
    project: str | os.PathLike[str] = ".",
    workspace: str | None = None,
) -> Any: ...
@overload
def load_asset_value(
    asset: str,
    partition_key: Key | None = None,
    *,
    project: str | os.PathLike[str] = ".",
    workspace: str | None = None,
) -> Any: ...
def load_asset_value(
    asset: Asset[..., Any] | str,
    partition_key: Key | None = None,
    *,
    type_: object = _AS_DECLARED,
    project: str | os.PathLike[str] = ".",
    workspace: str | None = None,
) -> Any:
    """The current value of an asset, or of one of its partitions, as the embedded plane stored it.

    asset: the asset, or its key; with a key its code is not needed. partition_key: as it is shown,
    or a mapping by dimension of an asset with several. type_: what to load it as, by default what
    the asset's function is annotated to return, and of a key what the value is by itself.
    project: the folder that holds `.arco-flow`. workspace: by default the project's setting.

    Only reads, also while a plane runs there: versions never change, and the pointer to the
    current one is swapped whole. Raises NotFound without state folder or current version,
    InvalidInput for an unknown partition, with the nearest one, and what loading raises.
    """
    from arco_flow.io.registry import load_value

    key, annotation = _declared(asset)
    with _State(project, workspace) as state:
        version = state.version(key, asset, partition_key)
        wanted = annotation if type_ is _AS_DECLARED else type_
        return load_value(state.objects, version, wanted, asset=key)


def _declared(asset: Asset[..., Any] | str) -> tuple[str, object]:
    """The key, and the annotation of the value; an IO of the asset's own is made known."""
    from arco_flow.domain.identifiers import validate_asset_key
    from arco_flow.sdk.execution import output_io

    if isinstance(asset, str):
        return validate_asset_key(asset), Any
    output_io(asset)
    return asset.key, asset.return_annotation


class _State:
    """The objects of one workspace in a state folder."""

    objects: LocalObjects
    _assets: str
    _scope: Scope

    def __init__(self, project: str | os.PathLike[str], workspace: str | None) -> None:
        from arco_flow.adapters.local.objects import LocalObjects
        from arco_flow.cli.project import STATE_FOLDER, find_project
        from arco_flow.domain.ids import Scope

        folder = os.path.abspath(project)
        root = os.path.join(folder, STATE_FOLDER, "objects")
        if not os.path.isdir(root):
            raise NotFound(
                f"there is no state folder '{os.path.join(folder, STATE_FOLDER)}'",
                fix="run something there first, or say where: project='the folder that holds it'",
                reason="NO_STATE",
            )
        found = find_project(folder, None, workspace)
        self._scope = Scope(_TENANT, found.workspace)
        self.objects = LocalObjects(root, create=False)
        self._assets = os.path.join(root, *self._scope.prefix.split("/"), "assets")

    def __enter__(self) -> _State:
        return self

    def __exit__(self, *_: object) -> None:
        self.objects.close()

    def version(self, key: str, asset: Asset[..., Any] | str, partition_key: Key | None) -> str:
        """Prefix of the current version. Raises NotFound, InvalidInput."""
        if isinstance(asset, str):
            return self._by_name(key, partition_key)
        definition = asset.partitions
        name = _name_of(key, definition, partition_key)
        found = self._pointed(key, _segment(definition, name))
        if found is None:
            raise self._missing(key, definition, name)
        return found

    def _pointed(self, key: str, segment: str | None) -> str | None:
        """Where the pointer of a partition leads, by the name of the partition's folder."""
        import msgspec

        if segment is None:
            return None
        stored = self.objects.get(f"{self._scope.prefix}assets/{key}/{segment}/_current.json")
        return None if stored is None else str(msgspec.json.decode(stored.data)["version"])

    def _by_name(self, key: str, partition_key: Key | None) -> str:
        """By what people call the partition, which its version's marker holds: no code needed."""
        if isinstance(partition_key, Mapping):
            raise InvalidInput(
                f"partition_key={partition_key!r} has dimensions, which a key alone does not know",
                fix="give the partition as text, as `arco-flow partitions list` shows it, or the "
                "asset instead of its key",
            )
        name = partition_key or ""
        found = dict(self._current(key))
        if name not in found:
            raise self._not_stored(key, name, list(found))
        return found[name]

    def _current(self, key: str) -> Iterator[tuple[str, str]]:
        """(name, version) of every partition that has a current version."""
        from arco_flow.io.commit import read_commit

        for segment in _folders(os.path.join(self._assets, key)):
            version = self._pointed(key, segment)
            if version is not None:
                task = read_commit(self.objects, version).task
                yield task.removeprefix(key).removeprefix("[").removesuffix("]"), version

    def _missing(
        self, key: str, definition: PartitionsDefinition | None, name: str
    ) -> InvalidInput | NotFound:
        from datetime import UTC, datetime

        from arco_flow.domain.partition_base import PartitionContext, unknown_key

        # Which dynamic keys are registered the plane alone knows: to this context none exists.
        ctx = PartitionContext(datetime.now(UTC))
        exists = definition is None or definition.first(ctx) is None or definition.has(name, ctx)
        if definition is not None and name and not exists:
            error = unknown_key(definition, name, ctx)
            return InvalidInput(
                f"asset '{key}' has {error.message}",
                fix=(error.fix or "").replace("ASSET", key) or None,
                reason=error.reason,
            )
        return self._not_stored(key, name, [name for name, _ in self._current(key)])

    def _not_stored(self, key: str, name: str, stored: list[str]) -> NotFound:
        if not stored:
            problem = f"nothing of asset '{key}' is materialized"
            near = did_you_mean(key, (other for other in _folders(self._assets) if other != key))
            fix = f"arco-flow run '{key}'" + (f" -p '{name}'" if name else "")
        elif not name:
            problem, near = f"asset '{key}' is partitioned, and no partition_key is given", ""
            fix = f"partition_key={max(stored)!r}, for example"
        else:
            problem = f"'{key}[{name}]' is not materialized, {len(stored)} others are"
            near = did_you_mean(name, stored)
            fix = f"arco-flow run '{key}' -p '{name}'"
        return NotFound(problem + near, where=self._assets, fix=fix, reason="NOT_MATERIALIZED")


def _name_of(key: str, definition: PartitionsDefinition | None, partition_key: Key | None) -> str:
    """The partition as text, "" of an asset without partitions."""
    if definition is None:
        if partition_key:
            raise InvalidInput(
                f"partition_key={partition_key!r}, but asset '{key}' is not partitioned",
                fix="leave partition_key out",
                reason="NOT_PARTITIONED",
            )
        return ""
    if not isinstance(partition_key, Mapping):
        return str(partition_key or "")
    join = getattr(definition, "join", None)
    if join is None:
        raise InvalidInput(
            f"partition_key={partition_key!r} has dimensions, asset '{key}' has none",
            fix="give the partition as text",
        )
    return str(join(partition_key))


def _segment(definition: PartitionsDefinition | None, name: str) -> str | None:
    """The name of a partition's folder, None when there can be no such partition."""
    from arco_flow.domain.ids import partition_segment

    if definition is None:
        return partition_segment("")
    try:
        return partition_segment(definition.canonical(name)) if name else None
    except InvalidInput:
        return None


def _folders(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
