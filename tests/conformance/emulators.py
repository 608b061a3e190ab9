"""The emulators, started once per test process when they are first asked for, ended with it:
Google's, found in its SDK, and ours, served by a thread."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

FIRESTORE_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
FIRESTORE_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
PUBSUB_JARS = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"


def absent(what: str) -> None:
    """Skip, or fail where the emulators must be there."""
    if os.environ.get("ARCO_REQUIRE_EMULATORS") == "1":
        pytest.fail(f"ARCO_REQUIRE_EMULATORS=1 and {what}")
    pytest.skip(what)


@cache
def firestore_address() -> str:
    """`host:port` of a Firestore emulator: the one of the environment, or one of our own."""
    given = os.environ.get("FIRESTORE_EMULATOR_HOST")
    if given:
        return given
    port = _free_port()
    _start(_jar(FIRESTORE_JAR), FIRESTORE_MAIN, f"--host=127.0.0.1 --port={port}", port)
    return f"127.0.0.1:{port}"


@cache
def pubsub_address() -> str:
    """`host:port` of a Pub/Sub emulator: the one of the environment, or one of our own."""
    given = os.environ.get("PUBSUB_EMULATOR_HOST")
    if given:
        return given
    port, folder = _free_port(), tempfile.mkdtemp(prefix="pubsub")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    arguments = f"--host=127.0.0.1 --port={port} --data-dir={folder}"
    _start(_jar(PUBSUB_JARS), "com.google.cloud.pubsub.testing.v1.Main", arguments, port)
    return f"127.0.0.1:{port}"


@cache
def storage_url() -> str:
    """URL of our storage emulator."""
    from arco_emulators.storage.server import serve

    return f"http://127.0.0.1:{served_by_a_thread(lambda: serve(port=0))}"


def new_bucket(name: str) -> str:
    """A bucket in the storage emulator."""
    request = urllib.request.Request(
        f"{storage_url()}/storage/v1/b?project=tests",
        data=b'{"name": "%s"}' % name.encode(),
        headers={"content-type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()
    return name


def served_by_a_thread(open_server: Callable[[], AbstractAsyncContextManager[T]]) -> T:
    """What a server yields that is open in a thread of its own until this process ends."""
    loop, opened = asyncio.new_event_loop(), Future()

    async def main() -> None:
        ended = asyncio.Event()
        atexit.register(loop.call_soon_threadsafe, ended.set)
        async with open_server() as served:
            opened.set_result(served)
            await ended.wait()

    threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True).start()
    return opened.result(60)


def _jar(pattern: str) -> Path:
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        absent("gcloud or java is not installed, so Google's emulators are not there")
    assert gcloud is not None
    found = sorted(Path(gcloud).resolve().parent.parent.glob(pattern))
    if not found:
        absent(f"the SDK has no {pattern}: gcloud components install the emulator")
    return found[-1]


def _start(jar: Path, main: str, arguments: str, port: int) -> None:
    command = ["java", "-Xmx512m", "-Duser.language=en", "-cp", str(jar), main, *arguments.split()]
    with tempfile.NamedTemporaryFile("w", prefix="emulator", suffix=".log", delete=False) as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    atexit.register(_end, process, log.name)
    _wait_for(port, process, log.name)


def _wait_for(port: int, process: subprocess.Popen, log: str) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                pytest.fail(f"the emulator ended at once: {Path(log).read_text()[-2000:]}")
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
    pytest.fail(f"the emulator does not listen on {port}")


def _end(process: subprocess.Popen, log: str) -> None:
    process.kill()
    process.wait()
    Path(log).unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
