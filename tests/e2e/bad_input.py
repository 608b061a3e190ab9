"""What the tests of bad input share: raw requests, and a digest of all that a plane keeps.

A refusal is good when its status and reason are right, when its message says what is wrong, where,
and how to mend it, and when nothing at all was changed by it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.adapters.local.wiring import LOCAL_ENGINE
from e2e.harness import PlaneUnderTest

TABLES = ("heads", "inbox", "segments", "rows", "documents", "tasks", "dead_tasks")
"""All that a plane remembers, but for its clock, its leases and names of tasks that are done."""

TIDY_SOON = replace(LOCAL_ENGINE, sweep_after_ms=200)
"""The sweeper strikes off what was submitted; a digest has to wait for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request, of the API or of a callback."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def message(self) -> str:
        """What a person is told."""
        document = self.document
        text: str = document["message"] if "message" in document else document["error"]["message"]
        return text

    @property
    def reason(self) -> str:
        """What a program is told."""
        document = self.document
        if "message" in document:
            return str(document["error"])
        return str(document["error"]["details"][0]["reason"])

    @property
    def metadata(self) -> dict[str, str]:
        """Every value of the message."""
        found: dict[str, str] = self.document["error"]["details"][0]["metadata"]
        return found


def ask(
    plane: PlaneUnderTest,
    method: str,
    path: str,
    body: bytes | Mapping[str, Any] | None = None,
    *,
    token: str | None = None,
    headers: Mapping[str, str | None] | None = None,
    base: str = "/v1/workspaces/default",
) -> Answer:
    """One request over a connection of its own. A header whose value is None is left out."""
    raw = json.dumps(body).encode() if isinstance(body, Mapping) else body
    sent: dict[str, str | None] = {
        "authorization": f"Bearer {plane.plane.token if token is None else token}",
        "content-type": "application/json",
        **(headers or {}),
    }
    with closing(http.client.HTTPConnection(netloc(plane), timeout=20)) as connection:
        shown = {name: value for name, value in sent.items() if value is not None}
        connection.request(method, base + path, raw, shown)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def send_raw(plane: PlaneUnderTest, data: bytes) -> Answer:
    """Bytes on a socket whose writing side is then closed; the answer, if any, until its end."""
    host, _, port = netloc(plane).rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return Answer(int(head[9:12]), {}, body)


def request_head(plane: PlaneUnderTest, *lines: str, method: str = "POST") -> bytes:
    """The head of a run request with these further header lines."""
    return "\r\n".join(
        [
            f"{method} /v1/workspaces/default/runs HTTP/1.1",
            f"Host: {netloc(plane)}",
            f"Authorization: Bearer {plane.plane.token}",
            "Content-Type: application/json",
            *lines,
            "",
            "",
        ]
    ).encode()


def netloc(plane: PlaneUnderTest) -> str:
    """Host and port."""
    return plane.plane.url.removeprefix("http://")


def durable_state(state_folder: Path) -> dict[str, str]:
    """Digests of all rows and the generations of all objects, by where they stand."""
    found: dict[str, str] = {}
    database = state_folder / "arco.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for table in TABLES:
            for row in connection.execute(f"SELECT * FROM {table}"):
                digest = hashlib.sha256(repr(row).encode()).hexdigest()
                found[f"{table}: {row[:2]}"] = digest
    for meta in LocalObjects(state_folder / "objects").list("", limit=1_000_000):
        found[f"object: {meta.key}"] = f"{meta.generation} {meta.size}"
    return found


@contextmanager
def unchanged(plane: PlaneUnderTest) -> Iterator[None]:
    """Inside, nothing that the plane keeps may change."""
    folder = plane.folder / ".arco-flow"
    before = durable_state(folder)
    yield
    after = durable_state(folder)
    assert differences(before, after) == []


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was added, removed or rewritten."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def settle(plane: PlaneUnderTest, seconds: float = 20) -> None:
    """Wait until nothing is owed and nothing waits to be folded: the plane has come to rest."""
    database = plane.folder / ".arco-flow" / "arco.db"
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        while time.monotonic() < deadline:
            owed = connection.execute("SELECT count(*) FROM heads WHERE owed_since_ms > 0")
            waits = connection.execute("SELECT count(*) FROM inbox")
            if owed.fetchone() == waits.fetchone() == (0,):
                return
            pause.wait(0.05)
    raise AssertionError("the plane did not come to rest")


def command(
    folder: Path, *arguments: str, code: int, file_bytes: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A real command, which must end with this code; by default it starts a plane of its own.

    file_bytes: no file of the command may become longer. What goes wrong is told in one to three
    lines on stderr, and never by a stack.
    """

    def limit_files() -> None:
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    kept = {name: text for name, text in os.environ.items() if not name.startswith("ARCO_FLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "arco_flow.cli", *arguments],
        cwd=folder,
        env={**kept, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limit_files,
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    assert "defect of arco-flow" not in done.stderr
    told = done.stderr.splitlines()
    errors = [number for number, line in enumerate(told) if line.startswith("error: ")]
    assert not errors or len(told) - errors[0] <= 3, done.stderr
    return done
