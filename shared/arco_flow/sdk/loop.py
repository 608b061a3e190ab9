"""One event loop per process for users' coroutines, in a thread of its own.

Resources with an async `open()` live as long as the process. `asyncio.run` would close their
loop after every call and leave their connections dead; with one lasting loop they work, and an
async asset can be run from any thread, also from one whose own loop is running.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from arco_flow.domain.errors import ArcoError

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_THREAD_NAME = "arco-flow-loop"

_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []

if hasattr(os, "register_at_fork"):
    # the thread does not live on in a forked process, which must start its own
    os.register_at_fork(after_in_child=_loops.clear)


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine on the process's loop; an interrupt here cancels it there.

    Raises ArcoError when called from a coroutine on that loop, which would wait for itself.
    """
    import asyncio

    if threading.current_thread().name == _THREAD_NAME:
        coroutine.close()
        raise ArcoError(
            "an async asset or resource waits for another coroutine by a blocking call",
            fix="await the coroutine instead; run assets from outside of async assets",
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _loop() -> asyncio.AbstractEventLoop:
    import asyncio

    with _lock:
        if not _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name=_THREAD_NAME, daemon=True).start()
            _loops.append(loop)
        return _loops[0]
