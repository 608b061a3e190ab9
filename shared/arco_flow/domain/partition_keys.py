"""The canonical, typed text of a partition key: `date=d:2026-01-31,region=s:ZXU`.

Dimensions are sorted by name and joined by commas, each as `name=tag:value`. One key has one
text: the decoder refuses every other spelling, so texts can be compared, hashed and used in
object paths. The empty text is the key of what is not partitioned.

    tag  value                                    Python
    s    base64url without padding of UTF-8, NFC  str
    i    decimal, 64 bits with sign               int
    b    true, false                              bool
    d    YYYY-MM-DD                               date
    t    YYYY-MM-DDTHH:MM:SS.ffffffZ              datetime in UTC
    n    null                                     None
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.normal_form import nfc

DimensionValue = str | int | bool | date | datetime | None

MAX_DIMENSIONS = 64
"""Dimensions of one key; more is an accident, and the text must stay short enough to store."""

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_INT64_LIMIT = 2**63


def encode_partition_key(dims: Mapping[str, DimensionValue]) -> str:
    """The canonical text of a key; empty for no dimensions.

    Text is normalised to NFC; an aware datetime is converted to UTC.
    Raises InvalidInput for a name that is not `[a-z][a-z0-9_]*`, an integer beyond 64 bits, a
    datetime without zone, text with a lone surrogate, any other type, and too many dimensions.
    """
    if len(dims) > MAX_DIMENSIONS:
        raise _bad(f"{len(dims)} dimensions, at most {MAX_DIMENSIONS} fit in a key")
    for name in dims:
        check_dimension_name(name)
    return ",".join(f"{name}={_encode_value(name, dims[name])}" for name in sorted(dims))


def decode_partition_key(text: str) -> dict[str, DimensionValue]:
    """Inverse of encode_partition_key, in name order.

    Raises InvalidInput for every text that the encoder would not have written: unsorted or
    repeated names, `+5`, `005`, `-0`, padding, stray bits in base64, text that is not NFC.
    """
    if not isinstance(text, str):
        raise _bad(f"a partition key is text, not {type(text).__name__}")
    dims: dict[str, DimensionValue] = {}
    if not text:
        return dims
    parts = text.split(",")
    if len(parts) > MAX_DIMENSIONS:
        raise _bad(f"{len(parts)} dimensions, at most {MAX_DIMENSIONS} fit in a key")
    previous = ""
    for part in parts:
        name, equals, typed = part.partition("=")
        tag, colon, value = typed.partition(":")
        if not equals or not colon:
            raise _bad(f"part {_short(part)} is not name=tag:value")
        check_dimension_name(name)
        if name <= previous:
            problem = "is repeated" if name == previous else "is out of order"
            raise _bad(f"dimension '{name}' {problem}: names are sorted and unique")
        previous = name
        dims[name] = _decode_value(name, tag, value)
    return dims


def check_dimension_name(name: str) -> str:
    """The name itself. Raises InvalidInput unless it is `[a-z][a-z0-9_]*`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _bad(f"{_short(name)} is no dimension name", "use [a-z][a-z0-9_]*")
    return name


def _encode_value(name: str, value: DimensionValue) -> str:
    if value is None:
        return "n:null"
    if isinstance(value, bool):
        return "b:true" if value else "b:false"
    if isinstance(value, str):
        return "s:" + _encode_text(name, value)
    if isinstance(value, int):
        if not -_INT64_LIMIT <= int(value) < _INT64_LIMIT:
            raise _bad(f"dimension '{name}': an integer beyond 64 bits")
        return f"i:{int(value)}"
    if isinstance(value, datetime):
        return "t:" + _encode_time(name, value)
    if isinstance(value, date):
        return f"d:{value.isoformat()}"
    kind = type(value).__name__
    raise _bad(f"dimension '{name}': {kind} is no type of a partition key", _TYPES)


_TYPES = "use str, int, bool, date, datetime with a zone, or None"


def _encode_text(name: str, value: str) -> str:
    try:
        raw = nfc(value).encode()
    except UnicodeEncodeError as error:
        raise _bad(f"dimension '{name}': text with a lone surrogate") from error
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _encode_time(name: str, value: datetime) -> str:
    if value.tzinfo is None or value.utcoffset() is None:
        raise _bad(f"dimension '{name}': the time {value} has no zone", "give it tzinfo")
    try:
        instant = value.astimezone(UTC)
    except OverflowError as error:
        raise _bad(f"dimension '{name}': the time {value} is outside the calendar") from error
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _decode_value(name: str, tag: str, value: str) -> DimensionValue:
    decode = _DECODERS.get(tag)
    if decode is None:
        raise _bad(f"dimension '{name}': unknown tag {_short(tag)}", "one of s i b d t n")
    try:
        return decode(value)
    except (ValueError, OverflowError) as error:
        raise _bad(f"dimension '{name}': {_short(value)} is no canonical {_KINDS[tag]}") from error


def _decode_text(value: str) -> str:
    if not _BASE64.fullmatch(value):
        raise ValueError(value)
    text = urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
    # Stray bits after the last byte and text that is not NFC are caught by writing it again.
    if urlsafe_b64encode(nfc(text).encode()).rstrip(b"=").decode() != value:
        raise ValueError(value)
    return text


def _decode_integer(value: str) -> int:
    if not _INTEGER.fullmatch(value) or not -_INT64_LIMIT <= int(value) < _INT64_LIMIT:
        raise ValueError(value)
    return int(value)


def _decode_flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(value)
    return value == "true"


def _decode_date(value: str) -> date:
    if not _DATE.fullmatch(value):
        raise ValueError(value)
    return date.fromisoformat(value)


def _decode_time(value: str) -> datetime:
    if not _TIME.fullmatch(value):
        raise ValueError(value)
    return datetime.fromisoformat(value[:-1]).replace(tzinfo=UTC)


def _decode_null(value: str) -> None:
    if value != "null":
        raise ValueError(value)


_DECODERS: Mapping[str, Callable[[str], DimensionValue]] = {
    "s": _decode_text,
    "i": _decode_integer,
    "b": _decode_flag,
    "d": _decode_date,
    "t": _decode_time,
    "n": _decode_null,
}
_KINDS = {"s": "text", "i": "integer", "b": "flag", "d": "date", "t": "time", "n": "null"}


def _short(value: object) -> str:
    """A quotation for a message, cut so that a hostile key does not fill a log line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _bad(message: str, fix: str | None = None) -> InvalidInput:
    return InvalidInput(f"partition key: {message}", fix=fix, reason="BAD_PARTITION_KEY")
