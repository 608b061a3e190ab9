"""Everything that is neither a frame nor bytes: JSON, typed again by the reader's annotation.

Dictionaries keep their order, sets are sorted; inside structs, dataclasses and models
dictionaries are sorted too, so that equal values give equal bytes in every process. Keys become
text and come back as the annotation says (`dict[int, str]`).
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

import msgspec

from arco_flow.domain.wire import MAX_DEPTH
from arco_flow.io.annotations import annotation_name, frame_kind, is_model, is_open, union_members
from arco_flow.io.base import InputSource, OutputInfo, OutputTarget, ValueRefused

DATA_NAME = "data.json"


class JsonIO:
    """dict, list, tuple, set, scalars, msgspec.Struct, dataclasses, pydantic models."""

    name = "json"

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        """Write the value. Raises ValueRefused naming the JSON path of what does not fit."""
        data = _encode(value, target.asset)
        rows = len(value) if isinstance(value, list | tuple) else None
        return OutputInfo.of_files(target.put(DATA_NAME, data), row_count=rows)

    def load(self, source: InputSource, type_: object) -> object:
        """Parse and convert to the annotation. Raises ValueRefused naming the JSON path."""
        data = source.read(source.file())
        return _decode(data, type_, source.asset, source.prefix + DATA_NAME)


def convert_json(value: object, type_: object, asset: str) -> object:
    """The value as `JsonIO.load` would give it after `save`, without a file."""
    return _decode(_encode(value, asset), type_, asset, None)


def _encode(value: object, asset: str) -> bytes:
    try:
        return msgspec.json.encode(_plain(value, "$", 0))
    except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as error:
        raise _refused(value, asset, error) from error
    except _Unstorable as error:
        raise _refused(value, asset, error, fix=error.fix) from error


def _decode(data: bytes, type_: object, asset: str, where: str | None) -> object:
    members = union_members(type_)
    if type_ is None or any(map(is_open, members)):
        return msgspec.json.decode(data)
    if any(frame_kind(member) for member in members):
        raise _misfit(asset, type_, "it is no data frame", where)
    try:
        return msgspec.json.decode(data, type=type_, dec_hook=_build)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _misfit(asset, type_, str(error), where) from error
    except TypeError as error:
        raise _misfit(asset, type_, f"the annotation can not be read: {error}", where) from error


class _Unstorable(Exception):
    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def _plain(value: Any, path: str, depth: int) -> object:
    """The value in JSON's own types, with NaN refused: JSON would silently make it null."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, float):
        return _finite(float(value), path)
    if isinstance(value, str) and not isinstance(value, Enum):
        return str.__str__(value)
    if depth > MAX_DEPTH:
        raise _Unstorable(f"nested deeper than {MAX_DEPTH} levels at `{path}`", "flatten it")
    if kind is dict:
        value = {_text_key(key): item for key, item in value.items()}
        _check_keys(value, path)
        return {key: _plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if kind is list or kind is tuple:
        items = enumerate(value)
        return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in items]
    if isinstance(value, set | frozenset):
        parts = [_plain(item, f"{path}[…]", depth + 1) for item in value]
        return sorted(parts, key=msgspec.json.encode)
    try:
        simple = msgspec.to_builtins(value, enc_hook=_simplify, order="deterministic")
    except (TypeError, ValueError) as error:
        raise _Unstorable(f"{error} at `{path}`", _MEND) from error
    return simple if isinstance(simple, str | int) else _plain(simple, path, depth + 1)


_MEND = (
    "return dicts, lists, scalars, dataclasses, msgspec.Structs or pydantic models; a frame for "
    "tables, bytes for anything else"
)


def _text_key(key: object) -> object:
    """A key without a class of its own: a partition key is a str that the encoder knows not."""
    return str.__str__(key) if isinstance(key, str) and not isinstance(key, Enum) else key


def _check_keys(value: dict[object, object], path: str) -> None:
    kinds = sorted({type(key).__name__ for key in value})
    if len(kinds) > 1:
        # 1 and "1" would become the same key of the document.
        raise _Unstorable(f"keys of types {', '.join(kinds)} mixed at `{path}`", "use text keys")
    if kinds == ["float"] and not all(math.isfinite(key) for key in value):  # type: ignore[arg-type]
        raise _Unstorable(f"a key at `{path}` is not finite", "use text or whole numbers as keys")


def _finite(value: float, path: str) -> float:
    if math.isfinite(value):
        return value
    raise _Unstorable(
        f"{value!r} at `{path}` has no JSON form",
        "replace it by None (`None if math.isnan(x) else x`), or return a data frame",
    )


def _simplify(value: Any) -> object:
    if is_model(type(value)):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return value.tolist()  # numpy scalars and arrays
    raise TypeError(f"{annotation_name(type(value))} is no JSON value")


def _build(type_: Any, value: object) -> object:
    if is_model(type_):
        try:
            return type_.model_validate(value)
        except ValueError as error:
            raise ValueError(str(error)) from error
    if isinstance(value, type_):
        return value
    raise ValueError(f"{annotation_name(type_)} can not be built from JSON")


def _refused(value: object, asset: str, error: Exception, fix: str = _MEND) -> ValueRefused:
    name = "None" if value is None else annotation_name(type(value))
    return ValueRefused(
        f"'{asset}' returned {name}, which the IO 'json' can not store: {error}", fix=fix
    )


def _misfit(asset: str, type_: object, what: str, where: str | None) -> ValueRefused:
    return ValueRefused(
        f"the value of '{asset}' does not fit the annotation {annotation_name(type_)}: {what}",
        where=where,
        fix="change the parameter's annotation, or materialize the upstream asset again if its "
        "shape has changed since",
    )
