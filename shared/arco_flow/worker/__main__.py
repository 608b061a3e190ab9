"""`python -m arco_flow.worker`: one worker process; the pool starts it, people do not."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.domain.ids import Scope
from arco_flow.ports.objects import Objects
from arco_flow.sdk.env import revealed_secrets
from arco_flow.worker.callbacks import CallbackClient
from arco_flow.worker.capture import Capture
from arco_flow.worker.code import Code, load_code
from arco_flow.worker.dispatch import Dispatcher
from arco_flow.worker.execute import Surroundings
from arco_flow.worker.heartbeat import HEARTBEAT_TIMEOUT_SECONDS, Heartbeats
from arco_flow.worker.interrupt import Interrupter
from arco_flow.worker.redaction import Redactor
from arco_flow.worker.runtime import AttemptRunner, give_up
from arco_flow.worker.serve import SocketServer, end_with_plane, orphan_test


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the inherited socket until its end. The exit code is 0."""
    options = _parse(argv)
    plane_pid = os.getppid()
    connection = socket.socket(fileno=options.fd)
    connection.setblocking(True)
    interrupter = Interrupter()
    interrupter.install()
    redactor = Redactor(revealed_secrets)
    capture = Capture(redactor, interrupter)
    faulthandler.enable(file=capture.original_stderr)
    code = load_code(options.target)
    runner = _runner(options, code, connection, interrupter, redactor, capture, plane_pid)
    dispatcher = Dispatcher(
        runner.run, _scope(options.scope), callback_base_url=options.callback_base_url
    )
    server = SocketServer(connection, dispatcher)
    server.install_signals()
    try:
        server.run()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _close(code, capture)
        end_with_plane(plane_pid)
    return 0


def _runner(
    options: argparse.Namespace,
    code: Code,
    connection: socket.socket,
    interrupter: Interrupter,
    redactor: Redactor,
    capture: Capture,
    plane_pid: int,
) -> AttemptRunner:
    def say(line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(capture.original_stderr, f"{line}\n".encode("utf-8", "replace"))

    orphaned = orphan_test(connection)
    around = Surroundings(
        code=code,
        objects=_objects(options.objects),
        heartbeats=Heartbeats(
            CallbackClient(orphaned=orphaned, timeout_seconds=HEARTBEAT_TIMEOUT_SECONDS),
            interrupter,
            partial(give_up, capture, say, partial(end_with_plane, plane_pid)),
            orphaned,
        ),
        interrupter=interrupter,
        redactor=redactor,
        worker_id=options.worker_id,
    )
    return AttemptRunner(around, CallbackClient(orphaned=orphaned), capture, say)


def _objects(place: str) -> Objects:
    """The object store: a bucket as `gs://NAME`, or a folder."""
    scheme, _, bucket = place.partition("gs://")
    if bucket and not scheme:
        from arco_flow.adapters.gcp.cloud_storage import CloudObjects

        return CloudObjects(bucket)
    return LocalObjects(place)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m arco_flow.worker", description=__doc__)
    parser.add_argument("--target", required=True, help="code location: module, file or folder")
    parser.add_argument("--root", required=True, help="root folder of the code location")
    parser.add_argument("--objects", required=True, help="folder or gs://bucket of objects")
    parser.add_argument("--worker-id", required=True, help="who this worker is in its reports")
    parser.add_argument("--fd", required=True, type=int, help="connected socket to serve")
    parser.add_argument("--scope", default="", help="tenant/workspace that is served; empty: any")
    parser.add_argument(
        "--callback-base-url",
        default=os.environ.get("ARCO_FLOW_CALLBACK_BASE_URL", ""),
        help="URL of the plane that attempts are reported to; empty: whatever an envelope says",
    )
    return parser.parse_args(argv)


def _scope(text: str) -> Scope | None:
    tenant, slash, workspace = text.partition("/")
    return Scope(tenant, workspace) if slash else None


def _close(code: Code, capture: Capture) -> None:
    try:
        code.resources.close_all()
    finally:
        capture.close()


if __name__ == "__main__":
    sys.exit(main())
