"""Requests for runs that come as messages."""

from arco_flow.adapters.gcp.wiring import serve_deliveries
from arco_flow.engine.run_bridge import ingest_run_request

main = serve_deliveries("run_bridge", ingest_run_request, is_push=True)
