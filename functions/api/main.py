"""REST for operators, the command line and the page."""

from arco_flow.adapters.gcp.wiring import serve_api

main = serve_api("api")
