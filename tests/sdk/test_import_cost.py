"""`import arco_flow` is light: it happens in every worker start and every command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import arco_flow

SHARED = str(Path(__file__).parents[2] / "shared")
HEAVY = ("pydantic", "asyncio", "google", "pandas", "polars", "pyarrow", "numpy", "http", "click")


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": SHARED}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, check=True, text=True
    ).stdout.strip()


def test_nothing_heavy_is_loaded_even_when_every_name_is_used() -> None:
    loaded = run(
        "import arco_flow, sys\n"
        "for name in arco_flow.__all__: getattr(arco_flow, name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split()
    assert "arco_flow" in loaded
    # What an interpreter loads by itself, by the .pth files of what is installed beside us.
    bare = run("import sys; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert not (set(loaded) - set(bare)) & set(HEAVY)


def test_every_public_name_is_there_and_listed_once() -> None:
    assert len(set(arco_flow.__all__)) == len(arco_flow.__all__)
    for name in arco_flow.__all__:
        assert getattr(arco_flow, name) is not None
    assert set(arco_flow.__all__) <= set(dir(arco_flow))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(arco_flow, "no_such_name")
