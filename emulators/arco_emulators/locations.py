"""The mixin service by which clients ask for locations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.cloud.location import locations_pb2
from grpc import StatusCode

from arco_emulators import names
from arco_emulators.rpc import Method, Refused

SERVICE = "google.cloud.location.Locations"
DEFAULT = "us-central1"


def methods(resource_names: Callable[[], Iterable[str]]) -> dict[str, Method]:
    """The methods of the service over the locations that occur in the resources' names."""

    def listed(request: Any) -> Any:
        used = {name.split("/")[3] for name in resource_names()} | {DEFAULT}
        return locations_pb2.ListLocationsResponse(
            locations=[_location(f"{request.name}/locations/{key}") for key in sorted(used)]
        )

    return {
        "ListLocations": Method(locations_pb2.ListLocationsRequest, listed),
        "GetLocation": Method(
            locations_pb2.GetLocationRequest, lambda request: _location(request.name)
        ),
    }


def _location(name: str) -> Any:
    if not names.is_location(name):
        raise Refused(StatusCode.INVALID_ARGUMENT, f"{name!r} is not projects/P/locations/L.")
    return locations_pb2.Location(name=name, location_id=names.last(name))
