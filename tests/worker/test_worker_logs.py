import json

import pytest
from plane_stub import accept, wait_until

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.domain.errors import OutcomeUnknown, Unavailable
from arco_flow.worker.logs import CHUNK_BYTES, MAX_LINE_BYTES, AttemptLog, LineSplitter
from arco_flow.worker.redaction import Redactor

PREFIX = "tenants/t/workspaces/w/logs/run_1/att_1/"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def stored(objects) -> list[dict]:
    chunks = [objects.get(meta.key) for meta in objects.list(PREFIX)]
    return [json.loads(line) for chunk in chunks for line in chunk.data.splitlines()]


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path / "objects")


def test_lines_are_numbered_from_one_and_chunks_are_named_by_their_first_line(objects):
    log = AttemptLog(objects, PREFIX)
    log.add("stdout", "", "a")
    log.add("log", "INFO", "b")
    log.flush()
    log.add("stderr", "", "c")
    log.flush(final=True)
    assert [meta.key for meta in objects.list(PREFIX)] == [
        PREFIX + "00000001.ndjson",
        PREFIX + "00000003.ndjson",
    ]
    assert [(line["seq"], line["stream"], line["message"]) for line in stored(objects)] == [
        (1, "stdout", "a"),
        (2, "log", "b"),
        (3, "stderr", "c"),
    ]


def test_nothing_is_written_when_nothing_was_printed(objects):
    log = AttemptLog(objects, PREFIX)
    assert not log.is_due()
    log.flush(final=True)
    assert objects.list(PREFIX) == []


def test_a_chunk_is_due_after_a_second_or_64_kib(objects):
    clock = Clock()
    log = AttemptLog(objects, PREFIX, clock=clock)
    log.add("stdout", "", "x")
    assert not log.is_due()
    clock.now += 1
    assert log.is_due()
    log.flush()
    assert not log.is_due()
    log.add("stdout", "", "y" * CHUNK_BYTES)
    assert log.is_due()


def test_long_messages_are_split_and_not_lost(objects):
    log = AttemptLog(objects, PREFIX)
    text = "äöü€" * 20_000
    log.add("log", "INFO", text)
    log.flush()
    lines = stored(objects)
    assert "".join(line["message"] for line in lines) == text
    assert all(len(line["message"].encode()) <= MAX_LINE_BYTES for line in lines)


def test_the_cap_of_an_attempt_ends_with_a_line_that_says_so(objects):
    log = AttemptLog(objects, PREFIX, max_bytes=500)
    for _ in range(50):
        log.add("stdout", "", "x" * 50)
    log.flush()
    lines = stored(objects)
    assert 1 < len(lines) < 10
    assert "truncated" in lines[-1]["message"]
    assert lines[-1]["level"] == "WARNING"


class Flaky:
    """An object store whose next creates go wrong as told: before or after they are applied."""

    def __init__(self, inner, *troubles):
        self.inner, self.troubles = inner, list(troubles)

    def put_if_absent(self, key, data):
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, Unavailable) and not isinstance(trouble, OutcomeUnknown):
            raise trouble
        created = self.inner.put_if_absent(key, data)
        if trouble is not None:
            raise trouble
        return created

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_what_can_not_be_stored_now_is_stored_later_in_order(objects):
    flaky = Flaky(objects, Unavailable("down"))
    log = AttemptLog(flaky, PREFIX)
    log.add("stdout", "", "a")
    log.flush()
    assert "down" in log.trouble
    log.add("stdout", "", "b")
    log.flush()
    assert log.trouble == ""
    assert [line["message"] for line in stored(objects)] == ["a", "b"]


def test_an_unknown_outcome_does_not_double_lines(objects):
    log = AttemptLog(Flaky(objects, OutcomeUnknown("lost")), PREFIX)
    log.add("stdout", "", "a")
    log.flush()
    assert [line["message"] for line in stored(objects)] == ["a"]


def test_lines_are_given_up_after_three_tries_and_it_is_said(objects):
    log = AttemptLog(Flaky(objects, *[Unavailable("down")] * 5), PREFIX)
    log.add("stdout", "", "a")
    log.flush(final=True)
    assert log.trouble == "1 log lines could not be stored: down"


def test_chunks_of_an_earlier_process_are_not_overwritten(objects):
    for message in ("first", "second"):
        log = AttemptLog(objects, PREFIX)
        log.add("stdout", "", message)
        log.flush()
    assert [line["message"] for line in stored(objects)] == ["first", "second"]


def test_lines_are_cut_at_line_ends_however_the_bytes_arrive():
    splitter = LineSplitter(Redactor())
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed("o\r\nthr€".encode()[:-1]) == ["two"]
    assert splitter.feed("€".encode()[-1:] + b"e") == []
    assert splitter.rest() == ["thr€e"]
    assert splitter.rest() == []


def test_an_endless_line_is_cut_between_characters_and_not_within_a_secret():
    secret = "s3cr3t-" + "x" * 40
    text = "€" * 10_915 + secret + "ü" * 30_000
    for shift in range(12):
        splitter = LineSplitter(Redactor({secret}))
        parts = splitter.feed(b"a" * shift + text.encode()) + splitter.rest()
        joined = "".join(parts)
        assert joined == "a" * shift + text.replace(secret, "***")
        assert len(parts) > 1


def test_secrets_are_masked_longest_first_and_by_line():
    known = {"abcd", "abcdefgh"}
    redactor = Redactor(known)
    assert redactor.clean("x abcdefgh abcd y") == "x *** *** y"
    known.add("-----BEGIN KEY-----\nMIIEvQIBADANB\n}\n")
    assert redactor.clean("MIIEvQIBADANB and }") == "*** and }"
    assert Redactor().clean("abcd") == "abcd"


# -- in a real process ---------------------------------------------------------------------

PRINTS = """
import ctypes, logging, os, subprocess, sys
from arco_flow.sdk.asset import asset
from arco_flow.sdk.context import AssetContext

print("while importing")

@asset
def prints(context: AssetContext) -> None:
    print("one")
    logging.getLogger("lib").info("two")
    context.log.warning("three %s", 3)
    subprocess.run(["sh", "-c", "echo four; echo five >&2"], check=True)
    ctypes.CDLL(None).puts(b"six")
    ctypes.CDLL(None).fflush(None)
    os.write(1, b"seven \\xff\\n")
    print("eight", file=sys.stderr)
    print("nine", end="")

@asset
def silent() -> None: ...
"""


def test_everything_that_is_printed_is_kept_with_its_attempt(bench):
    target = bench.write(PRINTS)
    with bench.worker(target) as worker:
        worker.dispatch("sales.prints")
        worker.dispatch("sales.silent", "att_2")
        stray = worker.close()
    found = {(line["stream"], line["level"], line["message"]) for line in bench.log_lines()}
    assert found == {
        ("stdout", "", "one"),
        ("log", "INFO", "lib: two"),
        ("log", "WARNING", "three 3"),
        ("stdout", "", "four"),
        ("stderr", "", "five"),
        ("stdout", "", "six"),
        ("stdout", "", "seven \ufffd"),
        ("stderr", "", "eight"),
        ("stdout", "", "nine"),
    }
    assert bench.log_lines("att_2") == []
    assert "while importing" in stray


def test_logs_are_complete_before_the_attempt_is_reported(bench):
    target = bench.write(PRINTS)
    counts = []

    def answer(kind, body):
        if kind == "completed":
            counts.append(len(bench.log_lines()))
        return accept(kind, body)

    bench.server.answer = answer
    with bench.worker(target) as worker:
        worker.dispatch("sales.prints")
    assert counts == [9]


def test_order_is_kept_between_prints_and_log_records(bench):
    target = bench.write(
        """
from arco_flow.sdk.asset import asset
from arco_flow.sdk.context import AssetContext

@asset
def prints(context: AssetContext) -> None:
    for number in range(20):
        print(f"print {number}")
        context.log.info("log %d", number)
"""
    )
    with bench.worker(target) as worker:
        worker.dispatch("sales.prints")
    expected = [f"{kind} {number}" for number in range(20) for kind in ("print", "log")]
    assert bench.messages() == expected
    assert [line["seq"] for line in bench.log_lines()] == list(range(1, 41))


def test_much_output_is_kept_whole(bench):
    target = bench.write(
        """
import sys
from arco_flow.sdk.asset import asset

@asset
def prints() -> None:
    for number in range(30_000):
        print(f"line {number} " + "x" * 100)
    sys.stdout.write("y" * 3_000_000)
"""
    )
    with bench.worker(target) as worker:
        worker.dispatch("sales.prints")
    messages = bench.messages()
    assert [m.split()[1] for m in messages[:30_000]] == [str(n) for n in range(30_000)]
    assert "".join(messages[30_000:]) == "y" * 3_000_000


def test_output_appears_while_the_attempt_runs(bench):
    target = bench.write(
        """
import threading
from arco_flow.sdk.asset import asset
from arco_flow.sdk.context import AssetContext

@asset
def prints(context: AssetContext) -> None:
    context.log.info("early")
    threading.Event().wait()
"""
    )
    with bench.worker(target) as worker:
        worker.send(bench.envelope("sales.prints"))
        wait_until(lambda: bench.messages() == ["early"])
        worker.process.kill()


def test_secrets_are_masked_in_prints_records_errors_and_checks(bench):
    target = bench.write(
        """
import logging, subprocess
from arco_flow.sdk.asset import asset
from arco_flow.sdk.checks import CheckResult
from arco_flow.sdk.context import AssetContext
from arco_flow.sdk.env import secret
from arco_flow.sdk.resource import Resource

class Shop(Resource):
    token: str = secret("SHOP_TOKEN")

@asset
def leaks(shop: Shop, context: AssetContext) -> None:
    print("token", shop.token)
    logging.warning("token %s", shop.token)
    context.log.info("token %s", shop.token)
    subprocess.run(["sh", "-c", "echo token $SHOP_TOKEN >&2"], check=True)
    raise ValueError("token " + shop.token)
"""
    )
    with bench.worker(target, SHOP_TOKEN="hunter2-hunter2") as worker:
        report = worker.dispatch("sales.leaks")
    assert "hunter2" not in json.dumps(report)
    assert report["error"]["message"] == "ValueError: token ***"
    messages = bench.messages()
    assert len(messages) == 4
    assert all(message.endswith("token ***") for message in messages)


def test_children_of_a_fork_can_log(bench):
    target = bench.write(
        """
import logging, os
from arco_flow.sdk.asset import asset

@asset
def forks() -> None:
    child = os.fork()
    if child == 0:
        logging.getLogger("lib").warning("from the child")
        os._exit(0)
    os.waitpid(child, 0)
"""
    )
    with bench.worker(target) as worker:
        assert worker.dispatch("sales.forks")["outcome"] == "SUCCEEDED"
    assert any("from the child" in message for message in bench.messages())
