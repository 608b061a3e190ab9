"""Arco Flow: declare data assets in Python; run them on a laptop or on Google Cloud.

These are the public names; what is not listed here or in `arco_flow.testing` may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arco_flow.domain.errors import ArcoError, DefinitionError
    from arco_flow.domain.partition_mappings import PartitionMapping
    from arco_flow.domain.partitions import (
        CronPartitions,
        DailyPartitions,
        DynamicPartitions,
        HourlyPartitions,
        MonthlyPartitions,
        MultiPartitions,
        StaticPartitions,
        WeeklyPartitions,
    )
    from arco_flow.domain.retry import RetryPolicy
    from arco_flow.io.base import IO, InputSource, OutputInfo, OutputTarget
    from arco_flow.io.registry import register_io
    from arco_flow.sdk.asset import Asset, asset
    from arco_flow.sdk.checks import Check, CheckResult
    from arco_flow.sdk.context import AssetContext
    from arco_flow.sdk.definitions import Definitions
    from arco_flow.sdk.discovery import load_definitions
    from arco_flow.sdk.env import env, secret
    from arco_flow.sdk.partition_key import PartitionKey, PartitionWindow
    from arco_flow.sdk.resource import Resource
    from arco_flow.sdk.signals import AttemptCancelled, Failure, RetryRequested
    from arco_flow.stored_values import load_asset_value

__all__ = [
    # assets
    "asset",
    "Asset",
    "AssetContext",
    "Check",
    "CheckResult",
    "RetryPolicy",
    # partitions
    "HourlyPartitions",
    "DailyPartitions",
    "WeeklyPartitions",
    "MonthlyPartitions",
    "CronPartitions",
    "StaticPartitions",
    "DynamicPartitions",
    "MultiPartitions",
    "PartitionMapping",
    "PartitionKey",
    "PartitionWindow",
    # resources and definitions
    "Resource",
    "env",
    "secret",
    "Definitions",
    "load_definitions",
    # storing values
    "IO",
    "InputSource",
    "OutputInfo",
    "OutputTarget",
    "register_io",
    "load_asset_value",
    # errors and signals
    "ArcoError",
    "DefinitionError",
    "Failure",
    "RetryRequested",
    "AttemptCancelled",
]

_MODULES = {
    "arco_flow.domain.errors": ("ArcoError", "DefinitionError"),
    "arco_flow.domain.partition_mappings": ("PartitionMapping",),
    "arco_flow.domain.partitions": (
        "CronPartitions",
        "DailyPartitions",
        "DynamicPartitions",
        "HourlyPartitions",
        "MonthlyPartitions",
        "MultiPartitions",
        "StaticPartitions",
        "WeeklyPartitions",
    ),
    "arco_flow.domain.retry": ("RetryPolicy",),
    "arco_flow.io.base": ("IO", "InputSource", "OutputInfo", "OutputTarget"),
    "arco_flow.io.registry": ("register_io",),
    "arco_flow.sdk.asset": ("Asset", "asset"),
    "arco_flow.sdk.checks": ("Check", "CheckResult"),
    "arco_flow.sdk.context": ("AssetContext",),
    "arco_flow.sdk.definitions": ("Definitions",),
    "arco_flow.sdk.discovery": ("load_definitions",),
    "arco_flow.sdk.env": ("env", "secret"),
    "arco_flow.sdk.partition_key": ("PartitionKey", "PartitionWindow"),
    "arco_flow.sdk.resource": ("Resource",),
    "arco_flow.sdk.signals": ("AttemptCancelled", "Failure", "RetryRequested"),
    "arco_flow.stored_values": ("load_asset_value",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line needs few of them."""
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'arco_flow' has no attribute '{name}'")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
