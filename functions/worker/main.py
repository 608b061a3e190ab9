"""Runs user code."""

from arco_flow.adapters.gcp.worker_wiring import serve_worker

main = serve_worker("worker")
