"""What a run costs in operations of Google's services, counted at the adapters of every function.

The emulated plane is started anew for each size; what a deployment alone costs is taken off. The
times of this machine enter only by how often heartbeats and wakes fall into the run.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from common import report

from arco_flow.adapters.gcp.emulated import (
    EmulatedPlane,
    EmulatedSettings,
    running_emulated_plane,
)
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.cli.client import PlaneClient
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.engine.views import AssetPage, DeployOutcome, RunAccepted, RunSpec, RunView
from arco_flow.sdk.discovery import load_definitions

ROOT = Path(__file__).parents[1]
SIZES = (1, 10, 100, 1000)
EMAIL = "bench@acme.test"
IDLE_SWEEPS = 20
SWEEPS_PER_DAY = 24 * 60

CODE = "from arco_flow import StaticPartitions, asset\n" + "".join(
    textwrap.dedent(
        f"""
        @asset(namespace="t", partitions=StaticPartitions([f"k{{i}}" for i in range({size})]))
        def fan_{size}() -> None:
            return None
        """
    )
    for size in SIZES
)


async def measure() -> dict[str, Any]:
    """Operations per run by size, and of a day on which nothing happens."""
    deployed = await _cost_of(None)
    found: dict[str, Any] = {}
    for size in SIZES:
        cost = await _cost_of(size)
        cost.subtract(deployed)
        found[f"{size} tasks"] = {kind: max(number, 0) for kind, number in sorted(cost.items())}
    idle = await _cost_of(0)
    idle.subtract(deployed)
    found["idle day"] = {
        kind: round(max(number, 0) / IDLE_SWEEPS * SWEEPS_PER_DAY)
        for kind, number in sorted(idle.items())
    }
    return found


async def _cost_of(size: int | None) -> Counter[str]:
    """Of a deployment, and of a run of so many tasks, or of idle sweeps when it is 0."""
    with tempfile.TemporaryDirectory(prefix="arco-flow-cost-") as name:
        folder = Path(name)
        (folder / "benched.py").write_text(CODE)
        settings = EmulatedSettings(
            folder / "plane", ROOT / "functions", {EMAIL: Principal("acme", "main")}
        )
        async with running_emulated_plane(settings) as plane:
            await asyncio.to_thread(_use, plane, folder / "benched.py", size)
        return _counted(folder / "plane" / "logs")


def _use(plane: EmulatedPlane, module: Path, size: int | None) -> None:
    client = PlaneClient(plane.bundle.url, plane.token(EMAIL), "main")
    definitions = load_definitions(str(module))
    query = {f"location.{name}": definitions.location[name] for name in ("target", "root")}
    client.post("/deployments", DeployOutcome, manifest_bytes(definitions.manifest()), **query)
    if size:
        spec = RunSpec(selection=f"t.fan_{size}", all_partitions=True)
        run_id = client.post("/runs", RunAccepted, spec).run_id
        while not client.get(f"/runs/{run_id}", RunView, wait="20s").end_time:
            continue
        while _materialized(client, f"t.fan_{size}") < size:
            continue  # promotions follow the end of the run
    elif size == 0:
        for _ in range(IDLE_SWEEPS):
            _sweep(plane)
    client.close()


def _materialized(client: PlaneClient, key: str) -> int:
    page = client.get("/assets", AssetPage, selection=key)
    return sum(asset.materialized_count for asset in page.assets)


def _sweep(plane: EmulatedPlane) -> None:
    url = plane.bundle.urls["sweeper"]
    account = "arco-scheduler@demo-arco.iam.gserviceaccount.com"
    headers = {"authorization": f"Bearer {plane.token(account, 'sweeper')}"}
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("POST", "/", b"{}", headers)
    assert connection.getresponse().status == 200
    connection.close()


def _counted(logs: Path) -> Counter[str]:
    total: Counter[str] = Counter()
    for log in logs.glob("*.log"):
        for line in log.read_text().splitlines():
            entry = json.loads(line) if line.startswith("{") else {}
            if entry.get("logger") == "arco_flow.operations":
                total.update(json.loads(entry["message"]))
    return total


if __name__ == "__main__":
    report("cost", measure)
