"""REST for operators, the command line and the page."""

from arco_flow.adapters.gcp.api_wiring import serve_api

main = serve_api("api")
