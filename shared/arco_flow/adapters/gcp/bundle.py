"""The whole plane on emulators: one process per function, wired from `functions.yaml`.

What Cloud Run does is done here by a supervisor: it starts a process per function, and another one
when it ends. Queues, topics, subscriptions and jobs are made by `provision`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from arco_flow.adapters.gcp.functions_table import Function, FunctionsTable
from arco_flow.adapters.gcp.provision import Place, account_email, routes_of
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.domain.errors import Unavailable

READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
RESTART_SECONDS: Final = 1.0
"""From one start to the next: what can not start is not started again in a circle."""
ENGINE_ENVIRONMENT: Final = {
    "ARCO_FLOW_WAKE_MS": "100",
    "ARCO_FLOW_SKEW_MS": "0",
    "ARCO_FLOW_QUIET_MS": "100",
    "ARCO_FLOW_SWEEP_AFTER_MS": "5000",
    "ARCO_FLOW_SWEEP_AGAIN_MS": "10000",
    "ARCO_FLOW_HEARTBEAT_INTERVAL_MS": "1000",
}
"""Shorter than in the cloud: somebody is watching, and emulators cost nothing."""
EMULATORS: Final = {
    "FIRESTORE_EMULATOR_HOST": "firestore",
    "PUBSUB_EMULATOR_HOST": "pubsub",
    "STORAGE_EMULATOR_HOST": "storage",
    "ARCO_FLOW_TASKS_ENDPOINT": "tasks",
    "ARCO_FLOW_SCHEDULER_ENDPOINT": "scheduler",
}
"""Variable -> the service that it leads to. A function is told of those that the table grants."""


@dataclass(slots=True)
class FunctionProcess:
    """One instance of a function: where it listens, and its process while there is one.

    started_seconds: when the last one was started, monotonic.
    """

    function: str
    name: str
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    started_seconds: float = 0.0

    @property
    def url(self) -> str:
        """Its URL, which is the audience of tokens for it, too."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class BundleSettings:
    """folder: state and logs. functions: folder of functions.yaml. certs_url: of the issuer that
    signs the tokens. environment: of the emulators, for the functions that use them. workers:
    processes of user code. engine: variables of the engine's settings, over ours. copies:
    function -> number of instances; the first one is who the others call. process_group: that the
    functions join, which ends when this process is gone; 0: one of each function's own."""

    folder: Path
    functions: Path
    place: Place
    certs_url: str
    environment: Mapping[str, str]
    principals: Mapping[str, Principal]
    workers: int = 2
    engine: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)
    process_group: int = 0


class Bundle:
    """The functions as processes. url: of the API."""

    def __init__(self, settings: BundleSettings, table: FunctionsTable) -> None:
        self.settings = settings
        self.table = table
        self._secrets = _load_secrets(settings.folder)
        names = {
            name if number == 1 else f"{name}-{number}": name
            for name in table.functions
            for number in range(1, settings.copies.get(name, 1) + 1)
        }
        logs = settings.folder / "logs"
        self.processes = {
            name: FunctionProcess(function, name, port, logs / f"{name}.log")
            for (name, function), port in zip(names.items(), free_ports(len(names)), strict=True)
        }
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """URL of the API."""
        return self.processes["api"].url

    @property
    def urls(self) -> dict[str, str]:
        """Function -> URL of its first instance."""
        return {name: self.processes[name].url for name in self.table.functions}

    async def start(self) -> None:
        """Start every function and wait until each answers. Raises Unavailable."""
        for process in self.processes.values():
            self._spawn(process)
        try:
            await asyncio.gather(*(self._ready(p) for p in self.processes.values()))
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self) -> None:
        """End every function: gracefully, then by force."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        running = [p.process for p in self.processes.values() if p.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*(asyncio.to_thread(_reap, process) for process in running))

    def kill(self, function: str) -> int:
        """End a function's process with SIGKILL; the supervisor starts another. Its old pid."""
        process = self.processes[function].process
        if process is None:
            raise Unavailable(f"'{function}' does not run")
        os.kill(process.pid, signal.SIGKILL)
        return process.pid

    def environment_of(self, name: str) -> dict[str, str]:
        """The environment of one instance's process."""
        of_this_process = {k: v for k, v in os.environ.items() if not k.startswith("ARCO_FLOW_")}
        return {**of_this_process, **self.wiring_of(name)}

    def wiring_of(self, name: str) -> dict[str, str]:
        """What Terraform gives the function of an instance on Cloud Run, and the emulators."""
        function = self.processes[name].function
        place, row = self.settings.place, self.table.function(function)
        accounts = {identity: account_email(place.project, identity) for identity in _all(row)}
        principals = {mail: msgspec.to_builtins(p) for mail, p in self.settings.principals.items()}
        return {
            **self._emulators_of(row),
            **self._secrets_of(row),
            **ENGINE_ENVIRONMENT,
            **self.settings.engine,
            "ARCO_FLOW_FUNCTION": function,
            "HOST": "127.0.0.1",
            "PORT": str(self.processes[name].port),
            "ARCO_FLOW_PROJECT": place.project,
            "ARCO_FLOW_LOCATION": place.location,
            "ARCO_FLOW_BUCKET": place.bucket,
            "ARCO_FLOW_AUDIENCE": self.processes[name].url,
            "ARCO_FLOW_CALLERS": ",".join(row.callers),
            "ARCO_FLOW_FUNCTION_URLS": json.dumps(self.urls),
            "ARCO_FLOW_ROUTES": json.dumps(routes_of(place, self.table, self.urls)),
            "ARCO_FLOW_ACCOUNTS": json.dumps(accounts),
            "ARCO_FLOW_PRINCIPALS": json.dumps(principals) if row.access == "users" else "",
            "ARCO_FLOW_OIDC_CERTS_URL": self.settings.certs_url,
            "ARCO_FLOW_WORKERS": str(self.settings.workers),
            "ARCO_FLOW_TIMEOUT_SECONDS": str(row.timeout_seconds),
        }

    def _emulators_of(self, row: Function) -> dict[str, str]:
        return {
            name: value
            for name, value in self.settings.environment.items()
            if name not in EMULATORS or EMULATORS[name] in row.uses
        }

    def _secrets_of(self, row: Function) -> dict[str, str]:
        if not row.holds_secrets:
            return {}
        return {
            "ARCO_FLOW_TENANT_SECRET": self._secrets["tenant"],
            "ARCO_FLOW_TOKEN_SECRET": self._secrets["token"],
        }

    def _spawn(self, function: FunctionProcess) -> None:
        function.log.parent.mkdir(parents=True, exist_ok=True)
        function.starts += 1
        function.started_seconds = time.monotonic()
        with function.log.open("ab") as log:
            function.process = subprocess.Popen(  # noqa: S603 - our own file, no shell
                [sys.executable, str(self.settings.functions / "serve.py")],
                env=self.environment_of(function.name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self.settings.process_group,
            )

    async def _ready(self, function: FunctionProcess) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not await asyncio.to_thread(_is_live, function.url):
            process = function.process
            if process is not None and process.poll() is not None:
                raise Unavailable(
                    f"the function '{function.name}' ended with {process.returncode}",
                    fix=f"its log tells why: {function.log}",
                )
            if time.monotonic() > deadline:
                raise Unavailable(f"the function '{function.name}' does not answer")
            await asyncio.sleep(0.05)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            soonest = time.monotonic() - RESTART_SECONDS
            for function in self.processes.values():
                ended = function.process is not None and function.process.poll() is not None
                if ended and function.started_seconds <= soonest:
                    self._spawn(function)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _all(row: Function) -> Sequence[str]:
    return [*row.callers, row.identity, "tasks", "push", "scheduler"]


def _is_live(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=2) as answer:  # noqa: S310
            live: bool = answer.status == 200
            return live
    except OSError:
        return False


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _load_secrets(folder: Path) -> dict[str, str]:
    """The plane's secrets, made once; with others its run ids would change."""
    path = folder / "secrets.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = {
            name: base64.b64encode(secrets.token_bytes(32)).decode() for name in ("tenant", "token")
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(made, file)
    found: dict[str, str] = json.loads(path.read_text())
    return found
