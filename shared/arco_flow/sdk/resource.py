"""Resources: what assets need from the outside, declared as typed fields.

A resource is constructed anywhere and opened in the worker: its settings are read from the
worker's environment when they are first used, and `open()` runs once per process.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from inspect import get_annotations
from typing import Any, ClassVar, dataclass_transform

from arco_flow.domain.errors import DefinitionError, did_you_mean
from arco_flow.sdk.env import EnvValue, is_readable, reveal

_MISSING: Any = object()


class _Field:
    """Descriptor of one field: reads env() and secret() values when they are asked for."""

    def __init__(self, name: str, default: object) -> None:
        self.name = name
        self.default = default

    @property
    def is_secret(self) -> bool:
        return isinstance(self.default, EnvValue) and self.default.is_secret

    def __get__(self, owner: Resource | None, kind: type) -> Any:
        if owner is None:
            if self.default is _MISSING:
                raise AttributeError(f"{kind.__name__}.{self.name} has no default")
            return self.default
        if self.name not in owner._read:
            owner._read[self.name] = self._read(owner)
        return owner._read[self.name]

    def _read(self, owner: Resource) -> object:
        value = owner._given[self.name]
        if value is not _MISSING and not isinstance(value, EnvValue):
            return value
        type_ = type(owner).field_types().get(self.name, str)
        if value is _MISSING:
            return type_()  # of a resource, as the constructor has checked
        return value.read(type_, f"{type(owner).__name__}.{self.name}")

    def __set__(self, owner: Resource, value: object) -> None:
        raise DefinitionError(
            f"{type(owner).__name__}.{self.name} can not be changed after construction",
            fix=f"construct another one: {type(owner).__name__}({self.name}=…); state of a "
            "connection belongs into other attributes, set in open()",
            reason="IMMUTABLE_RESOURCE",
        )


@dataclass_transform(kw_only_default=True)
class Resource:
    """Base of users' resources: annotated fields become keyword arguments.

        class Shop(Resource):
            url: str = env("SHOP_URL")
            token: str = secret("SHOP_TOKEN")
            page_size: int = 100

    A parameter annotated `shop: Shop` receives it: the instance given to
    `Definitions(resources=[…])` or standing at module level, else `Shop()`. Fields may be
    resources themselves (`shop: Shop = Shop()`), and are filled alike. Override `open` and
    `close` (plain or async) to hold a connection; opened once per worker process, after its
    fields' resources, closed in the opposite order.

    Raises DefinitionError for unknown, missing or positional arguments.
    """

    _fields: ClassVar[dict[str, _Field]] = {}
    _given: dict[str, Any]
    _read: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        fields = dict(cls._fields)
        for name, annotation in get_annotations(cls).items():
            if name.startswith("_") or _is_class_variable(annotation):
                continue
            field = _Field(name, cls.__dict__.get(name, _MISSING))
            _check_default(cls, field)
            fields[name] = field
            setattr(cls, name, field)
        cls._fields = fields

    def __init__(self, *args: object, **given: Any) -> None:
        kind = type(self).__name__
        if args:
            raise DefinitionError(
                f"{kind} takes its fields by name, not {args[0]!r}",
                fix=f"{kind}({', '.join(f'{name}=…' for name in self._fields)})",
                reason="BAD_RESOURCE",
            )
        for name in given:
            if name not in self._fields:
                raise DefinitionError(
                    f"{kind} has no field '{name}'{did_you_mean(name, self._fields)}",
                    fix=f"its fields: {', '.join(self._fields) or 'none'}",
                    reason="BAD_RESOURCE",
                )
        self.__dict__["_read"] = {}
        self.__dict__["_given"] = {
            name: given.get(name, field.default) for name, field in self._fields.items()
        }
        self._fill_missing()
        self._hide_secrets()

    def _fill_missing(self) -> None:
        for name, value in self._given.items():
            if value is not _MISSING:
                continue
            nested = type(self).field_types().get(name)
            if not (isinstance(nested, type) and issubclass(nested, Resource)):
                kind = type(self).__name__
                raise DefinitionError(
                    f"{kind} needs a value for '{name}'",
                    fix=f"{kind}({name}=…), or give the field a default: {name} = env('…')",
                    reason="BAD_RESOURCE",
                )

    def _hide_secrets(self) -> None:
        for name, field in self._fields.items():
            value = self._given[name]
            if field.is_secret and isinstance(value, str):
                reveal(value)

    def open(self) -> Any:
        """Called once per worker process before the first use; may be `async def`."""

    def close(self) -> Any:
        """Called once when the process ends, if open() succeeded; may be `async def`."""

    @classmethod
    def field_types(cls) -> Mapping[str, Any]:
        """Evaluated annotations of the fields; text where a name is not known at run time."""
        found: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            annotations = get_annotations(base)
            names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
            for name in annotations:
                if name in cls._fields:
                    found[name] = _evaluated(annotations[name], names)
        return found

    def inject(self, name: str, resource: Resource) -> None:
        """Fill a resource field that was left to its class, when definitions say with what."""
        if self.is_left_open(name):
            self._read[name] = resource

    def is_left_open(self, name: str) -> bool:
        """Whether a resource field was not passed, so that definitions may fill it."""
        value, default = self._given[name], self._fields[name].default
        return value is _MISSING or (value is default and isinstance(value, Resource))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self._shown(name)}" for name in self._fields)
        return f"{type(self).__name__}({shown})"

    def _shown(self, name: str) -> str:
        value = self._given[name]
        if value is _MISSING:
            return "…"
        if self._fields[name].is_secret and not isinstance(value, EnvValue):
            return "'***'"
        return repr(value)


def _is_class_variable(annotation: object) -> bool:
    import typing

    if isinstance(annotation, str):
        return annotation.replace("typing.", "").startswith("ClassVar")
    return typing.get_origin(annotation) is ClassVar


def _evaluated(annotation: object, names: dict[str, Any]) -> Any:
    from arco_flow.sdk.parameters import _evaluate

    return _evaluate(annotation, names, {})


def _check_default(cls: type, field: _Field) -> None:
    default = field.default
    if isinstance(default, list | dict | set):
        raise DefinitionError(
            f"{cls.__name__}.{field.name} has the mutable default {default!r}, which all "
            "instances would share",
            fix="use a tuple, or leave the default out",
            reason="BAD_RESOURCE",
        )
    annotation = get_annotations(cls)[field.name]
    known = isinstance(default, EnvValue) and not isinstance(annotation, str)
    if known and not is_readable(annotation):
        raise DefinitionError(
            f"{cls.__name__}.{field.name} is {annotation!r}, which {default!r} can not become",
            fix="settings can be str, int, float, bool or Path; build the rest in open()",
            reason="BAD_RESOURCE",
        )


def is_overridden(resource: Resource, method: str) -> bool:
    """Whether the user's class has its own `open` or `close`."""
    return getattr(type(resource), method) is not getattr(Resource, method)
