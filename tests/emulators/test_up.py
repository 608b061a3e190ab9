"""All emulators together: they answer, they work with each other, and they end with who runs them.

What becomes of the processes is shown with a stand-in for Java that starts at once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import requests
from google.cloud import firestore, pubsub_v1, scheduler_v1, storage, tasks_v2
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
    CloudSchedulerGrpcTransport,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.oauth2 import id_token

from arco_emulators import jars
from emulators.targets import SECONDS

ROOT = Path(__file__).resolve().parents[2]
PARENT = "projects/up/locations/here"
CALLER = "caller@up.iam.gserviceaccount.com"

JAVA = """\
#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

port = int(next(part for part in sys.argv if part.startswith("--port=")).removeprefix("--port="))
server = HTTPServer(("127.0.0.1", port), Handler)
print("Server started, and is now running", flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """An environment in which Google's emulators are stand-ins that start at once."""
    home = tmp_path_factory.mktemp("java")
    for jar in (jars.FIRESTORE, jars.PUBSUB):
        path = home / "sdk" / jar.pattern.replace("*", "1")
        path.parent.mkdir(parents=True)
        path.touch()
    java = home / "bin" / "java"
    java.parent.mkdir()
    java.write_text(JAVA.format(python=sys.executable))
    java.chmod(0o755)
    return {
        **os.environ,
        "JAVA_HOME": str(home),
        jars.SDK_VARIABLE: str(home / "sdk"),
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("shared", "emulators")),
    }


@pytest.fixture
def arco_flow(fake, tmp_path):
    """Runs `arco-flow emulators` in an empty folder; gives exit code, output and errors."""

    def arco_flow(*arguments, **environment):
        command = [sys.executable, "-W", "error", "-m", "arco_flow.cli", "emulators", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**fake, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    yield arco_flow
    arco_flow("down")


@pytest.fixture
def up(fake, tmp_path):
    """A running `up` in the foreground, and what it told when it was ready."""
    command = [sys.executable, "-W", "error", "-m", "arco_emulators", "up", "--json"]
    with subprocess.Popen(
        [*command, "--port-base=0"],
        cwd=tmp_path,
        env=fake,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process, json.loads(process.stdout.readline())
        process.kill()


def _alive(pid):
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return told.stdout.strip() not in ("", "Z")


def test_every_emulator_answers_the_official_client(emulators, monkeypatch, inbox):
    for name, value in emulators.environment.items():
        monkeypatch.setenv(name, value)
    db = firestore.Client(project="up")
    db.document("runs/r1").create({"state": "QUEUED"})
    assert db.document("runs/r1").get().to_dict() == {"state": "QUEUED"}
    db.close()
    client = storage.Client(project="up")
    bucket = client.create_bucket("up")
    bucket.blob("x").upload_from_string(b"x", if_generation_match=0)
    assert [blob.name for blob in bucket.list_blobs()] == ["x"]
    client.close()
    with grpc.insecure_channel(emulators.environment["ARCO_FLOW_TASKS_ENDPOINT"]) as channel:
        queues = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        queues.create_queue(parent=PARENT, queue={"name": f"{PARENT}/queues/up"})
        request = {"url": inbox.url, "oidc_token": {"service_account_email": CALLER}}
        queues.create_task(parent=f"{PARENT}/queues/up", task={"http_request": request})
        received = inbox.receive()
    token = received.headers["Authorization"].removeprefix("Bearer ")
    certificates = emulators.environment["ARCO_FLOW_OIDC_CERTS_URL"]
    claims = id_token.verify_token(token, _fetch, audience=inbox.url, certs_url=certificates)
    assert claims["email"] == CALLER


def _fetch(url, method="GET", **_):
    answer = requests.request(method, url, timeout=SECONDS)

    class Response:
        status, data = answer.status_code, answer.content

    return Response


def test_a_job_publishes_and_the_relay_pushes_it(emulators, monkeypatch, inbox):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", emulators.address("pubsub").address)
    topic = "projects/up/topics/ticks"
    table = [
        {
            "name": "projects/up/subscriptions/ticks",
            "topic": topic,
            "pushConfig": {
                "pushEndpoint": inbox.url,
                "oidcToken": {"serviceAccountEmail": CALLER},
            },
        }
    ]
    url = f"{emulators.address('pubsub').admin}/admin/subscriptions"
    assert requests.put(url, json=table, timeout=SECONDS).ok
    with grpc.insecure_channel(emulators.environment["ARCO_FLOW_SCHEDULER_ENDPOINT"]) as channel:
        jobs = scheduler_v1.CloudSchedulerClient(
            transport=CloudSchedulerGrpcTransport(channel=channel)
        )
        job = scheduler_v1.Job(
            name=f"{PARENT}/jobs/tick",
            schedule="0 0 1 1 *",
            time_zone="Etc/UTC",
            pubsub_target=scheduler_v1.PubsubTarget(topic_name=topic, data=b"tick"),
        )
        jobs.create_job(parent=PARENT, job=job)
        jobs.run_job(name=job.name)
        received = inbox.receive()
    assert json.loads(received.body)["message"]["data"] == "dGljaw=="
    assert received.headers["Authorization"].startswith("Bearer ")
    assert requests.put(url, json=[], timeout=SECONDS).json() == []
    publisher = pubsub_v1.PublisherClient()
    assert topic in [found.name for found in publisher.list_topics(project="projects/up")]
    publisher.transport.close()


def test_up_env_and_down(arco_flow, tmp_path):
    code, table, errors = arco_flow("up", "--detach", "--port-base", "0")
    assert (code, errors) == (0, "")
    names = [line.split()[0] for line in table.splitlines() if line]
    services = ["identity", "firestore", "pubsub", "tasks", "scheduler", "storage"]
    assert names == ["emulator", *services, *["export"] * 6]
    assert (tmp_path / ".arco-flow" / "emulators" / "firestore.log").read_text()

    code, shown, _ = arco_flow("env")
    assert (code, shown.splitlines()) == (0, table.splitlines()[-6:])
    environment = json.loads(arco_flow("env", "--json")[1])
    health = requests.get(f"{environment['STORAGE_EMULATOR_HOST']}/health", timeout=SECONDS)
    assert health.ok

    code, _, errors = arco_flow("up", "--detach", "--port-base", "0")
    assert code == 1
    assert "already up; end them with: arco-flow emulators down" in errors

    assert arco_flow("down") == (0, "the emulators are down\n", "")
    assert arco_flow("down", "--json") == (0, '{"ended": false}\n', "")
    code, _, errors = arco_flow("env")
    assert (code, errors) == (
        1,
        "error: no emulators of .arco-flow/emulators are up; "
        "start them with: arco-flow emulators up\n",
    )


@pytest.mark.parametrize(
    ("fault", "is_relayed"), [("landed=0", True), ("contended=0.1", True), ("duplicate=0.1", False)]
)
def test_firestore_is_relayed_only_where_it_is_to_misbehave(arco_flow, fault, is_relayed):
    started = arco_flow("up", "--detach", "--port-base", "0", "--fault", fault, "--json")
    told = json.loads(started[1])
    firestore_row = next(row for row in told["emulators"] if row["name"] == "firestore")
    assert told["environment"]["FIRESTORE_EMULATOR_HOST"] == firestore_row["address"]
    assert bool(firestore_row["admin"]) == is_relayed
    if is_relayed:
        stats = requests.get(f"{firestore_row['admin']}/admin/stats", timeout=SECONDS).json()
        assert stats["emulator"] != firestore_row["address"]
        knobs = requests.get(f"{firestore_row['admin']}/admin/faults", timeout=SECONDS).json()
        name, _, value = fault.partition("=")
        assert knobs[name] == float(value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_in_order(up, number):
    process, told = up
    assert all(_alive(pid) for pid in told["pids"])
    process.send_signal(number)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0
    assert not any(_alive(pid) for pid in told["pids"])


def test_all_end_when_one_of_googles_does(up):
    process, told = up
    os.kill(told["pids"][0], signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (1, "error: the firestore emulator ended with -9\n")
    assert not _alive(told["pids"][1])


def test_nothing_stays_behind_a_process_that_is_killed(up, arco_flow):
    process, told = up
    # Readable once the process has ended, whoever reaps it and however late.
    ends = [os.pidfd_open(pid) for pid in told["pids"]]
    try:
        process.kill()
        process.wait(timeout=30)
        for end in ends:
            assert select.select([end], [], [], 30)[0], "still running"
    finally:
        for end in ends:
            os.close(end)
    assert arco_flow("env")[0] == 1
    assert arco_flow("down")[0] == 0
    assert arco_flow("down") == arco_flow("down"), "it is as if there had been none"


def test_absent_jars_are_told_with_how_to_install_them(arco_flow, tmp_path):
    code, shown, errors = arco_flow("up", ARCO_EMULATORS_SDK=str(tmp_path))
    assert (code, shown) == (1, "")
    assert errors.startswith("error: Google's firestore emulator is not on this machine\n")
    assert "gcloud components install cloud-firestore-emulator pubsub-emulator" in errors
    code, _, errors = arco_flow("up", JAVA_HOME="", PATH="")
    assert (code, "Java 17 or later" in errors, "set JAVA_HOME" in errors) == (1, True, True)


def test_a_taken_port_is_named(arco_flow):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = arco_flow("up", "--port-base", str(port))
    assert code == 1
    why = "Address already in use; choose another"
    assert errors == f"error: port {port} of 127.0.0.1 can not be served: {why}\n"


def test_the_command_says_how_to_install_the_emulators(arco_flow, tmp_path):
    absent = tmp_path / "arco_emulators.py"
    absent.write_text("raise ModuleNotFoundError('it is not here', name='arco_emulators')")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "shared")])
    code, _, errors = arco_flow("up", PYTHONPATH=path)
    assert code == 1
    assert "pip install arco-flow-emulators" in errors


def test_an_emulator_that_does_not_start_is_told_with_its_log(loop, tmp_path):
    broken = replace(jars.FIRESTORE, command=("-cp", "{jar}", "no.such.Main"))
    log = tmp_path / "firestore.log"
    with pytest.raises(OSError, match=rf"ended with 1 before it was ready; it wrote to {log}"):
        loop.enter(jars.serving(broken, log=log))
    assert "no.such.Main" in log.read_text()
