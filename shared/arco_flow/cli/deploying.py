"""From a project's code to a deployment, and what changed by it in words."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.failures import PlaneRefused
from arco_flow.cli.project import Project
from arco_flow.domain.errors import InvalidInput
from arco_flow.engine.views import DeploymentView, DeployOutcome

RACES: Final = 4
"""Deployments of others that one lets come first."""
MEANT_SECONDS: Final = 10.0
"""How long a look at what is current is good for: a request that took longer was repeated."""


@dataclass(frozen=True, slots=True)
class LoadedCode:
    """What a project declares. location: where this machine's workers import it from."""

    manifest: bytes
    location: Mapping[str, str]


def load_code(project: Project) -> LoadedCode:
    """Import the project's target and describe it. Raises DefinitionError with file and line."""
    import contextlib
    import sys

    from arco_flow.domain.manifest import manifest_bytes
    from arco_flow.sdk.build_manifest import build_manifest
    from arco_flow.sdk.discovery import load_definitions

    path = project.root / project.target
    # What user code prints while it is imported must not mix with results on stdout.
    with contextlib.chdir(project.root), contextlib.redirect_stdout(sys.stderr):
        definitions = load_definitions(path if path.exists() else project.target)
        manifest = build_manifest(definitions)
    if not manifest.assets:
        raise InvalidInput(
            f"'{project.target}' declares no asset",
            fix="put @asset above a function at the top level, or name another TARGET",
            reason="NO_ASSETS",
        )
    place = {name: definitions.location[name] for name in ("target", "root")}
    return LoadedCode(manifest_bytes(manifest), place)


def post_code(
    client: PlaneClient,
    code: LoadedCode,
    *,
    dry_run: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> DeployOutcome:
    """Make the code current, or say what that would change.

    The request names what it is to replace, so that a try that is late, or comes once more, does
    nothing. When others were quicker it is asked again, but not when it was on its way for long:
    whoever deployed meanwhile may have known this code already. Raises PlaneRefused then.
    """
    if dry_run:
        return _post(client, code, validateOnly=True)
    for _ in range(RACES):
        looked = clock()
        replaces = _current(client)
        try:
            return _post(client, code, requestId=secrets.token_hex(16), replaces=replaces)
        except PlaneRefused as refused:
            if refused.reason != "DEPLOYMENT_OVERTAKEN" or clock() - looked > MEANT_SECONDS:
                raise
            overtaken = refused
    raise overtaken


def _post(client: PlaneClient, code: LoadedCode, **query: object) -> DeployOutcome:
    location = {f"location.{name}": value for name, value in code.location.items()}
    arguments = {**query, **location}
    return client.post("/deployments", DeployOutcome, code.manifest, repeat=True, **arguments)


def _current(client: PlaneClient) -> int:
    """Revision of the current deployment, 0 before the first."""
    try:
        return client.get("/deployments", DeploymentView).revision
    except PlaneRefused as refused:
        if refused.reason != "NOTHING_DEPLOYED":
            raise
        return 0


def outcome_lines(outcome: DeployOutcome) -> list[str]:
    """What a deployment changed, for people."""
    lines = [_heading(outcome)]
    lines += [f"  + {key}" for key in outcome.added]
    lines += [f"  ~ {key} ({', '.join(what)})" for key, what in outcome.changed.items()]
    lines += [f"  - {key}" for key in outcome.removed]
    lines += [
        f"  stale: {count} partition{'s' if count != 1 else ''} of {key}"
        for key, count in outcome.stale_partitions.items()
    ]
    return lines


def change_summary(outcome: DeployOutcome) -> str:
    """`3 assets (1 added, 2 changed)`."""
    counts = {
        "added": len(outcome.added),
        "changed": len(outcome.changed),
        "removed": len(outcome.removed),
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    total = f"{outcome.asset_count} asset{'s' if outcome.asset_count != 1 else ''}"
    return f"{total} ({told})" if told else total


def _heading(outcome: DeployOutcome) -> str:
    summary = change_summary(outcome)
    if outcome.unchanged:
        return f"unchanged: {summary}, manifest {outcome.manifest_id}"
    if outcome.dry_run:
        return f"would deploy {summary}, manifest {outcome.manifest_id}"
    return f"deployed {summary} as deployment {outcome.deployment}, manifest {outcome.manifest_id}"
