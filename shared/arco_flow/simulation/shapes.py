"""What is deployed in a history: small graphs with policies."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from arco_flow.domain.manifest import AssetSpec, DepSpec, Manifest, TimeoutsSpec

CHAIN: Final[Mapping[str, Sequence[str]]] = {"a": [], "b": ["a"], "c": ["b"]}
DIAMOND: Final[Mapping[str, Sequence[str]]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
FAN: Final[Mapping[str, Sequence[str]]] = {
    "a": [],
    **{f"b{i}": ["a"] for i in range(5)},
    "z": [f"b{i}" for i in range(5)],
}
LOOSE: Final[Mapping[str, Sequence[str]]] = {"a": [], "b": [], "c": []}
SHAPES: Final = (CHAIN, DIAMOND, FAN, LOOSE)

KEYS: Final = {"kind": "static", "keys": ["k1", "k2", "k3"]}
REGIONS: Final = {"kind": "dynamic", "name": "regions"}


def manifest_of(
    edges: Mapping[str, Sequence[str]] = CHAIN, *, code: str = "v1", **spec: Any
) -> Manifest:
    """Assets `t.NAME` with value dependencies; keywords apply to all of them."""
    assets = [
        AssetSpec(
            key=f"t.{name}",
            code_version=code,
            deps=[DepSpec(asset=f"t.{up}", param=up) for up in ups],
            **spec,
        )
        for name, ups in sorted(edges.items())
    ]
    return Manifest(code_version_id=f"cv_{code}", module="t", assets=assets)


def random_manifest(chance: random.Random, code: str) -> Manifest:
    """A shape with policies of its own, and one asset on dynamic partitions beside it."""
    spec: dict[str, Any] = {
        "timeouts": TimeoutsSpec(
            start_ms=chance.choice([0, 0, 30_000]),
            heartbeat_ms=chance.choice([5_000, 20_000]),
            execution_ms=chance.choice([0, 0, 15_000]),
        ),
        "retry": chance.choice(
            [
                None,
                {"maxRetries": 3},
                {"maxRetries": 2, "delayMs": 1000},
                {"maxRetries": 2, "delayMs": 4000, "jitter": "full"},
            ]
        ),
        "partitions": chance.choice([None, None, KEYS]),
    }
    manifest = manifest_of(chance.choice(SHAPES), code=code, **spec)
    manifest.assets.append(AssetSpec(key="t.local", partitions=REGIONS, code_version=code))
    return manifest
