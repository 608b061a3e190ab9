"""Bad input by the real command to a running plane: wrong code and arguments, told in three lines.

The exit code is 1, and whatever was wrong, the plane keeps what it had.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.bad_input import command
from e2e.harness import STILL_SECONDS, Kind, PlaneUnderTest, running_plane, write_module

EVERY_PLANE = True

SHOP = """
    from arco_flow import asset

    @asset(namespace="t")
    def a() -> int:
        return 1
"""


class Shop:
    """A plane on which one asset was run once, and a folder of projects beside it."""

    def __init__(self, plane: PlaneUnderTest, run_id: str, folder: Path) -> None:
        self.plane = plane
        self.run_id = run_id
        self.folder = folder

    def command(self, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
        """A command of this project to the plane, which is seen to change nothing."""
        surroundings = {
            "ARCO_FLOW_URL": self.plane.plane.url,
            "ARCO_FLOW_TOKEN": token or self.plane.plane.token,
            "ARCO_FLOW_WORKSPACE": self.plane.scope.workspace,
        }
        with self.plane.kept.unchanged():
            return command(self.folder, *arguments, code=1, **surroundings)

    def refuses(self, *arguments: str, token: str = "") -> str:
        """What such a command writes to stderr."""
        done = self.command(*arguments, token=token)
        assert done.stdout == ""
        return done.stderr.rstrip("\n")


@pytest.fixture(scope="module")
def shop(plane_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    projects = tmp_path_factory.mktemp("projects")
    write_module(folder, "shop", SHOP)
    write_module(projects, "shop", SHOP)
    with running_plane(folder, workers=1) as plane:
        plane.deploy(folder / "shop.py")
        accepted = plane.request("t.a", run_key="first")
        assert plane.wait(accepted.run_id).state == "SUCCEEDED"
        plane.kept.settle(still_seconds=STILL_SECONDS[Kind.current])
        yield Shop(plane, accepted.run_id, projects)


HEAD = "from arco_flow import *\n"
ORDERS = HEAD + "@asset\ndef orders() -> int: return 1\n"
CODE: dict[str, tuple[str, str]] = {
    "a module that is missing": (
        "import pandsa\n",
        "error: bad.py can not be imported: ModuleNotFoundError: No module named 'pandsa'\n"
        "  at bad.py:1\n"
        "  fix: install the package that holds 'pandsa', or correct the import",
    ),
    "an error while it is imported": (
        "rates = {}\n\ndef rate(of):\n    return rates[of]\n\nrate('EUR')\n",
        "error: bad.py can not be imported: KeyError: 'EUR'\n"
        "  at bad.py:4\n"
        "  fix: correct that line; the whole stack: arco-flow --debug validate TARGET",
    ),
    "a syntax error": (
        "x = 1\ndef broken(:\n",
        "error: bad.py can not be imported: SyntaxError: invalid syntax\n"
        "  at bad.py:2\n"
        "  fix: correct what Python can not read there",
    ),
    "a script that exits": (
        "import sys\nsys.exit(3)\n",
        "error: bad.py can not be imported: SystemExit: 3\n"
        "  at bad.py:2\n"
        "  fix: put what a script does below `if __name__ == '__main__':`",
    ),
    "endless recursion": (
        "def f():\n    f()\nf()\n",
        "error: bad.py can not be imported: RecursionError: maximum recursion depth exceeded\n"
        "  at bad.py:2\n"
        "  fix: correct that line; the whole stack: arco-flow --debug validate TARGET",
    ),
    "a cron expression": (
        HEAD + "days = CronPartitions('61 * * * *', start='2026-01-01')\n",
        "error: CronPartitions: cron '61 * * * *': bad minute field '61' (allowed 0-59)\n"
        "  at bad.py:2\n"
        "  fix: write minute hour day-of-month month day-of-week, for example '0 6 * * *'",
    ),
    "a parameter that is no asset": (
        ORDERS + "@asset\ndef revenue(ordres: int) -> int: return 1\n",
        "error: asset 'bad.revenue': parameter 'ordres' names no asset, and its type is no "
        "resource; did you mean 'orders'?\n"
        "  at bad.py:5\n"
        "  fix: name the parameter after an asset, or annotate it with a Resource or AssetContext",
    ),
    "a check on what is no asset": (
        HEAD + "def plain(): pass\n@plain.check\ndef is_good(value: int) -> bool: return True\n",
        "error: bad.py can not be imported: AttributeError: 'function' object has no attribute "
        "'check'\n"
        "  at bad.py:3\n"
        "  fix: write @asset above the function that the check is of",
    ),
    "a check that blocks in words": (
        ORDERS + "@orders.check(blocking='yes')\ndef is_good(value: int) -> bool: return True\n",
        "error: check 'is_good': blocking is 'yes', neither True nor False\n"
        "  at bad.py:5\n"
        "  fix: blocking=True keeps a failed value from being promoted",
    ),
    "a key that is none": (
        HEAD + "@asset(key='Bad Key')\ndef a() -> int: return 1\n",
        "error: asset function 'a' has no legal key: asset key 'Bad Key' has no namespace\n"
        "  at bad.py:3\n"
        "  fix: @asset(key='…'), for example 'default.bad_key'",
    ),
    "a circle": (
        HEAD
        + "@asset(deps=['bad.b'])\ndef a() -> int: return 1\n"
        + "@asset(deps=['bad.a'])\ndef b() -> int: return 1\n",
        "error: assets depend on each other in a circle: bad.a → bad.b → bad.a\n"
        "  at bad.py:3\n"
        "  fix: each arrow points to the asset that reads the one before it; remove one of them",
    ),
    "a time zone": (
        HEAD + "days = DailyPartitions('2026-01-01', timezone='Europe/Brelin')\n",
        "error: DailyPartitions: unknown timezone 'Europe/Brelin'; did you mean 'Europe/Berlin'?\n"
        "  at bad.py:2\n"
        "  fix: use an IANA name such as 'Europe/Berlin' or 'UTC'",
    ),
    "no asset at all": (
        "x = 1\n",
        "error: 'bad.py' declares no asset\n"
        "  fix: put @asset above a function at the top level, or name another TARGET",
    ),
}


@pytest.mark.parametrize("what", CODE)
def test_wrong_code_is_not_deployed_and_its_line_is_named(shop: Shop, what: str) -> None:
    code, told = CODE[what]
    (shop.folder / "bad.py").write_text(code)
    try:
        assert shop.refuses("deploy", "bad.py") == told
    finally:
        (shop.folder / "bad.py").unlink()


def test_two_files_that_declare_one_key_are_both_named(shop: Shop) -> None:
    for name in ("one", "two"):
        write_module(
            shop.folder / "both", name, HEAD + "@asset(key='a.b')\ndef b() -> int: return 1\n"
        )
    assert shop.refuses("deploy", "both") == (
        "error: two assets have the key 'a.b': the other one is at both/one.py:3\n"
        "  at both/two.py:3\n"
        "  fix: rename one function, or give it @asset(namespace='…') or @asset(key='…')"
    )


TARGETS = "  fix: give a module, .py file or folder that declares assets"
ARGUMENTS: dict[str, tuple[list[str], str]] = {
    "a file that is not there": (
        ["deploy", "shpo.py"],
        f"error: there is no file or folder 'shpo.py'; did you mean 'shop.py'?\n{TARGETS}",
    ),
    "a module that is not there": (
        ["deploy", "shpo"],
        f"error: there is no module 'shpo'; did you mean 'shop'?\n{TARGETS}",
    ),
    "a project that is not there": (
        ["deploy", "-C", "nowhere"],
        "error: there is no folder 'nowhere'\n  fix: choose one with -C FOLDER",
    ),
    "an asset": (
        ["run", "t.aa"],
        "error: no asset 't.aa' in the graph; did you mean 't.a'?\n"
        "  fix: name one that exists: arco-flow assets",
    ),
    "a selection": (
        ["run", "t.a and (t.b"],
        "error: selection can not be read: expected ')', 'and' or 'or', found the end\n"
        "  at column 13\n  fix: put 'and' or 'or' between two selections",
    ),
    "a run to cancel": (
        ["cancel", "run_x"],
        "error: no run 'run_x'\n  fix: arco-flow runs",
    ),
    "a run to read the logs of": (
        ["logs", "run_x"],
        "error: no run 'run_x'\n  fix: arco-flow runs",
    ),
    "a run to follow": (
        ["status", "run_x", "--watch"],
        "error: no run 'run_x'\n  fix: arco-flow runs",
    ),
    "a workspace that climbs": (
        ["runs", "--workspace", "../x"],
        "error: workspace '../x' has '.' at character 1; lower-case letters, digits, '-' and '_' "
        "are allowed\n  fix: for example 'production'",
    ),
    "another workspace": (
        ["runs", "--workspace", "other"],
        "error: there is no such workspace\n  fix: name the workspace that the credential is of",
    ),
}


@pytest.mark.parametrize("what", ARGUMENTS)
def test_wrong_arguments_are_told_with_their_mend(shop: Shop, what: str) -> None:
    arguments, told = ARGUMENTS[what]
    assert shop.refuses(*arguments) == told


def test_a_folder_without_python_files(shop: Shop) -> None:
    (shop.folder / "bare").mkdir()
    told = shop.refuses("deploy", "bare")
    assert told == f"error: the folder 'bare' holds no Python files\n{TARGETS}"


def test_a_run_that_is_over_can_not_be_cancelled(shop: Shop) -> None:
    assert shop.refuses("cancel", shop.run_id) == (
        f"error: run {shop.run_id} is SUCCEEDED already; it can not be cancelled\n"
        f"  fix: nothing is left to end; what it did: arco-flow status {shop.run_id}"
    )


def test_the_log_of_a_task_that_is_none_of_the_run(shop: Shop) -> None:
    assert shop.refuses("logs", shop.run_id, "--task", "t.b") == (
        f"error: no task 't.b' in run {shop.run_id}; did you mean 't.a'?\n"
        f"  fix: its tasks: arco-flow status {shop.run_id}"
    )


def test_a_program_reads_the_refusal_as_json(shop: Shop) -> None:
    done = shop.command("cancel", "run_x", "--json")
    error = {"reason": "RUN_NOT_FOUND", "message": "no run 'run_x'\n  fix: arco-flow runs"}
    assert json.loads(done.stdout) == {"error": error}


def test_a_wrong_token(shop: Shop) -> None:
    assert shop.refuses("run", "t.a", token="wrong") == (
        "error: a valid credential is needed\n  fix: set ARCO_FLOW_TOKEN to the plane's token"
    )
