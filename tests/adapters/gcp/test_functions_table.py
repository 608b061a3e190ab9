"""The functions' table: the one that is deployed is whole, and a wrong one names its row."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from arco_flow.adapters.gcp.functions_table import FunctionsTable, load_functions_table
from arco_flow.domain.cron import parse_cron
from arco_flow.domain.errors import InvalidInput, NotFound
from arco_flow.http.arguments import MAX_WAIT_MS

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "functions"
LIBRARY = ROOT / "shared" / "arco_flow"
MAINS = sorted(FOLDER.glob("*/main.py"))


@pytest.fixture(scope="module")
def table() -> FunctionsTable:
    return load_functions_table(FOLDER / "functions.yaml")


# -- the table that is deployed ------------------------------------------------------------------


def test_each_row_has_its_folder_and_each_folder_its_row(table: FunctionsTable) -> None:
    assert sorted(table.functions) == [main.parent.name for main in MAINS]


@pytest.mark.parametrize("main", MAINS, ids=lambda main: main.parent.name)
def test_a_main_is_a_handler_in_ten_lines_that_names_its_function(main: Path) -> None:
    text = main.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 10
    tree = ast.parse(text)
    handler = tree.body[-1]
    assert isinstance(handler, ast.Assign)
    assert ast.unparse(handler.targets[0]) == "main"
    assert isinstance(handler.value, ast.Call)
    assert ast.literal_eval(handler.value.args[0]) == main.parent.name
    kinds = {type(node) for node in tree.body[:-1]}
    assert kinds <= {ast.Expr, ast.ImportFrom}, "a docstring and imports"


def test_a_main_is_served_as_its_trigger_needs(table: FunctionsTable) -> None:
    by_trigger = {"http": "serve_api(", "tasks": "serve_", "pubsub": "is_push=True"}
    for name, row in table.functions.items():
        text = (FOLDER / name / "main.py").read_text(encoding="utf-8")
        assert by_trigger.get(row.trigger, "serve_deliveries(") in text
        assert ("is_push=True" in text) == (row.trigger == "pubsub")
        assert ("serve_api(" in text) == (row.trigger == "http")


def test_no_row_stands_there_twice() -> None:
    text = (FOLDER / "functions.yaml").read_text(encoding="utf-8")
    rows = Counter(re.findall(r"^  ([a-z][a-z_-]*):", text, re.MULTILINE))
    parsed = yaml.safe_load(text)
    assert sum(rows.values()) == sum(len(part) for part in parsed.values())


def test_deliveries_are_let_in_from_the_accounts_that_send_them(table: FunctionsTable) -> None:
    senders = {"tasks": "tasks", "pubsub": "push", "schedule": "scheduler"}
    for row in table.functions.values():
        if row.trigger == "http":
            assert (row.callers, bool(row.access)) == ([], True)
        else:
            assert row.callers[0] == senders[row.trigger]
            assert set(row.callers) <= set(senders.values())
            assert row.access == ""
            assert ("tasks" in row.callers) == bool(row.route), "a route is called by a queue"


def test_only_who_is_delivered_to_may_publish(table: FunctionsTable) -> None:
    may = {name for name, row in table.functions.items() if "pubsub" in row.uses}
    # They put aside what can never succeed; who is called answers it to the caller.
    assert may == {name for name, row in table.functions.items() if row.trigger != "http"}


def test_what_calls_a_function_does_not_run_one(table: FunctionsTable) -> None:
    identities = {row.identity for row in table.functions.values()}
    callers = {caller for row in table.functions.values() for caller in row.callers}
    assert not identities & callers
    alone = [name for name, row in table.functions.items() if row.identity == "worker"]
    assert alone == ["worker"], "user code has an account of its own"


def test_every_queue_that_the_engine_names_is_in_the_table_and_no_other(
    table: FunctionsTable,
) -> None:
    assert set(table.queues) == queues_of_the_engine()
    for name, row in table.functions.items():
        assert not row.queue or table.of_queue(row.queue) == name
    with pytest.raises(NotFound, match="no function takes the tasks"):
        table.of_queue("nowhere")


def queues_of_the_engine() -> set[str]:
    """The first argument of each `enqueue(…)` and `NewTask(…)`."""
    found = set()
    for path in (LIBRARY / "engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ("tasks.enqueue", "NewTask")
            ):
                found.add(ast.literal_eval(node.args[0]))
    return found


def test_every_topic_is_subscribed_to_or_published_to(table: FunctionsTable) -> None:
    subscribed = {row.topic for row in table.functions.values()}
    texts = [path.read_text(encoding="utf-8") for path in LIBRARY.rglob("*.py")]
    for topic in set(table.topics) - subscribed:
        assert any(f'"{topic}"' in text for text in texts), topic


def test_figures_are_within_what_the_services_allow(table: FunctionsTable) -> None:
    for row in table.functions.values():
        assert 0 < row.timeout_seconds <= {"pubsub": 600, "tasks": 1800}.get(row.trigger, 3600)
        assert 128 <= row.memory_mib <= 32 * 1024
        assert 1 <= row.concurrency <= 1000
        assert 5 <= row.retry.max_deliveries <= 100
        assert 0 <= row.retry.min_backoff_seconds <= row.retry.max_backoff_seconds <= 600
        if row.cron:
            parse_cron(row.cron)
    for queue in table.queues.values():
        assert 0 < queue.per_second <= 500
        assert 0 < queue.at_once <= 5000
        assert 0 < queue.min_backoff_seconds <= queue.max_backoff_seconds
    for topic in table.topics.values():
        assert 0 < topic.keep_days <= 31


def test_the_platform_does_not_cut_a_request_whose_caller_is_kept_waiting(
    table: FunctionsTable,
) -> None:
    """The wait itself may take all of its time, and the request a little more."""
    assert table.function("api").timeout_seconds >= MAX_WAIT_MS / 1000 + 20


def test_a_function_by_a_name_that_is_nearly_right_is_not_found(table: FunctionsTable) -> None:
    assert table.function("worker").identity == "worker"
    with pytest.raises(NotFound, match="did you mean 'dispatch'"):
        table.function("dispach")


# -- the command of the image ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "nowhere", "../functions/api"])
def test_an_image_without_a_function_says_which_ones_it_has(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(FOLDER / "serve.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ARCO_FLOW_FUNCTION": name},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    names = ", ".join(main.parent.name for main in MAINS)
    expected = f"ARCO_FLOW_FUNCTION is '{name}'; it must be one of {names}"
    assert done.stderr.splitlines()[-1] == expected


# -- wrong tables --------------------------------------------------------------------------------

TASKS = {
    "summary": "folds",
    "trigger": "tasks",
    "queue": "wakes",
    "route": "dispatch",
    "identity": "control",
    "callers": ["tasks"],
    "uses": ["firestore"],
    "memory_mib": 512,
    "concurrency": 16,
    "timeout_seconds": 60,
    "max_instances": 5,
}
WAKES = {
    "per_second": 500,
    "at_once": 50,
    "max_attempts": 5,
    "min_backoff_seconds": 0.1,
    "max_backoff_seconds": 3,
}
OTHER = {**TASKS, "queue": "", "route": ""}
GOOD: dict[str, Any] = {
    "functions": {"dispatch": TASKS},
    "queues": {"wakes": WAKES},
    "topics": {"asks": {"summary": "asks"}},
}


def load(tmp_path: Path, document: Any) -> FunctionsTable:
    path = tmp_path / "functions.yaml"
    path.write_bytes(document if isinstance(document, bytes) else msgspec.yaml.encode(document))
    return load_functions_table(path)


def test_a_table_is_read_with_its_defaults(tmp_path: Path) -> None:
    row = load(tmp_path, GOOD).function("dispatch")
    assert (row.cpu, row.access, row.cron, row.retry.max_deliveries) == (1, "", "", 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queue": ""}, "is triggered by tasks and names no queue"),
        ({"route": ""}, "is triggered by tasks and names no route"),
        ({"callers": []}, "is triggered by tasks and names no callers"),
        ({"trigger": "pubsub"}, "is triggered by pubsub and names no topic"),
        ({"trigger": "schedule"}, "is triggered by schedule and names no cron"),
        ({"trigger": "http"}, "is triggered by http and names no access"),
        ({"trigger": "htp"}, "does not hold what it should: Invalid enum value 'htp'"),
        ({"queue": "wake"}, "names the queue 'wake', which is in no row; did you mean 'wakes'?"),
        (
            {"trigger": "pubsub", "topic": "ask"},
            "names the topic 'ask', which is in no row; did you mean 'asks'?",
        ),
        (
            {"max_instances": 7, "concurrency": 7},
            "takes 49 requests at once, and its queue 'wakes' sends 50",
        ),
        ({"memory": 5}, "does not hold what it should: Object contains unknown field `memory`"),
        ({"memory_mib": "much"}, "does not hold what it should: Expected `int`, got `str`"),
        ({"uses": ["spanner"]}, "does not hold what it should: Invalid enum value 'spanner'"),
        ({"access": "everybody"}, "does not hold what it should: Invalid enum value 'everybody'"),
        ({"retry": {"max": 1}}, "does not hold what it should: Object contains unknown field"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    wrong = {**GOOD, "functions": {"good": OTHER | {"trigger": "http", "access": "users"}}}
    wrong["functions"]["dispatch"] = {**TASKS, **changes}
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path, wrong)
    assert caught.value.message.startswith(f"function 'dispatch' {message}")
    assert caught.value.where == str(tmp_path / "functions.yaml")


def test_a_row_that_leaves_out_a_field_is_named(tmp_path: Path) -> None:
    kept = {name: value for name, value in TASKS.items() if name != "identity"}
    with pytest.raises(InvalidInput, match=r"function 'dispatch' .*missing required field `ident"):
        load(tmp_path, {**GOOD, "functions": {"dispatch": kept}})


def test_two_functions_can_not_share_a_queue(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="function 'b' shares the queue 'wakes' with 'a'"):
        load(tmp_path, {**GOOD, "functions": {"a": TASKS, "b": TASKS}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queues": {"wakes": {**WAKES, "per_second": "many"}}}, "queue 'wakes' does not hold"),
        ({"topics": {"asks": {}}}, "topic 'asks' does not hold"),
        ({"topics": {"asks": None}}, "topic 'asks' does not hold"),
        ({"queue": {}}, "nothing is known of 'queue'"),
    ],
)
def test_a_wrong_queue_or_topic_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        load(tmp_path, {**GOOD, **changes})


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"functions: 7", b"functions: [a]", b"a: {", b"\xff\x00", b"1: {}"]
)
def test_what_is_no_table_at_all_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"functions\.yaml can not be read"):
        load(tmp_path, text)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"functions\.yaml can not be read"):
        load_functions_table(tmp_path / "functions.yaml")


def test_tags_of_yaml_make_no_objects(tmp_path: Path) -> None:
    bait = b"functions: !!python/object/apply:os.system ['exit 7']"
    with pytest.raises(InvalidInput, match="can not be read"):
        load(tmp_path, bait)
