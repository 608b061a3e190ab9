"""How long properties look, and that they look at the same examples every time.

Each test names its own number of examples, which suits a push. ARCO_FUZZ_EXAMPLES scales them
all: its value is what a test that names 100 gets. A longer look also draws anew each time;
hypothesis prints what fails, to be kept as an example or as a file of the corpus.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

USUAL: Final = 100
WANTED: Final = int(os.environ.get("ARCO_FUZZ_EXAMPLES") or USUAL)


def examples(number: int, **more: object) -> settings:
    """Settings of a test that looks at this many examples in the usual time: profile «ci»."""
    return settings(
        settings.get_profile("ci"),
        max_examples=max(1, number * WANTED // USUAL),
        derandomize=WANTED <= USUAL,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        **more,
    )
