"""Preconditions: under which generation a request may be carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from arco_emulators.storage.errors import condition_not_met, invalid


class Versioned(Protocol):
    """A resource that preconditions look at."""

    @property
    def generation(self) -> int:
        """Grows with each new content."""
        ...

    @property
    def metageneration(self) -> int:
        """Grows with each change of metadata; 1 for new content."""
        ...

    @property
    def etag(self) -> str:
        """Changes with each of them."""
        ...


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold of the live object; None where nothing is asked.

    A generation of 0 stands for the absence of a live object.
    """

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None
    etag_match: tuple[str, ...] = ()
    etag_not_match: tuple[str, ...] = ()

    @classmethod
    def of(cls, query: Mapping[str, str], *, source: bool = False) -> Conditions:
        """The conditions of a query; `source` reads those on the source of a copy.

        Errors: StorageError 400 when one is not a number.
        """
        middle = "Source" if source else ""
        return cls(
            _number(query, f"if{middle}GenerationMatch"),
            _number(query, f"if{middle}GenerationNotMatch"),
            _number(query, f"if{middle}MetagenerationMatch"),
            _number(query, f"if{middle}MetagenerationNotMatch"),
        )

    @classmethod
    def of_read(cls, query: Mapping[str, str], headers: Mapping[str, str]) -> Conditions:
        """The conditions of a query and, as reads have them, of the headers on entity tags."""
        asked = cls.of(query)
        return cls(
            asked.generation_match,
            asked.generation_not_match,
            asked.metageneration_match,
            asked.metageneration_not_match,
            _tags(headers.get("if-match", "")),
            _tags(headers.get("if-none-match", "")),
        )

    def check(self, live: Versioned | None, *, reading: bool = False) -> None:
        """Nothing when all hold.

        Errors: StorageError 412; 304 for a read of what the caller says it has.
        """
        generation = 0 if live is None else live.generation
        metageneration = 0 if live is None else live.metageneration
        tag = "" if live is None else live.etag
        if (
            (self.generation_match not in (None, generation))
            or (self.metageneration_match not in (None, metageneration))
            or (self.etag_match and tag not in self.etag_match)
        ):
            raise condition_not_met(reading=False)
        if (
            self.generation_not_match == generation
            or self.metageneration_not_match == metageneration
            or tag in self.etag_not_match
        ):
            raise condition_not_met(reading=reading)


def _number(query: Mapping[str, str], name: str) -> int | None:
    given = query.get(name)
    if given is None:
        return None
    try:
        return int(given)
    except ValueError:
        raise invalid(f"Invalid value '{given}' for {name}", parameter=name) from None


def _tags(header: str) -> tuple[str, ...]:
    return tuple(tag for part in header.split(",") if (tag := part.strip().strip('"')))
