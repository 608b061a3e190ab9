"""Bytes as they are, and the absence of a value."""

from __future__ import annotations

from arco_flow.io.annotations import admits_none, annotation_name, is_open, union_members
from arco_flow.io.base import InputSource, OutputInfo, OutputTarget, ValueRefused

DATA_NAME = "data.bin"
_BYTES = (bytes, bytearray, memoryview)


class BytesIO:
    """bytes, bytearray and memoryview as one file."""

    name = "bytes"

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        """Write the bytes. Raises ValueRefused for anything else."""
        return OutputInfo.of_files(target.put(DATA_NAME, _bytes_of(value, target.asset)))

    def load(self, source: InputSource, type_: object) -> object:
        """The bytes, as the class that is asked. Raises ValueRefused for another annotation."""
        return _as_annotated(source.read(source.file()), type_, source.asset)


def convert_bytes(value: object, type_: object, asset: str) -> object:
    """The bytes as `BytesIO.load` would give them after `save`, without a file."""
    return _as_annotated(_bytes_of(value, asset), type_, asset)


def _bytes_of(value: object, asset: str) -> bytes:
    if isinstance(value, _BYTES):
        return bytes(value)
    raise ValueRefused(
        f"'{asset}' returned {annotation_name(type(value))}, the IO 'bytes' stores bytes",
        fix="return bytes, or annotate the function with what it really returns",
    )


def _as_annotated(data: bytes, type_: object, asset: str) -> object:
    for member in union_members(type_):
        if member in (bytes, bytearray, memoryview):
            return member(data)
        if member is None or is_open(member):
            return data
    raise ValueRefused(
        f"the version of '{asset}' is bytes, the parameter asks for {annotation_name(type_)}",
        fix="annotate the parameter with bytes",
    )


class NoneIO:
    """An asset that produces no value: a version without data files, only its marker."""

    name = "none"

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        """Write nothing. Raises ValueRefused for a value, which would be lost."""
        _require_none(value, target.asset)
        return OutputInfo()

    def load(self, source: InputSource, type_: object) -> object:
        """None. Raises ValueRefused when the annotation leaves no room for None."""
        return convert_none(None, type_, source.asset)


def convert_none(value: object, type_: object, asset: str) -> object:
    """None as `NoneIO.load` would give it after `save`, without a file."""
    _require_none(value, asset)
    if admits_none(type_):
        return None
    raise ValueRefused(
        f"'{asset}' produced no value, the parameter asks for {annotation_name(type_)}",
        fix="return the value from the upstream asset, or depend on it by `deps=` alone",
    )


def _require_none(value: object, asset: str) -> None:
    if value is not None:
        raise ValueRefused(
            f"'{asset}' returned {annotation_name(type(value))}, but is declared to produce no "
            "value (`-> None`), so the value would be lost",
            fix="annotate the function with what it returns, or return nothing",
        )
