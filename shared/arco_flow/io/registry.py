"""Which IO stores a value: by the asset's own choice, by its annotation, else by the value."""

from __future__ import annotations

import types

from arco_flow.domain.errors import Conflict, InvalidInput, did_you_mean
from arco_flow.io.annotations import (
    annotation_name,
    frame_kind,
    is_json_type,
    is_open,
    union_members,
)
from arco_flow.io.base import IO, InputSource, OutputInfo, OutputTarget, ValueRefused
from arco_flow.io.bytes_io import BytesIO, NoneIO
from arco_flow.io.commit import read_commit
from arco_flow.io.json_io import JsonIO
from arco_flow.io.parquet import ParquetIO
from arco_flow.ports.objects import Objects

AUTO = "auto"
"""The annotation does not say; the value decides when it is saved."""

_BUILT_IN: dict[str, IO] = {io.name: io for io in (ParquetIO(), JsonIO(), BytesIO(), NoneIO())}
_registered: dict[str, IO] = dict(_BUILT_IN)
_by_class: dict[type, str] = {}


def register_io(io: IO, *classes: type) -> IO:
    """Make a user's IO known by its name, and as the one for values of the classes.

    Registering the same object again does nothing. Raises Conflict when the name is taken by a
    built-in IO or by another object, InvalidInput when the object lacks save or load.
    """
    name = getattr(io, "name", None)
    if not isinstance(name, str) or not name or name == AUTO:
        raise InvalidInput(f"an IO needs a name, {type(io).__name__} has {name!r}")
    if not callable(getattr(io, "save", None)) or not callable(getattr(io, "load", None)):
        raise InvalidInput(
            f"IO '{name}' has no save(value, target) or no load(source, type_)",
            fix="implement both methods of arco_flow.io.base.IO",
        )
    standing = _registered.setdefault(name, io)
    if standing is not io and (name in _BUILT_IN or not _is_same_class(standing, io)):
        raise Conflict(f"the IO name '{name}' is taken by {type(standing).__name__}")
    _registered[name] = io
    _by_class.update(dict.fromkeys(classes, name))
    return io


def _is_same_class(one: IO, two: IO) -> bool:
    """Whether both are of one class, or of one that was imported anew after its file changed."""
    names = [(type(io).__module__, type(io).__qualname__) for io in (one, two)]
    return names[0] == names[1]


def io_by_name(name: str) -> IO:
    """The IO of a name. Raises InvalidInput with the nearest match."""
    io = _registered.get(name)
    if io is None:
        raise InvalidInput(
            f"no IO is called '{name}'{did_you_mean(name, _registered)}",
            fix=f"known: {', '.join(sorted(_registered))}; register others with register_io()",
        )
    return io


def io_for_annotation(annotation: object) -> str:
    """Name of the IO for values annotated so, `auto` where the annotation leaves it open.

    A union counts when all of its members agree, otherwise the value decides.
    """
    names = {_io_of_member(member) for member in union_members(annotation)}
    return names.pop() if len(names) == 1 else AUTO


def _io_of_member(annotation: object) -> str:
    if annotation is None or annotation is types.NoneType:
        return "none"
    if is_open(annotation):
        return AUTO
    if isinstance(annotation, type):
        for base in annotation.__mro__:
            if base in _by_class:
                return _by_class[base]
        if issubclass(annotation, bytes | bytearray | memoryview):
            return "bytes"
    if frame_kind(annotation) is not None:
        return "parquet"
    return "json" if is_json_type(annotation) else AUTO


def io_for_value(value: object) -> str:
    """Name of the IO for a value whose annotation left it open; JSON refuses what is left."""
    name = _io_of_member(type(value))
    return "json" if name == AUTO else name


def save_value(
    value: object, target: OutputTarget, *, io: str = "", annotation: object = AUTO
) -> tuple[str, OutputInfo]:
    """Save with the asset's IO, else the annotation's, else the value's; (name, what was saved).

    Raises ValueRefused saying which asset returned what, and how its IO was chosen.
    """
    chosen, why = io, f"chosen by io='{io}' of the asset"
    if not chosen or chosen == AUTO:
        chosen = io_for_annotation(annotation)
        why = f"chosen by the return annotation {annotation_name(annotation)}"
    if chosen == AUTO:
        chosen = io_for_value(value)
        why = f"chosen by the value, because the return annotation is {_silence(annotation)}"
    try:
        return chosen, io_by_name(chosen).save(value, target)
    except ValueRefused as error:
        raise ValueRefused(
            error.message, where=error.where or f"IO '{chosen}', {why}", fix=error.fix
        ) from error.__cause__


def _silence(annotation: object) -> str:
    silent = isinstance(annotation, str) and annotation == AUTO
    return "absent" if silent else annotation_name(annotation)


def load_value(objects: Objects, prefix: str, annotation: object, *, asset: str = "") -> object:
    """The value of a committed version as the annotation asks, by the IO that wrote it.

    Raises NotFound without a commit marker, VersionDamaged, ValueRefused.
    """
    commit = read_commit(objects, prefix)
    source = InputSource(objects, prefix, commit, asset)
    return io_by_name(commit.io).load(source, annotation)
