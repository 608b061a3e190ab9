"""What is shown while a run goes on: lines without a terminal, a live view on one."""

from __future__ import annotations

import io
from datetime import datetime

import pytest
from rich.console import Console
from run_views import START, a_failed_task, a_run, a_task

from arco_flow.cli.live_view import LIVE_TASKS, drawing
from arco_flow.cli.progress import SUMMARY_SECONDS, Lines
from arco_flow.engine.views import RunView


class Watched:
    """Lines under a clock that is moved by hand; told() is what is new on stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.now = 100.0
        self._capsys = capsys
        self._lines = Lines(lambda: self.now)

    def told(self, run: RunView, after: float = 0) -> list[str]:
        self.now += after
        self._lines.show(run)
        return self._capsys.readouterr().err.splitlines()


@pytest.fixture
def watched(capsys: pytest.CaptureFixture[str]) -> Watched:
    return Watched(capsys)


def test_only_what_is_over_is_told_and_each_once(watched: Watched) -> None:
    begun = a_run(a_task("a", "DISPATCHED"), a_task("b", "BLOCKED", 0))
    assert watched.told(begun) == ["run run_1 RUNNING"]
    assert watched.told(a_run(a_task("a", "RUNNING"), a_task("b", "BLOCKED", 0))) == []
    done = a_run(a_task("a"), a_task("b", "DISPATCHED"))
    assert watched.told(done) == ["  SUCCEEDED a"]
    assert watched.told(done) == []


def test_a_retry_is_told_with_its_reason_and_its_time(watched: Watched) -> None:
    waiting = a_task("a", "RETRY_WAIT", tries=["USER_CODE: ConnectionError: 503"], retry_time=START)
    _, line = reversed(watched.told(a_run(waiting)))
    assert line.startswith("  RETRY_WAIT a: try 1: ConnectionError: 503; next try at ")
    failed = a_failed_task("a", "ConnectionError: 503", attempt=2)
    assert watched.told(a_run(failed)) == ["  FAILED a (try 2): ConnectionError: 503"]


def test_tasks_that_never_began_are_one_line_per_cause(watched: Watched) -> None:
    skipped = [a_task(f"s{i}", "SKIPPED", 0, reason="upstream_failed: a") for i in range(5)]
    other = [a_task("x", "SKIPPED", 0, reason="upstream_failed: b")]
    cancelled = [a_task(f"c{i}", "CANCELLED", 0, reason="enough") for i in range(3)]
    assert watched.told(a_run(*skipped, *other, *cancelled))[:-1] == [
        "  SKIPPED 5 tasks: upstream failed: a",
        "  SKIPPED 1 task: upstream failed: b",
        "  CANCELLED 3 tasks: enough",
    ]


def test_a_long_silence_ends_with_a_summary(watched: Watched) -> None:
    run = a_run(a_task("a"), a_task("b", "RUNNING"), a_task("c", "RETRY_WAIT"))
    watched.told(run)
    assert watched.told(run, after=SUMMARY_SECONDS - 1) == []
    assert watched.told(run, after=1) == [
        "  … 1 of 3 tasks are over, 1 running, 1 retrying after 5.0s"
    ]
    assert watched.told(run, after=1) == [], "and the next only after as long"


def drawn(run: RunView, seconds: float) -> list[str]:
    console = Console(file=io.StringIO(), width=110, color_system=None)
    now = datetime.fromisoformat(START).timestamp() + seconds
    with console.capture() as captured:
        console.print(drawing(run, now))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_live_view_has_what_runs_first_with_progress_and_time() -> None:
    run = a_run(
        a_task("waits", "DISPATCHED"),
        a_task("again", "RETRY_WAIT", tries=["USER_CODE: E: x"]),
        a_task("busy", "RUNNING", progress_pct=40, message="row 4"),
        a_task("done"),
        a_task("later", "BLOCKED", 0),
    )
    head, counts, *rows = drawn(run, seconds=75.9)
    assert head.startswith("run_1  RUNNING  ")
    assert head.endswith("1/5  1m15s")
    assert "1 dispatched, 1 retry_wait, 1 running" in counts
    assert [row.split() for row in rows] == [
        ["busy", "RUNNING", "1m15s", "40", "%", "row", "4"],
        ["again", "RETRY_WAIT", "try", "1:", "E:", "x"],
        ["waits", "DISPATCHED"],
    ]


def test_the_live_view_counts_what_it_has_no_room_for() -> None:
    tasks = [a_task(f"t{i}", "RUNNING") for i in range(LIVE_TASKS + 3)]
    assert "… and 3 more under way" in drawn(a_run(*tasks), seconds=-5)[-1]
    assert "0s" in drawn(a_run(*tasks), seconds=-5)[0], "the plane's clock is ahead"
