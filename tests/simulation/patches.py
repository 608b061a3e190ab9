"""Changes to production code that are taken back: what a mutant is made of."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, MutableMapping
from types import CodeType, TracebackType
from typing import Any

_ABSENT = object()


class Patches:
    """Changes made one after the other, all of them undone at the end, the last one first.

    diff: the edited lines, `- before` and `+ after`, for people.
    """

    def __init__(self) -> None:
        self.diff: list[str] = []
        self._undo: list[Callable[[], None]] = []
        self._sources: dict[Any, str] = {}

    def __enter__(self) -> Patches:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        while self._undo:
            self._undo.pop()()

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Give an attribute of a module or class another value. Raises KeyError without one."""
        before = vars(owner)[name]
        self._undo.append(lambda: setattr(owner, name, before))
        setattr(owner, name, value)
        self._note([f"{name} = {_shown(before)}"], [f"{name} = {_shown(value)}"])

    def put(self, table: MutableMapping[Any, Any], key: Any, value: Any) -> None:
        """Give an entry of a table another value, or add one."""
        before = table.get(key, _ABSENT)
        self._undo.append(lambda: _restore(table, key, before))
        table[key] = value
        old = [] if before is _ABSENT else [f"{_shown(key)}: {_shown(before)}"]
        self._note(old, [f"{_shown(key)}: {_shown(value)}"])

    def edit(self, function: Callable[..., Any], before: str, after: str) -> None:
        """Replace a piece of a function's source, which must be there exactly once.

        The function stays the same object with other code, so that whoever holds a reference to
        it calls the changed one: importers, tables, decorators. Raises LookupError when the
        piece is not there: the code has changed, and the edit must change with it.
        """
        target = inspect.unwrap(function)
        source = self._sources.get(target) or textwrap.dedent(inspect.getsource(target))
        if source.count(before) != 1:
            name = f"{target.__module__}.{target.__qualname__}"
            raise LookupError(f"{source.count(before)} times in {name}: {before!r}")
        known = target.__code__
        self._sources[target] = source.replace(before, after)
        target.__code__ = _compiled(target, self._sources[target])
        self._undo.append(lambda: setattr(target, "__code__", known))
        self._note(before.strip().splitlines(), after.strip().splitlines())

    def _note(self, before: list[str], after: list[str]) -> None:
        self.diff += [f"- {line.strip()}" for line in before]
        self.diff += [f"+ {line.strip()}" for line in after]


def _compiled(target: Any, source: str) -> CodeType:
    """The code of a changed definition, with the globals of the module that it stands in."""
    made: dict[str, Any] = {}
    shifted = "\n" * (target.__code__.co_firstlineno - 1) + source
    code = compile(shifted, target.__code__.co_filename, "exec")
    exec(code, dict(target.__globals__), made)
    changed: CodeType = inspect.unwrap(made[target.__name__]).__code__
    if changed.co_freevars != target.__code__.co_freevars:
        raise LookupError(f"{target.__qualname__} is closed over {target.__code__.co_freevars}")
    return changed


def _restore(table: MutableMapping[Any, Any], key: Any, value: Any) -> None:
    if value is _ABSENT:
        del table[key]
    else:
        table[key] = value


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
