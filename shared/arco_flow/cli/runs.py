"""Which run a command means when none is named."""

from __future__ import annotations

from arco_flow.cli.client import PlaneClient
from arco_flow.cli.suggestions import run_command
from arco_flow.domain.errors import NotFound
from arco_flow.engine.views import RunPage


def newest_run(client: PlaneClient) -> str:
    """Id of the newest run. Raises NotFound before the first."""
    page = client.get("/runs", RunPage, pageSize=1)
    if not page.runs:
        raise NotFound("there is no run yet", fix=run_command(client))
    return page.runs[0].run_id
