"""The storage emulator and the relay as processes."""

from __future__ import annotations

import json
import re
import signal
from contextlib import contextmanager

import requests

from emulators.processes import start_command
from emulators.targets import SECONDS


@contextmanager
def _running(*arguments, **environment):
    """The URL at the end of the line that the command tells; ended in order by SIGTERM."""
    with start_command(*arguments, **environment) as process:
        line = process.stdout.readline()
        found = re.search(r"ready: .*(http://127\.0\.0\.1:\d+)$", line)
        assert found, line + process.stderr.read()
        yield found[1]
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=15) == ("", "")
        assert process.returncode == 0


def test_the_storage_command_serves_with_the_faults_that_it_is_told(tmp_path):
    options = ["--port=0", f"--objects={tmp_path}", "--fault", "seed=3"]
    with _running("storage", *options, ARCO_EMULATORS_FAULTS="unavailable=1") as url:
        assert requests.get(f"{url}/health", timeout=SECONDS).ok
        assert requests.get(f"{url}/storage/v1/b", timeout=SECONDS).status_code == 503
        knobs = requests.get(f"{url}/admin/faults", timeout=SECONDS).json()
    assert (knobs["unavailable"], knobs["seed"]) == (1, 3)


def test_the_relay_command_serves_the_table_of_a_file(emulators, inbox, tmp_path):
    table = tmp_path / "subscriptions.json"
    name = "projects/commands/subscriptions/pushed"
    entry = {
        "name": name,
        "topic": "projects/commands/topics/pushed",
        "pushConfig": {"pushEndpoint": inbox.url},
    }
    table.write_text(json.dumps([entry]))
    options = ["--port=0", f"--identity={tmp_path}", f"--subscriptions={table}"]
    host = emulators.address("pubsub").address
    with _running("relay", *options, PUBSUB_EMULATOR_HOST=host) as url:
        (shown,) = requests.get(f"{url}/admin/subscriptions", timeout=SECONDS).json()
        assert shown["name"] == name
        publish = f"http://{host}/v1/{entry['topic']}:publish"
        requests.post(publish, json={"messages": [{"data": "eA=="}]}, timeout=SECONDS)
        assert json.loads(inbox.receive().body)["message"]["data"] == "eA=="


def test_a_relay_that_can_not_begin_says_why(tmp_path):
    table = tmp_path / "subscriptions.json"
    table.write_text('[{"name": "pushed"}]')
    options = ["--port=0", f"--identity={tmp_path}", f"--subscriptions={table}"]
    with start_command("relay", *options, "--pubsub-host=127.0.0.1:1") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "projects/PROJECT/subscriptions/NAME is expected, not 'pushed'" in errors
    entry = {
        "name": "projects/p/subscriptions/sub",
        "topic": "projects/p/topics/top",
        "pushConfig": {"pushEndpoint": "http://127.0.0.1:1"},
    }
    table.write_text(json.dumps([entry]))
    with start_command("relay", *options, "--pubsub-host=127.0.0.1:1") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("error: Pub/Sub at 127.0.0.1:1: ")
