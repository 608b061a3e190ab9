"""Google's emulators of Firestore and Pub/Sub, from the jars of its SDK.

They are started as Java itself, not through gcloud, so that the process that runs is the one that
is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from arco_emulators import lifeline, web

SDK_VARIABLE = "ARCO_EMULATORS_SDK"
"""Where the SDK lies, when it is not found."""

KNOWN_PLACES = (
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/snap/google-cloud-cli/current",
    "/usr/local/share/google-cloud-sdk",
    "~/google-cloud-sdk",
)

INSTALL = (
    "gcloud components install cloud-firestore-emulator pubsub-emulator, or from Debian packages "
    "apt-get install google-cloud-cli-firestore-emulator google-cloud-cli-pubsub-emulator; "
    f"or name the folder of the SDK in {SDK_VARIABLE}"
)
INSTALL_JAVA = "install it, such as by apt-get install default-jre-headless, or set JAVA_HOME"

START_SECONDS = 90
STOP_SECONDS = 10

# A machine that runs tests has few processors, and the emulators run for minutes at most: what the
# second compiler and the parallel collector cost is not earned back.
_JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.language=en")


class JarsMissing(OSError):
    """The emulators, or Java, are not on this machine. what, mend: the two lines of the text."""

    def __init__(self, what: str, mend: str) -> None:
        self.what, self.mend = what, mend
        super().__init__(f"{what}\n  fix: {mend}")


@dataclass(frozen=True, slots=True)
class Jar:
    """One emulator: its file, how Java is told to run it, and what it says and answers."""

    name: str
    pattern: str
    """Path of the jar in the SDK."""
    command: tuple[str, ...]
    """What follows the options of Java; {jar}, {host} and {port} are filled in."""
    ready_line: str
    """Part of the line that it prints when it serves."""
    probe: str
    """Path of a request that is answered 200 when it serves."""


FIRESTORE = Jar(
    name="firestore",
    pattern="platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
    command=(
        "-cp",
        "{jar}",
        "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
        "start",
        "--host={host}",
        "--port={port}",
    ),
    ready_line="is now running",
    probe="/v1/projects/ready/databases/(default)/documents/probe",
)

PUBSUB = Jar(
    name="pubsub",
    pattern="platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
    command=("-jar", "{jar}", "--host={host}", "--port={port}"),
    ready_line="Server started",
    probe="/v1/projects/ready/topics",
)


@dataclass(frozen=True, slots=True)
class Served:
    """A running emulator of Google's."""

    name: str
    port: int
    pid: int
    log: Path
    exited: asyncio.Future[int]
    """Done when the process has ended; its exit code."""


def find(jar: Jar, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the jar lies. Errors: JarsMissing."""
    for root in _roots(environ):
        found = sorted(root.glob(jar.pattern))
        if found:
            return found[-1]
    raise JarsMissing(f"Google's {jar.name} emulator is not on this machine", INSTALL)


def find_java(environ: Mapping[str, str] = os.environ) -> str:
    """The program java. Errors: JarsMissing."""
    home = environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        return str(Path(home) / "bin" / "java")
    found = shutil.which("java", path=environ.get("PATH"))
    if found is None:
        what = "Google's emulators need Java 17 or later, and there is no java on PATH"
        raise JarsMissing(what, INSTALL_JAVA)
    return found


def require() -> None:
    """Nothing when both can be started. Errors: JarsMissing."""
    for jar in (FIRESTORE, PUBSUB):
        find(jar)
    find_java()


@contextlib.asynccontextmanager
async def serving(
    jar: Jar, *, log: Path, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Served]:
    """Serve while the block runs; port 0 takes a free one. What it prints goes to the log.

    Errors: JarsMissing; OSError when the port is taken or it does not start.
    """
    with web.listening(host, port) as listener:
        port = int(listener.getsockname()[1])
    places = {"jar": find(jar), "host": host, "port": port}
    command = [find_java(), *_JAVA_OPTIONS, *(part.format(**places) for part in jar.command)]
    with lifeline.process_group() as group:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=group,
        )
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing = asyncio.create_task(_write_log(process, log, jar.ready_line, ready))
        exited = asyncio.ensure_future(process.wait())
        try:
            await _until_ready(jar, ready, exited, log)
            await asyncio.to_thread(_probe, f"http://{host}:{port}{jar.probe}")
            yield Served(jar.name, port, process.pid, log, exited)
        finally:
            await _stop(process, exited)
            await writing


async def _until_ready(
    jar: Jar, ready: asyncio.Future[None], exited: asyncio.Future[int], log: Path
) -> None:
    await asyncio.wait((ready, exited), timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        why = f"ended with {exited.result()}" if exited.done() else f"took over {START_SECONDS} s"
        raise OSError(f"the {jar.name} emulator {why} before it was ready; it wrote to {log}")


async def _write_log(
    process: asyncio.subprocess.Process, log: Path, ready_line: str, ready: asyncio.Future[None]
) -> None:
    """Copy what the process prints to the log, and tell when it says that it serves."""
    output = process.stdout
    if output is None:  # it was asked for
        return
    with log.open("ab", buffering=0) as file:
        async for line in _lines(output):
            file.write(line)
            if not ready.done() and ready_line.encode() in line:
                ready.set_result(None)


async def _lines(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await output.readline()
        except ValueError:  # a line longer than the buffer, which was taken away with it
            continue
        if not line:
            return
        yield line


async def _stop(process: asyncio.subprocess.Process, exited: asyncio.Future[int]) -> None:
    if process.returncode is None:
        process.terminate()
        await asyncio.wait((exited,), timeout=STOP_SECONDS)
    if process.returncode is None:
        process.kill()
    await exited


def _probe(url: str) -> None:
    """Errors: OSError when the answer is none that a service gives."""
    try:
        with urllib.request.urlopen(url, timeout=START_SECONDS) as answer:  # noqa: S310
            answer.read()
    except urllib.error.HTTPError as error:
        raise OSError(f"{url} answers {error.code}") from error


def _roots(environ: Mapping[str, str]) -> Iterator[Path]:
    named = environ.get(SDK_VARIABLE)
    if named:
        yield Path(named)
        return
    gcloud = shutil.which("gcloud", path=environ.get("PATH"))
    if gcloud is not None:
        yield Path(gcloud).resolve().parent.parent
    yield from (Path(place).expanduser() for place in KNOWN_PLACES)
    if gcloud is not None:
        yield from _told_root(gcloud)


def _told_root(gcloud: str) -> Iterator[Path]:
    """What gcloud itself says, asked last because it takes a second."""
    command = [gcloud, "info", "--format=value(installation.sdk_root)"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
        if told.stdout.strip():
            yield Path(told.stdout.strip())
