"""Folds an entity that was woken, and dispatches what is ready."""

from arco_flow.adapters.gcp.wiring import serve_deliveries

from arco_flow.engine.dispatch import dispatch

main = serve_deliveries("dispatch", lambda engine, body: dispatch(engine, body.decode()))
