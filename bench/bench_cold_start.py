"""Cold start of every function: processor time, wall time and memory until the first 200.

Beside them stand an interpreter that does nothing and a function of one line behind the same
server, measured in the same run: only the distance to those says something about another machine.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from cold_starts import (
    Served,
    Start,
    import_ms,
    interpreter_ms,
    loaded_at_ready,
    loaded_with_clients,
    served_functions,
    start_of,
    start_with_clients,
)
from common import report

RUNS = 3


def measure() -> dict[str, Any]:
    """Least and median of RUNS starts by function."""
    with served_functions() as served:
        start_of(served["hello"])  # compiles what is not
        found = {name: _measured(one) for name, one in served.items()}
    return {
        "runs": RUNS,
        "interpreter_cpu_ms": _least([interpreter_ms() for _ in range(RUNS)]),
        **found,
    }


def _measured(served: Served) -> dict[str, Any]:
    starts = [start_of(served) for _ in range(RUNS)]
    found = {field: _least([getattr(s, field) for s in starts]) for field in Start._fields}
    found["modules"] = {"at_ready": len(loaded_at_ready(served))}
    if served.load:
        found["modules"]["with_clients"] = len(loaded_with_clients(served))
        clients = [start_with_clients(served) for _ in range(RUNS)]
        found["cpu_ms_with_clients"] = _least(clients)
        found["import_cpu_ms"] = _least([import_ms(served.name, served) for _ in range(RUNS)])
    return found


def _least(values: list[float]) -> dict[str, float]:
    return {"min": round(min(values), 1), "p50": round(median(values), 1)}


if __name__ == "__main__":
    report("cold_start", measure)
