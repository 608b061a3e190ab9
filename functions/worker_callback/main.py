"""Started, heartbeat and completed of the workers."""

from arco_flow.adapters.gcp.api_wiring import serve_api

main = serve_api("worker_callback")
