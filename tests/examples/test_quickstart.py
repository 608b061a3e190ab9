"""The quickstart is the first code that people read: it runs as it is written."""

import shutil
import subprocess
import sys
from pathlib import Path

import shop

from arco_flow.testing import materialize_to_memory


def test_the_assets_come_to_what_their_functions_say():
    assets = [shop.orders, shop.revenue, shop.best_day]
    got = materialize_to_memory(assets, partition_key="2025-01-31")
    assert got.ok
    assert got[shop.best_day] == max(got.partitions(shop.revenue).values())
    assert shop.revenue([20.0, 22.0]) == 42.0


def test_the_command_in_its_docstring_runs_it(tmp_path):
    shutil.copy(Path(shop.__file__), tmp_path)
    _, _, command = (shop.__doc__ or "").partition("arco-flow ")
    words = command.strip().replace("'", "").split()
    done = subprocess.run(
        [sys.executable, "-m", "arco_flow.cli", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "93 SUCCEEDED" in done.stdout
