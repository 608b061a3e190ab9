"""What people read of a run: its table, what failed and where, and the next command."""

from __future__ import annotations

import sys

import click
import pytest
from run_views import END, TRACE, a_check, a_failed_task, a_run, a_task

from arco_flow.cli.task_report import (
    next_step,
    run_heading,
    task_note,
    task_table,
    troubles,
    user_frame,
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


def test_a_failed_task_tells_category_message_place_and_earlier_tries() -> None:
    task = a_failed_task(
        "shop.orders",
        "JSONDecodeError: Expecting value",
        TRACE,
        attempt=3,
        tries=["USER_CODE: ConnectionError: 503\nmore", "TIMEOUT: no sign of life"],
    )
    assert troubles(a_run(task, state="FAILED")) == [
        "\x1b[31mFAILED\x1b[0m shop.orders (try 3): USER_CODE",
        "  JSONDecodeError: Expecting value",
        "  at /srv/shop/helpers.py:4 in parse",
        "    return json.loads(text)",
        "  try 1: ConnectionError: 503",
        "  try 2: TIMEOUT: no sign of life",
    ]


def test_a_failure_that_no_worker_reported_is_told_by_its_reason() -> None:
    task = a_task("shop.orders", "FAILED", reason="INFRASTRUCTURE: zombie: worker w1 was silent")
    first, second = troubles(a_run(task, state="FAILED"))
    assert first.endswith("shop.orders: INFRASTRUCTURE")
    assert second == "  zombie: worker w1 was silent"
    assert task_note(task) == "zombie: worker w1 was silent"


def test_the_tries_of_a_task_that_succeeded_are_told_once() -> None:
    once = a_task("a", attempt=2, tries=["USER_CODE: E: x"])
    assert task_note(once) == "try 1: E: x"
    assert troubles(a_run(once)) == [], "its note says it already"
    twice = a_task("b", attempt=3, tries=["USER_CODE: E: x", "USER_CODE: E: y"])
    assert troubles(a_run(twice))[1:] == ["  try 1: E: x", "  try 2: E: y"]


def test_a_long_message_is_cut_and_says_where_the_rest_is() -> None:
    task = a_failed_task("a", "\n".join(f"line {i}" for i in range(10)))
    shown = troubles(a_run(task, state="FAILED"))
    assert shown[-2:] == ["  line 5", "  … 4 more lines in the log"]


def test_places_are_of_user_code_and_short_when_they_are_near(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    near = TRACE.replace("/srv/shop", str(tmp_path))
    assert user_frame(near)[0] == "at helpers.py:4 in parse"
    assert user_frame("") == []
    library = '  File "/x/site-packages/polars/a.py", line 1, in f\n    pass\nE'
    assert user_frame(library) == []
    no_source = '  File "assets.py", line 1, in f\n  File "/usr/lib/python3.11/x.py", line 1, in g'
    assert user_frame(no_source) == ["at assets.py:1 in f"]


def test_warnings_are_no_failures_and_are_counted() -> None:
    checks = [a_check("few", "warn"), a_check("all", "error"), a_check("ok", "warn", passed=True)]
    task = a_task("a", checks=checks)
    assert task_note(task) == "checks failed: all; warned: few"
    heading = run_heading(a_run(task, a_task("b"), state="SUCCEEDED"))
    assert "2 \x1b[32mSUCCEEDED\x1b[0m, 1 \x1b[33mwarning\x1b[0m  2.0s" in heading
    assert "warning" not in run_heading(a_run(a_task("b")))
    assert "2 \x1b[33mwarnings" in run_heading(a_run(task, task))


def test_notes_of_tasks_under_way() -> None:
    running = a_task("a", "RUNNING", 2, progress_pct=40, message="row 4", tries=["USER_CODE: E"])
    assert task_note(running) == "40 % row 4; try 1: E"
    waiting = a_task("a", "RETRY_WAIT", tries=["USER_CODE: E"], retry_time=END)
    assert task_note(waiting).startswith("try 1: E; next try at ")
    skipped = a_task("a", "SKIPPED", 0, reason="upstream_failed: shop.b")
    assert task_note(skipped) == "upstream failed: shop.b"
    assert len(task_note(a_failed_task("a", "x" * 500))) == 100


def test_a_table_is_whole_where_nobody_scrolls() -> None:
    run = a_run(*(a_task(f"t{i}") for i in range(200)))
    assert len(task_table(run).splitlines()) == 201
    failed = a_run(*(a_failed_task(f"t{i}") for i in range(30)))
    assert len(troubles(failed)) == 60


@pytest.mark.usefixtures("terminal")
def test_a_table_on_a_terminal_has_what_matters_first_and_says_how_to_see_all() -> None:
    tasks = [a_task(f"t{i}") for i in range(100)]
    tasks += [
        a_task("blocked", "BLOCKED", 0),
        a_task("waits", "DISPATCHED"),
        a_task("warned", checks=[a_check("x", "warn")]),
        a_task("skipped", "SKIPPED", 0),
        a_task("again", "RETRY_WAIT"),
        a_task("runs", "RUNNING"),
        a_failed_task("broke"),
    ]
    head, *rows, last = task_table(a_run(*tasks)).splitlines()
    assert "TASK" in head
    names = [row.split()[0] for row in rows]
    assert names[:8] == [
        "broke", "runs", "again", "skipped", "waits", "blocked", "warned", "t0",
    ]  # fmt: skip
    assert len(rows) == 50
    assert last == "… and 57 more (all: arco-flow status run_1 | less)"
    failed = troubles(a_run(*(a_failed_task(f"t{i}") for i in range(30))))
    assert failed[-1] == "… and 20 more (all: arco-flow status run_1 | less)"


@pytest.mark.usefixtures("terminal")
def test_a_note_does_not_break_the_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = click.unstyle(
        task_table(a_run(a_failed_task("shop.orders", "ValueError: " + "x" * 90)))
    )
    assert max(map(len, shown.splitlines())) == 60
    assert shown.endswith("-     ValueError: xxxxxxxxx…")


@pytest.mark.parametrize(
    ("run", "command"),
    [
        (a_run(a_task("a"), state="SUCCEEDED"), "arco-flow assets"),
        (a_run(a_task("a", "RUNNING")), "arco-flow status run_1 --watch"),
        (a_run(a_failed_task("a[x y]"), state="FAILED"), "arco-flow logs run_1 --task 'a[x y]'"),
        (a_run(a_task("a", "CANCELLED"), state="CANCELLED"), "arco-flow events run_1"),
    ],
    ids=["succeeded", "running", "failed", "cancelled"],
)
def test_the_next_command_is_one_that_helps(run: object, command: str) -> None:
    assert next_step(run) == command  # type: ignore[arg-type]
