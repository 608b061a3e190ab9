"""Reading what assets have made out of a state folder or a bucket, without a plane."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, overload

from arco_flow.domain.errors import InvalidInput, NotFound, Unavailable, did_you_mean

if TYPE_CHECKING:
    from arco_flow.adapters.gcp.cloud_storage import CloudObjects
    from arco_flow.adapters.local.objects import LocalObjects
    from arco_flow.domain.ids import Scope
    from arco_flow.domain.partition_base import PartitionsDefinition
    from arco_flow.ports.objects import Objects
    from arco_flow.sdk.asset import Asset

R = TypeVar("R")
T = TypeVar("T")
Key = str | Mapping[str, str]

_LOCAL_TENANT: Final = "local"
"""The embedded plane's only one."""
_BUCKET: Final = "gs://"
_POINTER: Final = "/_current.json"
_READERS: Final = 32
"""Partitions that are looked at together: in a bucket each look waits for the network."""
_AS_DECLARED: Final = object()


@overload
def load_asset_value(
    asset: Asset[..., R],
    partition_key: Key | None = None,
    *,
    project: str | os.PathLike[str] = ".",
    tenant: str | None = None,
    workspace: str | None = None,
) -> R: ...
@overload
def load_asset_value(
    asset: Asset[..., Any] | str,
    partition_key: Key | None = None,
    *,
    type_: type[T],
    project: str | os.PathLike[str] = ".",
    tenant: str | None = None,
    workspace: str | None = None,
) -> T: ...
@overload
def load_asset_value(
    asset: Asset[..., Any] | str,
    partition_key: Key | None = None,
    *,
    type_: object,
    project: str | os.PathLike[str] = ".",
    tenant: str | None = None,
    workspace: str | None = None,
) -> Any: ...
@overload
def load_asset_value(
    asset: str,
    partition_key: Key | None = None,
    *,
    project: str | os.PathLike[str] = ".",
    tenant: str | None = None,
    workspace: str | None = None,
) -> Any: ...
def load_asset_value(
    asset: Asset[..., Any] | str,
    partition_key: Key | None = None,
    *,
    type_: object = _AS_DECLARED,
    project: str | os.PathLike[str] = ".",
    tenant: str | None = None,
    workspace: str | None = None,
) -> Any:
    """The current value of an asset, or of one of its partitions, as a plane stored it.

    asset: the asset, or its key; with a key its code is not needed. partition_key: as it is shown,
    or a mapping by dimension of an asset with several. type_: what to load it as, by default what
    the asset's function is annotated to return, and of a key what the value is by itself.
    project: the folder that holds `.arco-flow`, or the bucket of a plane on Google Cloud as
    `gs://NAME`. tenant: whose values; only of a bucket. workspace: by default the project's
    setting, and with a bucket that of the project in the current folder.

    Only reads, also while a plane runs there: versions never change, and the pointer to the
    current one is swapped whole. Raises NotFound without state folder, bucket or current version,
    InvalidInput for an unknown partition, with the nearest one, Unavailable when a bucket can not
    be read, and what loading raises.
    """
    from arco_flow.io.registry import load_value

    key, annotation = _declared(asset)
    place = _place(os.fspath(project), tenant, workspace)
    with closing(place.objects), _told_of(place):
        version = _Values(place).version(key, asset, partition_key)
        wanted = annotation if type_ is _AS_DECLARED else type_
        return load_value(place.objects, version, wanted, asset=key)


def _declared(asset: Asset[..., Any] | str) -> tuple[str, object]:
    """The key, and the annotation of the value; an IO of the asset's own is made known."""
    from arco_flow.domain.identifiers import validate_asset_key
    from arco_flow.sdk.execution import output_io

    if isinstance(asset, str):
        return validate_asset_key(asset), Any
    output_io(asset)
    return asset.key, asset.return_annotation


class _Place(NamedTuple):
    """The objects of one workspace. name: of the folder or bucket that they are in."""

    objects: LocalObjects | CloudObjects
    scope: Scope
    name: str


def _place(project: str, tenant: str | None, workspace: str | None) -> _Place:
    if project.startswith(_BUCKET):
        return _in_bucket(project, tenant, workspace)
    return _in_folder(os.path.abspath(project), tenant, workspace)


def _in_folder(folder: str, tenant: str | None, workspace: str | None) -> _Place:
    from arco_flow.adapters.local.objects import LocalObjects
    from arco_flow.cli.project import STATE_FOLDER, find_project
    from arco_flow.domain.ids import Scope

    if tenant is not None:
        raise InvalidInput(
            f"tenant={tenant!r}, but a state folder is of one tenant only",
            fix="leave tenant out, or name a bucket: project='gs://…'",
        )
    root = os.path.join(folder, STATE_FOLDER, "objects")
    if not os.path.isdir(root):
        raise NotFound(
            f"there is no state folder '{os.path.join(folder, STATE_FOLDER)}'",
            fix="run something there first, or say where: project='the folder that holds it'",
            reason="NO_STATE",
        )
    found = find_project(folder, None, workspace)
    return _Place(LocalObjects(root, create=False), Scope(_LOCAL_TENANT, found.workspace), root)


def _in_bucket(project: str, tenant: str | None, workspace: str | None) -> _Place:
    from arco_flow.adapters.gcp.cloud_storage import CloudObjects
    from arco_flow.cli.project import find_project
    from arco_flow.domain.identifiers import validate_tenant
    from arco_flow.domain.ids import Scope

    bucket = project.removeprefix(_BUCKET).rstrip("/")
    if not bucket or "/" in bucket:
        raise InvalidInput(
            f"project={project!r} names no bucket", fix="project='gs://NAME', without a path"
        )
    if tenant is None:
        raise InvalidInput(
            f"{_BUCKET}{bucket} is shared by tenants, and no tenant is given",
            fix="tenant='acme', for example: the one that your principal is mapped to",
        )
    scope = Scope(validate_tenant(tenant), find_project(".", None, workspace).workspace)
    return _Place(CloudObjects(bucket), scope, _BUCKET + bucket)


@contextmanager
def _told_of(place: _Place) -> Iterator[None]:
    """What a bucket refuses is told to the person who reads it, whose account is no function's."""
    try:
        yield
    except Unavailable as error:
        status = error.details.get("status")
        if status == 404:
            raise NotFound(
                f"there is no bucket '{place.name}'",
                fix="correct project='gs://NAME': it is the bucket that the plane stores in",
                reason="NO_STATE",
            ) from error
        if status in (401, 403):
            raise Unavailable(
                error.message,
                fix="let your own account read the bucket: roles/storage.objectViewer",
                details=error.details,
            ) from error
        raise
    except ModuleNotFoundError as error:
        if error.name not in ("google", "google.auth"):
            raise
        raise Unavailable(
            f"there are no credentials for {place.name}: google-auth is not installed",
            fix="pip install 'arco-flow[gcp]'",
        ) from error


class _Values:
    """What the assets of one workspace have made."""

    def __init__(self, place: _Place) -> None:
        self._objects: Objects = place.objects
        self._assets = f"{place.scope.prefix}assets/"
        self._where = f"{place.name}/{self._assets.rstrip('/')}"

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
        stored = self._objects.get(f"{self._assets}{key}/{segment}{_POINTER}")
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
        segments = self._segments(key)
        # Most names can be read from the path, and then one marker tells.
        likely = [segment for segment in segments if _spelt(segment) == name]
        others: list[str] = []
        for several in (likely, [segment for segment in segments if segment not in likely]):
            with closing(self._named(key, several)) as named:
                for other, version in named:
                    if other == name:
                        return version
                    others.append(other)
        raise self._not_stored(key, name, others)

    def _keys(self) -> Iterator[str]:
        """Every asset of which anything is stored."""
        from arco_flow.io.listing import first_of_folders

        for first in first_of_folders(self._objects, self._assets):
            yield first.removeprefix(self._assets).split("/")[0]

    def _segments(self, key: str) -> list[str]:
        """The folders of the partitions that have a current version."""
        from arco_flow.io.listing import first_of_folders

        # The pointer comes first in its folder: "_" sorts before the "v" of versions.
        firsts = first_of_folders(self._objects, f"{self._assets}{key}/")
        return [first.split("/")[-2] for first in firsts if first.endswith(_POINTER)]

    def _named(self, key: str, segments: list[str]) -> Generator[tuple[str, str]]:
        """(name, version) of partitions, by the markers of their current versions."""
        from concurrent.futures import ThreadPoolExecutor

        from arco_flow.io.commit import read_commit

        def look(segment: str) -> tuple[str, str] | None:
            version = self._pointed(key, segment)
            if version is None:
                return None
            task = read_commit(self._objects, version).task
            return task.removeprefix(key).removeprefix("[").removesuffix("]"), version

        with ThreadPoolExecutor(_READERS) as threads:
            for start in range(0, len(segments), _READERS):
                found = threads.map(look, segments[start : start + _READERS])
                yield from (each for each in found if each is not None)

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
        names = {each: _read_back(definition, each) for each in self._segments(key)}
        unread = [segment for segment, found in names.items() if found is None]
        read = [found for found in names.values() if found is not None]
        return self._not_stored(key, name, read + [found for found, _ in self._named(key, unread)])

    def _not_stored(self, key: str, name: str, stored: list[str]) -> NotFound:
        if not stored:
            problem = f"nothing of asset '{key}' is materialized"
            near = did_you_mean(key, (other for other in self._keys() if other != key))
            fix = f"arco-flow run '{key}'" + (f" -p '{name}'" if name else "")
        elif not name:
            problem, near = f"asset '{key}' is partitioned, and no partition_key is given", ""
            fix = f"partition_key={max(stored)!r}, for example"
        else:
            problem = f"'{key}[{name}]' is not materialized, {len(stored)} others are"
            near = did_you_mean(name, stored)
            fix = f"arco-flow run '{key}' -p '{name}'"
        return NotFound(problem + near, where=self._where, fix=fix, reason="NOT_MATERIALIZED")


def _spelt(segment: str) -> str:
    """What the partition of a folder is called if its values are called as they are."""
    from arco_flow.domain.partition_keys import decode_partition_key
    from arco_flow.domain.partition_parts import SEPARATOR

    try:
        return SEPARATOR.join(str(value) for value in decode_partition_key(segment).values())
    except InvalidInput:
        return ""


def _read_back(definition: PartitionsDefinition | None, segment: str) -> str | None:
    """The partition of a folder by its definition, None when the folder's name does not tell."""
    try:
        return None if definition is None else definition.from_canonical(segment)
    except InvalidInput:
        return None


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
