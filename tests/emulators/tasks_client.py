"""The emulator of Cloud Tasks, and the official client on it."""

from __future__ import annotations

import itertools
import json
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from arco_emulators.identity import Issuer
from arco_emulators.tasks.emulator import serving
from arco_emulators.tasks.settings import Settings

LOCATION = "projects/shop/locations/europe-west1"
_numbers = itertools.count()


@dataclass
class Service:
    client: Any
    port: int
    admin_url: str
    emulator: Any

    def queue(self, **settings):
        """A queue that no other test has; its full name."""
        name = f"{LOCATION}/queues/q-{next(_numbers)}"
        self.client.create_queue(parent=LOCATION, queue={"name": name, **settings})
        return name

    def create(self, queue, url, *, task_id="", **task):
        """A task that posts to the URL unless told otherwise."""
        request = {"url": url, **task.pop("http_request", {})}
        name = f"{queue}/tasks/{task_id}" if task_id else ""
        return self.client.create_task(
            parent=queue, task={"name": name, "http_request": request, **task}
        )

    def admin(self, method, path, content=None):
        """The administrative endpoint's answer."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.admin_url + path, data=data, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    def now(self):
        return self.admin("GET", "/admin/clock")["now"]

    def advance(self, seconds):
        self.admin("POST", "/admin/clock", {"advance_seconds": seconds})

    def counted(self, group, name):
        return self.admin("GET", "/admin/stats").get(group, {}).get(name, 0)

    def idle(self):
        """Wait until nothing is under way or due within two seconds."""
        self.admin("GET", "/admin/idle?timeout_seconds=15&ahead_seconds=2")

    @contextmanager
    def faults(self, **knobs):
        self.admin("PATCH", "/admin/faults", {"seed": 7, **knobs})
        try:
            yield
        finally:
            self.admin("DELETE", "/admin/faults")


def client_of(port):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    return tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))


def start(loop, folder, **settings):
    """Serve an emulator in the loop until the loop is closed."""
    running = loop.enter(serving(Settings(**settings), Issuer.open(folder)))
    admin_url = f"http://127.0.0.1:{running.admin_port}"
    return Service(client_of(running.port), running.port, admin_url, running.emulator)


def seconds(number):
    return Duration(seconds=int(number), nanos=round(number % 1 * 1e9))


def at(time):
    return Timestamp(seconds=int(time), nanos=int(time % 1 * 1e6) * 1000)
