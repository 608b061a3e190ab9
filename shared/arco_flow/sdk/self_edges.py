"""Assets that read their own earlier partitions: what may stand on such an edge.

Only windows that end before the current one: whatever else it read, an asset would wait for itself.
"""

from __future__ import annotations

from arco_flow.domain.partition_base import PartitionsDefinition
from arco_flow.domain.partition_mappings import PartitionMapping
from arco_flow.domain.partitions import MultiPartitions, TimePartitions


def reads_earlier_only(mapping: PartitionMapping, definition: PartitionsDefinition | None) -> bool:
    """Whether every partition reads only such of the same definition that come before it.

    Of several dimensions one must go back in time, while the others stay where they are.
    """
    if isinstance(definition, TimePartitions):
        return mapping.kind == "time_window" and mapping.end_offset < 0
    if not isinstance(definition, MultiPartitions) or mapping.kind != "dimensions":
        return False
    rows = {(up, down): part for up, down, part in mapping.dims}
    if set(rows) != {(name, name) for name in definition.dims}:
        return False
    back = [name for name, _ in rows if reads_earlier_only(rows[name, name], definition.dims[name])]
    stay = [name for name, _ in rows if rows[name, name].kind == "identity"]
    return len(back) == 1 and len(back) + len(stay) == len(rows)


def earlier_mapping(name: str, definition: PartitionsDefinition | None) -> str:
    """What to write so that the edge `name` reads the partition before the current one."""
    before = "PartitionMapping.time_window(start_offset=-1, end_offset=-1)"
    if isinstance(definition, MultiPartitions) and definition.time_dimension:
        parts = dict.fromkeys(definition.dims, "PartitionMapping.identity()")
        parts[definition.time_dimension] = before
        shown = ", ".join(f"'{dim}': {part}" for dim, part in parts.items())
        before = f"PartitionMapping.dimensions({{{shown}}})"
    elif not isinstance(definition, TimePartitions):
        return (
            "only partitions by time have earlier ones to read: give it such, or name the "
            f"parameter after another asset, or say which: {name}: … = the_asset.out"
        )
    return f"to read its earlier partitions: @asset(…, mappings={{'{name}': {before}}})"
