"""Small manifests to plan from: a graph of assets, their partitions and the mappings between."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from arco_flow.domain.errors import DefinitionError
from arco_flow.domain.manifest import AssetSpec, DepSpec, Manifest
from arco_flow.domain.partition_mappings import (
    PartitionMapping,
    infer_mapping,
    validate_mapping,
)
from arco_flow.domain.partitions import (
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MultiPartitions,
    PartitionContext,
    PartitionsDefinition,
    StaticPartitions,
    WeeklyPartitions,
    partitions_from_wire,
)

CTX = PartitionContext(1_736_000_000, {"who": ("zoe", "adam")})  # 2025-01-04T14:13:20Z
DAYS = DailyPartitions("2024-12-20")
KINDS: tuple[PartitionsDefinition | None, ...] = (
    None,
    None,
    DAYS,
    DailyPartitions("2024-12-25", end="2025-01-03"),
    WeeklyPartitions("2024-12-01", day_offset=1),
    HourlyPartitions("2025-01-03"),
    StaticPartitions(["us", "eu", "apac"]),
    StaticPartitions(["eu", "us"]),
    DynamicPartitions("who"),
    MultiPartitions({"date": DAYS, "region": StaticPartitions(["us", "eu"])}),
)
WIRES = tuple(None if kind is None else kind.to_wire() for kind in KINDS)
RULES = (
    PartitionMapping.all(),
    PartitionMapping.last(),
    PartitionMapping.identity(),
    PartitionMapping.time_window(start_offset=-1),
    PartitionMapping.time_window(start_offset=-1, end_offset=-1),
)


def _mapping(draw: st.DrawFn, up: int, down: int) -> dict[str, Any] | None:
    """None for what is inferred, else a mapping that may hold between the two."""
    rules = [infer_mapping(KINDS[up], KINDS[down]), *RULES]
    rule = draw(st.sampled_from(rules))
    try:
        validate_mapping(rule, KINDS[up], KINDS[down])
    except DefinitionError:
        return PartitionMapping.all().to_wire()
    return None if rule is rules[0] else rule.to_wire()


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Up to six assets; each may depend on any before it, and one by time on itself."""
    kinds = draw(st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=6))
    assets = []
    for number, kind in enumerate(kinds):
        deps = []
        for up in sorted(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else ():
            param = draw(st.sampled_from(["", f"p{up}"]))
            mapping = _mapping(draw, kinds[up], kind)
            deps.append(DepSpec(asset=f"t.a{up}", param=param, mapping=mapping, shape="sequence"))
        if KINDS[kind] == DAYS and draw(st.booleans()):
            own = RULES[-1].to_wire()
            deps.append(DepSpec(asset=f"t.a{number}", param="before", mapping=own))
        group = draw(st.sampled_from(["x", "y"]))
        assets.append(AssetSpec(key=f"t.a{number}", deps=deps, partitions=WIRES[kind], group=group))
    return Manifest(code_version_id="cv_1", module="m", assets=assets)


def definition_of(spec: AssetSpec) -> PartitionsDefinition | None:
    """The partitions of an asset."""
    return None if spec.partitions is None else partitions_from_wire(spec.partitions)


def keys_of(spec: AssetSpec) -> list[str]:
    """All keys of an asset, one empty one when it has no partitions."""
    definition = definition_of(spec)
    return [""] if definition is None else definition.keys(CTX)
