"""`up`: serve all emulators, with Google's Firestore and Pub/Sub, until a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arco_emulators import jars, state
from arco_emulators.commands import common

if TYPE_CHECKING:
    from arco_emulators.up import Emulators

DEFAULT_BASE = 8120
LOG = "emulators.log"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    common.add_state_folder(parser, "where logs, keys and what is needed to stop them lie")
    parser.add_argument(
        "--port-base",
        type=int,
        default=DEFAULT_BASE,
        metavar="N",
        help="first of the ten ports that are used, 0: free ones (%(default)s)",
    )
    parser.add_argument("--detach", action="store_true", help="return once all are ready")
    common.add_faults(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; the exit code: 1 when they could not start, or one of them ended."""
    common.allow_many_connections()
    try:
        jars.require()
        if arguments.detach:
            return _detached(arguments)
        with state.locked(arguments.folder), _logging(arguments.folder / LOG):
            return asyncio.run(_serve(arguments))
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


async def _serve(arguments: argparse.Namespace) -> int:
    # Only who serves them loads them: it takes most of a second.
    from arco_emulators.up import Ports, running_emulators

    folder: Path = arguments.folder
    settings = common.faults_of(arguments)
    _cancel_on_signal()
    try:
        async with running_emulators(
            folder, ports=Ports.from_base(arguments.port_base), faults=settings
        ) as emulators:
            with state.kept(folder, emulators.as_json()):
                _tell(_described(emulators, folder), as_json=arguments.json)
                sys.stderr.write(f"error: {await emulators.broken()}\n")
                return 1
    except asyncio.CancelledError:
        return 0


def _cancel_on_signal() -> None:
    """The first signal, also of a terminal that is closed, ends all in order; a second one must not
    disturb that."""
    loop, serving = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        if serving is not None and not serving.cancelling():
            serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            loop.add_signal_handler(number, stop)


def _detached(arguments: argparse.Namespace) -> int:
    """Start them in a process of their own and return when they are ready."""
    state.check_free(arguments.folder)
    command = [sys.executable, "-m", "arco_emulators", "up", "--json"]
    command += ["--folder", str(arguments.folder), "--port-base", str(arguments.port_base)]
    command += [part for fault in arguments.fault for part in ("--fault", fault)]
    log: Path = arguments.folder / LOG
    with log.open("ab") as errors:
        start = errors.tell()
        process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    with process.stdout or contextlib.nullcontext(io.BytesIO()) as output:
        line = output.readline()
    if not line:
        with log.open("rb") as file:
            file.seek(start)
            sys.stderr.write(file.read().decode(errors="replace"))
        return process.wait() or 1
    # It goes on without us, and subprocess would warn of that.
    process.returncode = 0
    _tell(json.loads(line), as_json=arguments.json)
    return 0


def _described(emulators: Emulators, folder: Path) -> dict[str, Any]:
    ours = str(folder / LOG)
    addresses = tuple(
        address if address.log else replace(address, log=ours) for address in emulators.addresses
    )
    return replace(emulators, addresses=addresses).as_json()


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    text = json.dumps(found) if as_json else described(found)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def described(found: dict[str, Any]) -> str:
    """Addresses as a table, and the environment as a shell reads it."""
    rows = [("emulator", "address", "administration", "log")]
    rows += [
        (entry["name"], entry["address"], entry["admin"] or "-", entry["log"])
        for entry in found["emulators"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", state.exports(found["environment"])])


@contextlib.contextmanager
def _logging(path: Path) -> Iterator[None]:
    """Write what libraries log to the file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
