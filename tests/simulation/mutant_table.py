"""The tables of mutants, and how a mutant enters one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from simulation.patches import Patches

Apply = Callable[[Patches], None]
LIVENESS: Final = "everything_ends"


@dataclass(frozen=True, slots=True)
class Mutant:
    """caught_by: names of the invariants of which the first failing history must violate one."""

    apply: Apply
    caught_by: frozenset[str]


@dataclass(frozen=True, slots=True)
class Survivor:
    """guard: what stands behind it. proof: the mutant without both guards; "" for a variant that
    is no error."""

    apply: Apply
    guard: str
    proof: str


@dataclass(frozen=True, slots=True)
class Directed:
    """test: `module:function` of the test that fails with it, for one of these arguments."""

    apply: Apply
    test: str
    arguments: Sequence[Mapping[str, Any]]


MUTANTS: dict[str, Mutant] = {}
SURVIVORS: dict[str, Survivor] = {}
DIRECTED: dict[str, Directed] = {}


def caught_by(*invariants: str) -> Callable[[Apply], Apply]:
    """Enter a mutant into MUTANTS."""

    def enter(apply: Apply) -> Apply:
        MUTANTS[_name(apply)] = Mutant(apply, frozenset(invariants))
        return apply

    return enter


def shadowed_by(guard: str, *, proof: str = "") -> Callable[[Apply], Apply]:
    """Enter a mutant into SURVIVORS."""

    def enter(apply: Apply) -> Apply:
        SURVIVORS[_name(apply)] = Survivor(apply, guard, proof)
        return apply

    return enter


def needs(test: str, *arguments: Mapping[str, Any]) -> Callable[[Apply], Apply]:
    """Enter a mutant into DIRECTED."""

    def enter(apply: Apply) -> Apply:
        DIRECTED[_name(apply)] = Directed(apply, test, arguments or ({},))
        return apply

    return enter


def _name(apply: Apply) -> str:
    return apply.__name__


def says(apply: Apply) -> str:
    """The design error in one line."""
    return " ".join((apply.__doc__ or "").split())
