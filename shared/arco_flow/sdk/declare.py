"""What `@asset` checks of a function before it becomes an asset, and the key it gives."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from arco_flow.domain.errors import DefinitionError, InvalidInput
from arco_flow.sdk.source import place_of

_CO_VARARGS, _CO_VARKEYWORDS, _CO_GENERATOR, _CO_ASYNC_GENERATOR = 0x4, 0x8, 0x20, 0x200
"""Flags of code objects, from inspect, which costs 5 ms to import."""

_MUTABLE = (list, dict, set, bytearray)
_OUTERMOST = "<module>"


def check_function(function: object) -> FunctionType:
    """The function itself, without what `functools.wraps` has put around it.

    Raises DefinitionError for what can not be an asset.
    """
    if isinstance(function, FunctionType) and hasattr(function, "__wrapped__"):
        from inspect import unwrap

        function = unwrap(function)
    if not isinstance(function, FunctionType):
        from arco_flow.sdk.asset import Asset

        shown = f"asset '{function.key}'" if isinstance(function, Asset) else repr(function)
        raise DefinitionError(
            f"@asset on {shown}, which is no plain function",
            fix="decorate a function: @asset above def",
            reason="BAD_FUNCTION",
        )
    flags = function.__code__.co_flags
    if flags & (_CO_GENERATOR | _CO_ASYNC_GENERATOR):
        raise _refused(function, "is a generator", "return the whole value instead of yielding it")
    if flags & (_CO_VARARGS | _CO_VARKEYWORDS):
        raise _refused(
            function,
            f"takes '{_variable(function)}', which nothing can fill",
            "name every parameter: its type or its name says what fills it",
        )
    if function.__code__.co_posonlyargcount:
        name = function.__code__.co_varnames[0]
        raise _refused(function, f"has the positional-only parameter '{name}'", "remove the '/'")
    _check_defaults(function)
    return function


def _variable(function: FunctionType) -> str:
    code = function.__code__
    place = code.co_argcount + code.co_kwonlyargcount
    stars = "*" if code.co_flags & _CO_VARARGS else "**"
    return stars + code.co_varnames[place]


def _check_defaults(function: FunctionType) -> None:
    for name, default in defaults_of(function).items():
        if isinstance(default, _MUTABLE):
            raise _refused(
                function,
                f"parameter '{name}' has the mutable default {default!r}, shared by all runs",
                f"{name}: … = upstream.out for an edge, or None",
            )


def defaults_of(function: FunctionType) -> dict[str, Any]:
    """Defaults by parameter name."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    found = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    return {**found, **(function.__kwdefaults__ or {})}


def key_of(function: FunctionType, key: object, namespace: object) -> str:
    """The asset's key. Raises DefinitionError.

    Without a namespace it is the module's last segment: the file's name, or the folder's for
    `__init__.py`.
    """
    from arco_flow.domain.identifiers import validate_asset_key

    if key is not None and namespace is not None:
        raise _refused(function, "is given both key= and namespace=", "key holds the namespace")
    if key is None:
        space = default_namespace(function) if namespace is None else namespace
        key = f"{space}.{function.__name__}"
    try:
        return validate_asset_key(key)  # type: ignore[arg-type]
    except InvalidInput as error:
        fix = f"@asset(key='…'), {error.fix}" if error.fix else None
        raise _refused(function, f"has no legal key: {error.message}", fix) from None


def default_namespace(function: FunctionType) -> str:
    """Last segment of the function's module; of `__main__` its file's name."""
    module = function.__module__ or ""
    last = module.rpartition(".")[2]
    if last != "__main__":
        return last.lower().replace("-", "_")
    file = os.path.abspath(function.__code__.co_filename)
    stem = os.path.splitext(os.path.basename(file))[0]
    if stem in ("__main__", "__init__"):
        stem = os.path.basename(os.path.dirname(file))
    stem = stem.lower().replace("-", "_")
    # of a function typed into a console, whose file is "<stdin>"
    return stem if stem.isidentifier() else "main"


def local_names(function: FunctionType) -> Mapping[str, object]:
    """Names that annotations written as text may use, when the function is declared in another.

    Read from the frame that uses the decorator, because afterwards it is gone.
    """
    texts = any(isinstance(item, str) for item in function.__annotations__.values())
    if "<locals>" not in function.__qualname__ or not texts:
        return {}
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename != function.__code__.co_filename:
        frame = frame.f_back
    return {} if frame.f_code.co_name == _OUTERMOST else dict(frame.f_locals)


def _refused(function: FunctionType, problem: str, fix: str | None) -> DefinitionError:
    return DefinitionError(
        f"asset function '{function.__name__}' {problem}",
        where=str(place_of(function)),
        fix=fix,
        reason="BAD_FUNCTION",
    )
