"""The route of the description of the API; what makes it is loaded when somebody asks for it."""

from __future__ import annotations

from functools import cache

import msgspec

from arco_flow.http.messages import Response
from arco_flow.http.routing import Call, Route


async def get_openapi(call: Call) -> Response:
    """This description: OpenAPI 3.1, of the routes that this plane or function serves."""
    return Response(200, _document_bytes(call.routes))


@cache
def _document_bytes(routes: tuple[Route, ...]) -> bytes:
    from arco_flow.http.openapi_document import openapi_document

    return msgspec.json.encode(openapi_document(routes))
