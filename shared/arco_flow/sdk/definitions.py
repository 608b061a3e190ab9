"""Definitions: the assets and resources of one code location, validated as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TYPE_CHECKING, Any

from arco_flow.domain.errors import DefinitionError, InvalidInput, NotFound
from arco_flow.sdk.asset import Asset
from arco_flow.sdk.catalog import Catalog
from arco_flow.sdk.resource import Resource
from arco_flow.sdk.resource_set import ResourceSet

if TYPE_CHECKING:
    from arco_flow.domain.graph import AssetGraph
    from arco_flow.domain.manifest import Manifest
    from arco_flow.sdk.resolve import Dependency


class Definitions:
    """What a code location declares.

    A module needs none: module-level assets and resources are found. With `assets` given,
    exactly those count; without, those that are found; `resources` come on top in either case.
    location: {"target", "root", "module"} by which another process can load the same again,
    empty unless loaded by `load_definitions`.

    Raises DefinitionError for two assets of one key and for what is no asset or resource.
    """

    def __init__(
        self,
        assets: Iterable[Asset[..., Any]] | None = None,
        *,
        resources: Iterable[Resource] = (),
    ) -> None:
        self.finds_assets = assets is None
        self.resources: tuple[Resource, ...] = tuple(resources)
        self.location: dict[str, str] = {}
        self.source_files: tuple[str, ...] = ()
        self._catalog = Catalog(_checked(() if assets is None else assets))
        self._dependencies: dict[str, tuple[Dependency, ...]] = {}
        ResourceSet(self.resources)

    @property
    def assets(self) -> tuple[Asset[..., Any], ...]:
        """All assets, sorted by key."""
        return tuple(self._catalog.by_key.values())

    def asset(self, key: str) -> Asset[..., Any]:
        """The asset of a key, or of a name that is unique. Raises NotFound, nearest match."""
        catalog = self._catalog
        found = catalog.by_key.get(key)
        if found is None and "." not in key:
            named = [asset for asset in self.assets if asset.name == key]
            found = named[0] if len(named) == 1 else None
        if found is None:
            raise NotFound(f"no asset '{key}' in these definitions{catalog.hint(key)}")
        return found

    def dependencies(self, key: str) -> tuple[Dependency, ...]:
        """The resolved edges of an asset: inputs by parameter, then order-only ones by key.

        Raises DefinitionError for a wrong one.
        """
        from arco_flow.sdk.resolve import resolve_dependencies

        if key not in self._dependencies:
            found = resolve_dependencies(self.asset(key), self._catalog)
            self._dependencies[key] = found
        return self._dependencies[key]

    def graph(self, readers: Set[str] | None = None) -> AssetGraph:
        """The graph of all edges, or of those only that lead to the assets of `readers`.

        Raises DefinitionError for a wrong edge and for a cycle, naming its whole path.
        """
        from arco_flow.domain.graph import AssetGraph

        upstream: dict[str, list[str]] = {key: [] for key in self._catalog.by_key}
        for key in upstream if readers is None else readers:
            edges = self.dependencies(key)
            # To its own earlier partitions an asset is no edge of this graph, which knows none.
            upstream[key] = list(dict.fromkeys(e.upstream for e in edges if e.upstream != key))
        try:
            return AssetGraph(upstream)
        except DefinitionError as error:
            path: list[str] = list(error.details.get("path", ()))  # type: ignore[call-overload]
            where = str(self.asset(path[0]).place) if path else None
            raise DefinitionError(
                error.message, where=where, fix=error.fix, reason="CYCLE", details=error.details
            ) from None

    def resource_set(self) -> ResourceSet:
        """The resources for one worker process, none of them open yet."""
        return ResourceSet(self.resources)

    def problems(self) -> list[DefinitionError]:
        """Everything that is wrong, one error per asset and the first cycle; empty when valid."""
        found: list[DefinitionError] = []
        for asset in self.assets:
            try:
                self._check_asset(asset)
            except DefinitionError as error:
                found.append(error)
        if not found:
            try:
                self.graph()
            except DefinitionError as error:
                found.append(error)
        return found

    def validate(self) -> None:
        """Raises the first of problems()."""
        for problem in self.problems():
            raise problem

    def manifest(self) -> Manifest:
        """The manifest: equal declarations and sources give equal bytes in any process.

        Raises DefinitionError as validate() does.
        """
        from arco_flow.sdk.build_manifest import build_manifest

        return build_manifest(self)

    def _check_asset(self, asset: Asset[..., Any]) -> None:
        self.dependencies(asset.key)
        resources = self.resource_set()
        for parameter in asset.parameters:
            if parameter.kind == "resource":
                _as_of(asset, lambda p=parameter: resources.find(p.resource_class))
        _as_of(asset, lambda: _check_io(asset))
        _check_activity(asset)

    def __repr__(self) -> str:
        return f"Definitions({len(self.assets)} assets, {len(self.resources)} resources)"


def _checked(assets: Iterable[object] | Asset[..., Any]) -> list[Asset[..., Any]]:
    found: list[Asset[..., Any]] = []
    if isinstance(assets, Asset):
        raise DefinitionError(
            f"Definitions takes a list of assets, not the asset '{assets.key}'",
            fix=f"Definitions([{assets.name}])",
            reason="BAD_DEFINITIONS",
        )
    for item in assets:
        if not isinstance(item, Asset):
            raise DefinitionError(
                f"Definitions holds {item!r}, which is no asset",
                fix="decorate the function with @asset",
                reason="BAD_DEFINITIONS",
            )
        found.append(item)
    return found


def _as_of(asset: Asset[..., Any], check: Any) -> None:
    """Tell a refusal as one of this asset."""
    try:
        check()
    except InvalidInput as error:
        raise DefinitionError(
            f"asset '{asset.key}': {error.message}",
            where=str(asset.place),
            fix=error.fix,
            reason=error.reason,
            details={"asset": asset.key},
        ) from None


def _check_io(asset: Asset[..., Any]) -> None:
    from arco_flow.io.registry import io_by_name
    from arco_flow.sdk.execution import output_io

    name = output_io(asset)
    if name and name != "auto":
        io_by_name(name)


def _check_activity(asset: Asset[..., Any]) -> None:
    import inspect

    if asset.options.kind != "activity":
        return
    returned = asset.return_annotation
    if returned not in (None, type(None), inspect.Parameter.empty, Any, object):
        raise DefinitionError(
            f"activity '{asset.key}' is annotated to return a value, which nobody could read",
            where=str(asset.place),
            fix="annotate it `-> None`, or make it an asset: drop kind='activity'",
            reason="BAD_ACTIVITY",
        )
