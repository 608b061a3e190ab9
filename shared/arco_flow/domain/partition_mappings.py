"""The public names for mapping partitions of one asset to those of another."""

from __future__ import annotations

from arco_flow.domain.mapping_definitions import (
    PartitionMapping,
    infer_mapping,
    mapping_from_wire,
    validate_mapping,
)
from arco_flow.domain.mapping_rules import MappedKeys, downstream_of, upstream_of

__all__ = [
    "PartitionMapping",
    "MappedKeys",
    "upstream_of",
    "downstream_of",
    "infer_mapping",
    "validate_mapping",
    "mapping_from_wire",
]
