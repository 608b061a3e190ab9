"""The emulators, started once per test process when they are first asked for, ended with it.

Tests that need Google's are skipped where they are absent, and fail when they are required.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from arco_emulators import jars
from arco_emulators.firestore import relay
from arco_emulators.firestore.trouble import Trouble
from arco_emulators.storage.server import serve
from arco_emulators.up import Emulators, running_emulators

T = TypeVar("T")

REQUIRED = "ARCO_REQUIRE_EMULATORS"

START_SECONDS = 120
STOP_SECONDS = 30


def require_google_emulators() -> None:
    """Skip the test where Google's emulators are absent; fail it when they are required."""
    try:
        jars.require()
    except jars.JarsMissing as missing:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{REQUIRED}=1, and {missing}")
        pytest.skip(str(missing).partition("\n")[0])


@cache
def all_emulators() -> Emulators:
    """All of them, as `arco-flow emulators up` starts them."""
    require_google_emulators()
    return served_by_a_thread(_in_a_folder)


def firestore_address() -> str:
    """`host:port` of a Firestore emulator: the one of the environment, or one of our own."""
    told = os.environ.get("FIRESTORE_EMULATOR_HOST")
    return told or all_emulators().address("firestore").address


@cache
def troubled_firestore_address() -> str:
    """`host:port` of a relay before a Firestore emulator: it refuses calls, loses the answers of
    what was done, and aborts writes."""
    trouble = Trouble({"unavailable": 0.1, "landed": 0.1, "contended": 0.05, "seed": 11})
    google = firestore_address()
    running = served_by_a_thread(lambda: relay.serving(google, trouble=trouble))
    return f"127.0.0.1:{running.port}"


def pubsub_address() -> str:
    """`host:port` of a Pub/Sub emulator: the one of the environment, or one of our own."""
    return os.environ.get("PUBSUB_EMULATOR_HOST") or all_emulators().address("pubsub").address


@cache
def storage_url() -> str:
    """URL of our storage emulator, which needs none of Google's; it was seen to honour
    preconditions."""
    url = f"http://127.0.0.1:{served_by_a_thread(lambda: serve(port=0))}"
    require_preconditions(url)
    return url


def new_bucket(name: str) -> str:
    """A bucket in the storage emulator."""
    _create_bucket(storage_url(), name)
    return name


def require_preconditions(url: str) -> None:
    """Fail unless the storage at the URL answers 412 to a create of what exists.

    A storage that lets every racer win makes every test of the ledger pass for nothing.
    """
    _create_bucket(url, "preconditions")
    create = (
        f"{url}/upload/storage/v1/b/preconditions/o?uploadType=media&name=x&ifGenerationMatch=0"
    )
    statuses = [_post(create, b"x") for _ in range(2)]
    if statuses[1] != 412:
        pytest.fail(
            f"the storage emulator at {url} answered {statuses} to two creates of one object "
            "under ifGenerationMatch=0: it ignores preconditions, and nothing that was tested "
            "with it is proved"
        )


def served_by_a_thread(open_server: Callable[[], AbstractAsyncContextManager[T]]) -> T:
    """What a server yields that is open in a thread of its own until this process ends."""
    loop, opened = asyncio.new_event_loop(), Future()

    async def main() -> None:
        ended = asyncio.Event()
        try:
            async with open_server() as served:
                opened.set_result((served, ended))
                await ended.wait()
        except BaseException as error:
            if not opened.done():
                opened.set_exception(error)
            raise

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    served, ended = opened.result(START_SECONDS)

    def stop() -> None:
        loop.call_soon_threadsafe(ended.set)
        thread.join(STOP_SECONDS)

    atexit.register(stop)
    return served


@asynccontextmanager
async def _in_a_folder() -> AsyncIterator[Emulators]:
    with tempfile.TemporaryDirectory(prefix="emulators") as folder:
        async with running_emulators(Path(folder)) as emulators:
            yield emulators


def _create_bucket(url: str, name: str) -> None:
    status = _post(f"{url}/storage/v1/b?project=tests", b'{"name": "%s"}' % name.encode())
    assert status == 200, f"bucket {name}: {status}"


def _post(url: str, body: bytes) -> int:
    """The status that is answered."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
