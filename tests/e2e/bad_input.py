"""What the tests of bad input share: raw requests and real commands.

A refusal is good when its status and reason are right, when its message says what is wrong, where,
and how to mend it, and when nothing at all was changed by it.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.harness import ATTEMPTS, Attempt, Kind, PlaneUnderTest

SHOW = "  fix: GET /v1/openapi.json lists the paths"


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
    base: str | None = None,
    url: str | None = None,
) -> Answer:
    """One request over a connection of its own. A header whose value is None is left out.

    base: what the path is below; the workspace of the plane unless it is given. url: of another
    server than the API.
    """
    base = f"/v1/workspaces/{plane.scope.workspace}" if base is None else base
    raw = json.dumps(body).encode() if isinstance(body, Mapping) else body
    sent: dict[str, str | None] = {
        "authorization": f"Bearer {plane.plane.token if token is None else token}",
        "content-type": "application/json",
        **(headers or {}),
    }
    shown = {name: value for name, value in sent.items() if value is not None}
    for _ in range(ATTEMPTS[Kind.current]):
        with closing(http.client.HTTPConnection(netloc(plane, url), timeout=20)) as connection:
            connection.request(method, base + path, raw, shown)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            found = Answer(answer.status, told, answer.read())
        if found.status != 503:
            break
    return found


def send_raw(plane: PlaneUnderTest, data: bytes) -> Answer:
    """Bytes on a socket whose writing side is then closed; the answer until its end, of status 0
    when there is none."""
    host, _, port = netloc(plane).rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return Answer(int(head[9:12] or 0), {}, body)


def request_head(plane: PlaneUnderTest, *lines: str, method: str = "POST") -> bytes:
    """The head of a run request with these further header lines."""
    return "\r\n".join(
        [
            f"{method} /v1/workspaces/{plane.scope.workspace}/runs HTTP/1.1",
            f"Host: {netloc(plane)}",
            f"Authorization: Bearer {plane.plane.token}",
            "Content-Type: application/json",
            *lines,
            "",
            "",
        ]
    ).encode()


def netloc(plane: PlaneUnderTest, url: str | None = None) -> str:
    """Host and port."""
    return (url or plane.plane.url).removeprefix("http://")


def callback(
    plane: PlaneUnderTest,
    attempt: Attempt,
    verb: str,
    body: Mapping[str, Any] | bytes | None = None,
    *,
    token: str | None = None,
) -> Answer:
    """A report about an attempt, with its own token unless another one is given."""
    report = {"attempt": attempt.number, "attemptId": attempt.attempt_id, "workerId": "w1"}
    return ask(
        plane,
        "POST",
        f"/v1/tasks/{attempt.task_id}/{verb}",
        body if isinstance(body, bytes) else {**report, **(body or {})},
        token=attempt.token if token is None else token,
        base="",
        url=plane.plane.callback_url,
    )


def refused(answer: Answer, status: int, reason: str, message: str) -> None:
    """The whole refusal. Its last line is the mend."""
    assert (answer.status, answer.reason) == (status, reason), answer.body
    assert answer.message == message
    assert message.splitlines()[-1].startswith("  fix: ")


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
