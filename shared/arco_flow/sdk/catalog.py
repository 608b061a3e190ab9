"""The assets of a code location by every name that an edge may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from arco_flow.domain.errors import DefinitionError, did_you_mean

if TYPE_CHECKING:
    from arco_flow.sdk.asset import Asset


class Catalog:
    """Assets by key and by name. Raises DefinitionError for two of one key."""

    def __init__(self, assets: Iterable[Asset[..., Any]]) -> None:
        self.by_key: Mapping[str, Asset[..., Any]] = _unique(assets)
        self._by_name: dict[str, list[str]] = {}
        self._by_function: dict[tuple[str, str], list[str]] = {}
        for key, asset in self.by_key.items():
            self._by_name.setdefault(asset.name, []).append(key)
            called = (asset.namespace, asset._function.__name__)
            self._by_function.setdefault(called, []).append(key)

    def find_named(self, name: str, reader: Asset[..., Any]) -> str | None:
        """The key that a parameter of `reader` means by `name`.

        In its own namespace: the asset with that name, else the one with a function of that
        name; then the only asset anywhere whose key ends so. Raises DefinitionError for several.
        """
        key = f"{reader.namespace}.{name}"
        if key in self.by_key:
            return key
        found = self._by_function.get((reader.namespace, name)) or self._by_name.get(name, [])
        if len(found) > 1:
            raise DefinitionError(
                f"asset '{reader.key}': parameter '{name}' could be any of {', '.join(found)}",
                where=str(reader.place),
                fix=f"say which by a typed edge: {name}: … = the_asset.out",
                reason="AMBIGUOUS_UPSTREAM",
            )
        return found[0] if found else None

    def require(self, wanted: object, reader: Asset[..., Any], what: str) -> str:
        """The key of an asset, or of a text that is a key or an asset's name.

        what: the keyword it stands in, for messages. Raises DefinitionError.
        """
        key = wanted if isinstance(wanted, str) else getattr(wanted, "key", None)
        if not isinstance(key, str):
            raise DefinitionError(
                f"asset '{reader.key}': {what} holds {wanted!r}, which is no asset and no key",
                where=str(reader.place),
                fix=f"{what}=[the_asset] or {what}=['namespace.name']",
                reason="BAD_DEPENDENCY",
            )
        if key in self.by_key:
            return key
        found = None if "." in key else self.find_named(key, reader)
        if found is None:
            raise self._unknown(key, reader, what, is_text=isinstance(wanted, str))
        return found

    def hint(self, name: str) -> str:
        """`; did you mean 'x'?` for a name or a key."""
        return did_you_mean(name, self.by_key if "." in name else self._by_name)

    def _unknown(
        self, key: str, reader: Asset[..., Any], what: str, *, is_text: bool
    ) -> DefinitionError:
        fix = f"correct the key in {what}, or declare the asset '{key}'"
        if not is_text:
            fix = f"add '{key}' to the Definitions, or to a module that is loaded"
        return DefinitionError(
            f"asset '{reader.key}': {what} names '{key}', which is not defined{self.hint(key)}",
            where=str(reader.place),
            fix=fix,
            reason="UNKNOWN_UPSTREAM",
            details={"asset": reader.key, "upstream": key},
        )


def _unique(assets: Iterable[Asset[..., Any]]) -> dict[str, Asset[..., Any]]:
    found: dict[str, Asset[..., Any]] = {}
    for asset in assets:
        standing = found.setdefault(asset.key, asset)
        if standing is not asset and not _is_reimport(standing, asset):
            raise DefinitionError(
                f"two assets have the key '{asset.key}': the other one is at {standing.place}",
                where=str(asset.place),
                fix="rename one function, or give it @asset(namespace='…') or @asset(key='…')",
                reason="DUPLICATE_ASSET",
                details={"key": asset.key},
            )
    return dict(sorted(found.items()))


def _is_reimport(one: Asset[..., Any], two: Asset[..., Any]) -> bool:
    """Whether one file, imported under two module names, declared both."""
    modules = one._function.__module__, two._function.__module__
    return modules[0] != modules[1] and one.place == two.place
