"""A function that is deployed wrongly fails at its start, not at its first delivery."""

from __future__ import annotations

import pytest

from arco_flow.adapters.gcp.settings import FunctionSettings
from arco_flow.adapters.gcp.wiring import CloudPlane
from arco_flow.domain.errors import InvalidInput

AUDIENCE = "https://dispatch.example"


def plane(*callers: str) -> CloudPlane:
    return CloudPlane(
        FunctionSettings(
            function="dispatch",
            project="shop",
            location="here",
            bucket="shop",
            audience=AUDIENCE,
            urls={},
            accounts={},
            callers=frozenset(callers),
        )
    )


def test_the_callers_of_the_settings_may_deliver() -> None:
    caller = plane("a@shop.example", "b@shop.example").callers()
    assert caller.audience == AUDIENCE
    assert caller.emails == {"a@shop.example", "b@shop.example"}


def test_a_function_that_nobody_may_deliver_to_does_not_start() -> None:
    with pytest.raises(InvalidInput, match="nobody may deliver to the function 'dispatch'") as told:
        plane().callers()
    assert "ARCO_FLOW_CALLERS" in (told.value.fix or "")
