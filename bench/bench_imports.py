"""CPU time of `import arco_flow` and of `arco-flow --help`, over a bare interpreter."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

from common import report

CASES = {
    "import arco_flow": ["-c", "import arco_flow"],
    "import arco_flow and use asset": ["-c", "from arco_flow import asset, DailyPartitions"],
    "arco-flow --help": ["-m", "arco_flow.cli", "--help"],
    "arco-flow run --help": ["-m", "arco_flow.cli", "run", "--help"],
}
RUNS = 15


def cpu_ms(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure() -> dict[str, Any]:
    bare = min(cpu_ms(["-c", "pass"]) for _ in range(RUNS))
    found = {
        name: round(min(cpu_ms(arguments) for _ in range(RUNS)) - bare, 1)
        for name, arguments in CASES.items()
    }
    return {"bare_interpreter_ms": round(bare, 1), "cpu_ms_over_bare": found}


if __name__ == "__main__":
    report("imports", measure)
