"""The five tables of 2013 as they were published: CSV once, Parquet from then on."""

import polars as pl

from arco_flow import AssetContext, asset
from nyc_flights.source import FlightData

OWNERS = ["team:flights", "flights@example.com"]


@asset(group="raw", owners=OWNERS, kinds=["csv", "parquet"], tags={"year": "2013"})
def all_flights(data: FlightData, context: AssetContext) -> pl.DataFrame:
    """Every flight that left New York in 2013, in order of its scheduled hour.

    Reading the CSV takes longer than everything else here, so it is done once: the days are then
    cut from its Parquet version, which knows where each of them lies.
    """
    context.progress(0, "reading the CSV")
    flights = data.read("flights")
    context.progress(80, "sorting")
    context.report(flights=flights.height, columns=flights.width)
    return flights.sort("time_hour", maintain_order=True)


@all_flights.check(blocking=True)
def distances_are_positive(flights: pl.DataFrame) -> bool:
    """A flight goes somewhere."""
    return flights.filter(pl.col("distance") <= 0).is_empty()


@asset(group="raw", owners=OWNERS, kinds=["csv", "parquet"], tags={"year": "2013"})
def all_weather(data: FlightData) -> pl.DataFrame:
    """Hourly weather at the three airports, as far as it was observed."""
    return data.read("weather")


@asset(group="raw", owners=OWNERS, kinds=["csv", "parquet"])
def planes(data: FlightData) -> pl.DataFrame:
    """Aircraft by tail number; about one flight in six was made by one that is not listed."""
    return data.read("planes").rename({"year": "built"})


@asset(group="raw", owners=OWNERS, kinds=["csv", "parquet"])
def airports(data: FlightData) -> pl.DataFrame:
    """Airports by their code."""
    return data.read("airports")


@asset(group="raw", owners=OWNERS, kinds=["csv", "parquet"])
def airlines(data: FlightData) -> pl.DataFrame:
    """Names of the carriers."""
    return data.read("airlines").rename({"name": "airline"})
