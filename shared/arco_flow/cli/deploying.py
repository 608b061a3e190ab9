"""From a project's code to a deployment, and what changed by it in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.project import Project
from arco_flow.domain.errors import InvalidInput
from arco_flow.engine.views import DeployOutcome


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


def post_code(client: PlaneClient, code: LoadedCode, *, dry_run: bool = False) -> DeployOutcome:
    """Make the code current, or say what that would change."""
    location = {f"location.{name}": value for name, value in code.location.items()}
    return client.post(
        "/deployments",
        DeployOutcome,
        code.manifest,
        repeat=True,
        validateOnly=dry_run,
        **location,
    )


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
