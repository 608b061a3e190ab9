"""The key of the partition that is being made, as an asset's function receives it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from arco_flow.domain.errors import InvalidInput

if TYPE_CHECKING:
    from arco_flow.domain.partition_base import PartitionsDefinition


class PartitionWindow(NamedTuple):
    """[start, end) of a time partition, aware datetimes in the definition's time zone."""

    start: datetime
    end: datetime


class PartitionKey(str):
    """A partition's key as text, which also knows its window and its dimensions.

    As a parameter's annotation it asks for the key: `def orders(day: PartitionKey)`. Made by
    hand, `PartitionKey("2026-01-31", DailyPartitions("2026-01-01"))` knows its window too.
    """

    __slots__ = ("definition",)

    definition: PartitionsDefinition | None

    def __new__(cls, key: str, definition: PartitionsDefinition | None = None) -> Self:
        """See the class."""
        made = super().__new__(cls, key)
        made.definition = definition
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[str, PartitionsDefinition | None]]:
        return type(self), (str(self), self.definition)

    @property
    def window(self) -> PartitionWindow:
        """Start and end of a time partition; of the one time dimension when there are several.

        Raises InvalidInput for a key that is no time.
        """
        from arco_flow.domain.partitions import MultiPartitions, TimePartitions
        from arco_flow.domain.zones import load_zone

        definition, key = self.definition, str(self)
        if isinstance(definition, MultiPartitions) and definition.time_dimension:
            name = definition.time_dimension
            key, definition = definition.split(key)[name], definition.dims[name]
        if not isinstance(definition, TimePartitions):
            raise InvalidInput(
                f"partition '{self}' has no time window: {_kind_of(definition)}",
                fix="time windows belong to hourly, daily, weekly, monthly and cron partitions",
                reason="NO_TIME_WINDOW",
            )
        zone, window = load_zone(definition.timezone), definition.window(key)
        start = datetime.fromtimestamp(window.start, zone)
        return PartitionWindow(start, datetime.fromtimestamp(window.end, zone))

    @property
    def dims(self) -> Mapping[str, PartitionKey]:
        """The key of every dimension by its name.

        One entry for a definition of one dimension: `date`, `time` or `key`.
        """
        from arco_flow.domain.partitions import MultiPartitions

        definition = self.definition
        if isinstance(definition, MultiPartitions):
            parts = definition.split(str(self))
            return {n: PartitionKey(part, definition.dims[n]) for n, part in parts.items()}
        return {getattr(definition, "dimension", "key"): self}


def _kind_of(definition: PartitionsDefinition | None) -> str:
    if definition is None:
        return "its definition of partitions is not known"
    return f"it is one of {type(definition).__name__}"
