"""The whole plane on this machine as in the cloud: emulators, and a process per function."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arco_flow.adapters.gcp.bundle import Bundle, BundleSettings
from arco_flow.adapters.gcp.functions_table import FunctionsTable, load_functions_table
from arco_flow.adapters.gcp.provision import (
    Place,
    make_bucket,
    make_jobs,
    make_queues,
    make_topics,
    subscriptions_of,
)
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.adapters.gcp.verdicts import TOKENS_VARIABLE
from arco_flow.domain.errors import Unavailable

if TYPE_CHECKING:
    from arco_emulators.up import Emulators

PROJECT: Final = "demo-arco"
LOCATION: Final = "us-central1"
BUCKET: Final = "arco"


@dataclass(frozen=True, slots=True)
class EmulatedSettings:
    """folder: state and logs. functions: folder of functions.yaml. principals: who may call the
    API. faults: knobs of the emulators. workers, engine, copies: see BundleSettings."""

    folder: Path
    functions: Path
    principals: Mapping[str, Principal]
    workers: int = 2
    engine: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmulatedPlane:
    """A running one."""

    bundle: Bundle
    emulators: Emulators

    def token(self, email: str, function: str = "api") -> str:
        """An identity token of this e-mail for a function."""
        return self.emulators.issuer.mint(email, self.bundle.processes[function].url)

    def environment_for_doctor(self, email: str, lifetime_seconds: int) -> dict[str, str]:
        """What `arco-flow doctor` needs to look at this plane as this e-mail; holds secrets."""
        tokens = {
            function: self.emulators.issuer.mint(email, url, lifetime_seconds=lifetime_seconds)
            for function, url in self.bundle.urls.items()
        }
        return {
            **self.bundle.settings.environment,
            **self.bundle.wiring_of("api"),
            TOKENS_VARIABLE: json.dumps(tokens),
        }


@contextlib.asynccontextmanager
async def running_emulated_plane(settings: EmulatedSettings) -> AsyncIterator[EmulatedPlane]:
    """Emulators up, everything made in them, every function answering; down at the end.

    Raises Unavailable when the emulators are not installed or something does not start.
    """
    try:
        from arco_emulators import lifeline
        from arco_emulators.jars import JarsMissing
        from arco_emulators.up import running_emulators
    except ImportError as error:
        raise Unavailable(
            "the emulators are not installed",
            fix="pip install arco-flow-emulators, or `pip install -e emulators` in a checkout",
        ) from error
    table = load_functions_table(settings.functions / "functions.yaml")
    async with contextlib.AsyncExitStack() as stack:
        try:
            emulators = await stack.enter_async_context(
                running_emulators(settings.folder / "emulators", faults=settings.faults)
            )
        except JarsMissing as error:
            raise Unavailable(error.what, fix=error.mend) from error
        group = stack.enter_context(lifeline.process_group())
        bundle = _bundle(settings, table, emulators, group)
        await _provision(bundle, emulators)
        await bundle.start()
        stack.push_async_callback(bundle.stop)
        yield EmulatedPlane(bundle, emulators)


def _bundle(
    settings: EmulatedSettings, table: FunctionsTable, emulators: Emulators, process_group: int
) -> Bundle:
    endpoints = {
        name: emulators.address(name).address
        for name in ("tasks", "scheduler", "pubsub", "storage", "firestore")
    }
    return Bundle(
        BundleSettings(
            folder=settings.folder,
            functions=settings.functions,
            place=Place(PROJECT, LOCATION, BUCKET, endpoints),
            certs_url=emulators.environment["ARCO_FLOW_OIDC_CERTS_URL"],
            environment=emulators.environment,
            principals=settings.principals,
            workers=settings.workers,
            engine=settings.engine,
            copies=settings.copies,
            process_group=process_group,
        ),
        table,
    )


async def _provision(bundle: Bundle, emulators: Emulators) -> None:
    from arco_emulators.pubsub.subscription import PushSubscription

    place, table = bundle.settings.place, bundle.table
    for make in (make_queues, make_topics):
        await asyncio.to_thread(make, place, table)
    await asyncio.to_thread(make_jobs, place, table, bundle.urls)
    await asyncio.to_thread(make_bucket, place)
    prefix = f"projects/{place.project}"
    await emulators.relay.configure(
        PushSubscription(
            name=f"{prefix}/subscriptions/{wanted.name}",
            topic=f"{prefix}/topics/{wanted.topic}",
            endpoint=wanted.endpoint,
            service_account=wanted.service_account,
            audience=wanted.audience,
            ack_deadline_seconds=wanted.ack_deadline_seconds,
            min_backoff_seconds=wanted.min_backoff_seconds,
            max_backoff_seconds=wanted.max_backoff_seconds,
            dead_letter_topic=f"{prefix}/topics/{wanted.dead_letter_topic}",
            max_delivery_attempts=wanted.max_deliveries,
        )
        for wanted in subscriptions_of(place, table, bundle.urls)
    )
