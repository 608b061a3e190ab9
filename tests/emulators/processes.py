"""The commands of the distribution as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start_command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """`python -m arco_emulators`, for which a warning is an error."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "arco_emulators", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "emulators"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
