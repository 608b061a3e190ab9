"""The emulators, started once per test process when they are first asked for, ended with it."""

from __future__ import annotations

import asyncio
import atexit
import os
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from arco_emulators import jars
from arco_emulators.storage.server import serve

T = TypeVar("T")

START_SECONDS = 120
STOP_SECONDS = 30


@cache
def firestore_address() -> str:
    """`host:port` of a Firestore emulator: the one of the environment, or one of our own."""
    return os.environ.get("FIRESTORE_EMULATOR_HOST") or _googles(jars.FIRESTORE)


@cache
def pubsub_address() -> str:
    """`host:port` of a Pub/Sub emulator: the one of the environment, or one of our own."""
    return os.environ.get("PUBSUB_EMULATOR_HOST") or _googles(jars.PUBSUB)


@cache
def storage_url() -> str:
    """URL of our storage emulator."""
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


def _googles(jar: jars.Jar) -> str:
    """Skips where it is not installed, or fails where it must be."""
    try:
        jars.find(jar)
        jars.find_java()
    except jars.JarsMissing as error:
        if os.environ.get("ARCO_REQUIRE_EMULATORS") == "1":
            pytest.fail(f"ARCO_REQUIRE_EMULATORS=1 and {error}")
        pytest.skip(str(error))
    log = Path(tempfile.mkdtemp(prefix="emulator")) / f"{jar.name}.log"
    return f"127.0.0.1:{served_by_a_thread(lambda: jars.serving(jar, log=log)).port}"
