"""What goes wrong on purpose, how often, and the dice for it.

Every knob can be set at start (`name=value`) and changed while the emulator runs. Probabilities
lie between 0 and 1; spans are milliseconds, `low:high` or one number, drawn evenly.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

ENVIRONMENT = "ARCO_EMULATORS_FAULTS"
"""Variable with the knobs at start, separated by commas: `duplicate=0.2,delay_ms=0:50`."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Faults:
    """The knobs. All are off unless set; spans beside a probability say how it shows."""

    delay_ms: Span = (0, 0)
    """Every delivery is this much later than it is due."""
    duplicate: float = 0
    """A delivery is made a second time, with the same headers, and nobody hears its answer."""
    duplicate_ms: Span = (0, 200)
    """The second delivery is this much later than the first."""
    drop: float = 0
    """A delivery does not reach its target, and is made again."""
    drop_ms: Span = (100, 500)
    """What was dropped is delivered this much later."""
    lose_answer: float = 0
    """The target's answer is thrown away, so that what it did is asked of it again."""
    early: float = 0
    """A delivery is made before its time."""
    early_ms: Span = (0, 2000)
    """By how much."""
    miss: float = 0
    """A slot of a job passes without an execution (Cloud Scheduler only)."""
    unavailable: float = 0
    """An API call is refused with UNAVAILABLE (503), and nothing is done."""
    landed: float = 0
    """An API call is answered with UNAVAILABLE (503) although it was done. Firestore: whatever its
    answer was; a stream of answers breaks off after the first."""
    landed_ms: Span = (0, 0)
    """What landed is done this much later than it was refused, so that it may come after the next
    attempt (Firestore only, calls with one answer)."""
    contended: float = 0
    """A write is refused with ABORTED, and nothing is done (Firestore only)."""
    landed_reset: float = 0
    """An API call is done, and its connection is reset instead of answered (Storage only)."""
    api_delay_ms: Span = (0, 0)
    """Every API call takes this much longer."""
    settle_ms: Span = (0, 0)
    """A new queue is not found for this long (Cloud Tasks only)."""
    purge_ms: Span = (0, 0)
    """A purge takes effect this much later (Cloud Tasks only)."""
    throttle: float = 0
    """1: answers 429 and 503 slow the whole queue down, as the service does (Cloud Tasks only)."""
    write_gap_ms: Span = (0, 0)
    """Writes of one object that follow each other faster get 429 (Storage only; there: 1000)."""
    seed: float = 0
    """Where the dice start; 0: nobody knows."""


class Chaos:
    """The knobs as they are now, and the dice."""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.faults = Faults()
        self._random = random.Random()  # noqa: S311 - dice, not keys
        self.change(settings or {})

    def change(self, settings: Mapping[str, Any]) -> None:
        """Set the named knobs and leave the others; a seed starts the dice anew.

        Errors: ValueError, and then none is changed.
        """
        checked: dict[str, Any] = {name: _checked(name, value) for name, value in settings.items()}
        self.faults = replace(self.faults, **checked)
        if self.faults.seed and "seed" in checked:
            self._random = random.Random(self.faults.seed)  # noqa: S311

    def reset(self) -> None:
        """Nothing goes wrong any more."""
        self.faults = Faults()

    def strikes(self, probability: float) -> bool:
        """Whether it happens this time."""
        return probability > 0 and self._random.random() < probability

    def seconds(self, span: Span) -> float:
        """A length drawn from the span, in seconds."""
        low, high = span
        return (low + (high - low) * self._random.random() if high > low else low) / 1000

    def as_json(self) -> dict[str, Any]:
        """Every knob by its name."""
        return asdict(self.faults)


def parsed(texts: Iterable[str]) -> dict[str, str]:
    """Knobs from `name=value`; several may stand in one text, separated by commas.

    Errors: ValueError.
    """
    found = {}
    for text in (part.strip() for whole in texts for part in whole.split(",")):
        name, equals, value = text.partition("=")
        if text and not equals:
            raise ValueError(f"a fault is given as name=value, not as {text!r}")
        if text:
            found[name.strip()] = value.strip()
    return found


def _checked(name: str, value: object) -> float | Span:
    known = {field.name: field.default for field in fields(Faults)}
    if name not in known:
        raise ValueError(f"no fault is called {name!r}; there are {', '.join(known)}")
    if isinstance(known[name], tuple):
        return _span(name, value)
    number = _number(name, value)
    if name != "seed" and not 0 <= number <= 1:
        raise ValueError(f"{name} is a probability from 0 to 1, not {number:g}")
    return number


def _span(name: str, value: object) -> Span:
    parts = value.split(":") if isinstance(value, str) else value
    pair = list(parts) if isinstance(parts, list | tuple) else [parts]
    low, high = _number(name, pair[0]), _number(name, pair[-1])
    if len(pair) > 2 or not 0 <= low <= high:
        raise ValueError(f"{name} is a span low:high in milliseconds, not {value!r}")
    return low, high


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"{name} takes a number, not {value!r}") from None
