"""Times and durations of messages as seconds."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def stamp(seconds: float) -> Any:
    """The timestamp, truncated to the microsecond as the services do."""
    micros = int(seconds * 1_000_000)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def whole_stamp(seconds: float) -> Any:
    """The timestamp, truncated to the second."""
    return Timestamp(seconds=int(seconds))


def seconds_of(value: Any) -> float:
    """The seconds of a timestamp or a duration."""
    return float(value.seconds + value.nanos / 1e9)


def duration(seconds: float) -> Any:
    """The duration, truncated to the millisecond."""
    millis = int(round(seconds * 1000, 3))
    return Duration(seconds=millis // 1000, nanos=millis % 1000 * 1_000_000)
