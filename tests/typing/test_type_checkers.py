"""What users' type checkers say: nothing about right code, an error on every marked line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared"
MISTAKES = HERE / "mistakes.py"


def run(*command: str) -> str:
    """Output of a checker in this folder."""
    environment = {**os.environ, "MYPYPATH": str(SHARED), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def mypy(file: str) -> str:
    cache = str(HERE.parents[1] / ".mypy_cache" / "typing-tests")
    return run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", cache, file
    )


def pyright(file: str) -> str:
    return run(sys.executable, "-m", "pyright", "--project", ".", "--outputjson").replace(
        str(HERE / file), file
    )


def ty(file: str) -> str:
    return run(
        *(sys.executable, "-m", "ty", "check", "--output-format", "concise"),
        *("--extra-search-path", str(SHARED), "--python", sys.prefix, file),
    )


def mypy_lines(file: str) -> set[int]:
    return {int(line) for line in re.findall(rf"{file}:(\d+): error", mypy(file))}


def ty_lines(file: str) -> set[int]:
    return {int(line) for line in re.findall(rf"{file}:(\d+):\d+: error", ty(file))}


def pyright_lines(file: str) -> set[int]:
    import json

    answer = json.loads(pyright(file))
    found = answer["generalDiagnostics"]
    assert answer["summary"]["filesAnalyzed"] >= 2
    return {
        item["range"]["start"]["line"] + 1
        for item in found
        if item["severity"] == "error" and Path(item["file"]).name == file
    }


CHECKERS = pytest.mark.parametrize(
    "lines_of", [mypy_lines, pyright_lines, ty_lines], ids=["mypy", "pyright", "ty"]
)


@CHECKERS
def test_right_code_passes_without_a_word(lines_of: Callable[[str], set[int]]) -> None:
    assert lines_of("good.py") == set()


@CHECKERS
def test_every_seeded_mistake_is_found_and_nothing_else(
    lines_of: Callable[[str], set[int]],
) -> None:
    marked = {
        number
        for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
        if "# mistake" in line
    }
    assert len(marked) == 9
    assert lines_of("mistakes.py") == marked
