"""What runs in a folder: written by the process that runs it, read by who wants to use or end it.

A lock on the folder is held as long as that process lives, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

STATE_FILE = "emulators.json"
LOCK_FILE = "emulators.lock"
STOP_SECONDS = 30


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have the folder to oneself. Errors: BlockingIOError when another process has it."""
    with _lock_file(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"emulators of {folder} are already up; end them with: arco-flow emulators down"
            ) from None
        try:
            yield
        finally:
            # Told, not left to the end of the file: a child that is forked now has it open too.
            fcntl.flock(file, fcntl.LOCK_UN)


def check_free(folder: Path) -> None:
    """Errors: BlockingIOError when another process has the folder."""
    with locked(folder):
        return


@contextlib.contextmanager
def kept(folder: Path, content: Mapping[str, Any]) -> Iterator[None]:
    """Let others read the content, and the id of this process, while the block runs."""
    path, fresh = folder / STATE_FILE, folder / f"{STATE_FILE}.new"
    fresh.write_text(json.dumps({"pid": os.getpid(), **content}), encoding="utf-8")
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def read(folder: Path) -> dict[str, Any] | None:
    """What runs in the folder; None when nothing does."""
    try:
        found: dict[str, Any] = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    try:
        check_free(folder)
    except BlockingIOError:
        return found
    return None


def exports(environment: Mapping[str, str]) -> str:
    """The environment as lines that a shell can evaluate."""
    return "\n".join(f"export {name}={value}" for name, value in environment.items())


def stop(folder: Path) -> bool:
    """End what runs in the folder. What a process left that was killed ends by itself.

    Returns whether there was anything. Errors: OSError when it does not end.
    """
    found = read(folder)
    if found is not None:
        os.kill(found["pid"], signal.SIGTERM)
        _wait_until_free(folder)
    (folder / STATE_FILE).unlink(missing_ok=True)
    return found is not None


def _wait_until_free(folder: Path) -> None:
    file = _lock_file(folder)
    waiting = threading.Thread(target=fcntl.flock, args=(file, fcntl.LOCK_EX), daemon=True)
    waiting.start()
    waiting.join(STOP_SECONDS)
    if waiting.is_alive():
        raise OSError(f"the emulators of {folder} did not end within {STOP_SECONDS} s")
    file.close()


def _lock_file(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / LOCK_FILE).open("ab")
