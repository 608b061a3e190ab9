"""Child processes that end when this one does, however it ends: also by SIGKILL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

_SHELL = "/bin/sh"
_SCRIPT = 'trap "" TERM INT HUP; read -r _; kill -TERM 0; sleep 5; kill -KILL 0'
"""`read` ends with the pipe whose other end this process alone holds. `kill 0` is the group."""


@contextlib.contextmanager
def process_group() -> Iterator[int]:
    """A process group for children, by its number, while the block runs.

    At its end they are ended by whoever started them, and what is left by force. When this
    process is gone without an end of the block, the group's leader ends them: gracefully, and
    five seconds later by force.
    """
    leader = subprocess.Popen(  # noqa: S603 - our own words
        [_SHELL, "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    with leader:
        try:
            yield leader.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader.pid, signal.SIGKILL)
