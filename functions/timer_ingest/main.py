"""Deadlines that came due."""

from arco_flow.adapters.gcp.wiring import serve_deliveries
from arco_flow.engine.timer_ingest import ingest_timer_task

main = serve_deliveries("timer_ingest", ingest_timer_task)
