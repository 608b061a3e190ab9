"""What makes a history, as a value that can be written down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from arco_flow.domain.errors import InvalidInput


class Load(StrEnum):
    """How dense a history is. busy: all at once; sparse: hours in which little happens."""

    BUSY = "busy"
    SPARSE = "sparse"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What makes a history: everything else follows from it.

    only: ids of the faults that may strike, None = all. dropped: numbers of operations that do
    not happen. until_ms: when the calm begins, None = with the end of the workload.
    """

    seed: int
    load: Load = Load.BUSY
    only: frozenset[str] | None = None
    dropped: frozenset[int] = frozenset()
    until_ms: int | None = None


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario that once violated an invariant, as it is kept in a file of the corpus.

    note: what it was, in a sentence.
    """

    seed: int
    invariant: str
    note: str = ""
    load: Load = Load.BUSY
    only: list[str] | None = None
    dropped: list[int] = []
    until_ms: int | None = None

    @classmethod
    def of(cls, scenario: Scenario, invariant: str, note: str = "") -> Finding:
        """The finding of a scenario."""
        return cls(
            seed=scenario.seed,
            invariant=invariant,
            note=note,
            load=scenario.load,
            only=None if scenario.only is None else sorted(scenario.only),
            dropped=sorted(scenario.dropped),
            until_ms=scenario.until_ms,
        )

    @property
    def scenario(self) -> Scenario:
        """What to tell again."""
        only = None if self.only is None else frozenset(self.only)
        return Scenario(self.seed, self.load, only, frozenset(self.dropped), self.until_ms)


def encode_finding(finding: Finding) -> bytes:
    """A file of the corpus."""
    return msgspec.json.format(msgspec.json.encode(finding), indent=1) + b"\n"


def decode_finding(raw: bytes) -> Finding:
    """Inverse of encode_finding. Raises InvalidInput."""
    try:
        return msgspec.json.decode(raw, type=Finding)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"this is no scenario of the simulator: {error}",
            fix="give a file that `arco-flow simulate --save` has written",
        ) from error
