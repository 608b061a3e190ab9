"""Data versions: what an output was computed from, folded into one digest (Dagster 1.13).

An asset is stale when the version that its code and its inputs would give today is not the
version of what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from arco_flow.domain.wire import sha256_hex

INITIAL: Final = "INITIAL"
"""Version of an external asset that was never observed."""
NULL: Final = "NULL"
"""Version of an asset that was never materialized."""
UNKNOWN: Final = "UNKNOWN"
"""Version of an output that no statement can be made about."""


def logical_data_version(code_version: str | None, inputs: Mapping[str, str]) -> str:
    """The version of an output: digest of its code's version and its inputs' versions.

    code_version: None when it is not known; an asset without one gives the id of its run, which
    makes every materialization new. inputs: data version by asset key. UNKNOWN for an unknown
    code version and as soon as one input is UNKNOWN.

    The versions are joined without a divider, in the order of Dagster's printed keys (the list
    of the key's parts), so that digests agree with those of a Dagster installation.
    """
    if code_version is None or UNKNOWN in inputs.values():
        return UNKNOWN
    ordered = sorted(inputs, key=lambda key: repr(key.split("/")))
    joined = code_version + "".join(inputs[key] for key in ordered)
    return sha256_hex(joined.encode())
