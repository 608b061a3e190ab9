"""User code that fails while it is imported, told in three lines with the user's file and line."""

from __future__ import annotations

import importlib
import os
import traceback

from arco_flow.domain.errors import ArcoError, DefinitionError
from arco_flow.sdk.source import is_below, shown_path

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def import_error(what: str, error: BaseException, root: str) -> DefinitionError:
    """The error to show. what: file or module that was being imported."""
    name = shown_path(what) if os.path.isabs(what) else what
    if isinstance(error, ArcoError):
        return DefinitionError(
            error.message,
            where=_place(error, root),
            fix=error.fix,
            reason=error.reason,
            details=error.details,
        )
    return DefinitionError(
        f"{name} can not be imported: {_told(error)}",
        where=_place(error, root),
        fix=_mend(error),
        reason="IMPORT_FAILED",
    )


def _told(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException, root: str) -> str | None:
    """The innermost line of the user's files, else of any file that is not ours or Python's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown_path(os.path.abspath(error.filename))}:{error.lineno}"
    frames = [
        (os.path.abspath(frame.filename), frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not is_below(frame.filename, _OURS)
        if os.path.abspath(frame.filename) != importlib.__file__
    ]
    own = [frame for frame in frames if is_below(frame[0], root)]
    chosen = (own or frames)[-1:]
    return f"{shown_path(chosen[0][0])}:{chosen[0][1]}" if chosen else None


def _mend(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install the package that holds '{error.name}', or correct the import"
    if isinstance(error, SystemExit):
        return "put what a script does below `if __name__ == '__main__':`"
    if isinstance(error, SyntaxError):
        return "correct what Python can not read there"
    if isinstance(error, AttributeError) and error.name == "check":
        return "write @asset above the function that the check is of"
    return "correct that line; the whole stack: arco-flow --debug validate TARGET"
