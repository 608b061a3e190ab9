"""Settings that a resource reads in the worker, from its environment, when they are needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

from arco_flow.domain.errors import DefinitionError, InvalidInput, did_you_mean

_MISSING: Final = object()
_WORDS: Final = {
    "true": True, "1": True, "yes": True, "on": True,
    "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip

revealed_secrets: set[str] = set()
"""Texts of the secrets that this process has read; whatever it prints must not hold them."""


@dataclass(frozen=True, slots=True)
class EnvValue:
    """A setting by the name of its environment variable; never the setting itself."""

    name: str
    default: object = _MISSING
    is_secret: bool = False

    def __repr__(self) -> str:
        word = "secret" if self.is_secret else "env"
        tail = "" if self.default is _MISSING else f", {self.default!r}"
        return f"{word}({self.name!r}{tail})"

    def read(self, type_: object, owner: str) -> object:
        """The setting as `type_`. owner: `Shop.url`, for messages.

        Raises InvalidInput when the variable is not set and has no default, or can not be
        converted; the message holds a secret's name, never its text.
        """
        text = os.environ.get(self.name)
        if text is None:
            if self.default is not _MISSING:
                return self.default
            raise InvalidInput(
                f"{owner} needs the environment variable {self.name}, which is not set"
                f"{did_you_mean(self.name, os.environ)}",
                fix=f"set {self.name} where the worker runs, or pass {owner.rpartition('.')[2]}=…",
                reason="MISSING_SETTING",
            )
        if self.is_secret and text:
            revealed_secrets.add(text)
        try:
            return convert_text(text, type_)
        except ValueError:
            shown = "its text" if self.is_secret else repr(text)
            raise InvalidInput(
                f"{owner} is {_type_name(type_)}, but the environment variable {self.name} "
                f"holds {shown}, which is none",
                fix=f"correct {self.name} where the worker runs",
                reason="BAD_SETTING",
            ) from None


def env(name: str, default: object = _MISSING) -> Any:
    """A resource field read from an environment variable of the worker: `url: str = env("URL")`.

    The text is converted to the field's type: str, int, float, bool or Path. Read when the field
    is first used, so that declaring a resource needs no environment. Raises DefinitionError for
    an empty name.
    """
    return EnvValue(_checked(name), default)


def secret(name: str) -> Any:
    """Like env(), for what nobody may see: not shown in repr, and blotted out of asset logs.

    There is no default: a secret in source code is none.
    """
    return EnvValue(_checked(name), is_secret=True)


def _checked(name: object) -> str:
    if isinstance(name, str) and name and "=" not in name and name == name.strip():
        return name
    raise DefinitionError(
        f"{name!r} is no name of an environment variable", fix='e.g. env("SHOP_URL")'
    )


def convert_text(text: str, type_: object) -> object:
    """Text as str, int, float, bool or Path; `X | None` as X. Raises ValueError."""
    kind = plain_type(type_)
    if kind is bool:
        word = text.strip().lower()
        if word not in _WORDS:
            raise ValueError(word)
        return _WORDS[word]
    if kind is int or kind is float:
        return kind(text)
    if isinstance(kind, type) and _is_path(kind):
        return kind(text)
    return text


def is_readable(type_: object) -> bool:
    """Whether text can become this type."""
    kind = plain_type(type_)
    return kind in (str, int, float, bool, Any, object) or _is_path(kind)


def plain_type(type_: object) -> Any:
    """`X` of `X | None`; other types as they are."""
    import typing

    members = [part for part in typing.get_args(type_) if part is not type(None)]
    if len(members) == 1 and type(None) in typing.get_args(type_):
        return members[0]
    return type_


def _is_path(kind: object) -> bool:
    return isinstance(kind, type) and kind.__module__.startswith("pathlib")


def _type_name(type_: object) -> str:
    return type_.__name__ if isinstance(type_, type) else str(type_)


def reveal(text: str) -> None:
    """Remember a secret's text, so that redact() blots it out."""
    if text:
        revealed_secrets.add(text)


def redact(text: str) -> str:
    """The text with every secret that this process has read replaced by `***`."""
    for hidden in sorted(revealed_secrets, key=len, reverse=True):
        text = text.replace(hidden, "***")
    return text
