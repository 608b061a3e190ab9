"""One partition a day, from midnight to midnight in New York: 23 hours in spring, 25 in autumn."""

from datetime import UTC

import polars as pl

from arco_flow import AssetContext, CheckResult, DailyPartitions, PartitionKey, RetryPolicy, asset
from nyc_flights.source import FlightData

ZONE = "America/New_York"
DAYS = DailyPartitions("2013-01-01", end="2014-01-01", timezone=ZONE)
PATIENCE = RetryPolicy(3, delay="1s", backoff="exponential", on=[ConnectionError, "INFRASTRUCTURE"])
OWNERS = ["team:flights"]

CANCELLED = pl.col("dep_time").is_null()
"""A flight that never left has no time of departure; the tables say it in no other way."""


def within(day: PartitionKey) -> pl.Expr:
    """Whether an hour lies in the day. The tables count in UTC, the days are those of New York."""
    start, end = (moment.astimezone(UTC) for moment in day.window)
    return pl.col("time_hour").is_between(start, end, closed="left")


@asset(group="daily", partitions=DAYS, retry=PATIENCE, owners=OWNERS, kinds=["parquet"])
def flights(
    all_flights: pl.LazyFrame, day: PartitionKey, data: FlightData, context: AssetContext
) -> pl.DataFrame:
    """The flights that were to leave on one day.

    The parameter asks for a LazyFrame of what was returned as a DataFrame, so that polars reads
    the day's part of the file and no more.
    """
    context.log.info("asking the flight service for %s, try %d", day, context.attempt)
    data.call_service(day, context.attempt)
    found = all_flights.filter(within(day)).with_columns(date=pl.date("year", "month", "day"))
    flights = found.drop("year", "month", "day").collect()
    cancelled = flights.filter(CANCELLED).height
    context.report(flights=flights.height, cancelled=cancelled)
    print(f"{day}: {flights.height} flights, {cancelled} of them cancelled")
    return flights


@flights.check(blocking=True)
def every_flight_is_of_its_day(flights: pl.DataFrame) -> CheckResult:
    """The local date of the UTC hour is the date that the table gives, and all have the same."""
    local = pl.col("time_hour").dt.convert_time_zone(ZONE).dt.date()
    strangers = flights.filter(local.ne_missing(pl.col("date"))).height
    is_one_day = flights["date"].n_unique() <= 1
    return CheckResult(strangers == 0 and is_one_day, f"{strangers} flights of another day")


@flights.check(severity="warn")
def few_are_cancelled(flights: pl.DataFrame) -> CheckResult:
    """More than one in ten is a bad day. A warning: bad days are data, too."""
    share = flights.select(CANCELLED.mean()).item() or 0.0
    return CheckResult(share <= 0.1, f"{share:.0%} cancelled", {"share": share})


@asset(group="daily", partitions=DAYS, owners=OWNERS, kinds=["parquet"])
def weather(all_weather: pl.LazyFrame, day: PartitionKey, context: AssetContext) -> pl.DataFrame:
    """Weather of one day, with a row for every hour: one that nobody observed is full of nulls."""
    hours = pl.datetime_range(
        day.window.start, day.window.end, "1h", closed="left", time_zone=ZONE, eager=True
    ).dt.convert_time_zone("UTC")
    stations = all_weather.select("origin").unique()
    grid = stations.join(pl.LazyFrame({"time_hour": hours}), how="cross")
    seen = all_weather.filter(within(day)).drop("year", "month", "day", "hour")
    observed = seen.with_columns(is_observed=True)
    table = grid.join(observed, on=["origin", "time_hour"], how="left").sort("origin", "time_hour")
    found = table.with_columns(pl.col("is_observed").fill_null(value=False)).collect()
    missing = found.filter(~pl.col("is_observed")).height
    context.report(hours=found.height, missing=missing)
    if missing:
        context.log.warning("%d of %d hours were not observed", missing, found.height)
    return found


@weather.check(severity="warn")
def no_hour_is_missing(weather: pl.DataFrame) -> CheckResult:
    """Stations fall silent now and then; of the last day of the year there is nothing at all."""
    missing = weather.filter(~pl.col("is_observed")).height
    return CheckResult(missing == 0, f"{missing} hours without an observation")


@asset(group="daily", partitions=DAYS, owners=OWNERS, kinds=["parquet"])
def delays_by_carrier(
    flights: pl.DataFrame, weather: pl.DataFrame, airlines: pl.DataFrame, context: AssetContext
) -> pl.DataFrame:
    """What each carrier's passengers went through on one day, and in what weather.

    Sums and counts, not means: a mean of means would weigh an airline's quiet days too much.
    """
    joined = flights.join(
        weather, on=["origin", "time_hour"], how="left", validate="m:1", maintain_order="left"
    ).join(airlines, on="carrier", how="left", validate="m:1", maintain_order="left")
    context.report(flights=flights.height, without_weather=joined["temp"].null_count())
    return (
        joined.group_by("date", "carrier", "airline")
        .agg(
            flights=pl.len(),
            cancelled=CANCELLED.sum(),
            arrived=pl.col("arr_delay").count(),
            delay_minutes=pl.col("arr_delay").sum(),
            late=(pl.col("arr_delay") > 15).sum(),
            in_rain_or_snow=(pl.col("precip") > 0).sum(),
        )
        .sort("carrier")
    )


@delays_by_carrier.check(blocking=True)
def carriers_have_names(delays: pl.DataFrame) -> bool:
    """Every carrier is in the table of airlines."""
    return delays["airline"].null_count() == 0
