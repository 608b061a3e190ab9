"""Hostile user code, against whole planes: it hurts itself, and no neighbour and no plane."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from arco_flow.domain.ids import log_prefix
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.engine.views import DeployOutcome, LogPage, RunView
from arco_flow.sdk.discovery import load_definitions
from e2e.harness import EMBEDDED, Kind, PlaneUnderTest, running_plane, write_module

EVERY_PLANE = True

HOSTILE = """
    import os, shutil, signal, sys, tempfile
    from pathlib import Path
    from arco_flow import AssetContext, StaticPartitions, asset

    @asset(namespace="t")
    def floods_stdout() -> int:
        line = b"x" * 999 + b"\\n"
        for _ in range(100):
            os.write(1, line * 1000)
        return 1

    @asset(namespace="t")
    def returns_an_object():
        return object()

    @asset(namespace="t")
    def returns_nan() -> float:
        return float("nan")

    @asset(namespace="t")
    def returns_itself() -> list:
        value = []
        value.append(value)
        return value

    @asset(namespace="t")
    def prints_bytes() -> int:
        os.write(1, b"caf\\xe9 \\xff\\xfe\\n")
        return 1

    @asset(namespace="t")
    def prints_half_a_pair(context: AssetContext) -> int:
        context.progress(50, "\\ud800")
        context.log.info("log \\ud800")
        print("print \\ud800")
        return 1

    @asset(namespace="t")
    def closes_stdout() -> int:
        os.close(1)
        os.close(2)
        sys.stdout = None
        return 1

    @asset(namespace="t")
    def exits_at_once() -> int:
        os._exit(7)

    @asset(namespace="t")
    def exits() -> int:
        sys.exit(5)

    @asset(namespace="t")
    def is_killed() -> int:
        os.kill(os.getpid(), signal.SIGKILL)

    @asset(namespace="t")
    def interrupts() -> int:
        raise KeyboardInterrupt

    @asset(namespace="t")
    def recurses() -> int:
        def deeper():
            return deeper()
        return deeper()

    @asset(namespace="t")
    def loses_its_folder() -> int:
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        shutil.rmtree(folder)
        return 1

    @asset(namespace="t")
    def raises_the_unreadable() -> int:
        with Path(__file__).with_name("tries").open("a") as file:
            file.write("x")
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        raise Mute()

    @asset(namespace="t")
    def raises_half_a_pair() -> int:
        raise ValueError("half: \\ud800")

    @asset(namespace="t")
    def raises_a_novel() -> int:
        raise ValueError("z" * 5_000_000)

    @asset(namespace="t", partitions=StaticPartitions(["0", "1", "2", "3"]))
    def neighbour() -> str:
        print("stdout is mine again")
        return os.getcwd()
"""


NEIGHBOURS = 4
"""Tasks that run after hostile code: more than a plane has worker processes."""
TRIES = 5


@pytest.fixture(scope="module")
def hostile(plane_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneUnderTest]:
    """One worker for all where a plane has workers of its own, so that what one attempt breaks
    would hurt the next."""
    folder = tmp_path_factory.mktemp("hostile")
    write_module(folder / "code", "shop", HOSTILE)
    with running_plane(folder, workers=1) as plane:
        plane.deploy(folder / "code" / "shop.py")
        yield plane


def run_one(plane: PlaneUnderTest, name: str) -> RunView:
    return plane.wait(plane.request(f"t.{name}").run_id)


def printed(plane: PlaneUnderTest, run: RunView) -> list[str]:
    page = plane.client.get(f"/runs/{run.run_id}/logs", LogPage)
    return [line.message for line in page.lines if line.stream != "error"]


FAILURES: dict[str, tuple[str, str]] = {
    "returns_an_object": (
        "USER_CODE",
        "'t.returns_an_object' returned object, which the IO 'json' can not store: object is no "
        "JSON value at `$`\n  at IO 'json'",
    ),
    "returns_nan": (
        "USER_CODE",
        "'t.returns_nan' returned float, which the IO 'json' can not store: nan at `$` has no JSON "
        "form\n  at IO 'json', chosen by the return annotation float\n  fix: replace it by None",
    ),
    "returns_itself": (
        "USER_CODE",
        "'t.returns_itself' returned list, which the IO 'json' can not store: nested deeper than",
    ),
    "exits_at_once": ("INFRASTRUCTURE", "worker process exited with code 7"),
    "exits": ("USER_CODE", "SystemExit: user code called exit(5)"),
    "is_killed": (
        "INFRASTRUCTURE",
        "worker process exited with signal 9 (killed; out of memory?)",
    ),
    "interrupts": ("USER_CODE", "KeyboardInterrupt"),
    "recurses": ("USER_CODE", "RecursionError: maximum recursion depth exceeded"),
    "raises_the_unreadable": (
        "USER_CODE",
        "Mute: its text can not be read: its __str__ raises RuntimeError",
    ),
    "raises_half_a_pair": ("USER_CODE", "ValueError: half: ?"),
    "raises_a_novel": ("USER_CODE", "ValueError: zzz"),
}  # fmt: skip


ENDS_ITS_PROCESS = ("exits_at_once", "is_killed")


@pytest.mark.parametrize("name", FAILURES)
def test_code_that_fails_fails_once_with_a_reason_and_leaves_no_version(
    hostile: PlaneUnderTest, name: str
) -> None:
    category, message = FAILURES[name]
    run = run_one(hostile, name)
    task = run.tasks[0]
    assert (run.state, task.state, task.attempt) == ("FAILED", "FAILED", 1)
    assert task.error is not None
    assert (task.error["category"], task.error["message"][: len(message)]) == (category, message)
    assert len(task.error["message"]) < 10_000
    assert hostile.pointer(f"t.{name}") is None
    assert hostile.committed_versions(f"t.{name}") == []
    _neighbours_are_well(hostile, run, ended=name in ENDS_ITS_PROCESS)


def _neighbours_are_well(plane: PlaneUnderTest, after: RunView, *, ended: bool = False) -> None:
    """The next attempts of the worker of a run begin as its first one did. ended: its process did,
    and now it is those of all the others and of its successor."""
    worker = after.tasks[0].worker_id
    seen: set[str] = set()
    for _ in range(TRIES):
        run = plane.wait(plane.request("t.neighbour", all_partitions=True).run_id)
        assert run.state == "SUCCEEDED", [task.error for task in run.tasks]
        assert printed(plane, run) == ["stdout is mine again"] * NEIGHBOURS
        seen |= {task.worker_id for task in run.tasks}
        if worker in seen or ended:
            break
    assert (worker in seen) != ended, (worker, seen)


def test_the_code_of_an_attempt_that_can_not_be_told_runs_once(hostile: PlaneUnderTest) -> None:
    tries = hostile.folder / "code" / "tries"
    tries.unlink(missing_ok=True)
    run = run_one(hostile, "raises_the_unreadable")
    assert run.state == "FAILED"
    _neighbours_are_well(hostile, run)
    assert tries.read_text() == "x"


@pytest.mark.parametrize("name", ["closes_stdout", "loses_its_folder"])
def test_what_an_attempt_does_to_its_process_is_gone_for_the_next(
    hostile: PlaneUnderTest, name: str
) -> None:
    run = run_one(hostile, name)
    assert run.state == "SUCCEEDED"
    _neighbours_are_well(hostile, run)


def test_what_is_no_text_is_shown_with_marks_in_its_place(hostile: PlaneUnderTest) -> None:
    run = run_one(hostile, "prints_bytes")
    assert run.state == "SUCCEEDED"
    assert printed(hostile, run) == ["caf\ufffd \ufffd\ufffd"]
    run = run_one(hostile, "prints_half_a_pair")
    assert run.state == "SUCCEEDED"
    assert printed(hostile, run) == ["log ?", "print \\ud800"]


def test_a_hundred_megabytes_of_output_are_cut_with_a_word_and_hurt_nothing(
    hostile: PlaneUnderTest,
) -> None:
    run = run_one(hostile, "floods_stdout")
    assert run.state == "SUCCEEDED"
    prefix = log_prefix(hostile.scope, run.run_id, run.tasks[0].attempt_id)
    chunks = hostile.objects.list(prefix, limit=100_000)
    assert all(meta.key.endswith(".ndjson") for meta in chunks)
    assert 60 * 2**20 < sum(meta.size for meta in chunks) <= 65 * 2**20
    last = hostile.objects.get(chunks[-1].key)
    assert last is not None
    line = json.loads(last.data.splitlines()[-1])
    assert line["message"] == "log truncated: one attempt keeps at most 67108864 bytes"
    for meta in chunks:
        hostile.objects.delete(meta.key)
    _neighbours_are_well(hostile, run)


# -- code that is nowhere ---------------------------------------------------------------------

SMALL = """
    from arco_flow import asset

    @asset(namespace="t")
    def small() -> int:
        return 1
"""


def test_code_whose_folder_is_gone_fails_its_tasks_and_is_run_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    code = tmp_path / "code"
    write_module(code, "shop", SMALL)
    with running_plane(tmp_path, workers=1) as plane:
        plane.deploy(code / "shop.py")
        assert run_one(plane, "small").state == "SUCCEEDED"
        shutil.move(code, tmp_path / "moved")
        task = run_one(plane, "small").tasks[0]
        assert task.error is not None
        assert (task.state, task.error["category"]) == ("FAILED", "CONFIGURATION")
        assert task.error["message"] == (
            f"the folder of the code is gone: {code}\n"
            "  fix: bring it back, or deploy the code from where it is now"
            if Kind.current in EMBEDDED
            else f"this worker does not have the folder of the code: {code}\n"
            "  fix: build the worker's image with the code there, or name where it is in "
            "ARCO_FLOW_CODE_TARGET and ARCO_FLOW_CODE_ROOT"
        )
        plane.deploy(tmp_path / "moved" / "shop.py")
        assert run_one(plane, "small").state == "SUCCEEDED"


def test_a_deployment_that_does_not_say_where_its_code_is(tmp_path: Path) -> None:
    path = write_module(tmp_path, "shop", SMALL)
    raw = manifest_bytes(load_definitions(str(path)).manifest())
    with running_plane(tmp_path, workers=1) as plane:
        plane.client.post("/deployments", DeployOutcome, raw, repeat=True)
        task = run_one(plane, "small").tasks[0]
        assert task.error is not None
        assert task.error["message"] == (
            "the deployment does not say where its code is\n"
            "  fix: deploy it with `arco-flow deploy`, which says it"
            if Kind.current in EMBEDDED
            else "the deployment does not say where its code is\n"
            "  fix: deploy it with `arco-flow deploy`, or name the code of the worker's image in "
            "ARCO_FLOW_CODE_TARGET"
        )
        plane.deploy(path)
        assert run_one(plane, "small").state == "SUCCEEDED"
