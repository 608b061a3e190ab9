"""What an attempt tells the plane at its end."""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from arco_flow.io.commit import CommitMarker
from arco_flow.sdk.execution import CheckOutcome
from arco_flow.worker.failures import shorten
from arco_flow.worker.redaction import Redactor

MAX_METADATA_BYTES = 64 * 1024
"""Metadata beyond this stays in the version's marker; the report says so. Reports are kept in
the ledger, whose documents are bounded."""
MAX_CHECK_BYTES = 4 * 1024
"""Bounds each of a check's texts and its metadata, likewise."""
MAX_FILES = 100
MAX_NESTING = 8
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass(slots=True)
class Meter:
    """What an attempt costs; made when it begins."""

    wall: float = field(default_factory=time.perf_counter)
    cpu: float = field(default_factory=_cpu_seconds)
    load_ms: int = 0
    save_ms: int = 0

    def metrics(self) -> dict[str, Any]:
        """Milliseconds and bytes. CPU counts children that were waited for; the peak is the
        process's own since it started."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
        return {
            "cpuTimeMs": round((_cpu_seconds() - self.cpu) * 1000),
            "wallTimeMs": round((time.perf_counter() - self.wall) * 1000),
            "peakMemoryBytes": peak,
            "loadMs": self.load_ms,
            "saveMs": self.save_ms,
        }


def output_report(marker: CommitMarker, prefix: str) -> dict[str, Any]:
    """`output` of the completed callback, as the marker has it."""
    report: dict[str, Any] = {
        "materializationId": marker.attempt_id,
        "byteSize": marker.byte_size,
        "outputPath": prefix,
        "io": marker.io,
    }
    if marker.row_count is not None:
        report["rowCount"] = marker.row_count
    if marker.schema_hash:
        report["schemaHash"] = marker.schema_hash
    if marker.content_hash:
        report["contentHash"] = marker.content_hash
    if marker.files:
        report["files"] = [msgspec.to_builtins(file) for file in marker.files[:MAX_FILES]]
        report["fileCount"] = len(marker.files)
    if marker.metadata:
        report["metadata"] = bounded_metadata(marker.metadata)
    return report


def bounded_metadata(
    metadata: Mapping[str, Any], limit_bytes: int = MAX_METADATA_BYTES
) -> dict[str, Any]:
    """The metadata, or a note of its size when it is too large for a report."""
    if not metadata:
        return {}
    size = len(msgspec.json.encode(metadata))
    if size <= limit_bytes:
        return dict(metadata)
    note = f"{size} bytes of metadata; a report holds {limit_bytes}, the version's _commit all"
    return {"arco_flow/omitted": note}


def check_reports(outcomes: Sequence[CheckOutcome], redactor: Redactor) -> list[dict[str, Any]]:
    """Results of checks in the order of their declaration, as the version's marker keeps them."""
    return [
        {
            "name": outcome.name,
            "passed": outcome.passed,
            "severity": outcome.severity,
            "blocking": outcome.blocking,
            "description": redactor.clean(outcome.description),
            "metadata": plain_metadata(outcome.metadata, redactor),
            "error": redactor.clean(outcome.error),
        }
        for outcome in outcomes
    ]


def bounded_checks(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`checks` of the callback: as in the marker, within the bounds of a report."""
    return [
        {
            **check,
            "description": shorten(check["description"], MAX_CHECK_BYTES),
            "metadata": bounded_metadata(check["metadata"], MAX_CHECK_BYTES),
            "error": shorten(check["error"], MAX_CHECK_BYTES),
        }
        for check in checks
    ]


def plain_metadata(metadata: Mapping[str, object], redactor: Redactor) -> dict[str, Any]:
    """Metadata in JSON's types, without secrets; what has no JSON form is shown as text."""
    return {str(name): _plain(value, redactor, 0) for name, value in metadata.items()}


def _plain(value: object, redactor: Redactor, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return redactor.clean(value)
    if isinstance(value, int):
        # JavaScript and the ledger's columns hold 64 bits.
        return int(value) if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if depth < MAX_NESTING and isinstance(value, Mapping):
        return {str(name): _plain(item, redactor, depth + 1) for name, item in value.items()}
    if depth < MAX_NESTING and isinstance(value, list | tuple):
        return [_plain(item, redactor, depth + 1) for item in value]
    return redactor.clean(str(value))
