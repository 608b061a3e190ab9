"""The resources of one worker process: each opened once, when first needed, closed at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, TypeVar

from arco_flow.domain.errors import ArcoError, DefinitionError
from arco_flow.sdk.resource import Resource, is_overridden

S = TypeVar("S", bound=Resource)


class ResourceSet:
    """Which instance stands for which class, and which of them are open.

    Safe to use from several threads. A context manager: leaving it closes what is open.
    Raises DefinitionError when two instances of one class are given.
    """

    def __init__(self, instances: Iterable[Resource] = ()) -> None:
        self._by_class: dict[type[Resource], Resource] = {}
        self._opened: list[Resource] = []
        self._lock = threading.RLock()
        for instance in instances:
            self._add(instance)

    def _add(self, instance: Resource) -> None:
        if not isinstance(instance, Resource):
            raise DefinitionError(
                f"resources holds {instance!r}, which is no Resource",
                fix="class Shop(Resource): …, then resources=[Shop(…)]",
                reason="BAD_RESOURCE",
            )
        standing = self._by_class.setdefault(type(instance), instance)
        if standing is not instance:
            raise DefinitionError(
                f"two instances of resource {type(instance).__name__}: {standing!r} and "
                f"{instance!r}",
                fix="give one; when both are needed, make a subclass for the second",
                reason="DUPLICATE_RESOURCE",
            )

    def find(self, kind: type[S]) -> S:
        """The instance for a class, not opened: its own, a subclass's, else a default one.

        Raises DefinitionError when the class can not be constructed without arguments, or when
        instances of several subclasses fit.
        """
        with self._lock:
            found = self._by_class.get(kind)
            if found is None:
                found = self._by_class[kind] = self._fitting(kind)
            assert isinstance(found, kind)  # stored under its class, or a base of it
            return found

    def get(self, kind: type[S]) -> S:
        """The instance for a class, opened. Raises DefinitionError as find(), and what open()
        raises."""
        with self._lock:
            found = self.find(kind)
            self._open(found)
            return found

    def close_all(self) -> None:
        """Close what is open, last opened first; the first error is raised after the last."""
        errors: list[Exception] = []
        with self._lock:
            while self._opened:
                resource = self._opened.pop()
                try:
                    _call(resource, "close")
                except Exception as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def __enter__(self) -> ResourceSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_all()

    def _fitting(self, kind: type[Resource]) -> Resource:
        fitting = {id(one): one for one in self._by_class.values() if isinstance(one, kind)}
        if len(fitting) > 1:
            names = sorted(type(one).__name__ for one in fitting.values())
            raise DefinitionError(
                f"resource {kind.__name__} could be any of {', '.join(names)}",
                fix="annotate the parameter with the one that is meant",
                reason="AMBIGUOUS_RESOURCE",
            )
        if fitting:
            return next(iter(fitting.values()))
        try:
            return kind()
        except DefinitionError as error:
            raise DefinitionError(
                f"resource {kind.__name__} is needed: {error.message}",
                fix=f"Definitions(resources=[{kind.__name__}(…)]), or give its fields defaults",
                reason="MISSING_RESOURCE",
            ) from None

    def _open(self, resource: Resource) -> None:
        if any(resource is one for one in self._opened):
            return
        for nested in self._nested(resource):
            self._open(nested)
        _call(resource, "open")
        self._opened.append(resource)

    def _nested(self, resource: Resource) -> list[Resource]:
        found = []
        for name, type_ in type(resource).field_types().items():
            if not (isinstance(type_, type) and issubclass(type_, Resource)):
                continue
            if resource.is_left_open(name):
                resource.inject(name, self._stand_in(getattr(resource, name, None), type_))
            found.append(getattr(resource, name))
        return found

    def _stand_in(self, default: Resource | None, kind: type[Resource]) -> Resource:
        """What the definitions name for a class, else the field's own default."""
        if default is not None:
            self._by_class.setdefault(type(default), default)
        return self.find(kind)


def _call(resource: Resource, method: str) -> None:
    """Run open() or close(), and await it when it is async."""
    if not is_overridden(resource, method):
        return
    try:
        result: Any = getattr(resource, method)()
        if hasattr(result, "__await__"):
            from arco_flow.sdk.loop import run_coroutine

            run_coroutine(_awaited(result))
    except ArcoError:
        raise
    except Exception as error:
        error.add_note(f"while calling {method}() of resource {type(resource).__name__}")
        raise


async def _awaited(result: Any) -> object:
    return await result
