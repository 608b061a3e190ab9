"""How many seeds it takes to notice each mutant: as a page, as text or as JSON.

PYTHONPATH=tests:shared python -m simulation.mutants            # the page, as text
PYTHONPATH=tests:shared python -m simulation.mutants --write    # docs/simulation-mutants.md
PYTHONPATH=tests:shared python -m simulation.mutants --json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from arco_flow.simulation.scenario import Scenario
from arco_flow.simulation.simulate import simulate
from simulation.mutant_table import Apply, says
from simulation.mutants import DIRECTED, MUTANTS, SURVIVORS
from simulation.patches import Patches

SEEDS = 200
"""A mutant that no history of so many seeds notices is none of MUTANTS."""

PAGE = Path(__file__).parents[2] / "docs" / "simulation-mutants.md"

HEAD = f"""# What the simulator notices

Each line is a design error: a change of a line or two to production code, made while the
simulator runs. The histories of seeds 0, 1, 2… are told with it until one violates an invariant,
which must be one that is about the rule that was broken. *Seed* is the first of {SEEDS} that does.
`arco_flow/simulation/checks` and `watch.py` say what each invariant means.

`PYTHONPATH=tests:shared python -m simulation.mutants --write` measures for eight minutes and writes
this page; the errors stand in `tests/simulation/mutants_of_*.py`. A test holds the page against
them and tells the failing seeds again.
"""

NOTICED = """
## Noticed by the histories

| Design error | Name | Seed | Noticed by |
|---|---|---|---|
"""

SHADOWED = f"""
## Shadowed by a second guard

No history of {SEEDS} notices these, because another guard stands behind the one that they take
away. With both guards gone the histories notice: that is the mutant in the last column.

| Design error | Name | What stands behind it | Without both |
|---|---|---|---|
"""

RARE = """
## Noticed by a test of their own

These need a coincidence that few histories come by, or cost time only, unless the first table names
them too. The test in the last column brings it about, and fails with them.

| Design error | Name | Test |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Catch:
    """A seed whose history fails under a mutant, and the invariants that it violates."""

    seed: int
    invariants: tuple[str, ...]


def violated(seed: int) -> set[str]:
    """The invariants that the history of a seed violates, with the code as it is now."""
    return {violation.invariant for violation in simulate(Scenario(seed)).violations}


def first_catch(apply: Apply, seeds: Iterable[int]) -> Catch | None:
    """The first of these seeds whose history fails with the mutant."""
    with Patches() as patches:
        apply(patches)
        for seed in seeds:
            if found := violated(seed):
                return Catch(seed, tuple(sorted(found)))
    return None


def measure() -> Iterator[tuple[str, Catch | None]]:
    """Each of MUTANTS with the first seed of all that notices it."""
    for name, mutant in MUTANTS.items():
        yield name, first_catch(mutant.apply, range(SEEDS))


def recorded() -> dict[str, int]:
    """The seeds of the committed page."""
    rows = re.findall(r"^\| .+ \| `(\w+)` \| (\d+) \| ", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: int(seed) for name, seed in rows}


def page(seeds: dict[str, int]) -> str:
    """The page, with these figures."""
    noticed = [
        f"| {says(mutant.apply)} | `{name}` | {seeds.get(name, '')} | {_codes(mutant.caught_by)} |"
        for name, mutant in MUTANTS.items()
    ]
    shadowed = [
        f"| {says(known.apply)} | `{name}` | {known.guard} | {_codes([known.proof])} |"
        for name, known in SURVIVORS.items()
    ]
    rare = [
        f"| {says(known.apply)} | `{name}` | `{known.test.rpartition(':')[2]}` |"
        for name, known in DIRECTED.items()
    ]
    parts = (HEAD, NOTICED, "\n".join(noticed) + "\n", SHADOWED, "\n".join(shadowed) + "\n")
    return "".join((*parts, RARE, "\n".join(rare) + "\n"))


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names) if name)


def main() -> None:
    """Measure and print."""
    found = dict(measure())
    missed = [name for name, catch in found.items() if catch is None]
    noticed = [name for name, known in SURVIVORS.items() if first_catch(known.apply, range(SEEDS))]
    if "--json" in sys.argv:
        rows = {name: catch and asdict(catch) for name, catch in found.items()}
        print(json.dumps(rows, indent=1))
    else:
        text = page({name: catch.seed for name, catch in found.items() if catch})
        if "--write" in sys.argv:
            PAGE.write_text(text, "utf-8")
        else:
            print(text, end="")
    if missed or noticed:
        sys.exit(f"not noticed: {', '.join(missed)}; noticed after all: {', '.join(noticed)}")
