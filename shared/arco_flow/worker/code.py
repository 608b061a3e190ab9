"""The user's code as one process knows it: loaded once, or the reason why it can not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arco_flow.domain.errors import InvalidInput, did_you_mean
from arco_flow.sdk.asset import Asset
from arco_flow.sdk.execution import ResourceSet, input_annotation, output_io


@dataclass(slots=True)
class AssetCode:
    """An asset with what its annotations say, read once per process."""

    asset: Asset[..., Any]
    io: str
    returns: object
    _inputs: dict[tuple[str, str], object] = field(default_factory=dict)

    def input_type(self, parameter: str, shape: str) -> object:
        """The annotation that one version of an input is loaded as."""
        key = (parameter, shape)
        if key not in self._inputs:
            self._inputs[key] = input_annotation(self.asset, parameter, shape)
        return self._inputs[key]


class Code:
    """Assets and resources of a code location.

    trouble: what importing it raised; every attempt is then answered by it, so that a broken
    deployment is a failed task with a traceback and no crash loop.
    """

    def __init__(
        self,
        assets: Mapping[str, Asset[..., Any]],
        resources: ResourceSet,
        trouble: BaseException | None = None,
    ) -> None:
        self.resources = resources
        self._assets = assets
        self._trouble = trouble
        self._trace = trouble.__traceback__ if trouble is not None else None
        self._known: dict[str, AssetCode] = {}

    def asset(self, key: str) -> AssetCode:
        """The asset of a key. Raises what importing raised, or InvalidInput."""
        if self._trouble is not None:
            raise self._trouble.with_traceback(self._trace)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._read(key)
        return found

    def _read(self, key: str) -> AssetCode:
        asset = self._assets.get(key)
        if asset is None:
            raise InvalidInput(
                f"the worker's code has no asset '{key}'{did_you_mean(key, self._assets)}",
                fix="deploy again, so that plan and worker run the same code",
                reason="ASSET_NOT_IN_CODE",
            )
        return AssetCode(asset, output_io(asset), asset.return_annotation)


def load_code(target: str) -> Code:
    """Import a code location; what that raises is kept for the attempts."""
    from arco_flow.sdk.discovery import load_definitions

    try:
        definitions = load_definitions(target)
        return Code({asset.key: asset for asset in definitions.assets}, definitions.resource_set())
    except BaseException as error:
        return Code({}, ResourceSet(), error)
