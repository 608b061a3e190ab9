"""Design errors of a line or two, each of which the checks must notice.

A mutant edits production code; its docstring says what the wrong design would be. MUTANTS are
noticed by the histories of a few seeds, at a check that is about the rule that they break.
SURVIVORS are noticed by nothing, because a second guard stands behind the one that they take away;
the mutant that takes both away is among MUTANTS. DIRECTED need a coincidence that few histories
come by, and have a test of their own that brings it about; one may be among both.

    PYTHONPATH=tests:shared python -m simulation.mutants            # measure; the page, as text
    PYTHONPATH=tests:shared python -m simulation.mutants --write    # docs/simulation-mutants.md
    PYTHONPATH=tests:shared python -m simulation.mutants --json
"""

from __future__ import annotations

from simulation import mutants_of_runs, mutants_of_the_loop
from simulation.mutant_table import DIRECTED, MUTANTS, SURVIVORS

__all__ = ["DIRECTED", "MUTANTS", "SURVIVORS", "mutants_of_runs", "mutants_of_the_loop"]

if __name__ == "__main__":
    from simulation.mutant_report import main

    main()
