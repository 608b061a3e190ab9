"""`arco-flow dead-letters`: poison is put aside, told of, and does not stand in anybody's way."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from arco_flow.adapters.gcp.dead_letters import (
    DeadLetters,
)
from arco_flow.adapters.gcp.diagnosis import deployment_of
from arco_flow.adapters.gcp.emulated import PROJECT
from arco_flow.adapters.gcp.provision import account_email
from arco_flow.adapters.gcp.pubsub_bus import PubSubBus
from arco_flow.cli.main import cli
from arco_flow.cli.project import Project
from arco_flow.domain.errors import Unavailable
from arco_flow.engine.views import RunPage
from arco_flow.ports.bus import Message
from arco_flow.ports.tasks import NewTask
from e2e.harness import write_module
from emulated.plane import ROOT, own_bundle

FUNCTIONS = ROOT / "functions"
QUICK_SECONDS = 2.0
GOOD_SECONDS = 60


@pytest.fixture(scope="module")
def running():
    with own_bundle() as bundle:
        yield bundle


@pytest.fixture
def plane(running, tmp_path):
    """A workspace that nobody used, and a folder whose commands look at its plane; what a test
    has put aside is gone after it."""
    environment = running.plane.environment_for_doctor("user0@acme.test", 3600)
    Project(tmp_path, ".", "w0").keep_doctor_environment(environment)
    with running.under_test(tmp_path) as under_test:
        yield Sender(running, under_test, deployment_of(environment, FUNCTIONS), tmp_path)
        with DeadLetters(deployment_of(environment, FUNCTIONS), wait_seconds=QUICK_SECONDS) as box:
            box.drop([letter.id for letter in box.letters(100)])


class Sender:
    """What comes to the functions, and the commands of who looks after them."""

    def __init__(self, running, under_test, deployment, folder: Path) -> None:
        self.running = running
        self.under_test = under_test
        self.workspace = under_test.plane.scope.workspace
        self.deployment = deployment
        self.folder = folder

    def publish(self, topic: str, body: bytes, **attributes: str) -> None:
        async def publish() -> None:
            bus = PubSubBus(PROJECT, emulator=self.deployment.emulator("PUBSUB_EMULATOR_HOST"))
            await bus.publish(topic, [Message(body, attributes)])
            await bus.close()

        asyncio.run(publish())

    def enqueue(self, function: str, name: str, body: bytes) -> None:
        from arco_flow.adapters.gcp import dead_letters

        row = self.deployment.table.function(function)

        async def enqueue() -> None:
            tasks = dead_letters._queues(self.deployment)
            await tasks.enqueue_many([NewTask(row.queue, name, row.route, body)])
            await tasks.close()

        asyncio.run(enqueue())

    def push_raw(self, body: bytes) -> int:
        """The status of a push whose envelope is what is given."""
        url = self.running.bundle.urls["run_bridge"]
        token = self.running.plane.token(account_email(PROJECT, "push"), "run_bridge")
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        request = urllib.request.Request(f"{url}/", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status

    def request(self, run_key: str) -> bytes:
        asked = {"selection": "*", "runKey": run_key}
        told = {"tenant": "acme", "workspace": self.workspace, "actor": "test", "request": asked}
        return json.dumps(told).encode()

    def deploy(self) -> None:
        code = """
            from arco_flow import asset

            @asset
            def one() -> int:
                return 1
            """
        self.under_test.deploy(write_module(self.folder / "code", "shop", code))

    def run_of(self, run_key: str):
        """The run of a key, once there is one, at its end."""
        client, deadline = self.under_test.client, time.monotonic() + GOOD_SECONDS
        while time.monotonic() < deadline:
            for run in client.get("/runs", RunPage).runs:
                if run.run_key == run_key:
                    return self.under_test.wait(run.run_id)
            threading.Event().wait(0.05)
        raise AssertionError(f"no run of '{run_key}' within {GOOD_SECONDS} s")

    def command(self, *arguments: str, code: int = 0):
        done = CliRunner().invoke(cli, ["dead-letters", *arguments, "-C", str(self.folder)])
        assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
        return done

    def json(self, *arguments: str, code: int = 0):
        return json.loads(self.command(*arguments, "--json", code=code).stdout)

    def letters(self, count: int):
        """So many, which are waited for."""
        found = self.json("list", "--limit", str(count))["deadLetters"]
        assert len(found) == count, found
        return found


def test_poison_is_put_aside_with_its_reason_and_blocks_nothing(plane):
    plane.deploy()
    plane.publish("run-requests", b"no request", source="test")
    assert plane.push_raw(b"no envelope") == 200
    plane.enqueue("dispatch", "poison-wake", b"no entity")
    plane.enqueue("timer_ingest", "poison-timer", b'{"entity": "acme:w0:run:run_x"}')
    plane.publish("run-requests", plane.request("behind-poison"))
    assert plane.run_of("behind-poison").state == "SUCCEEDED"
    found = {(one["function"], one["message"].partition(":")[0]): one for one in plane.letters(4)}
    assert set(found) == {
        ("run_bridge", "this is no run request"),
        ("run_bridge", "this is no push envelope"),
        ("dispatch", "'no entity' is no entity id"),
        ("timer_ingest", "this is no timer task"),
    }
    assert {one["reason"] for one in found.values()} == {"INVALID_ARGUMENT"}
    timer = found["timer_ingest", "this is no timer task"]
    assert timer["about"] == {"entity": "acme:w0:run:run_x"}
    shown = plane.json("show", timer["id"])
    assert (shown["encoding"], shown["body"]) == ("json", {"entity": "acme:w0:run:run_x"})
    asked = found["run_bridge", "this is no run request"]
    shown = plane.json("show", asked["id"])
    assert (shown["encoding"], shown["body"]) == ("text", "no request")
    assert shown["attributes"] == {"source": "test"}


def test_a_look_takes_nothing_away_and_a_drop_does(plane):
    for number in range(3):
        plane.publish("run-requests", b"poison %d" % number)
    first = {one["id"] for one in plane.letters(3)}
    assert {one["id"] for one in plane.letters(3)} == first
    gone = sorted(first)[0]
    plane.command("show", gone)
    assert plane.json("drop", gone) == {"dropped": [gone], "refused": []}
    left = plane.json()
    assert {one["id"] for one in left["deadLetters"]} == first - {gone}
    assert left["complete"]
    missing = plane.json("drop", gone, code=1)
    assert (missing["dropped"], missing["refused"][0]["reason"]) == ([], "NOT_FOUND")
    assert set(plane.json("drop", "--all")["dropped"]) == first - {gone}


def test_what_was_mended_succeeds_when_it_is_sent_again(plane):
    plane.publish("run-requests", plane.request("sent-again"))
    (letter,) = plane.letters(1)
    assert letter["reason"] == "NOTHING_DEPLOYED"
    assert letter["about"] == {"workspace": plane.workspace, "runKey": "sent-again"}
    plane.deploy()
    told = plane.json("send-again", letter["id"])
    assert told == {"sent": [{"id": letter["id"], "to": "topic run-requests"}], "refused": []}
    assert plane.run_of("sent-again").state == "SUCCEEDED"
    assert plane.command().output == "no dead letters\n"


def test_what_can_not_succeed_yet_comes_back_as_another_letter(plane):
    plane.enqueue("dispatch", "poison-again", b"no entity")
    (letter,) = plane.letters(1)
    told = plane.json("send-again", "--all")
    assert told == {"sent": [{"id": letter["id"], "to": "queue wakes"}], "refused": []}
    (back,) = plane.letters(1)
    assert back["id"] != letter["id"]
    assert (back["function"], back["message"]) == (letter["function"], letter["message"])


def test_what_has_no_way_back_stays_and_is_told_why(plane):
    plane.publish("dead-letters", b"x", function="sweeper", reason="NOT_FOUND", message="m")
    (letter,) = plane.letters(1)
    refused = plane.json("send-again", letter["id"], code=1)
    assert refused["sent"] == []
    assert "neither queue nor topic leads to 'sweeper'" in refused["refused"][0]["message"]
    assert [one["id"] for one in plane.letters(1)] == [letter["id"]]


def test_a_large_letter_is_shown_and_nothing_in_it_is_obeyed_by_a_terminal(plane):
    plane.publish("run-requests", b"\x1b[2J" + b"x" * 6_000_000)
    (letter,) = plane.letters(1)
    assert letter["sizeBytes"] == 6_000_004
    shown = plane.command("show", letter["id"]).output
    assert "\x1b" not in shown
    assert "\\x1b[2Jxxx" in shown


def test_a_look_at_no_subscription_and_at_no_plane_says_what_to_mend(plane):
    environment = plane.deployment.environment
    other = deployment_of({**environment, "ARCO_FLOW_PROJECT": "another"}, FUNCTIONS)
    with pytest.raises(Unavailable) as absent, DeadLetters(other) as box:
        list(box.letters(1))
    assert "gcloud pubsub subscriptions create dead-letters-inspect" in str(absent.value)
    nobody = deployment_of({**environment, "PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}, FUNCTIONS)
    with pytest.raises(Unavailable) as away, DeadLetters(nobody) as box:
        list(box.letters(1))
    assert "arco-flow doctor" in str(away.value)
