"""Bytes as they are, and the absence of a value."""

from __future__ import annotations

from arco_flow.io.annotations import annotation_name, is_open, union_members
from arco_flow.io.base import InputSource, OutputInfo, OutputTarget, ValueRefused

DATA_NAME = "data.bin"
_BYTES = (bytes, bytearray, memoryview)


class BytesIO:
    """bytes, bytearray and memoryview as one file."""

    name = "bytes"

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        """Write the bytes. Raises ValueRefused for anything else."""
        if not isinstance(value, _BYTES):
            raise ValueRefused(
                f"'{target.asset}' returned {annotation_name(type(value))}, the IO 'bytes' "
                "stores bytes",
                fix="return bytes, or annotate the function with what it really returns",
            )
        return OutputInfo.of_files(target.put(DATA_NAME, bytes(value)))

    def load(self, source: InputSource, type_: object) -> object:
        """The bytes, as the class that is asked. Raises ValueRefused for another annotation."""
        data = source.read(source.file())
        for member in union_members(type_):
            if member in (bytes, bytearray, memoryview):
                return member(data)
            if member is None or is_open(member):
                return data
        raise ValueRefused(
            f"the version of '{source.asset}' is bytes, the parameter asks for "
            f"{annotation_name(type_)}",
            fix="annotate the parameter with bytes",
        )


class NoneIO:
    """An asset that produces no value: a version without data files, only its marker."""

    name = "none"

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        """Write nothing. Raises ValueRefused for a value, which would be lost."""
        if value is not None:
            raise ValueRefused(
                f"'{target.asset}' returned {annotation_name(type(value))}, but is declared to "
                "produce no value (`-> None`), so the value would be lost",
                fix="annotate the function with what it returns, or return nothing",
            )
        return OutputInfo()

    def load(self, source: InputSource, type_: object) -> object:
        """None. Raises ValueRefused when the annotation leaves no room for None."""
        members = union_members(type_)
        if any(member is None or member is type(None) or is_open(member) for member in members):
            return None
        raise ValueRefused(
            f"'{source.asset}' produced no value, the parameter asks for {annotation_name(type_)}",
            fix="return the value from the upstream asset, or depend on it by `deps=` alone",
        )
