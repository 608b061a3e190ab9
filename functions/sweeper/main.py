"""Whatever is owed and old."""

from arco_flow.adapters.gcp.wiring import instance_name, serve_deliveries
from arco_flow.engine.sweeper import sweep

main = serve_deliveries("sweeper", lambda engine, _body: sweep(engine, instance_name()))
