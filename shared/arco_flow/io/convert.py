"""What a reader would load, had the value been stored: for runs in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arco_flow.io.bytes_io import convert_bytes, convert_none
from arco_flow.io.json_io import convert_json
from arco_flow.io.parquet import convert_frame
from arco_flow.io.registry import AUTO, io_for_value

_CONVERSIONS: Mapping[str, Callable[[Any, object, str], object]] = {
    "parquet": convert_frame,
    "json": convert_json,
    "bytes": convert_bytes,
    "none": convert_none,
}


def convert_value(value: object, annotation: object, *, asset: str = "", io: str = "") -> object:
    """The value as the annotation asks, by the steps of saving and loading but without files.

    asset: that made it, for messages. io: of that asset, "" when its annotation or the value
    chooses. What an IO of the user's stores is handed over as it is.
    Raises ValueRefused as saving and loading do.
    """
    chosen = io_for_value(value) if io in ("", AUTO) else io
    convert = _CONVERSIONS.get(chosen)
    return value if convert is None else convert(value, annotation, asset)
