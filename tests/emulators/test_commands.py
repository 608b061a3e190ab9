"""The commands of the distribution, as processes."""

from __future__ import annotations

import json
import re
import signal
import tomllib
import urllib.request
from contextlib import contextmanager

import pytest

from emulators.processes import ROOT, start_command
from emulators.tasks_client import LOCATION, client_of

READY = {
    "tasks": r"cloud-tasks ready: grpc 127\.0\.0\.1:(\d+), admin http://127\.0\.0\.1:(\d+)\n",
    "scheduler": r"cloud-scheduler ready: grpc 127\.0\.0\.1:(\d+), admin http://[\d.]+:(\d+)\n",
    "identity": r"identity ready: http://127\.0\.0\.1:(\d+)\n",
}


@contextmanager
def _running(command, folder, *options, **environment):
    """Ports of the command; it is ended by SIGTERM, and what it wrote is all that it may write."""
    ports = ["--port=0"] if command == "identity" else ["--port=0", "--admin-port=0"]
    process = start_command(command, *ports, f"--identity={folder}", *options, **environment)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(READY[command], line)
        assert found, line + process.stderr.read()
        yield [int(port) for port in found.groups()]
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=15) == ("", "")
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def _get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return json.loads(answer.read())


def test_the_tasks_command_serves_until_it_is_told_to_stop_and_keeps_its_file(tmp_path):
    data = f"--data={tmp_path / 'tasks.db'}"
    queue = f"{LOCATION}/queues/q"
    with _running("tasks", tmp_path, data, "--fault=duplicate=0.5") as (port, admin_port):
        client_of(port).create_queue(parent=LOCATION, queue={"name": queue})
        assert _get(admin_port, "/admin/faults")["duplicate"] == 0.5
    environment = {"ARCO_EMULATORS_FAULTS": "drop=0.25,duplicate=0.5"}
    options = (data, "--fault", "duplicate=0.125", "--tombstone-seconds=60")
    with _running("tasks", tmp_path, *options, **environment) as (port, admin_port):
        assert client_of(port).get_queue(name=queue).name == queue
        faults = _get(admin_port, "/admin/faults")
        assert (faults["drop"], faults["duplicate"]) == (0.25, 0.125)


def test_what_was_answered_survives_a_kill(tmp_path):
    options = ("tasks", "--port=0", "--admin-port=0", f"--identity={tmp_path}")
    data = f"--data={tmp_path / 'tasks.db'}"
    queue = f"{LOCATION}/queues/q"
    process = start_command(*options, data)
    port = re.match(READY["tasks"], process.stdout.readline()).group(1)
    client = client_of(port)
    client.create_queue(parent=LOCATION, queue={"name": queue})
    client.pause_queue(name=queue)
    names = [
        client.create_task(parent=queue, task={"http_request": {"url": "http://127.0.0.1:9"}}).name
        for _ in range(20)
    ]
    process.kill()
    process.communicate()
    with _running("tasks", tmp_path, data) as (port, _):
        assert [task.name for task in client_of(port).list_tasks(parent=queue)] == sorted(names)


def test_the_scheduler_command_serves_until_it_is_told_to_stop(tmp_path):
    with _running("scheduler", tmp_path, "--fault=miss=0.5") as (_, admin_port):
        assert _get(admin_port, "/admin/faults")["miss"] == 0.5


def test_the_identity_command_serves_keys(tmp_path):
    with _running("identity", tmp_path) as (port,):
        assert _get(port, "/certs")


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_that_is_taken_is_told_in_one_line(tmp_path, option):
    other = {"--port": "--admin-port=0", "--admin-port": "--port=0"}[option]
    with _running("identity", tmp_path) as (port,):
        second = start_command("tasks", f"{option}={port}", other, f"--identity={tmp_path}")
        output, error = second.communicate(timeout=15)
    assert (second.returncode, output) == (1, "")
    assert re.search(rf"^error: port {port} of 127.0.0.1 can not be served: .*\n$", error)


@pytest.mark.parametrize("arguments", [["nothing"], ["tasks", "--fault=nothing=1"]])
def test_a_command_that_is_wrong_says_what_there_is(tmp_path, arguments):
    process = start_command(*arguments, *([f"--identity={tmp_path}"] if arguments[1:] else []))
    output, error = process.communicate(timeout=15)
    assert (process.returncode, output) == (2, "")
    assert "choose from" in error or "there are delay_ms" in error


def test_the_project_installs_for_its_tests_what_the_distribution_needs():
    own = tomllib.loads((ROOT / "emulators" / "pyproject.toml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["dependency-groups"]["emulators"] == own["project"]["dependencies"]
