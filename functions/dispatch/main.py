"""Folds an entity that was woken, and dispatches what is ready."""

from arco_flow.adapters.gcp.wiring import serve_deliveries
from arco_flow.engine.dispatch import dispatch_task

main = serve_deliveries("dispatch", dispatch_task)
