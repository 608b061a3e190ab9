"""The examples are projects of their own: their folders are not on the path."""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path[:0] = [str(EXAMPLES / "nyc_flights"), str(EXAMPLES / "quickstart")]
